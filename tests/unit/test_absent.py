"""Sounds that a recording does not hold: which they are, what steers for them, and what they are the reference of."""

import numpy as np
import pandas as pd
import pytest

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.directions import DIRECTIONS, Direction
from wheretolisten.config.probe import Localization
from wheretolisten.directions.labels import sum_by_label
from wheretolisten.directions.sources import Groups, Sample, sources
from wheretolisten.directions.vectors import directions_of, norms, own_contrast
from wheretolisten.errors import UserError
from wheretolisten.examples.absent import absent_sounds
from wheretolisten.localization.references import absent_passes, rank_p_value, reference_of
from wheretolisten.localization.windows import find_window
from wheretolisten.statistics.detection import summarize_detection

ANIMALS = ("dog", "cat", "cow", "sheep", "frog")
DOMAIN_OF = dict.fromkeys(ANIMALS, "animals") | dict.fromkeys(("bell", "rain", "horn"), "everyday")
EVENTS = [{"label": label, "domain": "animals"} for label in ("dog", "cat", "cow")]
SHAPE = (2, 8)


def labels(sounds):
    return [sound["label"] for sound in sounds]


def test_absent_sounds_follow_from_the_sample_and_those_of_its_domain_come_first():
    drawn = absent_sounds("00001", EVENTS, DOMAIN_OF, 4)
    assert [sound["position"] for sound in drawn] == ["absent-1", "absent-2", "absent-3", "absent-4"]
    assert set(labels(drawn)[:2]) == {"sheep", "frog"}
    assert set(labels(drawn)[2:]) < {"bell", "rain", "horn"}
    assert all(sound["domain"] == DOMAIN_OF[sound["label"]] for sound in drawn)
    # Fewer are the first of more, and neither other samples nor the order of the table matter.
    assert absent_sounds("00001", EVENTS, dict(reversed(DOMAIN_OF.items())), 2) == drawn[:2]
    orders = {tuple(labels(absent_sounds(f"{sample:05d}", EVENTS, DOMAIN_OF, 5))) for sample in range(40)}
    assert len(orders) > 10
    assert labels(absent_sounds("00001", EVENTS, DOMAIN_OF, 99)) == labels(absent_sounds("00001", EVENTS, DOMAIN_OF, 5))
    assert absent_sounds("00001", EVENTS, {}, 0) == []


def test_where_a_sample_holds_every_label_nothing_is_absent(states):
    assert absent_sounds("00003", EVENTS, {event["label"]: "animals" for event in EVENTS}, 1) == []
    held = {"positive": states["positive"][:3], "negative": states["negative"]}
    assert own_contrast(("positive", "negative"), held, 3).shape == (3, *SHAPE)
    with pytest.raises(UserError, match=r"positive@absent is the mean over .* too few labels are left .*; add labels"):
        own_contrast(("positive", "positive@absent"), held, 3)
    one = {"positive": states["positive"][:4]}
    assert own_contrast(("positive", "positive@absent"), one, 3).shape == (3, *SHAPE)
    with pytest.raises(UserError, match="too few labels"):
        own_contrast(("positive", "positive@absent"), one, 3, 4)


@pytest.fixture
def sample():
    return Sample("00002", POSITIONS, ("dog", "cat", "cow"), ("animals",) * 3, ("sheep", "frog"))


@pytest.fixture
def states():
    rng = np.random.default_rng(0)
    return {"positive": rng.normal(size=(6, *SHAPE)), "negative": rng.normal(size=(1, *SHAPE))}


def test_own_vectors_of_absent_sounds_are_contrasts_of_their_own_states(sample, states):
    vectors = directions_of(DIRECTIONS["sample"], sample, states, Groups.of([sample]))
    np.testing.assert_allclose(vectors, (states["positive"] - states["negative"])[:5], rtol=1e-4)
    random = directions_of(DIRECTIONS["random_direction"], sample, states, Groups.of([sample]))
    np.testing.assert_allclose(norms(random), norms(vectors), rtol=1e-4)
    # The vectors of events do not depend on how many absent sounds are asked about.
    alone = Sample(sample.sample_id, POSITIONS, sample.labels, sample.domains)
    for name in ("sample", "random_direction", "other_label"):
        of_events = directions_of(DIRECTIONS[name], alone, states, Groups.of([alone]))
        np.testing.assert_array_equal(
            of_events, directions_of(DIRECTIONS[name], sample, states, Groups.of([sample]))[:3]
        )


