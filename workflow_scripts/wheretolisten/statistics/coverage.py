"""How many of a benchmark's queries each method answered, and what became of the others."""

import pandas as pd

COLUMNS = (
    "model",
    "benchmark",
    "method",
    "n_queries",
    "n_answered",
    "n_tied",
    "n_unparsed",
    "n_failed",
    "n_skipped",
    "failures",
)
"""Columns of coverage.csv. The queries are answered (`n_tied` of them by windows that tie), unparsed, failed or skipped
(no row); `failures` counts the reasons, as "reason: 2; other reason: 1"."""


def count_coverage(localization: pd.DataFrame) -> pd.DataFrame:
    """Count the queries of every model, benchmark and method by what became of them.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it. A benchmark's queries are those that any method, the
        random baseline among them, has a row for.

    Returns
    -------
    pandas.DataFrame
        One row per model, benchmark and method, in the order of the table; see `COLUMNS`.
    """
    queries = localization.drop_duplicates(["benchmark", "sample_id", "position"])["benchmark"].value_counts()
    rows = []
    for (model, benchmark, method), group in localization.groupby(["model", "benchmark", "method"], sort=False):
        failed = group[group["parsed"] & (group["failure"] != "")]
        reasons = failed["failure"].value_counts().sort_index()
        n_queries, n_unparsed = int(queries[benchmark]), int((~group["parsed"]).sum())
        rows.append(
            {
                "model": model,
                "benchmark": benchmark,
                "method": method,
                "n_queries": n_queries,
                "n_answered": len(group) - n_unparsed - len(failed),
                "n_tied": int(group["tied"].sum()),
                "n_unparsed": n_unparsed,
                "n_failed": len(failed),
                "n_skipped": n_queries - len(group),
                "failures": "; ".join(f"{reason}: {count}" for reason, count in reasons.items()),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
