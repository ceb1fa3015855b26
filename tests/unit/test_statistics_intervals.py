"""Intervals and paired tests for queries that depend on each other, and whether they keep what they promise."""

import itertools

import numpy as np
import pytest
from scipy import stats

from wheretolisten.clips.records import Clip
from wheretolisten.config.examples import Composition
from wheretolisten.examples.composition import Composer
from wheretolisten.localization.draws import draw_starts
from wheretolisten.statistics import comparison
from wheretolisten.statistics.comparison import flip_signs, holm
from wheretolisten.statistics.intervals import Dependence, clustered_interval, estimate
from wheretolisten.statistics.overlap import chance_overlap, overlap_fraction

N_LABELS = 9  # of each of two domains, as the procedural sounds have


def plans_of(n_samples: int, clips_per_label: int):
    clips = [
        Clip(f"{domain}-{label}-{clip}", f"{domain}{label}", domain, f"{domain}-{label}-{clip}", "a", 80_000, "")
        for domain in ("animals", "everyday")
        for label in range(N_LABELS)
        for clip in range(clips_per_label)
    ]
    composer = Composer(Composition(), clips)
    return [composer.plan(index) for index in range(n_samples)]


class Simulation:
    """Sequences composed as real ones are; overlap of a method, simulated on them.

    Overlap is a sum of effects, cut off at 0 and 1: of the clip that is asked for, of how loud it is against
    its neighbours, of the recording, and of the query alone. Its expectation over new clips and recordings is known.
    """

    def __init__(self, n_samples: int, clips_per_label: int, seed: int) -> None:
        self.plans = plans_of(n_samples, clips_per_label)
        sources = [[event.clip.source for event in plan.events] for plan in self.plans]
        names, self._source = np.unique(sources, return_inverse=True)
        self._source = self._source.reshape(n_samples, 3)
        self._n_sources = names.size
        self._rng = np.random.default_rng(seed)
        recordings = np.repeat(np.arange(n_samples), 3)
        self.dependence = Dependence(recordings, self._source.ravel())

    def overlaps(self, n: int, level: float, target=0.4, loudness=0.25, recording=0.3, query=0.5):
        """Overlaps [simulation, query] and their expectation."""
        draw = self._rng.standard_normal
        clip, loud = target * draw((n, self._n_sources)), loudness * draw((n, self._n_sources))
        loud = loud[:, self._source]
        latent = level + clip[:, self._source] + 2 * loud - (loud.sum(axis=-1, keepdims=True) - loud)
        latent += recording * draw((n, len(self.plans), 1)) + query * draw((n, len(self.plans), 3))
        spread = np.sqrt(target**2 + 6 * loudness**2 + recording**2 + query**2)
        low, high = (0 - level) / spread, (1 - level) / spread
        inside = level * (stats.norm.cdf(high) - stats.norm.cdf(low))
        inside -= spread * (stats.norm.pdf(high) - stats.norm.pdf(low))
        return np.clip(latent, 0, 1).reshape(n, -1), inside + stats.norm.sf(high)


@pytest.fixture(
    scope="module", params=[(48, 40), (48, 10), (500, 40), (500, 10)], ids=lambda size: "x".join(map(str, size))
)
def simulation(request):
    """Small and full-size examples, of as many clips as the default sounds have, and of a quarter of them."""
    return Simulation(*request.param, seed=sum(request.param))


def one_position(values: np.ndarray) -> np.ndarray:
    """The queries at the middle position; the others are left out."""
    return np.where(np.arange(values.shape[1]) % 3 == 1, values, np.nan)


@pytest.mark.parametrize("position", ["overall", "middle"])
@pytest.mark.parametrize("level", [0.5, 1.4], ids=["half", "most"])
def test_intervals_cover_what_they_promise(simulation, level, position):
    values, truth = simulation.overlaps(2000, level)
    if position == "middle":
        values = one_position(values)
    found = estimate(values, simulation.dependence)
    low, high = found.share_interval()
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97


