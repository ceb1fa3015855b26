"""Rows of the localization table for one query, from whatever a method predicted."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wheretolisten.localization.answers import parse_onset
from wheretolisten.localization.windows import Window
from wheretolisten.statistics.overlap import chance_overlap, overlap_fraction, window_overlap

NO_NUMBER = "the answer states no onset"
"""Failure of a direct answer from which no number can be read."""


def score_window(event: Mapping[str, Any], window: Window, method: str, model: str, benchmark: str) -> dict[str, Any]:
    """Row of a query that was answered by the window score (prompt_only and steering methods).

    Parameters
    ----------
    event
        Row of events.csv: sample_id, position, label, domain, source, onset, offset, duration, sample_seconds (times
        in seconds).
    """
    row = _row(event, method, model, benchmark)
    row["predicted_start"], row["predicted_end"] = window.start_seconds, window.end_seconds
    row["overlap"] = window_overlap(window, event["onset"], event["offset"])
    row["tied"], row["failure"] = window.tied, window.failure
    return row


def score_answer(event: Mapping[str, Any], answer: str, model: str, benchmark: str) -> dict[str, Any]:
    """Row of a query that the model answered in words; an answer without an onset scores 0 and is marked."""
    row = _row(event, "direct_prompt", model, benchmark)
    start = parse_onset(answer)
    if start is None:
        row["parsed"], row["failure"] = False, NO_NUMBER
        return row
    row["predicted_start"], row["predicted_end"] = start, start + event["duration"]
    row["overlap"] = float(overlap_fraction(start, start + event["duration"], event["onset"], event["offset"]))
    return row


def score_draws(event: Mapping[str, Any], starts: np.ndarray, model: str, benchmark: str) -> dict[str, Any]:
    """Row of the random baseline: the mean overlap of windows that start at `starts`, in seconds, [draw]."""
    row = _row(event, "random", model, benchmark)
    starts = np.asarray(starts, dtype=float)
    row["overlap"] = float(overlap_fraction(starts, starts + event["duration"], event["onset"], event["offset"]).mean())
    return row


def _row(event: Mapping[str, Any], method: str, model: str, benchmark: str) -> dict[str, Any]:
    kept = ("sample_id", "position", "label", "domain", "source", "onset", "offset")
    return {
        "model": model,
        "benchmark": benchmark,
        "method": method,
        **{name: event[name] for name in kept},
        "predicted_start": np.nan,
        "predicted_end": np.nan,
        "overlap": 0.0,
        "chance": chance_overlap(event["onset"], event["duration"], event["sample_seconds"]),
        "tied": False,
        "parsed": True,
        "failure": "",
    }
