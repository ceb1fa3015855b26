"""Sounds synthesised from code: eighteen labels in two domains, each with variety inside the label."""

import numpy as np

from wheretolisten.clips import procedural_animals, procedural_everyday
from wheretolisten.clips.synthesis import background, frames, log_uniform, root_mean_square
from wheretolisten.config.sounds import PROCEDURAL_LABELS

_SOUNDS = procedural_animals.SOUNDS | procedural_everyday.SOUNDS

LABELS: dict[str, str] = {label: domain for domain, labels in PROCEDURAL_LABELS.items() for label in labels}
"""Label → domain."""

_PEAK = 0.97


def synthesize(label: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Synthesise one clip.

    Pitch, rhythm, timbre, level and background noise are drawn anew; the sound goes on through the whole clip. The
    result depends on the three arguments only.

    Parameters
    ----------
    label
        A key of `LABELS`.
    seconds
        Duration in seconds.
    rng
        Source of all variety.

    Returns
    -------
    numpy.ndarray
        float32 [frame] at 16 kHz, |x| < 1, root mean square mostly 0.03 … 0.15.

    Raises
    ------
    KeyError
        If there is no such label.
    """
    sound = _SOUNDS[label]
    n_frames = frames(seconds)
    signal = sound(n_frames, rng)
    signal = signal / root_mean_square(signal)
    noise_to_signal = log_uniform(rng, 0.01, 0.2)
    signal = signal + noise_to_signal * background(n_frames, rng)
    signal *= log_uniform(rng, 0.03, 0.15) / root_mean_square(signal)
    # Struck sounds have peaks far above their mean level: those stay quieter instead of being clipped.
    signal *= min(1.0, _PEAK / float(np.abs(signal).max()))
    return signal.astype(np.float32)
