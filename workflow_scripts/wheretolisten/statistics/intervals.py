"""Confidence intervals for means over queries that are not independent."""

import numpy as np


def clustered_interval(
    values: np.ndarray, clusters: np.ndarray, level: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean; whole clusters are drawn with replacement.

    Queries whose events were cut from one recording are alike, so the recording is the unit that is drawn.

    Parameters
    ----------
    values
        One value per query, [query].
    clusters
        The recording of each query, [query].
    level
        Coverage, from 0 to 1.

    Raises
    ------
    ValueError
        If there are no queries.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("no queries to average")
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    drawn = np.random.default_rng(seed).multinomial(sums.size, np.full(sums.size, 1 / sums.size), n_resamples)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
