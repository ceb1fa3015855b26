"""How good a prediction is, beside the published overlap: for one query, from the windows that it may mean.

One convention for all measures. Where windows tie, or several are drawn, a query has the mean over them, the
expectation of choosing one at random. Where nothing was predicted (a failure, an answer without an onset), the query
counts with IoU 0, no hit and no pointing; it has no onset error, and tables say how many queries lack one.
"""

import numpy as np

MEASURES = ("iou", "hit", "pointing", "onset_error", "absolute_onset_error")
"""Columns of the localization table beside `overlap`; shares from 0 to 1, onset errors in seconds."""

HIT_IOU = 0.5
"""A window whose IoU is at least this hits the event."""


def measure(starts: np.ndarray, ends: np.ndarray, onset: float, offset: float) -> dict[str, float]:
    """Measures of one query; the mean over its windows.

    iou: |predicted ∩ true| / |predicted ∪ true|; hit: whether IoU is at least `HIT_IOU`; pointing: whether the window's
    centre lies in the event; onset_error: predicted minus true onset, and its absolute value.

    Parameters
    ----------
    starts, ends
        The predicted windows in seconds, [window]: one, several where they tie or are drawn, none on failure.
    onset, offset
        True event, in seconds.
    """
    starts, ends = np.asarray(starts, dtype=float), np.asarray(ends, dtype=float)
    if starts.size == 0:
        return dict.fromkeys(("iou", "hit", "pointing"), 0.0) | dict.fromkeys(
            ("onset_error", "absolute_onset_error"), np.nan
        )
    shared = np.clip(np.minimum(ends, offset) - np.maximum(starts, onset), 0, None)
    iou = shared / ((ends - starts) + (offset - onset) - shared)
    centre = (starts + ends) / 2
    values = {
        "iou": iou,
        "hit": iou >= HIT_IOU,
        "pointing": (onset <= centre) & (centre <= offset),
        "onset_error": starts - onset,
        "absolute_onset_error": np.abs(starts - onset),
    }
    return {name: float(value.mean()) for name, value in values.items()}
