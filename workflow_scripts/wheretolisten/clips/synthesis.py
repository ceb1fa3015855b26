"""Building blocks of synthesised sounds.

Oscillators count their phase in whole 2⁻²⁰ cycles and read their wave from a table. So the long sums of phase are
exact, and last-bit differences between the sine functions of two processors do not add up: after rounding to 16 bits,
a clip is the same everywhere.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

from wheretolisten.config.constants import SAMPLING_RATE

_PHASE_BITS = 20
_TABLE_BITS = 12
_TABLE_SIZE = 1 << _TABLE_BITS
_HIGHEST_HARMONIC = 7_600.0  # Hz; leaves the resamplers of feature extractors some room below 8 kHz

Formant = tuple[float, float, float]
"""Resonance of a voice: centre (Hz), bandwidth (Hz), gain."""


def frames(seconds: float) -> int:
    """Whole audio samples in a duration, at least one."""
    return max(1, round(seconds * SAMPLING_RATE))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of `low` and `high`."""
    return low * (high / low) ** rng.random()


def contour(n_frames: int, values: Sequence[float], times: Sequence[float] | None = None) -> np.ndarray:
    """A line through `values` [knot] at relative `times` (from 0 to 1; default: evenly spread) → [frame]."""
    knots = np.linspace(0, 1, len(values)) if times is None else np.asarray(times)
    edges = np.rint(knots * n_frames).astype(int)
    line = np.empty(n_frames)
    for left, right, low, high in zip(edges[:-1], edges[1:], values[:-1], values[1:], strict=True):
        if right > left:
            line[left:right] = low + np.arange(right - left) * ((high - low) / (right - left))
    return line


