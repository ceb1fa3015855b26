"""Steering vectors from last-token states. Arrays only."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from wheretolisten.config.directions import Direction, averaged_over, stored_state
from wheretolisten.directions.labels import LabelSums
from wheretolisten.directions.sources import Groups, Sample, labels_averaged, sources
from wheretolisten.errors import UserError


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
        Stored name → its states, [event + absent, layer, hidden], or [1, layer, hidden] where its events share them.
    groups
        Labels of the examples.
    sums
        For means over others: sums by label of the contrast, of shuffled labels where the direction asks for them.

    Returns
    -------
    np.ndarray
        float32 [event + absent, layer, hidden]; NaN where `sources.sources` says that one is missing.
    """
    n_events = len(sample.positions)
    own = own_contrast(direction.contrast, states, n_events, len(sample.asked))
    if direction.control == "random":
        return random_direction(own, [sample.sample_id] * len(own), sample.asked)
    found = sources(direction, sample, groups)
    if direction.over == "own":
        return own[[sample.asked.index(source.position) for source in found]]
    averaged = labels_averaged(direction, sample, groups)
    return np.stack([sums.mean_without(source.group, own[:n_events], averaged) for source in found])


def own_contrast(
    names: tuple[str, str], states: Mapping[str, np.ndarray], n_events: int, n_asked: int | None = None
) -> np.ndarray:
    """The contrast of two states for every event of a sample and for absent sounds that it is asked about.

    Parameters
    ----------
    names
        The first and the second state.
    states
        Stored name → [event + absent, layer, hidden], or [1, layer, hidden] where all share it. A state about more
        sounds than are asked about is one that others are held against.
    n_events
        Events of the sample, which come first.
    n_asked
        Events and absent sounds that are wanted; None: the events.

    Returns
    -------
    np.ndarray
        float32 [event + absent, layer, hidden].

    Raises
    ------
    UserError
        If a state is to be the mean over absent sounds, and there are too few.
    """
    n_asked = n_events if n_asked is None else n_asked
    first, second = (_state_of_each(name, states[stored_state(name)], n_events, n_asked) for name in names)
    return contrast(first, second)


def _state_of_each(name: str, values: np.ndarray, n_events: int, n_asked: int) -> np.ndarray:
    """A state as each sound that is asked about has it, [event + absent, layer, hidden]."""
    if not (n_averaged := averaged_over(name)):
        return np.broadcast_to(values, (n_asked, *values.shape[1:])) if len(values) == 1 else values[:n_asked]
    absent = values[n_events:]
    if len(absent) < 1 + (n_asked > n_events):
        raise UserError(
            f"{name} is the mean over sounds that a recording does not hold, and too few labels are left for it; add "
            "labels to the sounds, or take out the directions that are made of it"
        )
    return np.stack(
        [
            # An absent sound is no part of the mean that it is held against.
            np.delete(absent, max(number - n_events, 0), axis=0)[:n_averaged].mean(axis=0)
            if number >= n_events
            else absent[:n_averaged].mean(axis=0)
            for number in range(n_asked)
        ]
    )
