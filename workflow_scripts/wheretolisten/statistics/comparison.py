"""Paired tests: the same queries, answered by two methods."""

import numpy as np
from scipy import stats

from wheretolisten.statistics.intervals import Dependence, estimate

N_FLIPS = 19_999
"""Random sign flips of a test; no p-value is below 1 / (N_FLIPS + 1)."""

MAX_PAIRS = 20_000
"""Dependent pairs of recordings, beyond which the t distribution stands for the flips: they agree then."""

_BATCH = 5_000_000  # signs of pairs held at once: 20 MB


def flip_signs(differences: np.ndarray, dependence: Dependence, n_flips: int = N_FLIPS, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of the hypothesis that a mean difference is 0, [row].

    A recording is flipped with all its queries: they are heard in one sound, so that two methods could not have swapped
    fewer. Recordings that share a source depend on each other, and flips take that dependence away; so what is
    compared is not the mean but the mean over its standard error (`intervals.estimate`), which is computed anew for
    every flip and follows the same law with and without the dependence (Janssen 1997). Where no source is shared, the
    test is exact for symmetric differences.

    Parameters
    ----------
    differences
        [row, query]; NaN where a row does not hold the query.

    Returns
    -------
    np.ndarray
        NaN where the standard error cannot be known.
    """
    found = estimate(differences, dependence)
    first, second = dependence.pairs
    if first.size > MAX_PAIRS:
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * stats.t.sf(np.abs(found.mean / found.error), found.n_clusters - 1)
    known = np.isfinite(differences)
    counts, sums = dependence.sums(known.astype(float)), dependence.sums(np.where(known, differences, 0))
    neighbours = dependence.linked_sums(counts) - counts
    products = (sums[:, first] * sums[:, second]).astype(np.float32)
    n, n_recordings, n_clusters = (
        values[:, None] for values in (found.n_queries, found.n_recordings, found.n_clusters)
    )

    def statistic(signs: np.ndarray) -> np.ndarray:
        """Squared ratio of mean and standard error under flips, [flip, recording] → [row, flip]."""
        total = sums @ signs.T
        mean = total / n
        # r = sign · sum − mean · count per recording; the sums of r_i² and of r_i r_j over pairs, multiplied out.
        own = (sums**2).sum(axis=-1, keepdims=True) + mean**2 * (counts**2).sum(axis=-1, keepdims=True)
        own -= 2 * mean * ((sums * counts) @ signs.T)
        linked = 2 * (products @ (signs[:, first] * signs[:, second]).T) - 2 * mean * ((sums * neighbours) @ signs.T)
        linked += own + mean**2 * (counts * neighbours).sum(axis=-1, keepdims=True)
        variance = np.maximum(linked / (1 - 1 / n_clusters), own / (1 - 1 / n_recordings) / 2)
        # Differences that are all equal have no variance, but an end to how far they are from 0.
        return total**2 / np.maximum(variance, 1e-9 * total**2 + 1e-300)

    rng = np.random.default_rng(seed)
    n_units = counts.shape[1]
    batch = max(1, _BATCH // max(first.size, n_units))
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = statistic(np.ones((1, n_units), np.float32))
        as_far = np.zeros(len(differences))
        for start in range(0, n_flips, batch):
            bits = rng.integers(0, 2, (min(batch, n_flips - start), n_units), dtype=np.int8)
            as_far += (statistic(2 * bits.astype(np.float32) - 1) >= observed * (1 - 1e-6)).sum(axis=-1)
    return np.where(np.isfinite(found.error), (1 + as_far) / (1 + n_flips), np.nan)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of a family of p-values; NaN are no part of it.

    The k-th smallest of m is multiplied by m − k + 1, and none is below the one before.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # NaN come last
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)))
    return adjusted
