"""Confidence intervals for means over queries that are not independent.

Three queries share a recording, and a recording is made of three sources (clips, or the recordings that clips were cut
from) that other recordings hold, too. A source acts where it is asked for and where it is only a neighbour: a loud dog
draws attention whatever is asked. So two queries count as dependent if their recordings have a source in common, in
whatever role; a recording has all in common with itself. Clusters of the queried source alone would take the three
queries of a recording for independent, clusters of recordings two recordings of the same bark; and clusters that leave
nothing out do not exist, because sources link nearly all recordings into one. That is why nothing is resampled: the
variance is the sum over dependent pairs (as for dyads, Aronow, Samii & Assenova 2015), and its own uncertainty, which
grows with the share of pairs that are dependent, sets the degrees of freedom.

Labels are fixed: an interval says what other recordings of the same kinds of sounds would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats

LEVEL = 0.95
"""Coverage of all intervals in tables and figures."""


class Dependence:
    """Which of some queries depend on each other: those whose recordings have a source in common.

    Parameters
    ----------
    recordings
        Recording of each query, [query].
    sources
        Source of the event that each query asks for, [query], or a set of all sources of its recording; the sources of
        a recording are those of its queries.
    """

    def __init__(self, recordings: np.ndarray, sources: np.ndarray | Sequence[frozenset[str]]) -> None:
        _, recording = np.unique(np.asarray(recordings), return_inverse=True)
        sets = [each if isinstance(each, frozenset) else (each,) for each in sources]
        _, source = np.unique([one for each in sets for one in each], return_inverse=True)
        self._of_recording = sparse.csr_array((np.ones(recording.size), (recording, np.arange(recording.size))))
        holder = np.repeat(recording, [len(each) for each in sets])
        held = sparse.csr_array((np.ones(source.size), (holder, source)))
        self._linked = (held @ held.T > 0).astype(float)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the queries of each recording, [row, query] → [row, recording]."""
        return (self._of_recording @ values.T).T

    def linked_sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the recordings that each one depends on, itself included, [row, recording] → [row, recording]."""
        return (self._linked @ values.T).T

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The different recordings that depend on each other, every pair once: indices of the one and of the other."""
        pairs = sparse.triu(self._linked, k=1).tocoo()
        return pairs.coords


@dataclass(frozen=True)
class Estimate:
    """Means over queries, [row] each.

    Attributes
    ----------
    mean
        NaN without a query.
    error
        Standard error of the mean; NaN where it cannot be known, because all recordings depend on each other.
    spread
        Standard deviation of the queries.
    n_queries
        Queries that have a value.
    n_recordings, n_clusters
        Effective numbers of recordings and of independent clusters: the number of equally large ones that would have as
        large a share of dependent pairs.
    """

    mean: np.ndarray
    error: np.ndarray
    spread: np.ndarray
    n_queries: np.ndarray
    n_recordings: np.ndarray
    n_clusters: np.ndarray

    def interval(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Student's t interval of each mean."""
        reach = self._quantile(level) * self.error
        return self.mean - reach, self.mean + reach

    def share_interval(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's interval of each mean of values from 0 to 1, with the effective number of queries.

        It stays between 0 and 1 and is longer towards the middle: close to 100 % the t interval covers too rarely.
        Where every query scores 0 or every query 1, the effective number of recordings stands for that of queries.
        """
        t, mean = self._quantile(level), self.mean
        with np.errstate(divide="ignore", invalid="ignore"):
            room = mean * (1 - mean)
            n = np.where(room > 1e-12, room / self.error**2, np.where(np.isnan(self.error), np.nan, self.n_recordings))
            centre = (mean + t**2 / (2 * n)) / (1 + t**2 / n)
            reach = t / (1 + t**2 / n) * np.sqrt(np.clip(room, 0, None) / n + t**2 / (4 * n**2))
        # Rounding may put an end of the interval beyond a mean of 0 or 1.
        return np.minimum(centre - reach, mean), np.maximum(centre + reach, mean)

    def _quantile(self, level: float) -> np.ndarray:
        return stats.t.ppf((1 + level) / 2, np.where(self.n_clusters > 1, self.n_clusters - 1, np.nan))


def estimate(values: np.ndarray, dependence: Dependence) -> Estimate:
    """Means over queries, and how far to trust them.

    The variance of a mean is the sum of r_i r_j over dependent pairs of queries, r = value − mean, divided by
    n²(1 − 1/G). G = n² / (number of dependent pairs, both orders and itself counted) is the effective number of
    clusters; 1 − 1/G undoes the bias of measuring from the sample's own mean, and is G/(G − 1) for G equal clusters. As
    pairs that disagree may sum to less than nothing, the variance is at least half of what independent recordings
    would have.

    Parameters
    ----------
    values
        [row, query]; NaN where a row does not hold the query.
    """
    known = np.isfinite(values)
    n = known.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, values, 0).sum(axis=-1) / n
        residuals = np.where(known, values - mean[:, None], 0)
        counts, sums = dependence.sums(known.astype(float)), dependence.sums(residuals)
        n_recordings = n**2 / (counts**2).sum(axis=-1)
        n_clusters = n**2 / (counts * dependence.linked_sums(counts)).sum(axis=-1)
        independent = (sums**2).sum(axis=-1) / (1 - 1 / n_recordings)
        variance = (sums * dependence.linked_sums(sums)).sum(axis=-1) / (1 - 1 / n_clusters)
        error = np.sqrt(np.maximum(variance, independent / 2)) / n
        spread = np.sqrt((residuals**2).sum(axis=-1) / (n - 1))
    # All recordings depend on each other: there is one cluster, up to rounding.
    error = np.where(n_clusters > 1 + 1e-9, error, np.nan)
    return Estimate(mean, error, np.where(n > 1, spread, np.nan), n, n_recordings, n_clusters)


def clustered_interval(values: np.ndarray, clusters: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Student's t interval of a mean over queries that depend on each other within clusters only.

    Parameters
    ----------
    values
        One value per query, [query].
    clusters
        The cluster of each query, for instance its recording, [query].
    level
        Coverage, from 0 to 1.

    Returns
    -------
    tuple of float
        Lower and upper end; NaN where there is one cluster.

    Raises
    ------
    ValueError
        If there are no queries.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("no queries to average")
    low, high = estimate(values[None], Dependence(clusters, clusters)).interval(level)
    return float(low[0]), float(high[0])
