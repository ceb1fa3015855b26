"""Every direction, from states and sums that are known."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.directions import DIRECTIONS, Direction, paraphrased
from wheretolisten.directions import sources
from wheretolisten.directions.labels import absent_labels, shuffle_labels, sum_by_label
from wheretolisten.directions.sources import Groups, Sample, missing_vectors, other_positions
from wheretolisten.directions.vectors import directions_of, norms

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
OWN = ("positive", "positive_1", "positive_2", "positive@silence", "positive@none")


class Sequences:
    """Samples, their random states, and what means over them are made of."""

    def __init__(self, labels, domain_of, rng):
        self.samples = [
            Sample(f"{number:05d}", POSITIONS, tuple(own), tuple(domain_of[label] for label in own))
            for number, own in enumerate(labels.tolist())
        ]
        self.states = {}
        for sample in self.samples:
            states = {name: rng.normal(size=(1, *SHAPE)).astype("f4") for name in SHARED}
            self.states[sample.sample_id] = states | {name: rng.normal(size=(3, *SHAPE)).astype("f4") for name in OWN}
        self.groups = Groups.of(self.samples)
        shuffled = np.array([self.groups.shuffled[sample.sample_id] for sample in self.samples])
        own = np.concatenate([self.of("sample", sample) for sample in self.samples])
        self.sums, self.shuffled_sums = (sum_by_label(own, of.ravel(), list(LABELS)) for of in (labels, shuffled))

    def of(self, name, sample, groups=None):
        """Vectors of the queries of a sample, [event, layer, hidden]."""
        direction = named(name)
        sums = getattr(self, "shuffled_sums" if direction.control == "shuffled_labels" else "sums", None)
        groups = groups or self.groups
        vectors = directions_of(direction, sample, self.states[sample.sample_id], groups, sums)
        assert vectors.dtype == np.float32
        assert vectors.shape == (3, *SHAPE)
        return vectors


def named(name):
    return DIRECTIONS.get(name) or paraphrased(name)


@pytest.fixture(scope="module")
def sequences():
    """Samples of three different animals."""
    rng = np.random.default_rng(0)
    animals = [label for label, domain in LABELS.items() if domain == "animals"]
    return Sequences(np.array([rng.choice(animals, 3, replace=False) for _ in range(N_SAMPLES)]), LABELS, rng)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("sample", "positive", "negative"),
        ("positive_1", "positive_1", "negative"),
        ("positive_2", "positive_2", "negative"),
        ("negative_2", "positive", "negative_2"),
        ("neutral", "negative_1", "negative"),
        ("silence", "positive", "positive@silence"),
        ("no_audio", "positive", "positive@none"),
    ],
)
def test_contrasts_are_differences_of_their_own_samples_states(sequences, kind, first, second):
    assert named(kind) == Direction(contrast=(first, second))
    for sample in sequences.samples:
        states = sequences.states[sample.sample_id]
        np.testing.assert_array_equal(
            sequences.of(kind, sample), np.broadcast_to(states[first] - states[second], (3, *SHAPE))
        )


def test_every_control_has_a_function_and_is_made_of_the_states_of_the_own_vector():
    controls = {direction.control for direction in DIRECTIONS.values()}
    assert controls == set(sources._SOURCES)
    for direction in DIRECTIONS.values():
        if direction.control or direction.over != "own":
            assert direction.contrast == ("positive", "negative")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"control": "absent_label"}, "control: absent_label is made with over: others_of_label, not own"),
        ({"control": "random", "over": "others_of_label"}, "control: random is made with over: own"),
        ({"contrast": ("positive", "negative@noise")}, "names no state"),
        ({"contrast": ("positive", "positive")}, "contrast: both states are 'positive', which differ in nothing"),
    ],
)
def test_a_direction_that_cannot_be_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        Direction(**{"contrast": ("positive", "negative")} | changes)


def test_other_label_is_the_vector_of_another_event_and_every_event_steers_once(sequences):
    for sample in sequences.samples:
        own, other = (sequences.of(kind, sample) for kind in ("sample", "other_label"))
        found = sources.sources(DIRECTIONS["other_label"], sample, sequences.groups)
        assert sorted(source.position for source in found) == sorted(POSITIONS)
        for place, source in enumerate(found):
            assert source.position != POSITIONS[place]
            np.testing.assert_array_equal(other[place], own[POSITIONS.index(source.position)])
            assert source.label == sample.labels[POSITIONS.index(source.position)]


@pytest.mark.parametrize("step", [1, 2, 4])
def test_both_other_events_are_equally_frequent_also_where_domains_take_turns(step):
    for first in range(step):
        chosen = Counter(other_positions(f"{number:05d}", POSITIONS)[0] for number in range(first, 48 * step, step))
        assert chosen == {"middle": 24, "end": 24}


def test_label_mean_leaves_the_own_sample_out(sequences):
    vectors = np.stack([sequences.of("sample", sample) for sample in sequences.samples])
    for number, sample in enumerate(sequences.samples):
        for place, label in enumerate(sample.labels):
            others = [
                vectors[other, sample_.labels.index(label)]
                for other, sample_ in enumerate(sequences.samples)
                if other != number and label in sample_.labels
            ]
            found = sequences.of("label_mean", sample)[place]
            np.testing.assert_allclose(found, np.mean(others, axis=0), atol=1e-6)


def test_absent_label_is_the_mean_of_a_label_of_the_domain_that_the_sample_lacks(sequences):
    vectors = [
        (label, vector)
        for sample in sequences.samples
        for label, vector in zip(sample.labels, sequences.of("sample", sample), strict=True)
    ]
    for sample in sequences.samples:
        (absent,) = {label for label, domain in LABELS.items() if domain == "animals"} - set(sample.labels)
        found = sources.sources(DIRECTIONS["absent_label"], sample, sequences.groups)
        assert [(source.position, source.label) for source in found] == [("", absent)] * 3
        expected = np.mean([vector for label, vector in vectors if label == absent], axis=0)
        for vector in sequences.of("absent_label", sample):
            np.testing.assert_allclose(vector, expected, atol=1e-6)


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


def test_an_absent_label_that_does_not_exist_gives_no_vector(sequences):
    sample = sequences.samples[0]
    only = Groups({label: "animals" for label in sample.labels}, sequences.groups.count, sequences.groups.shuffled)
    assert np.isnan(sequences.of("absent_label", sample, only)).all()


def test_shuffling_keeps_the_count_of_every_label_and_depends_on_the_samples_alone():
    rng = np.random.default_rng(0)
    labels = rng.choice(list(LABELS), 600)
    sample_ids = [f"{number:05d}" for number in range(200)]
    shuffled = shuffle_labels(labels, sample_ids)
    assert Counter(shuffled.tolist()) == Counter(labels.tolist())
    np.testing.assert_array_equal(shuffle_labels(labels, sample_ids), shuffled)
    assert (shuffle_labels(labels, sample_ids[::-1]) != shuffled).any()
    # A label that stays where it was is chance: one in six.
    assert 0.1 < (shuffled == labels).mean() < 0.25


def test_shuffled_labels_average_the_events_that_shuffling_gave_the_label(sequences):
    vectors = np.stack([sequences.of("sample", sample) for sample in sequences.samples])
    shuffled = np.array([sequences.groups.shuffled[sample.sample_id] for sample in sequences.samples])
    for number, sample in enumerate(sequences.samples):
        found = sequences.of("shuffled_labels", sample)
        for place, label in enumerate(sample.labels):
            others = (shuffled == label) & (np.arange(N_SAMPLES) != number)[:, None]
            np.testing.assert_allclose(found[place], vectors[others].mean(axis=0), atol=1e-6)


def test_random_directions_are_as_long_as_the_own_vectors(sequences):
    own, direction = (sequences.of(kind, sequences.samples[3]) for kind in ("sample", "random_direction"))
    np.testing.assert_allclose(norms(direction), norms(own), rtol=1e-5)
    assert not np.allclose(direction, own, atol=0.1)


@pytest.mark.parametrize(
    ("kind", "own"), [*((k, True) for k in ("sample", "label_mean", "silence")), ("random_direction", False)]
)
def test_sources_name_the_event_that_a_vector_is_of(sequences, kind, own):
    sample = sequences.samples[3]
    found = sources.sources(DIRECTIONS[kind], sample, sequences.groups)
    assert [source.position for source in found] == (list(POSITIONS) if own else [""] * 3)
    assert [source.label for source in found] == (list(sample.labels) if own else [""] * 3)


@pytest.mark.parametrize("n_samples", [1, 2, 6])
def test_queries_without_a_vector_are_known_from_the_labels_and_named_with_the_reason(n_samples):
    rng = np.random.default_rng(n_samples)
    labels = np.array([["cat", "cow", "dog"], *(rng.permutation(list(LABELS))[:3] for _ in range(n_samples - 1))])
    sample_ids = [f"{number:05d}" for number in range(n_samples)]
    # Of the domain everyday every recording that holds one label holds both, or there is no other.
    domain_of = {label: LABELS[label] for label in labels.ravel()}
    events = pd.DataFrame(
        [
            {"sample_id": sample_id, "position": position, "label": label, "domain": domain_of[label]}
            for sample_id, of_sample in zip(sample_ids, labels, strict=True)
            for position, label in zip(POSITIONS, of_sample, strict=True)
        ]
    )
    sequences = Sequences(labels, domain_of, rng)
    reasons = set()
    for kind in ("sample", "label_mean", "absent_label", "shuffled_labels", "random_direction", "other_label"):
        missing = missing_vectors(DIRECTIONS[kind], events)
        for sample in sequences.samples:
            for position, vector in zip(POSITIONS, sequences.of(kind, sample), strict=True):
                assert np.isnan(vector).all() == ((sample.sample_id, position) in missing), (kind, sample, position)
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