def test_a_contrast_with_absent_sounds_takes_their_mean_without_the_one_it_is_about(states):
    positive = states["positive"]  # of three events and three absent sounds
    found = own_contrast(("positive", "positive@absent2"), states, 3, 6)
    for event in range(3):
        np.testing.assert_allclose(found[event], positive[event] - positive[[3, 4]].mean(axis=0), rtol=1e-4)
    for asked, others in ((3, [4, 5]), (4, [3, 5]), (5, [3, 4])):
        np.testing.assert_allclose(found[asked], positive[asked] - positive[others].mean(axis=0), rtol=1e-4)
    assert Direction(contrast=("positive", "positive@absent2")).absent_needed("positive", 3) == 3
    assert Direction(contrast=("positive", "positive@absent5")).absent_needed("positive", 3) == 6
    assert Direction(contrast=("positive", "positive@absent5")).absent_needed("positive", 0) == 5
    assert Direction(contrast=("positive", "negative")).absent_needed("positive", 3) == 3


def test_controls_of_absent_sounds_are_those_of_other_absent_sounds(sample):
    groups = Groups.of([sample, Sample("00004", POSITIONS, ("sheep", "frog", "dog"), ("animals",) * 3)])
    other = sources(DIRECTIONS["other_label"], sample, groups)
    assert [source.label for source in other[3:]] == ["frog", "sheep"]
    absent = sources(DIRECTIONS["absent_label"], sample, groups)
    assert [source.group for source in absent[3:]] == ["frog", "sheep"]
    assert {source.group for source in absent[:3]} <= {"sheep", "frog"}
    own = sources(DIRECTIONS["label_mean"], sample, groups)
    assert [source.group for source in own] == ["dog", "cat", "cow", "sheep", "frog"]


def test_a_label_mean_of_an_absent_sound_is_over_the_samples_that_hold_it(sample, states):
    rng = np.random.default_rng(1)
    others = rng.normal(size=(3, *SHAPE))
    own = (states["positive"] - states["negative"])[:3]
    sums = sum_by_label(np.concatenate([own, others]), [*sample.labels, "sheep", "sheep", "dog"], DOMAIN_OF)
    groups = Groups.of([sample, Sample("00004", POSITIONS, ("sheep", "sheep", "dog"), ("animals",) * 3)])
    vectors = directions_of(DIRECTIONS["label_mean"], sample, states, groups, sums)
    np.testing.assert_allclose(vectors[0], others[2], rtol=1e-4)
    np.testing.assert_allclose(vectors[3], others[:2].mean(axis=0), rtol=1e-4)
    assert np.isnan(vectors[4]).all()  # no sample holds a frog


# ------------------------------------------------------------------------------------------------------- references

RATE, N_TOKENS = 25.0, 425
MATCHED = Localization(reference="absent")


def attention(seed, onset=None, bias=None):
    """A pass that may hear an event at an onset, and that is drawn to some tokens whatever it is asked about."""
    values = np.random.default_rng(seed).uniform(0.5, 1.5, (8, N_TOKENS))
    if bias is not None:
        values = values * bias
    if onset is not None:
        values[:, round(onset * RATE) : round((onset + 5) * RATE)] *= 1.5
    return values.astype(np.float32)


