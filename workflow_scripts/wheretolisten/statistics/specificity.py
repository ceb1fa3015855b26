"""Which event of a recording the predicted windows land on, and whose vector steered."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from wheretolisten.config.constants import POSITIONS
from wheretolisten.directions.sources import other_positions
from wheretolisten.localization.table import no_vector

LANDED_ON = (*POSITIONS, "none")
"""Values of the column `landed_on`; none: the window covers no event, or windows tie or scoring failed."""

COLUMNS = ("model", "benchmark", "method", "reference", "position", "landed_on", "share", "n", "n_without_vector")
"""Columns of specificity.csv. `position` is the event that is queried, or, where `reference` says `steered`, the event
whose vector steered the query; `share` is of its `n` queries, from 0 to 1, without those that had no vector."""


def landings(windows: pd.DataFrame, events: pd.DataFrame) -> np.ndarray:
    """The event of which each window covers most, as weights that sum to 1, [window, landed_on].

    Parameters
    ----------
    windows
        One per row: benchmark, sample_id, predicted_start and predicted_end (seconds; NaN where there is none).
    events
        One per row: benchmark, sample_id, position, onset and offset (seconds).
    """
    times = events.pivot(index=["benchmark", "sample_id"], columns="position", values=["onset", "offset"])
    times = times.loc[pd.MultiIndex.from_frame(windows[["benchmark", "sample_id"]])]
    onset, offset = (times[name][list(POSITIONS)].to_numpy() for name in ("onset", "offset"))
    start, end = (windows[[name]].to_numpy() for name in ("predicted_start", "predicted_end"))
    covered = np.nan_to_num(np.minimum(end, offset) - np.maximum(start, onset)).clip(min=0)
    most = covered.max(axis=1, keepdims=True)
    # A window that covers two events alike counts half for each: the first of them would look like skill at begin.
    best = np.isclose(covered, most) & (most > 0)
    weights = np.hstack([best, most == 0]).astype(float)
    return weights / weights.sum(axis=1, keepdims=True)


def summarize_specificity(localization: pd.DataFrame, other_event: Sequence[str] = ()) -> pd.DataFrame:
    """Share of windows that land on each event, by model, benchmark, method and position.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it; random windows, which have no times, are left out.
    other_event
        Names of the steered methods that query one event and steer with the vector of another one of the recording.
        They have rows with either event as `position`.
    """
    windows = localization[localization["method"] != "random"].reset_index(drop=True)
    events = windows.drop_duplicates(["benchmark", "sample_id", "position"])
    landed = pd.DataFrame(landings(windows, events), columns=list(LANDED_ON)).mask(no_vector(windows), axis=0)
    windows = pd.concat([windows, landed], axis=1)
    moved = windows[windows["method"].isin([f"steering_{name}" for name in other_event])]
    steered = moved.assign(reference="steered", position=_steered_events(moved, events))
    both = pd.concat([windows.assign(reference="queried"), steered], ignore_index=True)
    keys = ["model", "benchmark", "method", "reference", "position"]
    for key in keys:
        order = POSITIONS if key == "position" else dict.fromkeys(both[key])
        both[key] = pd.Categorical(both[key], list(order), ordered=True)
    groups = both.groupby(keys, observed=True)
    counts = {"n": groups["none"].count(), "n_without_vector": groups.size() - groups["none"].count()}
    table = groups[list(LANDED_ON)].mean().assign(**counts).reset_index()
    table = table.melt([*keys, *counts], var_name="landed_on", value_name="share", ignore_index=False)
    table = table.sort_index(kind="stable").reset_index(drop=True)
    return table[list(COLUMNS)].astype(dict.fromkeys(keys, str))


def _steered_events(windows: pd.DataFrame, events: pd.DataFrame) -> list[str]:
    """The event whose vector steered each query of a method that takes that of another one."""
    found = {}
    for (benchmark, sample_id), of_sample in events.groupby(["benchmark", "sample_id"], sort=False):
        positions = of_sample.sort_values("onset")["position"].tolist()
        others = other_positions(sample_id, positions)
        found |= {(benchmark, sample_id, own): other for own, other in zip(positions, others, strict=True)}
    return [found[key] for key in windows[["benchmark", "sample_id", "position"]].itertuples(index=False, name=None)]
