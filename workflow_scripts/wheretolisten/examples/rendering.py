"""From a plan to sound: clips in sequence with noise between them (SWL §4), and second sounds mixed into them.

Energies are summed in whole numbers, where order does not matter, so that a sample has the same bytes on every machine;
after a room or a codec it may differ in the last bit, or with another version of the codec.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from wheretolisten.clips.pcm import FULL_SCALE, quantise
from wheretolisten.clips.randomness import generator
from wheretolisten.config.examples import Composition
from wheretolisten.examples.composition import Plan
from wheretolisten.examples.disturbances import coded, reverberated

_FIXED_POINT = 1 << 20


def render(plan: Plan, clips: Sequence[np.ndarray], settings: Composition) -> np.ndarray:
    """Render one sample.

    Parameters
    ----------
    plan
        What to render.
    clips
        Whole clips of the plan's events, int16 [frame] each.
    settings
        The composition that the plan was made from.

    Returns
    -------
    numpy.ndarray
        int16 [frame]. Would it go beyond full scale, the whole sample is made quieter instead.
    """
    sample = np.zeros(plan.n_frames)
    levels = []
    for event, clip in zip(plan.events, clips, strict=True):
        cut = clip[event.clip_start : event.clip_start + event.n_frames]
        level = _root_mean_square(cut.astype(np.int64)) / FULL_SCALE
        target = settings.rms_level if settings.loudness == "rms" else level
        if event.mixed_into is not None:
            target = levels[event.mixed_into] * 10 ** (settings.overlap.level_db / 20)
        gain = target / level if level > 0 else 1.0
        if settings.heard == "noise":
            rng = generator("event", settings.seed, plan.index, len(levels))
            sample[event.onset : event.offset] += noise("white", event.n_frames, rng) * (gain * level)
        else:
            sample[event.onset : event.offset] += cut * (gain / FULL_SCALE)
        levels.append(gain * level)
    if settings.heard == "silence":
        return quantise(np.zeros(plan.n_frames))
    for number, (event, following) in enumerate(pairwise(plan.in_sequence)):
        start, stop = event.offset, following.onset
        rng = generator("gap", settings.seed, plan.index, number)
        # Energy-matched: as loud as the neighbours on average (SWL §4).
        sample[start:stop] = noise(settings.gap_noise, stop - start, rng) * (
            0.5 * (levels[number] + levels[number + 1])
        )
    if settings.reverberation is not None:
        sample = reverberated(sample, settings.reverberation, generator("reverberation", settings.seed, plan.index))
    if settings.snr_db is not None:
        lengths = [event.n_frames for event in plan.events]
        events = math.sqrt(np.average(np.square(levels), weights=lengths))
        background = noise("white", plan.n_frames, generator("background", settings.seed, plan.index))
        sample += background * (events * 10 ** (-settings.snr_db / 20))
    peak = float(np.abs(sample).max())
    limit = (FULL_SCALE - 1) / FULL_SCALE
    sample = sample * (limit / peak) if peak > limit else sample
    return quantise(sample if settings.codec is None else coded(sample, settings.codec))


def noise(kind: str, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """White (Gaussian) or pink (power falling as 1/f) noise of unit root mean square, or silence → [frame]."""
    if kind == "silence" or n_frames == 0:
        return np.zeros(n_frames)
    signal = rng.standard_normal(n_frames)
    if kind == "pink":
        spectrum = np.fft.rfft(signal)
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        spectrum[0] = 0
        signal = np.fft.irfft(spectrum, n_frames)
    level = _root_mean_square(np.rint(signal * _FIXED_POINT).astype(np.int64)) / _FIXED_POINT
    return signal / level if level > 0 else signal


def _root_mean_square(whole: np.ndarray) -> float:
    return math.sqrt(int(np.sum(np.square(whole))) / len(whole))