def test_the_simulated_dependence_matters():
    """Intervals for independent recordings, one query each, cover far less than they promise."""
    simulation = Simulation(500, 10, seed=4)
    values, truth = simulation.overlaps(1000, 0.5)
    found = estimate(one_position(values), simulation.dependence)
    reach = stats.norm.ppf(0.975) * found.spread / np.sqrt(found.n_queries)
    assert (np.abs(found.mean - truth) <= reach).mean() < 0.9


@pytest.mark.parametrize("position", ["overall", "middle"])
def test_differences_without_an_effect_are_covered_and_rejected_as_promised(simulation, position):
    differences = simulation.overlaps(2000, 0.8)[0] - simulation.overlaps(2000, 0.8)[0]
    if position == "middle":
        differences = one_position(differences)
    low, high = estimate(differences, simulation.dependence).interval()
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97
    rejected = flip_signs(differences, simulation.dependence, n_flips=1999) <= 0.05
    assert rejected.mean() == pytest.approx(0.05, abs=0.015)


def test_windows_at_random_are_told_from_chance_as_rarely_as_promised():
    simulation = Simulation(48, 40, seed=5)
    rows = []
    for plan in simulation.plans:
        seconds = plan.n_frames / 16_000
        for event in plan.events:
            onset, duration = event.onset / 16_000, event.n_frames / 16_000
            starts = draw_starts(0, plan.sample_id, str(event.onset), seconds, duration, 2000)
            drawn = overlap_fraction(starts, starts + duration, onset, onset + duration)
            rows.append(drawn - chance_overlap(onset, duration, seconds))
    rejected = flip_signs(np.transpose(rows), simulation.dependence, n_flips=1999) <= 0.05
    assert rejected.mean() == pytest.approx(0.05, abs=0.015)


def test_an_effect_is_found():
    simulation = Simulation(48, 40, seed=6)
    differences = simulation.overlaps(200, 1.0)[0] - simulation.overlaps(200, 0.6)[0]
    assert (flip_signs(differences, simulation.dependence, n_flips=999) <= 0.05).mean() > 0.8


def test_recordings_depend_on_each_other_through_any_source():
    # Recordings 0 and 1 share "b", asked for at different positions; 2 stands alone.
    dependence = Dependence(np.repeat([0, 1, 2], 3), np.array(list("abcdbefgh")))
    assert np.transpose(dependence.pairs).tolist() == [[0, 1]]
    values = np.random.default_rng(0).normal(size=(2, 9))
    values[1, 4] = np.nan
    found = estimate(values, dependence)
    recording = np.repeat([0, 1, 2], 3)
    dependent = (recording[:, None] == recording) | (recording[:, None] + recording == 1)
    for row, value in enumerate(values):
        known = np.isfinite(value)
        r = (value - np.nanmean(value))[known]
        linked = dependent[np.ix_(known, known)]
        n_clusters = known.sum() ** 2 / linked.sum()
        own = (recording[:, None] == recording)[np.ix_(known, known)]
        n_recordings = known.sum() ** 2 / own.sum()
        variance = max(r @ linked @ r / (1 - 1 / n_clusters), r @ own @ r / (1 - 1 / n_recordings) / 2)
        assert found.mean[row] == pytest.approx(np.nanmean(value))
        assert found.error[row] == pytest.approx(np.sqrt(variance) / known.sum())
        assert found.n_clusters[row] == pytest.approx(n_clusters)
        assert found.n_queries[row] == known.sum()
        assert found.spread[row] == pytest.approx(np.nanstd(value, ddof=1))


def test_without_clusters_the_interval_is_student_s():
    values = np.random.default_rng(0).normal(3, 2, 25)
    low, high = clustered_interval(values, np.arange(25))
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (low, high) == pytest.approx(tuple(expected))


def test_without_clusters_the_interval_of_a_share_is_wilson_s():
    values = np.zeros((1, 4000))
    values[0, :40] = 1
    found = estimate(values, Dependence(np.arange(4000), np.arange(4000)))
    expected = stats.binomtest(40, 4000).proportion_ci(method="wilson")
    np.testing.assert_allclose(np.ravel(found.share_interval()), expected, rtol=1e-2)


