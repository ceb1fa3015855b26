import numpy as np
import pytest

from wheretolisten.directions.labels import sum_by_label
from wheretolisten.directions.vectors import contrast, norms, random_direction


def cosine(first, second):
    first, second = first.astype(float), second.astype(float)
    return (first * second).sum(axis=-1) / (norms(first) * norms(second))


def test_contrast_is_the_difference_and_shares_the_negative():
    positive = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    negative = np.ones((2, 2, 2), dtype=np.float32)
    vectors = contrast(positive, negative[:, None])
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, positive - 1)


def means(vectors, labels, sample_ids):
    """Mean of each event's label over the events of all other samples, [event, layer, hidden]."""
    labels, sample_ids = np.array(labels), np.array(sample_ids)
    sums = sum_by_label(vectors, labels, np.unique(labels))
    own = [sample_ids == sample_id for sample_id in sample_ids]
    return np.stack([sums.mean_without(label, vectors[of], labels[of]) for label, of in zip(labels, own, strict=True)])


def test_mean_excludes_every_event_of_the_same_sample():
    vectors = np.array([1, 2, 4, 8, 16, 32], dtype=np.float32).reshape(6, 1, 1)
    labels = ["dog", "dog", "dog", "cat", "dog", "cat"]
    found = means(vectors, labels, ["00000", "00000", "00001", "00001", "00002", "00002"])
    # The first sample holds two dogs; neither steers the other.
    np.testing.assert_allclose(found[:, 0, 0], [10, 10, (1 + 2 + 16) / 3, 32, (1 + 2 + 4) / 3, 8])
    assert found.dtype == np.float32


def test_mean_of_a_label_that_no_other_sample_has_is_nan():
    vectors = np.ones((3, 2, 4), dtype=np.float32)
    assert np.isnan(means(vectors, ["dog", "dog", "cat"], ["a", "a", "a"])).all()
    found = means(vectors, ["dog", "dog", "cat"], ["a", "b", "b"])
    assert np.isnan(found).all(axis=(1, 2)).tolist() == [False, False, True]
    sums = sum_by_label(vectors, ["dog", "dog", "cat"], ["cat", "dog"])
    assert np.isnan(sums.mean_without("yeti", vectors[:1], ["dog"])).all()


def test_mean_does_not_see_its_own_sample():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 2, 8)).astype(np.float32)
    labels = rng.choice(["dog", "cat", "hen"], 30)
    sample_ids = np.repeat([f"{i:05d}" for i in range(10)], 3)
    before = means(vectors, labels, sample_ids)
    vectors[:3] = 1000 * rng.normal(size=(3, 2, 8))
    after = means(vectors, labels, sample_ids)
    np.testing.assert_allclose(after[:3], before[:3], atol=1e-6)
    for event in range(30):
        others = [i for i in range(30) if labels[i] == labels[event] and sample_ids[i] != sample_ids[event]]
        np.testing.assert_allclose(after[event], vectors[others].mean(axis=0), rtol=1e-4, atol=1e-4)


def test_sums_of_parts_are_the_sums_of_the_whole():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(30, 2, 8)), rng.choice(["dog", "cat", "hen"], 30)
    names = ["cat", "dog", "hen", "owl"]
    whole = sum_by_label(vectors, labels, names)
    parts = sum_by_label(vectors[:7], labels[:7], names) + sum_by_label(vectors[7:], labels[7:], names)
    assert parts.labels == whole.labels == tuple(names)
    assert parts.count.tolist() == whole.count.tolist() == [(labels == name).sum() for name in names]
    np.testing.assert_allclose(parts.total, whole.total, rtol=0, atol=1e-12)


def test_sums_refuse_lists_of_different_lengths():
    with pytest.raises(ValueError, match="2 vectors, 1 labels"):
        sum_by_label(np.ones((2, 1, 1)), ["dog"], ["dog"])


def events_of(n_samples):
    """Vectors [event, layer, hidden], sample ids and positions of three events a sample."""
    vectors = np.random.default_rng(0).normal(size=(3 * n_samples, 2, 64)).astype(np.float32)
    return vectors, np.repeat([f"{i:05d}" for i in range(n_samples)], 3), ["begin", "middle", "end"] * n_samples


def test_random_directions_have_the_lengths_of_the_vectors_and_nothing_else_of_them():
    vectors, sample_ids, positions = events_of(40)
    directions = random_direction(vectors, sample_ids, positions)
    assert directions.dtype == np.float32
    np.testing.assert_allclose(norms(directions), norms(vectors), rtol=1e-6)
    # In 64 dimensions the cosine of unrelated directions has a standard deviation of 1/8: between vector and direction,
    # between layers, and between the events of a sample.
    for angles in (
        cosine(directions, vectors),
        cosine(directions[:, 0], directions[:, 1]),
        cosine(directions[::3], directions[1::3]),
        cosine(directions[3:], directions[:-3]),
    ):
        assert abs(angles.mean()) < 0.05
        assert 0.08 < angles.std() < 0.17
    np.testing.assert_allclose(cosine(random_direction(7 * vectors, sample_ids, positions), directions), 1)


def test_random_directions_depend_on_their_own_event_alone():
    vectors, sample_ids, positions = events_of(5)
    directions = random_direction(vectors, sample_ids, positions)
    np.testing.assert_array_equal(random_direction(vectors, sample_ids, positions), directions)
    np.testing.assert_array_equal(random_direction(vectors[::-1], sample_ids[::-1], positions[::-1])[::-1], directions)
    np.testing.assert_array_equal(random_direction(vectors[4:5], sample_ids[4:5], positions[4:5]), directions[4:5])


def test_a_random_direction_of_no_length_is_zero_and_of_an_undefined_one_undefined():
    vectors, sample_ids, positions = events_of(1)
    vectors[0, 0] = 0
    vectors[1, 1, 3] = np.nan
    directions = random_direction(vectors, sample_ids, positions)
    assert (directions[0, 0] == 0).all()
    assert np.isnan(directions[1, 1]).all()
    assert np.isfinite(directions[[0, 0, 1, 2], [0, 1, 0, 0]]).all()
