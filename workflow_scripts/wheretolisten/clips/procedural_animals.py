"""Animal calls. Each function draws one recording of unit-order level: (number of frames, generator) → [frame]."""

from collections.abc import Callable

import numpy as np

from wheretolisten.clips.synthesis import (
    add,
    contour,
    frames,
    log_uniform,
    oscillate,
    overtones,
    phase,
    read,
    shaped_noise,
    swell,
    voice,
)


def _repeat(n_frames: int, call: Callable[[], np.ndarray], pause: Callable[[], float]) -> np.ndarray:
    """Calls with pauses (seconds) between them, from near the start to the end of the recording → [frame]."""
    out = np.zeros(n_frames)
    start = frames(0.3 * pause())
    while start < n_frames:
        event = call()
        add(out, event, start)
        start += len(event) + frames(pause())
    return out


def dog(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Groups of short, harsh barks whose pitch falls."""
    pitch, length = log_uniform(rng, 350, 700), rng.uniform(0.12, 0.22)
    chest = rng.uniform(700, 1_300)
    formants = [(chest, 500, 1.0), (chest * rng.uniform(1.8, 2.3), 800, 0.5)]
    group, left = int(rng.integers(1, 4)), 0
    breath, within, between = rng.uniform(0.25, 0.45), rng.uniform(0.1, 0.2), rng.uniform(0.35, 0.6)

    def bark() -> np.ndarray:
        n = frames(length * rng.uniform(0.85, 1.15))
        top = pitch * rng.uniform(0.93, 1.07)
        fall = contour(n, [0.8 * top, 1.15 * top, 0.9 * top, 0.5 * top], [0, 0.15, 0.5, 1])
        return voice(fall, formants, rng, tilt=0.3, breath=breath, jitter=0.04) * swell(n, 0.012, 0.07)

    def pause() -> float:
        nonlocal left
        left = group if left == 0 else left
        left -= 1
        return (within if left else between) * rng.uniform(0.85, 1.15)

    return _repeat(n_frames, bark, pause)


def cat(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Long, clear meows: an arch of pitch, the mouth opening and closing."""
    pitch, length, rest = log_uniform(rng, 450, 750), rng.uniform(0.6, 1.0), rng.uniform(0.15, 0.4)
    closed = [(rng.uniform(500, 700), 250, 1.0), (rng.uniform(2_300, 2_800), 500, 0.6)]
    opened = [(rng.uniform(1_100, 1_500), 400, 1.0), (rng.uniform(2_600, 3_300), 600, 0.6)]

    def meow() -> np.ndarray:
        n = frames(length * rng.uniform(0.8, 1.25))
        top = pitch * rng.uniform(0.95, 1.05)
        arch = contour(n, np.array([0.75, 0.95, 1.12, 1.1, 0.95, 0.72]) * top)
        mouth = contour(n, [0, 0.3, 1, 1, 0.5, 0.1])
        return voice(arch, closed, rng, opened=opened, mouth=mouth, tilt=0.4, breath=0.05, jitter=0.006) * swell(
            n, 0.1, 0.2
        )

    return _repeat(n_frames, meow, lambda: rest * rng.uniform(0.6, 1.5))


def cow(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Long, low moos, closed at first and open later."""
    pitch, length, rest = log_uniform(rng, 95, 170), rng.uniform(1.2, 2.0), rng.uniform(0.15, 0.4)
    closed = [(rng.uniform(220, 320), 120, 1.0)]
    opened = [(rng.uniform(380, 520), 160, 1.0), (rng.uniform(800, 1_100), 250, 0.7)]

    def moo() -> np.ndarray:
        n = frames(length * rng.uniform(0.85, 1.2))
        top = pitch * rng.uniform(0.96, 1.04)
        line = contour(n, np.array([0.85, 1.0, 1.06, 1.03, 0.85]) * top)
        mouth = contour(n, [0, 0.2, 0.9, 1, 0.7])
        return voice(line, closed, rng, opened=opened, mouth=mouth, tilt=0.6, breath=0.04, jitter=0.012) * swell(
            n, 0.15, 0.3
        )

    return _repeat(n_frames, moo, lambda: rest * rng.uniform(0.6, 1.4))


def sheep(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Bleats: a nasal vowel shaken in level and pitch."""
    pitch, length, rest = log_uniform(rng, 220, 400), rng.uniform(0.7, 1.1), rng.uniform(0.12, 0.3)
    shake, depth = rng.uniform(5.5, 8.5), rng.uniform(0.75, 0.95)
    formants = [(rng.uniform(700, 1_000), 250, 0.8), (rng.uniform(1_700, 2_300), 350, 1.0), (3_300, 500, 0.4)]

    def bleat() -> np.ndarray:
        n = frames(length * rng.uniform(0.8, 1.2))
        top = pitch * rng.uniform(0.95, 1.05)
        tremble = oscillate(shake, n)
        line = contour(n, np.array([0.95, 1.05, 1.0, 0.88]) * top) * (1 + 0.04 * tremble)
        level = (1 + depth * tremble) / (1 + depth)
        return voice(line, formants, rng, tilt=0.2, breath=0.12, jitter=0.01) * level * swell(n, 0.05, 0.12)

    return _repeat(n_frames, bleat, lambda: rest * rng.uniform(0.6, 1.4))


def frog(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Low croaks: a narrow tone chopped into fast pulses, in one or two parts."""
    carrier, pulses = log_uniform(rng, 300, 620), rng.uniform(28, 60)
    length, rest, two_parts = rng.uniform(0.22, 0.4), rng.uniform(0.12, 0.3), rng.random() < 0.5
    throat = overtones([1.0, rng.uniform(0.2, 0.5), rng.uniform(0.05, 0.2)])

    def croak() -> np.ndarray:
        n = frames(length * rng.uniform(0.85, 1.15))
        line = contour(n, [0.95, 1.0, 1.2] if two_parts else [1.0, 1.03, 0.97]) * carrier * rng.uniform(0.97, 1.03)
        gate = np.maximum(0, oscillate(pulses, n)) ** 2
        tone = read(throat, phase(line))
        level = swell(n, 0.02, 0.05)
        if two_parts:
            level = level * contour(n, [1, 1, 0.05, 0.9, 1], [0, 0.38, 0.46, 0.54, 1])
        return tone * gate * level

    return _repeat(n_frames, croak, lambda: rest * rng.uniform(0.8, 1.25))


def pig(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Snorting grunts in quick succession, with a squeal now and then."""
    throat, rattle = rng.uniform(350, 600), rng.uniform(45, 90)
    formants = [(throat, 220, 1.0), (throat * rng.uniform(2.4, 3.2), 400, 0.8), (2_600, 900, 0.3)]
    squeal_pitch, squeals = log_uniform(rng, 900, 1_500), rng.uniform(0.05, 0.2)
    length, rest = rng.uniform(0.16, 0.3), rng.uniform(0.06, 0.16)

    def grunt() -> np.ndarray:
        if rng.random() < squeals:
            n = frames(rng.uniform(0.3, 0.5))
            line = contour(n, np.array([0.8, 1.2, 1.05, 1.25, 0.8]) * squeal_pitch)
            bright = [(2_500, 1_500, 1.0), (4_500, 1_500, 0.6)]
            return voice(line, bright, rng, tilt=0.2, breath=0.3, jitter=0.05) * swell(n, 0.03, 0.1)
        n = frames(length * rng.uniform(0.75, 1.3))
        source = shaped_noise(n, formants, rng)
        chop = 0.35 + np.maximum(0, oscillate(contour(n, [1.1, 0.85]) * rattle))
        return 1.3 * source * chop * swell(n, 0.03, 0.09)

    return _repeat(n_frames, grunt, lambda: rest * rng.uniform(0.6, 1.5))


def hen(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Fast, short clucks, every few followed by one long rising cackle."""
    pitch, length, rest = log_uniform(rng, 480, 800), rng.uniform(0.05, 0.08), rng.uniform(0.09, 0.16)
    beak = [(rng.uniform(1_100, 1_500), 500, 1.0), (rng.uniform(2_600, 3_200), 700, 0.4)]
    run, left = int(rng.integers(3, 8)), int(rng.integers(2, 6))

    def cluck() -> np.ndarray:
        nonlocal left
        left -= 1
        if left < 0:
            left = run
            n = frames(rng.uniform(0.25, 0.38))
            line = contour(n, np.array([0.9, 1.5, 1.85, 1.7]) * pitch)
            return 1.3 * voice(line, beak, rng, tilt=0.2, breath=0.15, jitter=0.02) * swell(n, 0.04, 0.08)
        n = frames(length * rng.uniform(0.85, 1.2))
        line = contour(n, np.array([1.15, 0.8]) * pitch * rng.uniform(0.94, 1.06))
        return voice(line, beak, rng, tilt=0.3, breath=0.15, jitter=0.02) * swell(n, 0.008, 0.03)

    return _repeat(n_frames, cluck, lambda: rest * rng.uniform(0.8, 1.25))


def rooster(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """The crow of a cock: two short syllables, a long high one and a fall."""
    pitch, length, rest = log_uniform(rng, 480, 700), rng.uniform(1.4, 1.9), rng.uniform(0.15, 0.35)
    throat = [(rng.uniform(1_000, 1_400), 600, 1.0), (rng.uniform(2_300, 3_000), 800, 0.8)]

    def crow_once() -> np.ndarray:
        n = frames(length * rng.uniform(0.9, 1.1))
        times = np.array([0, 0.08, 0.14, 0.18, 0.26, 0.3, 0.36, 0.55, 0.68, 1])
        line = contour(n, np.array([1, 1.15, 1.1, 1.25, 1.4, 1.35, 1.9, 2.05, 1.6, 0.85]) * pitch, times)
        level = contour(n, [0.7, 0.9, 0.03, 0.8, 0.9, 0.03, 1, 1, 0.9, 0.4], times)
        return voice(line, throat, rng, tilt=0.2, breath=0.1, jitter=0.012) * level * swell(n, 0.03, 0.2)

    return _repeat(n_frames, crow_once, lambda: rest * rng.uniform(0.7, 1.4))


def crow(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Rough, bright caws of almost level pitch."""
    pitch, length, rest = log_uniform(rng, 260, 420), rng.uniform(0.3, 0.5), rng.uniform(0.15, 0.35)
    rasp, beak = rng.uniform(60, 95), rng.uniform(1_400, 2_000)
    formants = [(beak, 500, 1.0), (beak * rng.uniform(1.6, 1.9), 700, 0.7), (5_000, 1_200, 0.3)]

    def caw() -> np.ndarray:
        n = frames(length * rng.uniform(0.85, 1.15))
        line = contour(n, np.array([0.9, 1.04, 1.02, 0.93]) * pitch * rng.uniform(0.96, 1.04))
        rough = 0.55 + 0.45 * oscillate(rasp, n)
        return voice(line, formants, rng, tilt=0.0, breath=0.45, jitter=0.06) * rough * swell(n, 0.03, 0.08)

    return _repeat(n_frames, caw, lambda: rest * rng.uniform(0.75, 1.3))


SOUNDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "dog": dog,
    "cat": cat,
    "cow": cow,
    "sheep": sheep,
    "frog": frog,
    "pig": pig,
    "hen": hen,
    "rooster": rooster,
    "crow": crow,
}
"""Label → function, in the order of the vocabulary."""
