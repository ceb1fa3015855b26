"""From one row per query to one row per position: the tables of overlap."""

from pathlib import Path

import pandas as pd

from wheretolisten.config.constants import POSITIONS
from wheretolisten.errors import UserError
from wheretolisten.localization.table import METHODS

ROWS = (*POSITIONS, "overall")
"""Values of the column `position`: the three positions, and all queries together."""

COLUMNS = (
    "model",
    "benchmark",
    "method",
    "position",
    "overlap_pct",
    "lift",
    "n_queries",
    "n_ties",
    "n_unparsed",
)
"""Columns of overlap.csv; overlap_by_label.csv has `label` after `method`."""

PUBLISHED_COLUMNS = ("model", "benchmark", "method", "position", "overlap_pct", "source")


def summarize_overlap(localization: pd.DataFrame, by_label: bool = False) -> pd.DataFrame:
    """Mean overlap by model, benchmark, method and position.

    `overall` is the plain mean over all queries. `lift` is the mean overlap minus the mean chance of the same queries,
    in percentage points, because chance differs by position. Failures and unparsed answers count with overlap 0.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it.
    by_label
        Whether to split by the label of the event, too.
    """
    keys = ["model", "benchmark", "method", *(["label"] if by_label else []), "position"]
    table = pd.concat([localization, localization.assign(position="overall")], ignore_index=True)
    orders = {
        "model": list(dict.fromkeys(localization["model"])),
        "benchmark": list(dict.fromkeys(localization["benchmark"])),
        "method": list(dict.fromkeys([*METHODS, *localization["method"]])),
        "position": list(ROWS),
    }
    for column, order in orders.items():
        table[column] = pd.Categorical(table[column], categories=order, ordered=True)
    table["unparsed"] = ~table["parsed"].astype(bool)
    means = table.groupby(keys, observed=True).agg(
        overlap_pct=("overlap", "mean"),
        chance=("chance", "mean"),
        n_queries=("overlap", "size"),
        n_ties=("tied", "sum"),
        n_unparsed=("unparsed", "sum"),
    )
    means = means.reset_index()
    means["lift"] = 100 * (means["overlap_pct"] - means["chance"])
    means["overlap_pct"] *= 100
    for column in orders:
        means[column] = means[column].astype(str)
    return means[[*keys[:-1], *COLUMNS[3:]]]


def count_failures(localization: pd.DataFrame) -> pd.DataFrame:
    """Queries without a prediction, by model, benchmark, method and reason: the columns end with failure, n_queries."""
    failed = localization[localization["failure"] != ""]
    return failed.groupby(["model", "benchmark", "method", "failure"], sort=False).size().reset_index(name="n_queries")


def read_published(path: str | Path) -> pd.DataFrame:
    """Read published numbers: overlap in percent by model, benchmark, method and position, with their source.

    Raises
    ------
    UserError
        If a column is missing or a position is unknown.
    """
    table = pd.read_csv(path, keep_default_na=False)
    missing = [column for column in PUBLISHED_COLUMNS if column not in table]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} is missing; add it")
    unknown = sorted(set(table["position"]) - set(ROWS))
    if unknown:
        raise UserError(f"{path}: unknown position {unknown[0]!r}; use one of {', '.join(ROWS)}")
    return table