def wander(n_frames: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Random deviation about 0 with about unit spread: a line through `rate` draws a second → [frame]."""
    step = max(1, round(SAMPLING_RATE / rate))
    knots = rng.standard_normal(2 + n_frames // step)
    line = knots[:-1, None] + np.diff(knots)[:, None] * (np.arange(step) / step)
    return line.ravel()[:n_frames]


def phase(frequency: np.ndarray | float, n_frames: int = 0) -> np.ndarray:
    """Running phase [frame] of a frequency contour [frame], or of a constant frequency over `n_frames`, in Hz.

    Counted in units of 2⁻²⁰ cycles, modulo 2³².
    """
    unit = (1 << _PHASE_BITS) / SAMPLING_RATE
    if isinstance(frequency, float):
        return np.arange(1, n_frames + 1, dtype=np.int64) * round(frequency * unit)
    return np.cumsum(np.rint(frequency * unit).astype(np.int32), dtype=np.int32)


def read(table: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Read one cycle `table` [table] at a `position` [frame] (see `phase`) → [frame]."""
    return table[(position >> (_PHASE_BITS - _TABLE_BITS)) & (_TABLE_SIZE - 1)]


def oscillate(frequency: np.ndarray | float, n_frames: int = 0) -> np.ndarray:
    """A sine wave along a frequency contour [frame], or of a constant frequency over `n_frames` (Hz) → [frame]."""
    return read(_SINE, phase(frequency, n_frames))


def harmonic_table(frequency: float, formants: Sequence[Formant], tilt: float, rng: np.random.Generator) -> np.ndarray:
    """One cycle [table] of a source at `frequency` (Hz) heard through `formants`, with unit root mean square.

    `tilt` is the power of the harmonic number by which the source falls off. The harmonics' phases are random.
    """
    n_harmonics = max(1, min(_TABLE_SIZE // 4, int(_HIGHEST_HARMONIC / frequency)))
    number = np.arange(1, n_harmonics + 1)
    gains = np.full(n_harmonics, 0.02)
    for centre, bandwidth, gain in formants:
        gains += gain / (1 + ((number * frequency - centre) / (0.5 * bandwidth)) ** 2)
    gains *= number**-tilt
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, dtype=complex)
    spectrum[1 : n_harmonics + 1] = gains * np.exp(2j * np.pi * rng.random(n_harmonics))
    table = np.fft.irfft(spectrum, _TABLE_SIZE)
    return table / root_mean_square(table)


def overtones(gains: Sequence[float]) -> np.ndarray:
    """One cycle [table] of a sum of harmonics with the given `gains` [harmonic], all starting at zero."""
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, dtype=complex)
    spectrum[1 : len(gains) + 1] = -0.5j * _TABLE_SIZE * np.asarray(gains)
    return np.fft.irfft(spectrum, _TABLE_SIZE)


def resonate(signal: np.ndarray, centre: float, bandwidth: float) -> np.ndarray:
    """Two-pole resonance at `centre` with `bandwidth` (Hz), unit gain at the peak (about) → [frame]."""
    radius = math.exp(-math.pi * bandwidth / SAMPLING_RATE)
    angle = 2 * math.pi * centre / SAMPLING_RATE
    gain = (1 - radius) * math.sqrt(1 - 2 * radius * math.cos(2 * angle) + radius**2)
    return lfilter([gain], [1, -2 * radius * math.cos(angle), radius**2], signal)


def low_pass(signal: np.ndarray, cutoff: float) -> np.ndarray:
    """First-order low-pass at `cutoff` (Hz) → [frame]."""
    keep = math.exp(-2 * math.pi * cutoff / SAMPLING_RATE)
    return lfilter([1 - keep], [1, -keep], signal)


def high_pass(signal: np.ndarray, cutoff: float) -> np.ndarray:
    """First-order high-pass at `cutoff` (Hz) → [frame]."""
    return signal - low_pass(signal, cutoff)


def shaped_noise(n_frames: int, formants: Sequence[Formant], rng: np.random.Generator) -> np.ndarray:
    """White noise heard through `formants`, with unit root mean square → [frame]."""
    white = rng.standard_normal(n_frames)
    heard = np.zeros(n_frames)
    for centre, bandwidth, gain in formants:
        heard += resonate(gain * math.sqrt(SAMPLING_RATE / bandwidth) * white, centre, bandwidth)
    return heard / root_mean_square(heard)


def voice(
    pitch: np.ndarray,
    formants: Sequence[Formant],
    rng: np.random.Generator,
    *,
    opened: Sequence[Formant] | None = None,
    mouth: np.ndarray | None = None,
    tilt: float,
    breath: float,
    jitter: float,
) -> np.ndarray:
    """A voiced sound of about unit level along a `pitch` contour [frame] (Hz).

    With `opened` and `mouth` [frame] (0 … 1), the timbre moves from `formants` to `opened` as the mouth opens.
    `tilt` is as in `harmonic_table`, `breath` the share of noise (0 … 1), `jitter` the relative spread of fast, random
    changes of pitch.
    """
    position = phase(pitch * (1 + jitter * wander(len(pitch), 120, rng)))
    top = float(pitch.max())
    tone = read(harmonic_table(top, formants, tilt, rng), position)
    if opened is not None and mouth is not None:
        tone += mouth * (read(harmonic_table(top, opened, tilt, rng), position) - tone)
    return (1 - breath) * tone + breath * shaped_noise(len(pitch), formants, rng)


def swell(n_frames: int, attack: float, release: float) -> np.ndarray:
    """Envelope that rises within `attack` and falls within `release` seconds, smooth at both ends → [frame]."""
    level = np.ones(n_frames)
    for edge, n_edge in ((level, frames(attack)), (level[::-1], frames(release))):
        n_edge = min(n_edge, n_frames)
        ramp = np.arange(1, n_edge + 1) / n_edge
        edge[:n_edge] *= ramp * ramp * (3 - 2 * ramp)
    return level


def decay(n_frames: int, seconds: float, attack: float = 0.002) -> np.ndarray:
    """Envelope of something struck: falls to 1/e within `seconds` → [frame]."""
    level = np.exp(np.arange(n_frames) * (-1 / (seconds * SAMPLING_RATE)))
    n_attack = min(frames(attack), n_frames)
    level[:n_attack] *= np.arange(1, n_attack + 1) / n_attack
    return level


def add(target: np.ndarray, event: np.ndarray, start: int) -> None:
    """Mix `event` [frame] into `target` [frame] in place, cut off at the end of `target`."""
    event = event[: max(0, len(target) - start)]
    target[start : start + len(event)] += event


def background(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of a place, of unit root mean square: anything from a hiss to a rumble → [frame]."""
    white = rng.standard_normal(n_frames)
    dark = low_pass(white, log_uniform(rng, 80, 3_000))
    dark += rng.uniform(0, 0.3) * root_mean_square(dark) * white
    return dark / root_mean_square(dark)


def root_mean_square(signal: np.ndarray) -> float:
    """Root mean square of a signal; a tiny positive number for silence."""
    return math.sqrt(float(np.mean(np.square(signal)))) + 1e-12


_SINE = overtones([1.0])
