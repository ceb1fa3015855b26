"""The localization table: one row per query and method."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.positions import PATTERN, order_positions
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path, refusal

FRAME_PROBE = "frame_probe"
METHODS = (
    "random",
    "direct_prompt",
    FRAME_PROBE,
    "prompt_only",
    "prompt_matched",
    "steering_random_direction",
    "steering_sample",
    "steering_label_mean",
    "steering_matched",
)
"""How a window was predicted, in the order of the tables; these are the methods that the figure of overlap shows.

random: drawn uniformly; direct_prompt: the model's answer in words; frame_probe: a linear probe on the audio tokens,
trained on other recordings, which says what the ears hear and is no method (docs/controls.md); prompt_only: the window
score with the positive instruction in place of steering; steering_*: the window score, steered with a random direction
as long as the vector of the query's own sample (a control), with that vector, or with the mean of its label over the
other samples; *_matched: either one, held against the same intervention for sounds that the recording does not hold
(docs/matched.md). Any other `prompt_<name>` and `steering_<name>` is a method, too, and follows these.
"""

RANDOM_MODEL = "-"
"""Stands in the column `model` of the random baseline, which has none."""

COLUMNS = (
    "model",
    "study",
    "method",
    "sample_id",
    "position",
    "label",
    "domain",
    "source",
    "onset",
    "offset",
    "predicted_start",
    "predicted_end",
    "overlap",
    "chance",
    "iou",
    "onset_error",
    "absolute_onset_error",
    "hit",
    "pointing",
    "tied",
    "parsed",
    "failure",
)
"""Columns in order. Times and onset errors in seconds; overlap, chance, iou, hit and pointing from 0 to 1 (see
`statistics.measures`); predicted times are empty where there are none (random draws, ties, failures), onset errors
where nothing was predicted (failures), and all measures where a method had no vector for the query (`no_vector`)."""

_METHOD = "|".join((*METHODS, "(prompt|steering)_[a-z0-9_]+"))
_KEY = ["model", "study", "method", "sample_id", "position"]
_SHARES = ["overlap", "chance", "iou", "hit", "pointing"]
_TIMES = ["onset", "offset", "predicted_start", "predicted_end", "onset_error", "absolute_onset_error"]
_FLAGS = ["tied", "parsed"]


def no_vector(table: pd.DataFrame) -> pd.Series:
    """Whether a query was not steered for want of a vector: it has no score, and its `failure` says why."""
    return table["overlap"].isna()


def order_methods(methods: Iterable[str]) -> list[str]:
    """The different ones among `methods`, in the order of the tables: those of `METHODS`, then as they first appear."""
    found = dict.fromkeys(methods)
    return [*(method for method in METHODS if method in found), *(method for method in found if method not in METHODS)]


def write_localization(rows: pd.DataFrame | Iterable[dict], path: str | Path) -> None:
    """Write a localization table atomically, in a fixed order of columns and rows.

    Raises
    ------
    UserError
        If a column is missing, a query is repeated, or a method or position is unknown.
    """
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=list(COLUMNS))
    table = _check(table, path)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def read_localization(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read one or more localization tables as one, checked.

    Models keep the order of the files, after the random baseline; rows are sorted by method (`order_methods`), sample
    and position.

    Raises
    ------
    UserError
        If a file is unreadable, a column is missing, a query is repeated (within a file or between files), or a value
        is of the wrong kind.
    """
    paths = [Path(path) for path in paths]
    tables = []
    for path in paths:
        try:
            # A label may be called "null" or "NA": only the empty cells of number columns are missing values.
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise refusal(path, error) or UserError(
                f"{path}: cannot be read as a table ({error}); run localize_events again"
            ) from error
        tables.append(_check(table, path))
    where = ", ".join(str(path) for path in paths)
    return _check(pd.concat(tables, ignore_index=True), where)


def _check(table: pd.DataFrame, where: str | Path) -> pd.DataFrame:
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise UserError(f"{where}: column {', '.join(missing)} is missing; run localize_events again")
    table = table[list(COLUMNS)].copy()
    table["sample_id"] = table["sample_id"].astype(str)
    for column in [*_TIMES, *_SHARES]:
        try:
            table[column] = pd.to_numeric(table[column].replace("", None)).astype(float)
        except (ValueError, TypeError) as error:
            raise UserError(f"{where}: column {column} holds something that is no number ({error})") from error
    for column in _FLAGS:
        flags = table[column].map({True: True, False: False, "True": True, "False": False})
        if flags.isna().any():
            raise UserError(f"{where}: column {column} must hold True or False; run localize_events again")
        table[column] = flags.astype(bool)
    for column in _SHARES:
        # Empty only with a reason, and never a chance.
        empty = table[column].isna() & (table["failure"] != "") & (column != "chance")
        if not (table[column].between(0, 1 + 1e-6) | empty).all():
            raise UserError(f"{where}: column {column} must lie between 0 and 1; run localize_events again")
    methods, positions = (*METHODS, "steering_<name>"), (*POSITIONS, "event-<number>")
    for column, names, known in (("method", methods, _METHOD), ("position", positions, PATTERN)):
        unknown = [name for name in sorted(set(table[column])) if not re.fullmatch(known, name)]
        if unknown:
            raise UserError(f"{where}: unknown {column} {unknown[0]!r}; expected one of {', '.join(names)}")
    repeated = table.duplicated(_KEY)
    if repeated.any():
        first = table.loc[repeated, _KEY].iloc[0]
        raise UserError(
            f"{where}: {first['method']} of model {first['model']!r} answers sample {first['sample_id']}, "
            f"position {first['position']}, of study {first['study']!r} twice; pass each table once"
        )
    return _sort(table)


def _sort(table: pd.DataFrame) -> pd.DataFrame:
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys([RANDOM_MODEL, *table["model"]]))}
    methods, positions = order_methods(table["method"]), order_positions(table["position"])
    order = pd.DataFrame(
        {
            "model": table["model"].map(ranks),
            "study": table["study"],
            "method": table["method"].map(methods.index),
            "sample_id": table["sample_id"],
            "position": table["position"].map(positions.index),
        }
    )
    return table.loc[order.sort_values(_KEY, kind="stable").index].reset_index(drop=True)
