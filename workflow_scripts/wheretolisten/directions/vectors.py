"""Steering vectors from last-token states. Arrays only."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from wheretolisten.config.directions import Direction
from wheretolisten.directions.labels import LabelSums
from wheretolisten.directions.sources import Groups, Sample, labels_averaged, sources


def contrast(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """v = F(X+) − F(X−), the difference of the states under two instructions about the same audio (SWL §3.1).

    Parameters
    ----------
    positive, negative
        Last-token states, [..., layer, hidden]; leading axes are broadcast, so that one negative serves all events of
        its sample: positive [sample, position, layer, hidden] with negative [sample, 1, layer, hidden].

    Returns
    -------
    np.ndarray
        float32, in the broadcast shape.
    """
    return (np.asarray(positive, dtype=np.float32) - np.asarray(negative, dtype=np.float32)).astype(np.float32)


def random_direction(vectors: np.ndarray, sample_ids: Sequence[str], positions: Sequence[str]) -> np.ndarray:
    """A random vector of the same length for each: the control for "adding any vector of that size moves attention".

    Directions are uniform on the sphere and independent between events and layers. Those of an event depend on its
    sample id and position alone, so adding samples or reordering them changes none.

    Parameters
    ----------
    vectors
        [event, layer, hidden].
    sample_ids, positions
        Sample and position of every event, [event].

    Returns
    -------
    np.ndarray
        float32 [event, layer, hidden], each layer's vector as long (‖v‖₂) as the given one; NaN where that is NaN.
    """
    directions = np.empty(np.shape(vectors), dtype=np.float32)
    for event, (vector, sample_id, position) in enumerate(zip(vectors, sample_ids, positions, strict=True)):
        digest = hashlib.sha256(f"{sample_id}/{position}".encode()).digest()
        gaussian = np.random.default_rng(int.from_bytes(digest, "big")).standard_normal(vector.shape)
        directions[event] = gaussian * (norms(vector) / norms(gaussian))[:, None]
    return directions


def norms(vectors: np.ndarray) -> np.ndarray:
    """Length ‖v‖₂ of every vector, [..., layer] from [..., layer, hidden]."""
    return np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=-1)


def directions_of(
    direction: Direction,
    sample: Sample,
    states: Mapping[str, np.ndarray],
    groups: Groups,
    sums: LabelSums | None = None,
) -> np.ndarray:
    """The vectors of a direction that steer the queries of a sample.

    Parameters
    ----------
    sample
        The sample.
    states
        Name → its last-token states, [event, layer, hidden], or [1, layer, hidden] where its events share them.
    groups
        Labels of the examples.
    sums
        For means over others: sums by label of the contrast, of shuffled labels where the direction asks for them.

    Returns
    -------
    np.ndarray
        float32 [event, layer, hidden]; NaN where `sources.sources` says that one is missing.
    """
    own = contrast(*(states[name] for name in direction.contrast))
    own = np.broadcast_to(own, (len(sample.positions), *own.shape[1:]))
    if direction.control == "random":
        return random_direction(own, [sample.sample_id] * len(own), sample.positions)
    found = sources(direction, sample, groups)
    if direction.over == "own":
        return own[[sample.positions.index(source.position) for source in found]]
    averaged = labels_averaged(direction, sample, groups)
    return np.stack([sums.mean_without(source.group, own, averaged) for source in found])