def test_a_reference_is_the_mean_or_the_median_of_shares():
    passes = [attention(seed) * 10**seed for seed in range(3)]
    shares = np.stack([each / each.sum(axis=-1, keepdims=True, dtype=float) for each in passes])
    padded = [np.pad(each, ((0, 0), (0, 9)), constant_values=np.nan) for each in passes]
    np.testing.assert_allclose(reference_of(padded, N_TOKENS, "mean"), shares.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(reference_of(padded, N_TOKENS, "median"), np.median(shares, axis=0), rtol=1e-6)


def test_mistaken_sounds_take_the_first_places_and_those_without_a_vector_none():
    absent, events = [attention(seed) for seed in range(4)], [attention(9), attention(8)]
    absent[1][:] = np.nan
    settings = Localization(reference="absent", absent_sounds=3)
    assert [id(each) for each in absent_passes(absent, events, settings)] == [id(absent[0]), id(absent[2])]
    settings = Localization(reference="absent", absent_sounds=3, absent_mistaken=1)
    assert [id(each) for each in absent_passes(absent, events, settings)] == [id(events[0]), id(absent[2])]


def test_what_any_question_does_to_attention_stays_in_the_published_ratio_and_leaves_the_matched_one():
    drawn_to_the_end = np.linspace(0.5, 3, N_TOKENS)
    base = attention(0)
    asked = attention(1, onset=1.0, bias=drawn_to_the_end)
    absent = [attention(seed, bias=drawn_to_the_end) for seed in (2, 3, 4)]
    published = find_window(base, asked, 5.0, RATE, N_TOKENS, MATCHED)
    matched = find_window(reference_of(absent, N_TOKENS, "mean"), asked, 5.0, RATE, N_TOKENS, MATCHED)
    assert published.start_seconds > 10
    assert abs(matched.start_seconds - 1.0) < 0.2


def test_an_intervention_that_changes_nothing_ties():
    passes = [attention(0)] * 4
    window = find_window(reference_of(passes[1:], N_TOKENS, "mean"), passes[0], 5.0, RATE, N_TOKENS, MATCHED)
    assert window.tied_starts.size == N_TOKENS - 125 + 1
    score, p = rank_p_value(passes[0], passes[1:], 5.0, RATE, N_TOKENS, MATCHED)
    assert (round(score, 6), p) == (1.0, 1.0)


def test_the_p_value_of_a_sound_that_is_not_there_is_uniform_and_of_one_that_is_the_smallest():
    passes = np.random.default_rng(5).uniform(0.5, 1.5, (200, 4, 2, 60))
    p = np.array([rank_p_value(each[0], list(each[1:]), 1.0, RATE, 60, MATCHED)[1] for each in passes])
    shares = [(p == number / 4).mean() for number in (1, 2, 3, 4)]
    assert np.isclose(sum(shares), 1)
    assert np.abs(np.array(shares) - 0.25).max() < 3.5 * np.sqrt(0.25 * 0.75 / 200)
    found = [rank_p_value(attention(s, onset=3), [attention(s + n) for n in (1, 2, 3)], 5.0, RATE, N_TOKENS, MATCHED)
             for s in range(0, 40, 4)]  # fmt: skip
    assert all(p == 0.25 and score > 1.2 for score, p in found)
    assert np.isnan(rank_p_value(attention(1), [], 5.0, RATE, N_TOKENS, MATCHED)).all()
    assert np.isnan(rank_p_value(attention(1) * np.nan, [attention(2)], 5.0, RATE, N_TOKENS, MATCHED)).all()


def test_detection_counts_the_sounds_that_score_higher_than_every_absent_one():
    rows = [
        {"sample_id": f"{sample}", "position": position, "sound": sound, "p": p, "n_absent": n, "score": 1.0}
        for sample in range(8)
        for position in POSITIONS
        # As tables round them.
        for sound, p, n in (
            ("present", 0.166667 if sample < 6 else 0.333333, 5),
            ("absent", np.nan if sample == 7 else 1.0, 2),
        )
    ]
    queries = pd.DataFrame(rows).assign(model="m", study="s", method="prompt_matched", source="x")
    queries["source"] = queries["sample_id"]
    found = summarize_detection(queries).set_index(["sound", "position"])
    overall = found.loc[("present", "overall")]
    assert (round(overall["stated_pct"], 3), overall["found_pct"], overall["n_queries"]) == (16.667, 75, 24)
    assert overall["ci_low"] < 75 < overall["ci_high"]
    absent = found.loc[("absent", "middle")]
    assert (round(absent["stated_pct"], 3), absent["found_pct"]) == (33.333, 0)
    assert (absent["n_queries"], absent["n_missing"]) == (7, 1)
