"""Splits of items, specialist heads, and tables of right answers."""

import numpy as np
import pytest
from scipy.stats import binomtest

from wheretolisten.directions import heads
from wheretolisten.errors import UserError
from wheretolisten.questions.splits import CALIBRATION, NEITHER, REPORT, split
from wheretolisten.statistics import answers
from wheretolisten.statistics.intervals import Dependence


def alone(n: int) -> Dependence:
    return Dependence(np.arange(n), np.arange(n))


# ------------------------------------------------------------------------------------------------------- splits


def test_no_source_is_on_both_sides_and_further_items_move_none_of_the_first():
    rng = np.random.default_rng(0)
    recordings = [f"r{n // 2}" for n in range(400)]  # two items about each
    clips = [frozenset(f"c{clip}" for clip in rng.integers(600, size=3)) for _ in range(200)]
    sources = [clips[n // 2] for n in range(400)]
    sides = split(recordings, sources, seed=1)
    held = {side: frozenset().union(*(sources[n] for n in np.flatnonzero(sides == side))) for side in set(sides)}
    assert not held[CALIBRATION] & held[REPORT]
    assert 0.1 < (sides == CALIBRATION).mean() < 0.3
    assert {NEITHER, REPORT} < set(sides)
    assert all(sides[n] == sides[n + 1] for n in range(0, 400, 2))
    before = split(recordings[:200], sources[:200], seed=1)
    assert ((before == CALIBRATION) == (sides[:200] == CALIBRATION)).all()
    assert (split(recordings, sources, seed=2) != sides).any()
    # Recordings that have nothing in common are all used.
    assert NEITHER not in split(recordings, [frozenset({name}) for name in recordings], seed=1)


def test_items_that_do_not_fill_both_sides_are_refused():
    with pytest.raises(UserError, match=r"0 of 3 items are for calibration, which takes 2 at least; ask more items"):
        split(["a", "b", "c"], [frozenset({name}) for name in "abc"], seed=0, share=0.0)


# -------------------------------------------------------------------------------------------------------- heads


def test_the_head_that_carries_the_evidence_is_the_first_specialist():
    rng = np.random.default_rng(0)
    correct = rng.integers(0, 2, 200)
    mass = rng.uniform(0.2, 0.4, (200, 6, 4))
    mass[:, 3, 1] += 0.3 * correct
    mass[:, 4, 2] += 0.1 * correct
    mass[:, 0, 0] = 0.3  # the same for all items
    found = heads.correlations(mass, correct)
    assert found[3, 1] == pytest.approx(np.corrcoef(mass[:, 3, 1], correct)[0, 1])
    assert np.isnan(found[0, 0])
    assert heads.specialists(found, 2) == [(3, 1), (4, 2)]
    assert len(heads.specialists(found, 100)) == 6 * 4 - 1  # a constant head is never ranked
    np.testing.assert_allclose(heads.correlations(correct[:, None, None], correct), 1)
    assert np.isnan(heads.correlations(mass, np.ones(200))).all()
    assert heads.specialists(heads.correlations(mass, np.ones(200))) == []

    signal = heads.listening_signal(mass, [(3, 1), (4, 2)])
    np.testing.assert_allclose(signal, (mass[:, 3, 1] + mass[:, 4, 2]) / 2)
    area, low, high = answers.auc(signal, correct, alone(200))
    assert 0.95 < low < area <= high
    control = heads.random_heads((6, 4), 5, [(3, 1), (4, 2)], np.random.default_rng(1))
    assert len(set(control)) == 5
    assert not {(3, 1), (4, 2)} & set(control)
    area, low, high = answers.auc(heads.listening_signal(mass, control), correct, alone(200))
    assert low < 0.5 < high


def test_the_direction_of_specialists_is_a_mean_over_their_blocks():
    rng = np.random.default_rng(0)
    audio, silence = rng.standard_normal((2, 7, 5, 3))
    found = heads.listening_direction(audio, silence, [(1, 0), (4, 2), (1, 3)])
    np.testing.assert_allclose(found, ((audio[:, 1] - silence[:, 1]) + (audio[:, 4] - silence[:, 4])) / 2)


# ------------------------------------------------------------------------------------------------------ answers


def test_accuracy_and_its_difference_are_those_of_the_items():
    base = np.array([1, 0, 1, 0, 0, 1, 0, 0] * 10)
    better = np.array([1, 1, 1, 0, 0, 1, 1, 0] * 10)
    table = answers.compare_accuracy({"unsteered": base, "ash": better, "same": base}, "unsteered", alone(80))
    table = table.set_index("method")
    assert table["accuracy_pct"].tolist() == [37.5, 62.5, 37.5]
    assert table.loc["ash", ["difference", "gained", "lost", "n_items"]].tolist() == [25, 20, 0, 80]
    # Flips of items that nothing links are McNemar's test.
    assert table.loc["ash", "p"] == pytest.approx(binomtest(0, 20).pvalue, abs=2e-4)
    assert table.loc["ash", "p_holm"] == pytest.approx(2 * table.loc["ash", "p"])
    assert table.loc["same", "p"] == 1
    assert table.loc["ash", "ci_low"] < 62.5 < table.loc["ash", "ci_high"]
    assert np.isnan(table.loc["unsteered", ["difference", "p", "p_holm"]].astype(float)).all()


def test_a_test_at_five_percent_rejects_five_percent_where_nothing_changes():
    rng = np.random.default_rng(0)
    n_studies, n_items = 2000, 240
    # Items in pairs about one recording, which go together.
    easy = rng.uniform(size=(n_studies, n_items // 2)).repeat(2, axis=1)
    first, second = (rng.uniform(size=(n_studies, n_items)) < easy for _ in range(2))
    pairs = np.arange(n_items) // 2
    p = answers.flip_signs(second.astype(float) - first, Dependence(pairs, pairs), n_flips=999)
    assert abs((p < 0.05).mean() - 0.05) < 0.015
    inside = [low <= 0.5 <= high for _, low, high in _areas(rng, 400)]
    assert abs(np.mean(inside) - 0.95) < 0.03


def _areas(rng, n_studies):
    pairs = np.arange(120) // 2
    for _ in range(n_studies):
        signal = rng.standard_normal(60).repeat(2) + 0.5 * rng.standard_normal(120)
        correct = rng.uniform(size=120) < rng.uniform(size=60).repeat(2)
        yield answers.auc(signal, correct, Dependence(pairs, pairs))


def test_the_area_is_the_share_of_pairs_that_are_in_order():
    rng = np.random.default_rng(0)
    signal, correct = rng.integers(0, 5, 60).astype(float), rng.integers(0, 2, 60).astype(bool)
    right, wrong = signal[correct][:, None], signal[~correct][None]
    expected = ((right > wrong) + 0.5 * (right == wrong)).mean()
    assert answers.auc(signal, correct, alone(60))[0] == pytest.approx(expected)
    assert answers.auc(-signal, correct, alone(60))[0] == pytest.approx(1 - expected)
    assert np.isnan(answers.auc(signal, np.ones(60), alone(60))).all()


def test_a_signal_of_the_kind_of_question_says_nothing_within_kinds():
    rng = np.random.default_rng(4)
    n = 400
    kinds = rng.integers(2, size=n)
    correct = rng.random(n) < np.where(kinds, 0.9, 0.2)
    signal = kinds + rng.normal(0, 0.1, n)
    assert answers.auc(signal, correct, alone(n))[0] > 0.75
    area, low, high = answers.auc(signal, correct, alone(n), kinds.tolist())
    assert low < 0.5 < high
    # All pairs of one kind, counted one by one; of one kind alone it is what it is without kinds.
    pairs = [
        float(np.sign(signal[i] - signal[j]) / 2 + 0.5)
        for i in correct.nonzero()[0]
        for j in (~correct).nonzero()[0]
        if kinds[i] == kinds[j]
    ]
    assert area == pytest.approx(np.mean(pairs))
    one = answers.auc(signal, correct, alone(n), [("a", "b")] * n)
    assert one == pytest.approx(answers.auc(signal, correct, alone(n)))
    assert np.isnan(answers.auc(signal, correct, alone(n), correct.tolist())).all()


def test_an_interval_within_kinds_covers_as_often_as_it_says():
    rng, covered = np.random.default_rng(5), []
    for _ in range(400):
        kinds = rng.integers(3, size=90)
        correct = rng.random(90) < np.array([0.3, 0.5, 0.8])[kinds]
        signal = 2 * kinds + rng.normal(0, 1, 90)
        _, low, high = answers.auc(signal, correct, alone(90), kinds.tolist())
        covered.append(low <= 0.5 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_groups_of_items_may_overlap_or_be_none():
    correct = {"unsteered": np.array([1, 0, 1, 1.0]), "ash": np.array([1, 1, 1, 1.0])}
    groups = [("easy", "speech"), ("easy",), (), ("speech",)]
    table = answers.accuracy_by(correct, groups, alone(4)).set_index(["group", "method"])
    assert table.loc[("easy", "unsteered"), ["accuracy_pct", "n_items"]].tolist() == [50, 2]
    assert table.loc[("speech", "ash"), ["accuracy_pct", "n_items"]].tolist() == [100, 2]
    assert answers.accuracy_by(correct, [(), (), (), ()], alone(4)).empty


def test_a_setting_is_chosen_on_what_it_is_given_alone():
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, (4, 100))
    sides = np.arange(100) < 20
    right[2, sides] = 1  # planted where settings are chosen
    right[2, ~sides] = 0
    assert answers.best_setting(right[:, sides]) == 2
    right[:, ~sides] = rng.integers(0, 2, (4, 80))
    assert answers.best_setting(right[:, sides]) == 2
    assert answers.best_setting(np.ones((3, 5))) == 0  # of equals the mildest
