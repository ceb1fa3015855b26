"""How often a sound is found that is there, and one that is not."""

import pandas as pd

from wheretolisten.statistics.intervals import Dependence, estimate
from wheretolisten.statistics.summary import OVERALL, rows_of

QUERIES = ("model", "study", "method", "sample_id", "position", "source", "sound", "n_absent", "score", "p")
"""Columns of detection/<study>/<model>.csv. sound: `present`, the event at the position, or `absent`, a sound that the
recording does not hold, asked about with the event's duration; score and p-value are those of
`localization.references.rank_p_value` among n_absent absent sounds, empty where there is none."""

COLUMNS = (
    "model",
    "study",
    "method",
    "position",
    "sound",
    "n_absent",
    "stated_pct",
    "found_pct",
    "ci_low",
    "ci_high",
    "n_queries",
    "n_missing",
)
"""Columns of detection.csv, in percent. A sound is found if none of the n_absent absent ones scores as high;
`stated_pct` is how often that happens where it is absent, too: 1 / (n_absent + 1)."""


def summarize_detection(queries: pd.DataFrame) -> pd.DataFrame:
    """Share of sounds that are found, with 95 % intervals, by model, study, method, position and sound.

    Parameters
    ----------
    queries
        See `QUERIES`.
    """
    rows = []
    keys = ["model", "study", "method", "sound", "n_absent"]
    for (model, study, method, sound, n_absent), group in queries.groupby(keys, sort=False):
        stated = 1 / (n_absent + 1)
        for position in rows_of(group["position"]):
            here = group if position == OVERALL else group[group["position"] == position]
            dependence = Dependence(here["sample_id"].to_numpy(), here["source"].to_numpy())
            # Tables round: p-values are multiples of the stated rate.
            found = ((here["p"] / stated).round() <= 1).astype(float).where(here["p"].notna())
            means = estimate(found.to_numpy()[None], dependence)
            (low,), (high,) = means.share_interval()
            shares = (100 * share for share in (stated, means.mean[0], low, high))
            counts = (int(means.n_queries[0]), int(here["p"].isna().sum()))
            rows.append((model, study, method, position, sound, n_absent, *shares, *counts))
    return pd.DataFrame(rows, columns=list(COLUMNS))
