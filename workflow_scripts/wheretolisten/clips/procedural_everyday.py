"""Everyday and signal sounds. Each function draws one recording: (number of frames, generator) → [frame]."""

from collections.abc import Callable

import numpy as np

from wheretolisten.clips.synthesis import (
    add,
    decay,
    frames,
    harmonic_table,
    high_pass,
    log_uniform,
    low_pass,
    oscillate,
    overtones,
    phase,
    read,
    resonate,
    root_mean_square,
    shaped_noise,
    swell,
    wander,
)
from wheretolisten.config.constants import SAMPLING_RATE


def _blasts(
    n_frames: int, source: np.ndarray, on: float, off: float, edge: float, rng: np.random.Generator
) -> np.ndarray:
    """Switch a steady `source` [frame] on and off for about `on` and `off` seconds, with soft edges (seconds)."""
    level = np.zeros(n_frames)
    start = frames(rng.uniform(0, 0.5) * off)
    while start < n_frames:
        n = frames(on * rng.uniform(0.8, 1.25))
        add(level, swell(n, edge, 1.5 * edge), start)
        start += n + frames(off * rng.uniform(0.8, 1.25))
    return source * level


def siren(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A tone that sweeps slowly up and down, without a pause."""
    low = log_uniform(rng, 450, 700)
    high = low * rng.uniform(1.8, 2.4)
    sweep = np.sin(2 * np.pi * (np.arange(n_frames) / (SAMPLING_RATE * log_uniform(rng, 0.9, 3.5)) + rng.random()))
    if rng.random() < 0.4:
        sweep = np.clip(2.5 * sweep, -1, 1)
    line = low + (high - low) * 0.5 * (1 + sweep)
    table = harmonic_table(high, [(high, 1_500, 1.0), (2.5 * high, 1_500, 0.4)], rng.uniform(0.5, 1.2), rng)
    return read(table, phase(line))


def bell(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Struck metal: partials out of tune with each other that ring on."""
    pitch = log_uniform(rng, 450, 1_000)
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.74, 3.0, 4.07]) * (1 + 0.01 * rng.standard_normal(8))
    gains = np.array([0.5, 1.0, 0.8, 0.4, 0.9, 0.5, 0.4, 0.3]) * rng.uniform(0.6, 1.3, 8)
    ring, period = rng.uniform(0.5, 1.2), rng.uniform(0.55, 1.3)
    n = frames(3.5 * ring)
    strike = np.zeros(n)
    for ratio, gain in zip(ratios, gains, strict=True):
        if ratio * pitch < 7_500:
            strike += gain * oscillate(ratio * pitch, n) * decay(n, ring / ratio**0.5)
    out = np.zeros(n_frames)
    start = frames(rng.uniform(0, 0.2))
    while start < n_frames:
        add(out, strike * rng.uniform(0.7, 1), start)
        start += frames(period * rng.uniform(0.95, 1.05))
    return out


