"""Sounds that were found in recordings, against those that are in them (Mesaros, Heittola & Virtanen 2016)."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from wheretolisten.errors import UserError
from wheretolisten.statistics.intervals import Dependence, estimate
from wheretolisten.statistics.measures import HIT_IOU

ALL = "all"
"""Stands in the column `label` for all sounds together."""

COLLAR_SECONDS = 0.2
OFFSET_SHARE = 0.2
"""DCASE's event-based F-score: an onset is right within the collar, an offset within it or this share of the event."""

SEGMENT_SECONDS = 1.0
"""Length of the segments of the segment-based F-score: DCASE's."""

COLUMNS = (
    "label",
    "overlap_pct",
    "overlap_low",
    "overlap_high",
    "iou_pct",
    "iou_low",
    "iou_high",
    "hit_pct",
    "false_alarm_pct",
    "event_f_pct",
    "segment_f_pct",
    "n_events",
    "n_found",
    "n_recordings",
)
"""Percent. overlap: share of an event that intervals of its label cover; iou: of the event and the best of them; hit:
whether that is at least 0.5; each a mean over events with its 95 % interval, 0 where none was found. false_alarm:
share of the recordings that were asked about a label they do not hold in which an interval was found all the same.
event_f, segment_f: F-scores, over all labels together in the row `all`."""


def score_events(events: pd.DataFrame, found: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """A row for all labels and one for each, with the columns `COLUMNS`.

    Parameters
    ----------
    events
        True ones: recording, label, onset, offset (seconds). Those that were not asked about do not count.
    found
        Intervals that were found: the same columns.
    asked
        What was asked about: recording, label.

    Raises
    ------
    UserError
        If nothing was asked about.
    """
    if asked.empty:
        raise UserError("there is no recording with a sound to score; list recordings, and sounds that are asked about")
    pairs = set(zip(asked["recording"], asked["label"], strict=True))
    events, found = (
        table[[pair in pairs for pair in zip(table["recording"], table["label"], strict=True)]]
        for table in (events, found)
    )
    measured = pd.DataFrame(
        [_measure(event, found) for event in events.itertuples()], columns=["overlap", "iou", "hit"]
    )
    dependence = Dependence(events["recording"].to_numpy(), events["recording"].to_numpy()) if len(events) else None
    rows = []
    for label in [ALL, *sorted(set(asked["label"]))]:
        inside, of_found, of_asked = (
            np.ones(len(table), bool) if label == ALL else (table["label"] == label).to_numpy()
            for table in (events, found, asked)
        )
        row = {"label": label, "n_events": int(inside.sum()), "n_found": int(of_found.sum())}
        row["n_recordings"] = asked.loc[of_asked, "recording"].nunique()
        if inside.any():
            means = estimate(measured.to_numpy().T * np.where(inside, 1.0, np.nan), dependence)
            low, high = means.share_interval()
            for number, name in enumerate(("overlap", "iou")):
                row |= {f"{name}_low": 100 * low[number], f"{name}_high": 100 * high[number]}
            row |= dict(zip(("overlap_pct", "iou_pct", "hit_pct"), 100 * means.mean, strict=True))
        holds = set(zip(events["recording"], events["label"], strict=True))
        sounded = set(zip(found["recording"], found["label"], strict=True))
        absent = [
            p for p in zip(*(asked.loc[of_asked, key] for key in ("recording", "label")), strict=True) if p not in holds
        ]
        row["false_alarm_pct"] = 100 * np.mean([pair in sounded for pair in absent]) if absent else np.nan
        row["event_f_pct"] = 100 * event_f_score(events[inside], found[of_found])
        row["segment_f_pct"] = 100 * segment_f_score(events[inside], found[of_found])
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _measure(event: tuple, found: pd.DataFrame) -> tuple[float, float, float]:
    """Overlap, IoU and hit of a true event."""
    own = found[(found["recording"] == event.recording) & (found["label"] == event.label)]
    first, last = own["onset"].to_numpy(), own["offset"].to_numpy()
    shared = np.clip(np.minimum(last, event.offset) - np.maximum(first, event.onset), 0, None)
    duration = event.offset - event.onset
    iou = (shared / (last - first + duration - shared)).max(initial=0.0)
    # Intervals of one label in one recording do not overlap.
    return min(1.0, shared.sum() / duration), iou, float(iou >= HIT_IOU)


def event_f_score(events: pd.DataFrame, found: pd.DataFrame) -> float:
    """Event-based F-score, from 0 to 1, as DCASE has it; NaN where there is nothing to find and nothing was found.

    An interval is right if it has an event's label and recording, its onset is within `COLLAR_SECONDS` of the event's,
    and its offset within the same or `OFFSET_SHARE` of the event's duration; each is paired with one event at most, so
    that as many as possible are right.
    """
    n_right = 0
    for key, true in events.groupby(["recording", "label"]):
        own = found[(found["recording"] == key[0]) & (found["label"] == key[1])]
        onsets, offsets = (
            np.abs(np.subtract.outer(true[t].to_numpy(), own[t].to_numpy())) for t in ("onset", "offset")
        )
        reach = np.maximum(COLLAR_SECONDS, OFFSET_SHARE * (true["offset"] - true["onset"]).to_numpy())[:, None]
        right = (onsets <= COLLAR_SECONDS) & (offsets <= reach)
        n_right += int((maximum_bipartite_matching(csr_array(right), perm_type="column") >= 0).sum())
    return 2 * n_right / (len(events) + len(found)) if len(events) + len(found) else np.nan


def segment_f_score(events: pd.DataFrame, found: pd.DataFrame) -> float:
    """Segment-based F-score, from 0 to 1, as DCASE has it; NaN where there is nothing to find and nothing was found.

    A label is there in every segment of `SEGMENT_SECONDS` that one of its events reaches into.
    """
    true, own = _segments(events), _segments(found)
    return 2 * len(true & own) / (len(true) + len(own)) if true or own else np.nan


def _segments(table: pd.DataFrame) -> set[tuple[str, str, int]]:
    return {
        (row.recording, row.label, segment)
        for row in table.itertuples()
        for segment in range(int(row.onset // SEGMENT_SECONDS), int(np.ceil(row.offset / SEGMENT_SECONDS)))
    }
