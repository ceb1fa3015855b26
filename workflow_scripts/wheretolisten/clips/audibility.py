"""Where in a clip sound is heard.

A clip is cut into windows of 20 ms. A window is audible if its level (root mean square, without the window's mean) is
within 40 dB of the clip's loudest window and at least −80 dB of full scale. Levels come from sums of whole numbers, so
that they are the same on every machine.
"""

import numpy as np

from wheretolisten.clips.pcm import FULL_SCALE
from wheretolisten.config.constants import SAMPLING_RATE

FLOOR = 1e-4
"""Level below which nothing is heard: −80 dB of full scale."""

_RANGE = 1e-2  # level of the faintest audible window over that of the loudest: −40 dB
_WINDOW = SAMPLING_RATE // 50


def audible(pcm: np.ndarray) -> np.ndarray:
    """Whether sound is heard at each frame of a clip, int16 [frame] at 16 kHz → bool [frame]."""
    level = levels(pcm)
    return (level >= FLOOR) & (level >= _RANGE * level.max(initial=0))


def levels(pcm: np.ndarray) -> np.ndarray:
    """Level of the window that each frame of a clip lies in, int16 [frame] at 16 kHz → float [frame], full scale 1."""
    if not len(pcm):
        return np.zeros(0)
    whole = pcm.astype(np.int64)
    # The last window takes what is left over.
    starts = np.arange(0, max(0, len(pcm) - _WINDOW) + 1, _WINDOW)
    lengths = np.diff(starts, append=len(pcm))
    energy = lengths * np.add.reduceat(np.square(whole), starts) - np.square(np.add.reduceat(whole, starts))
    return np.repeat(np.sqrt(energy) / (lengths * FULL_SCALE), lengths)
