"""How many of a study's queries each method answered, and what became of the others."""

import pandas as pd

from wheretolisten.localization.table import no_vector

COLUMNS = (
    "model",
    "study",
    "method",
    "n_queries",
    "n_answered",
    "n_tied",
    "n_unparsed",
    "n_failed",
    "n_without_vector",
    "n_skipped",
    "failures",
)
"""Columns of coverage.csv. The queries are answered (`n_tied` of them by windows that tie), unparsed, failed, without a
vector of the method or skipped (no row); `failures` counts the reasons, as "reason: 2; other reason: 1"."""


def count_reasons(rows: pd.DataFrame, most: int | None = None) -> str:
    """How often each failure occurs among rows of the localization table, at most the `most` frequent ones."""
    counts = rows["failure"].value_counts().sort_index()
    shown = counts if most is None else counts.sort_values(ascending=False, kind="stable")[:most]
    rest = len(counts) - len(shown)
    return "; ".join(f"{reason}: {count}" for reason, count in shown.items()) + (f"; {rest} more" if rest else "")


def count_coverage(localization: pd.DataFrame) -> pd.DataFrame:
    """Count the queries of every model, study and method by what became of them.

    Parameters
    ----------
    localization
        As `localization.table.read_localization` returns it. A study's queries are those that any method, the
        random baseline among them, has a row for.

    Returns
    -------
    pandas.DataFrame
        One row per model, study and method, in the order of the table; see `COLUMNS`.
    """
    queries = localization.drop_duplicates(["study", "sample_id", "position"])["study"].value_counts()
    rows = []
    for (model, study, method), group in localization.groupby(["model", "study", "method"], sort=False):
        unsteered = no_vector(group)
        failed = group[group["parsed"] & (group["failure"] != "") & ~unsteered]
        n_queries, n_unparsed = int(queries[study]), int((~group["parsed"]).sum())
        rows.append(
            {
                "model": model,
                "study": study,
                "method": method,
                "n_queries": n_queries,
                "n_answered": len(group) - n_unparsed - len(failed) - int(unsteered.sum()),
                "n_tied": int(group["tied"].sum()),
                "n_unparsed": n_unparsed,
                "n_failed": len(failed),
                "n_without_vector": int(unsteered.sum()),
                "n_skipped": n_queries - len(group),
                "failures": count_reasons(group[group["parsed"] & (group["failure"] != "")]),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
