"""Which event of a recording the predicted windows land on, and whose vector steered."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from wheretolisten.config.positions import order_positions
from wheretolisten.directions.sources import other_positions
from wheretolisten.localization.table import no_vector

NONE = "none"
"""Value of the column `landed_on` where the window covers no event, windows tie, or scoring failed."""

COLUMNS = ("model", "study", "method", "reference", "position", "landed_on", "share", "n", "n_without_vector")
"""Columns of specificity.csv. `position` is the event that is queried, or, where `reference` says `steered`, the event
whose vector steered the query; `share` is of its `n` queries, from 0 to 1, without those that had no vector."""


def landings(windows: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """The event that each window lands on, as weights that sum to 1; a column per position, in order, and `NONE`.

    It is the event of which the window covers most seconds. Where events of the recording overlap, these would favour
    the longer one: a window that finds a second sound exactly covers as much of the event around it. There it is the
    event with the largest intersection over union. Events that are equal in it count in equal parts.

    Parameters
    ----------
    windows
        One per row: study, sample_id, predicted_start and predicted_end (seconds; NaN where there is none).
    events
        One per row: study, sample_id, position, onset and offset (seconds).
    """
    positions = order_positions(events["position"])
    times = events.pivot(index=["study", "sample_id"], columns="position", values=["onset", "offset"])
    times = times.loc[pd.MultiIndex.from_frame(windows[["study", "sample_id"]])]
    onset, offset = (times[name][positions].to_numpy() for name in ("onset", "offset"))
    start, end = (windows[[name]].to_numpy() for name in ("predicted_start", "predicted_end"))
    covered = np.nan_to_num(np.minimum(end, offset) - np.maximum(start, onset)).clip(min=0)
    union = np.nan_to_num((end - start) + (offset - onset) - covered, nan=1.0)
    amount = np.where(_overlap(onset, offset)[:, None], covered / union, covered)
    most = amount.max(axis=1, keepdims=True)
    # A window that covers two events alike counts half for each: the first of them would look like skill at begin.
    best = np.isclose(amount, most) & (most > 0)
    weights = np.hstack([best, most == 0]).astype(float)
    return pd.DataFrame(weights / weights.sum(axis=1, keepdims=True), index=windows.index, columns=[*positions, NONE])


def _overlap(onset: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Whether any two events of a recording overlap, [recording], from times in seconds, [recording, event]."""
    order = np.argsort(onset, axis=1)  # missing events come last
    onset, offset = (np.take_along_axis(times, order, axis=1) for times in (onset, offset))
    # Tables hold microseconds: an event that follows another without a gap may start that much earlier.
    return (onset[:, 1:] < np.maximum.accumulate(offset, axis=1)[:, :-1] - 2e-6).any(axis=1)


def summarize_specificity(localization: pd.DataFrame, other_event: Sequence[str] = ()) -> pd.DataFrame:
    """Share of windows that land on each event, by model, study, method and position.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it; random windows, which have no times, are left out.
    other_event
        Names of the steered methods that query one event and steer with the vector of another one of the recording.
        They have rows with either event as `position`.
    """
    windows = localization[localization["method"] != "random"].reset_index(drop=True)
    events = windows.drop_duplicates(["study", "sample_id", "position"])
    landed = landings(windows, events).mask(no_vector(windows), axis=0)
    windows = pd.concat([windows, landed], axis=1)
    positions = {name: order_positions(rows) for name, rows in events.groupby("study")["position"]}
    moved = windows[windows["method"].isin([f"steering_{name}" for name in other_event])]
    steered = moved.assign(reference="steered", position=_steered_events(moved, positions))
    both = pd.concat([windows.assign(reference="queried"), steered], ignore_index=True)
    keys = ["model", "study", "method", "reference", "position"]
    for key in keys:
        order = order_positions(events["position"]) if key == "position" else dict.fromkeys(both[key])
        both[key] = pd.Categorical(both[key], list(order), ordered=True)
    groups = both.groupby(keys, observed=True)
    counts = {"n": groups[NONE].count(), "n_without_vector": groups.size() - groups[NONE].count()}
    table = groups[list(landed)].mean().assign(**counts).reset_index()
    table = table.melt([*keys, *counts], var_name="landed_on", value_name="share", ignore_index=False)
    # Studies may have different positions.
    own = [
        place == NONE or place in positions[study]
        for study, place in zip(table["study"], table["landed_on"], strict=True)
    ]
    table = table[own].sort_index(kind="stable").reset_index(drop=True)
    return table[list(COLUMNS)].astype(dict.fromkeys(keys, str))


def _steered_events(windows: pd.DataFrame, positions: Mapping[str, list[str]]) -> list[str]:
    """The event whose vector steered each query, where it is that of another one; `positions` by study."""
    return [
        other_positions(sample_id, positions[study])[positions[study].index(position)]
        for study, sample_id, position in windows[["study", "sample_id", "position"]].itertuples(index=False, name=None)
    ]
