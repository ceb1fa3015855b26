"""Rows of the localization table for one query, from whatever a method predicted."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wheretolisten.localization.answers import parse_onset
from wheretolisten.localization.windows import Window
from wheretolisten.statistics.measures import measure
from wheretolisten.statistics.overlap import chance_overlap, overlap_fraction, window_overlap

NO_NUMBER = "the answer states no onset"
"""Failure of a direct answer from which no number can be read."""

_NONE = np.empty(0)


def score_window(event: Mapping[str, Any], window: Window, method: str, model: str, study: str) -> dict[str, Any]:
    """Row of a query that was answered by the window score (prompt_only and steering methods).

    Where there was no vector the query has no score, not even 0: nothing was tried that could have failed.

    Parameters
    ----------
    event
        Row of events.csv: sample_id, position, label, domain, source, onset, offset, duration, sample_seconds (times
        in seconds).
    """
    row = _row(event, method, model, study, *window.tied_seconds)
    row["predicted_start"], row["predicted_end"] = window.start_seconds, window.end_seconds
    row["tied"], row["failure"] = window.tied, window.failure
    return row if window.steered else row | dict.fromkeys(("overlap", "iou", "hit", "pointing"), np.nan)


def score_answer(event: Mapping[str, Any], answer: str, model: str, study: str) -> dict[str, Any]:
    """Row of a query that the model answered in words; an answer without an onset scores 0 and is marked."""
    start = parse_onset(answer, event["label"])
    if start is None:
        row = _row(event, "direct_prompt", model, study, _NONE, _NONE)
        row["parsed"], row["failure"] = False, NO_NUMBER
        return row
    end = start + event["duration"]
    row = _row(event, "direct_prompt", model, study, np.array([start]), np.array([end]))
    row["predicted_start"], row["predicted_end"] = start, end
    return row


def score_unknown_duration(
    event: Mapping[str, Any], window: Window, candidates: Window, method: str, model: str, study: str
) -> dict[str, Any]:
    """Row of a query whose event's duration was not known.

    Parameters
    ----------
    candidates
        All windows that could have been predicted, as if they tied: one of them at random is what chance predicts.
    """
    chance = window_overlap(candidates, event["onset"], event["offset"])
    return score_window(event, window, method, model, study) | {"chance": chance}


def score_draws(event: Mapping[str, Any], starts: np.ndarray, model: str, study: str) -> dict[str, Any]:
    """Row of the random baseline: the mean over windows that start at `starts`, in seconds, [draw]."""
    starts = np.asarray(starts, dtype=float)
    return _row(event, "random", model, study, starts, starts + event["duration"])


def _row(
    event: Mapping[str, Any], method: str, model: str, study: str, starts: np.ndarray, ends: np.ndarray
) -> dict[str, Any]:
    kept = ("sample_id", "position", "label", "domain", "source", "onset", "offset")
    times = (event["onset"], event["offset"])
    return {
        "model": model,
        "study": study,
        "method": method,
        **{name: event[name] for name in kept},
        "predicted_start": np.nan,
        "predicted_end": np.nan,
        "overlap": float(overlap_fraction(starts, ends, *times).mean()) if len(starts) else 0.0,
        "chance": chance_overlap(event["onset"], event["duration"], event["sample_seconds"]),
        **measure(starts, ends, *times),
        "tied": False,
        "parsed": True,
        "failure": "",
    }
