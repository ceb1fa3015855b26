"""Every kind of vector, from states and sums that are known."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import contrasted_states
from wheretolisten.steering.kinds import (
    BenchmarkSums,
    Sample,
    missing_vectors,
    other_position,
    steering_labels,
    steering_vectors,
    target_positions,
)
from wheretolisten.steering.labels import absent_labels, shuffle_labels, sum_by_label
from wheretolisten.steering.vectors import norms

LABELS = {
    "cat": "animals",
    "cow": "animals",
    "dog": "animals",
    "hen": "animals",
    "bell": "everyday",
    "rain": "everyday",
}
N_SAMPLES, SHAPE = 8, (2, 16)
SHARED = ("negative", "negative_1", "negative_2")
OWN = ("positive", "positive_1", "positive_2", "silence", "no_audio")


@pytest.fixture(scope="module")
def benchmark():
    """Samples of three different animals with random states, and the sums over them."""
    rng = np.random.default_rng(0)
    animals = [label for label, domain in LABELS.items() if domain == "animals"]
    labels = np.array([rng.choice(animals, 3, replace=False) for _ in range(N_SAMPLES)])
    sample_ids = [f"{number:05d}" for number in range(N_SAMPLES)]
    shuffled = shuffle_labels(labels, sample_ids)
    samples = []
    for number, sample_id in enumerate(sample_ids):
        states = {name: rng.normal(size=(1, *SHAPE)).astype("f4") for name in SHARED}
        states |= {name: rng.normal(size=(3, *SHAPE)).astype("f4") for name in OWN}
        own = tuple(labels[number].tolist())
        samples.append(Sample(sample_id, own, ("animals",) * 3, tuple(shuffled[number].tolist()), states))
    vectors = np.concatenate([vectors_of("sample", sample, None) for sample in samples])
    sums, shuffled_sums = (sum_by_label(vectors, of.ravel(), list(LABELS)) for of in (labels, shuffled))
    return samples, BenchmarkSums(sums, shuffled_sums, LABELS)


def vectors_of(kind, sample, sums):
    vectors = steering_vectors(kind, sample, sums)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, *SHAPE)
    return vectors


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("sample", "positive", "negative"),
        ("positive_1", "positive_1", "negative"),
        ("positive_2", "positive_2", "negative"),
        ("negative_2", "positive", "negative_2"),
        ("neutral", "negative_1", "negative"),
        ("silence", "positive", "silence"),
        ("no_audio", "positive", "no_audio"),
    ],
)
def test_contrasts_are_differences_of_their_own_samples_states(benchmark, kind, first, second):
    samples, sums = benchmark
    assert contrasted_states(kind) == (first, second)
    for sample in samples:
        expected = np.broadcast_to(sample.states[first] - sample.states[second], (3, *SHAPE))
        np.testing.assert_array_equal(vectors_of(kind, sample, sums), expected)


def test_kinds_made_of_sample_vectors_need_no_further_states():
    for kind in ("label_mean", "random_direction", "other_label", "absent_label", "shuffled_labels"):
        assert contrasted_states(kind) == ("positive", "negative")


def test_other_label_is_the_vector_of_another_event_and_every_event_steers_once(benchmark):
    samples, sums = benchmark
    for sample in samples:
        own, other = (vectors_of(kind, sample, sums) for kind in ("sample", "other_label"))
        targets = target_positions("other_label", sample.sample_id)
        assert sorted(targets) == sorted(POSITIONS)
        for place, target in enumerate(targets):
            assert target != POSITIONS[place]
            np.testing.assert_array_equal(other[place], own[POSITIONS.index(target)])
            assert steering_labels("other_label", sample, sums)[place] == sample.labels[POSITIONS.index(target)]


@pytest.mark.parametrize("step", [1, 2, 4])
def test_both_other_events_are_equally_frequent_also_where_domains_take_turns(step):
    for first in range(step):
        chosen = Counter(other_position(f"{number:05d}", "begin") for number in range(first, 48 * step, step))
        assert chosen == {"middle": 24, "end": 24}


def test_label_mean_leaves_the_own_sample_out(benchmark):
    samples, sums = benchmark
    vectors = np.stack([vectors_of("sample", sample, sums) for sample in samples])
    for number, sample in enumerate(samples):
        for place, label in enumerate(sample.labels):
            others = [
                vectors[other, sample_.labels.index(label)]
                for other, sample_ in enumerate(samples)
                if other != number and label in sample_.labels
            ]
            found = vectors_of("label_mean", sample, sums)[place]
            np.testing.assert_allclose(found, np.mean(others, axis=0), atol=1e-6)


def test_absent_label_is_the_mean_of_a_label_of_the_domain_that_the_sample_lacks(benchmark):
    samples, sums = benchmark
    vectors = [(label, vector) for s in samples for label, vector in zip(s.labels, own_vectors(s, sums), strict=True)]
    for sample in samples:
        (absent,) = {label for label, domain in LABELS.items() if domain == "animals"} - set(sample.labels)
        assert steering_labels("absent_label", sample, sums) == [absent] * 3
        expected = np.mean([vector for label, vector in vectors if label == absent], axis=0)
        for found in vectors_of("absent_label", sample, sums):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def own_vectors(sample, sums):
    return vectors_of("sample", sample, sums)


def test_absent_labels_differ_within_a_sample_as_long_as_there_are_enough():
    domain_of = {f"animal {number}": "animals" for number in range(10)} | {"rain": "everyday", "bell": "everyday"}
    present = ["animal 0", "animal 1", "animal 2"]
    chosen = Counter()
    for number in range(200):
        absent = absent_labels(f"{number:05d}", present, ["animals"] * 3, domain_of)
        assert len(set(absent)) == 3
        assert not set(absent) & {*present, "rain", "bell"}
        assert absent == absent_labels(f"{number:05d}", present, ["animals"] * 3, domain_of)
        chosen.update(absent)
    assert len(chosen) == 7
    assert min(chosen.values()) > 200 * 3 / 7 / 2
    mixed = absent_labels("00000", ["animal 0", "rain", "bell"], ["animals", "everyday", "everyday"], domain_of)
    assert mixed[0].startswith("animal")
    assert mixed[1:] == ["", ""]


def test_an_absent_label_that_does_not_exist_gives_no_vector(benchmark):
    samples, sums = benchmark
    only = {label: "animals" for label in samples[0].labels}
    found = vectors_of("absent_label", samples[0], BenchmarkSums(sums.sums, sums.shuffled_sums, only))
    assert np.isnan(found).all()


def test_shuffling_keeps_the_count_of_every_label_and_depends_on_the_samples_alone():
    rng = np.random.default_rng(0)
    labels = rng.choice(list(LABELS), (200, 3))
    sample_ids = [f"{number:05d}" for number in range(200)]
    shuffled = shuffle_labels(labels, sample_ids)
    assert Counter(shuffled.ravel().tolist()) == Counter(labels.ravel().tolist())
    np.testing.assert_array_equal(shuffle_labels(labels, sample_ids), shuffled)
    assert (shuffle_labels(labels, sample_ids[::-1]) != shuffled).any()
    # A label that stays where it was is chance: one in six.
    assert 0.1 < (shuffled == labels).mean() < 0.25


def test_shuffled_labels_average_the_events_that_shuffling_gave_the_label(benchmark):
    samples, sums = benchmark
    vectors = np.stack([own_vectors(sample, sums) for sample in samples])
    shuffled = np.array([sample.shuffled_labels for sample in samples])
    for number, sample in enumerate(samples):
        found = vectors_of("shuffled_labels", sample, sums)
        for place, label in enumerate(sample.labels):
            others = (shuffled == label) & (np.arange(N_SAMPLES) != number)[:, None]
            np.testing.assert_allclose(found[place], vectors[others].mean(axis=0), atol=1e-6)


def test_random_directions_are_as_long_as_the_own_vectors(benchmark):
    samples, sums = benchmark
    own, direction = (vectors_of(kind, samples[3], sums) for kind in ("sample", "random_direction"))
    np.testing.assert_allclose(norms(direction), norms(own), rtol=1e-5)
    assert not np.allclose(direction, own, atol=0.1)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        *((kind, True) for kind in ("sample", "label_mean", "positive_1", "negative_2", "silence", "no_audio")),
        *((kind, False) for kind in ("random_direction", "absent_label", "shuffled_labels", "neutral")),
    ],
)
def test_targets_name_the_event_that_a_vector_is_of(benchmark, kind, own):
    samples, sums = benchmark
    assert target_positions(kind, "00003") == (list(POSITIONS) if own else [""] * 3)
    if kind != "absent_label":
        assert steering_labels(kind, samples[3], sums) == (list(samples[3].labels) if own else [""] * 3)


@pytest.mark.parametrize("n_samples", [1, 2, 6])
def test_queries_without_a_vector_are_known_from_the_labels_and_named_with_the_reason(n_samples):
    rng = np.random.default_rng(n_samples)
    labels = np.array([["cat", "cow", "dog"], *(rng.permutation(list(LABELS))[:3] for _ in range(n_samples - 1))])
    sample_ids = [f"{number:05d}" for number in range(n_samples)]
    # Of the domain everyday every recording that holds one label holds both, or the benchmark has no other.
    domain_of = {label: LABELS[label] for label in labels.ravel()}
    events = pd.DataFrame(
        [
            {"sample_id": sample_id, "position": position, "label": label, "domain": domain_of[label]}
            for sample_id, of_sample in zip(sample_ids, labels, strict=True)
            for position, label in zip(POSITIONS, of_sample, strict=True)
        ]
    )
    shuffled, vectors = shuffle_labels(labels, sample_ids), rng.normal(size=(3 * n_samples, *SHAPE)).astype("f4")
    sums = [sum_by_label(vectors, of.ravel(), sorted(domain_of)) for of in (labels, shuffled)]
    reasons = set()
    for kind in ("sample", "label_mean", "absent_label", "shuffled_labels", "random_direction", "other_label"):
        missing = missing_vectors(kind, events)
        for number, sample_id in enumerate(sample_ids):
            own = vectors[3 * number : 3 * number + 3]
            states = {"positive": own, "negative": np.zeros((1, *SHAPE), "f4")}
            domains = tuple(domain_of[label] for label in labels[number])
            sample = Sample(sample_id, tuple(labels[number]), domains, tuple(shuffled[number]), states)
            found = steering_vectors(kind, sample, BenchmarkSums(*sums, domain_of))
            for position, vector in zip(POSITIONS, found, strict=True):
                assert np.isnan(vector).all() == ((sample_id, position) in missing), (kind, sample_id, position)
        reasons |= set(missing.values())
    if n_samples == 1:
        assert reasons == {
            *(
                f"no other sample has label {label!r}{end}"
                for label in labels[0].tolist()
                for end in ("", " after shuffling")
            ),
            "no label of domain 'animals' is absent from the recording",
        }
