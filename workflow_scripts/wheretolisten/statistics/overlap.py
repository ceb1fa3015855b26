"""How much of a true event a predicted window covers, and how much chance would cover."""

import numpy as np

from wheretolisten.localization.windows import Window


def overlap_fraction(start: float | np.ndarray, end: float | np.ndarray, onset: float, offset: float) -> np.ndarray:
    """Fraction of a true event that predicted windows cover, from 0 to 1 (SWL §4).

    |predicted ∩ true| / true duration: a kind of recall, not intersection over union.

    Parameters
    ----------
    start, end
        Predicted window or windows, in seconds.
    onset, offset
        True event, in seconds.
    """
    shared = np.minimum(end, offset) - np.maximum(start, onset)
    return np.clip(shared, 0, None) / (offset - onset)


def window_overlap(window: Window, onset: float, offset: float) -> float:
    """Overlap of a scored query with its event, from 0 to 1.

    Where windows tie it is the mean over them, the expectation of drawing one at random; a failure scores 0.
    """
    if window.tied_starts.size == 0:
        return 0.0
    return float(overlap_fraction(*window.tied_seconds, onset, offset).mean())


def chance_overlap(onset: float, duration: float, sample_seconds: float) -> float:
    """Expected overlap of a window of the event's duration whose start is uniform on [0, T - W], from 0 to 1.

    A start at distance d from the onset covers max(0, 1 - |d| / W) of the event; the integral of this triangle over
    the starts that fit is exact.

    Parameters
    ----------
    onset, duration
        Event, in seconds; its duration is W.
    sample_seconds
        T, in seconds.
    """
    room = sample_seconds - duration
    if room <= 0:
        return 1.0  # the only window that fits is the event itself

    def area(reach: float) -> float:
        # ∫_0^reach (1 - x / W) dx, of which nothing is left beyond W
        reach = min(reach, duration)
        return reach - reach**2 / (2 * duration)

    return (area(onset) + area(room - onset)) / room