def test_where_all_queries_succeed_the_interval_still_has_a_width():
    found = estimate(np.ones((1, 60)), Dependence(np.repeat(np.arange(20), 3), np.arange(60)))
    low, high = found.share_interval()
    assert high[0] == 1
    assert 0.8 < low[0] < 0.9


def test_what_cannot_be_known_is_missing():
    # Both recordings hold the same clips.
    dependence = Dependence(np.repeat([0, 1], 3), np.tile([0, 1, 2], 2))
    values = np.vstack([np.arange(6.0), np.full(6, np.nan)])
    found = estimate(values, dependence)
    assert np.isnan(found.error).all()
    assert np.isnan(found.interval()).all()
    assert np.isnan(found.share_interval()).all()
    assert np.isnan(flip_signs(values, dependence, n_flips=9)).all()
    assert found.mean[0] == 2.5
    assert found.n_queries.tolist() == [6, 0]
    assert clustered_interval(np.arange(4.0), np.zeros(4)) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_clustered_interval_is_wider_than_an_independent_one():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(20), 30)
    values = np.repeat(rng.uniform(size=20), 30)
    low, high = clustered_interval(values, clusters)
    alone = clustered_interval(values, np.arange(values.size))
    assert low < values.mean() < high
    assert high - low > 3 * (alone[1] - alone[0])


def test_clustered_interval_of_equal_values_has_no_width():
    assert clustered_interval(np.full(9, 0.5), np.arange(9) % 2) == pytest.approx((0.5, 0.5))
    with pytest.raises(ValueError, match="no queries"):
        clustered_interval(np.empty(0), np.empty(0))


def test_flips_of_independent_recordings_are_the_exact_test():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.6, 1, (1, 10))
    p = flip_signs(differences, Dependence(np.arange(10), np.arange(10)), n_flips=40_000)
    expected = stats.permutation_test(
        (differences[0],), lambda x, axis: np.abs(np.mean(x, axis=axis)), permutation_type="samples",
        n_resamples=np.inf, alternative="greater", vectorized=True,
    ).pvalue  # fmt: skip
    assert p[0] == pytest.approx(expected, abs=0.005)


def test_flips_recompute_the_error_of_the_estimate():
    rng = np.random.default_rng(4)
    recordings, sources = np.repeat(np.arange(6), 2), rng.integers(0, 7, 12)
    dependence = Dependence(recordings, sources)
    values = rng.normal(0.5, 1, 12)
    values[3] = np.nan
    signs = np.array(list(itertools.product([-1, 1], repeat=6)))[:, recordings]
    flipped = estimate(signs * values, dependence)
    ratio = np.abs(flipped.mean / flipped.error)
    expected = (ratio >= ratio[-1] * (1 - 1e-9)).mean()
    assert 0.02 < expected < 0.98
    assert flip_signs(values[None], dependence, n_flips=60_000)[0] == pytest.approx(expected, abs=0.006)


def test_flips_end_where_differences_do():
    dependence = Dependence(np.arange(20), np.arange(20))
    p = flip_signs(np.vstack([np.zeros(20), np.ones(20)]), dependence, n_flips=999)
    assert p.tolist() == [1, 0.001]


def test_the_t_distribution_stands_for_flips_where_pairs_are_many(monkeypatch):
    simulation = Simulation(500, 40, seed=7)
    differences = simulation.overlaps(20, 0.8)[0] - simulation.overlaps(20, 0.75)[0]
    flips = flip_signs(differences, simulation.dependence, n_flips=4999)
    monkeypatch.setattr(comparison, "MAX_PAIRS", 100)
    np.testing.assert_allclose(flip_signs(differences, simulation.dependence), flips, atol=0.03)


def test_holm_multiplies_and_never_falls():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, np.nan, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1, 1])
    assert holm(np.empty(0)).size == 0
