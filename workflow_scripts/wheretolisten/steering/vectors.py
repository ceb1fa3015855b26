"""Steering vectors from last-token states."""

import hashlib
from collections.abc import Sequence

import numpy as np


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


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of the angle between vectors, [..., layer] from [..., layer, hidden]; NaN where one is zero."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return (first * second).sum(axis=-1) / (norms(first) * norms(second))
