"""Which items settings are chosen on, and which are reported: no source recording is on both sides."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten.clips.randomness import generator
from wheretolisten.errors import UserError

CALIBRATION, REPORT, NEITHER = "calibration", "report", "neither"

SHARE = 0.2
"""Share of the recordings that settings are chosen on (ASH: a 20 % calibration split)."""

_FEWEST = 2


def sources_of(recordings: Sequence[str], events: Sequence[str | Path] = ()) -> list[frozenset[str]]:
    """Source recordings that each item's recording was made from, [item].

    Parameters
    ----------
    recordings
        Recording that each item is about, by its path in the folder of the question set, [item].
    events
        Table of the sequences' events (path, source), or none: then a recording is its own source.
    """
    if not events:
        return [frozenset([recording]) for recording in recordings]
    table = pd.read_csv(events[0], dtype=str, keep_default_na=False)
    of_path = {path: frozenset(rows) for path, rows in table.groupby("path")["source"]}
    return [of_path[recording] for recording in recordings]


def split(recordings: Sequence[str], sources: Sequence[frozenset[str]], seed: int, share: float = SHARE) -> np.ndarray:
    """Side of every item.

    A recording is for calibration by a draw of its own, so that further items move none of those there. An item about
    another recording is reported, unless that recording shares a source with one that is for calibration: then it is on
    neither side. Recordings without anything in common, as those of MMAU, are all used.

    Parameters
    ----------
    recordings
        Recording that each item is about, [item].
    sources
        Source recordings that it was made from, [item]; of a recording that was not composed, itself.
    seed
        Of the draws.
    share
        Share of the recordings that are for calibration, on average.

    Returns
    -------
    np.ndarray
        CALIBRATION, REPORT or NEITHER, [item].

    Raises
    ------
    UserError
        If either side has fewer than two items.
    """
    chosen = {name for name in set(recordings) if generator("split", seed, name).random() < share}
    used = frozenset().union(*(of for name, of in zip(recordings, sources, strict=True) if name in chosen))
    sides = np.array(
        [
            CALIBRATION if name in chosen else NEITHER if used & of else REPORT
            for name, of in zip(recordings, sources, strict=True)
        ],
        dtype=object,
    )
    for side in (CALIBRATION, REPORT):
        if (sides == side).sum() < _FEWEST:
            raise UserError(
                f"{(sides == side).sum()} of {len(sides)} items are for {side}, which takes {_FEWEST} at least; ask "
                "more items, about more recordings"
            )
    return sides