def horn(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A car's horn: two buzzing notes at once, of constant pitch."""
    pitch, interval = log_uniform(rng, 280, 440), rng.uniform(1.18, 1.27)
    brass = [(rng.uniform(900, 1_500), 1_000, 1.0), (rng.uniform(2_200, 3_000), 1_200, 0.6)]
    chord = sum(
        read(harmonic_table(note, brass, 0.2, rng), phase(note, n_frames)) for note in (pitch, pitch * interval)
    )
    return _blasts(n_frames, chord, log_uniform(rng, 0.35, 1.3), rng.uniform(0.15, 0.35), 0.02, rng)


def telephone(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Ringing: two high tones in fast alternation, a burst and a pause."""
    pitch, rate = log_uniform(rng, 1_100, 1_700), rng.uniform(9, 12.4)
    second = oscillate(rate, n_frames) > 0
    line = np.where(second, pitch * rng.uniform(1.22, 1.4), pitch)
    tone = read(overtones([1, rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.3)]), phase(line))
    return _blasts(n_frames, tone, rng.uniform(0.6, 1.1), rng.uniform(0.25, 0.5), 0.015, rng)


def whistle(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A referee's whistle: one very high, trilled tone with breath in it."""
    pitch, trill = log_uniform(rng, 2_300, 3_600), rng.uniform(14, 28)
    shake = oscillate(trill, n_frames)
    line = pitch * (1 + 0.02 * shake + 0.004 * wander(n_frames, 8, rng))
    tone = read(overtones([1, 0.08]), phase(line)) * (1 + rng.uniform(0.2, 0.45) * shake)
    breath = shaped_noise(n_frames, [(pitch, 900, 1.0)], rng)
    return _blasts(n_frames, tone + rng.uniform(0.1, 0.3) * breath, log_uniform(rng, 0.3, 1.1), 0.2, 0.025, rng)


def drum(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A beat: low drums with falling pitch, and snares on some of the steps."""
    step, pitch, ring = rng.uniform(0.17, 0.26), log_uniform(rng, 65, 120), rng.uniform(0.07, 0.14)
    n = frames(5 * ring)
    fall = pitch * (1 + 1.2 * decay(n, 0.03))
    kick = read(overtones([1, 0.3]), phase(fall)) * decay(n, ring)
    snare = high_pass(rng.standard_normal(n), 1_200) * decay(n, rng.uniform(0.04, 0.08))
    snare = 0.35 * snare + 0.5 * oscillate(2.3 * pitch, n) * decay(n, 0.05)
    pattern = rng.choice([0, 1, 1, 2], size=8)
    pattern[[0, 4]] = 1, 2
    out = np.zeros(n_frames)
    start, index = frames(rng.uniform(0, 0.1)), int(rng.integers(8))
    while start < n_frames:
        kind = pattern[index % 8]
        if kind:
            add(out, (kick if kind == 1 else snare) * rng.uniform(0.75, 1), start)
        start += frames(step * rng.uniform(0.98, 1.02))
        index += 1
    return out


def engine(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A motor: a low, rough hum without a pause, its speed wandering."""
    speed = log_uniform(rng, 38, 85)
    line = speed * (1 + 0.06 * wander(n_frames, 1.2, rng) + 0.01 * wander(n_frames, 25, rng))
    body = [(rng.uniform(90, 160), 120, 1.0), (rng.uniform(250, 450), 250, 0.6), (rng.uniform(800, 1_200), 500, 0.2)]
    turn = phase(line)
    hum = read(harmonic_table(speed, body, 0.3, rng), turn)
    hiss = low_pass(rng.standard_normal(n_frames), 500)
    hiss *= (0.6 + read(overtones([0.4]), turn)) / root_mean_square(hiss)
    return hum + rng.uniform(0.2, 0.5) * hiss


def rain(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """A bright, steady rush with single drops on top."""
    rush = high_pass(low_pass(rng.standard_normal(n_frames), log_uniform(rng, 3_000, 7_000)), rng.uniform(700, 2_000))
    rush *= (1 + 0.15 * wander(n_frames, 3, rng)) / root_mean_square(rush)
    drops = np.zeros(n_frames)
    n_drops = 1 + int(log_uniform(rng, 10, 60) * n_frames / SAMPLING_RATE)
    drops[rng.integers(n_frames, size=n_drops)] = rng.standard_normal(n_drops)
    patter = resonate(drops, rng.uniform(2_500, 4_500), 250)
    patter += resonate(np.roll(drops, 301), rng.uniform(1_500, 2_500), 200)
    return rush + rng.uniform(0.3, 0.8) * patter / root_mean_square(patter)


def clock(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Ticks and tocks in strict time."""
    period, case = log_uniform(rng, 0.22, 0.6), log_uniform(rng, 1_800, 3_800)
    n = frames(0.16)
    ring = rng.uniform(0.012, 0.025)
    click = rng.standard_normal(n) * decay(n, 0.004, 0.0005)
    sounds = []
    for centre in (case, case * rng.uniform(0.72, 0.88)):
        tone = oscillate(centre, n) + 0.5 * oscillate(1.63 * centre, n)
        sounds.append(tone * decay(n, ring, 0.0005) + 0.4 * click)
    out = np.zeros(n_frames)
    start = rng.uniform(0, 0.5) * period
    for index in range(2 * (1 + int(n_frames / SAMPLING_RATE / period))):
        at = round((start + index * period) * SAMPLING_RATE)
        if at < n_frames:
            add(out, sounds[index % 2], at)
    return out


SOUNDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "siren": siren,
    "bell": bell,
    "horn": horn,
    "telephone": telephone,
    "whistle": whistle,
    "drum": drum,
    "engine": engine,
    "rain": rain,
    "clock": clock,
}
"""Label → function, in the order of the vocabulary."""
