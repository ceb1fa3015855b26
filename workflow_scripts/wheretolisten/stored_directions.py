"""Vectors of directions, put together from result files by the scripts that steer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wheretolisten import store
from wheretolisten.config.directions import Direction, stored_state
from wheretolisten.directions.labels import LabelSums
from wheretolisten.directions.sources import Groups, Sample, sources
from wheretolisten.directions.vectors import directions_of
from wheretolisten.passes import Example


@dataclass(frozen=True, eq=False)
class Steered:
    """What steers the queries of a sample, by event, and those about absent sounds.

    Attributes
    ----------
    vectors
        [event + absent, layer, hidden].
    targets, labels
        Event (or absent sound) whose vector it is, and its label, [event + absent]; empty where it is none's. The label
        of the control absent_label has no event.
    """

    vectors: np.ndarray
    targets: list[str]
    labels: list[str]


class StoredDirections:
    """Directions of the queries of one shard.

    Vectors of a sample itself are read as the states that they are the difference of: stored by themselves they would
    take as much room again for every direction.

    Parameters
    ----------
    states
        States of the shard.
    directions
        Label sums of the examples.
    sample_ids
        Samples of the shard.
    examples_digest
        Digest of the shard.
    model
        Identity of the model.

    Raises
    ------
    UserError
        If one of the files is damaged, or not of these examples and model.
    """

    def __init__(
        self, states: Path, directions: Path, sample_ids: Sequence[str], examples_digest: str, model: str
    ) -> None:
        self._states, self._origin = states, (examples_digest, model)
        found = store.read_directions(directions, sample_ids, *self._origin)
        domain_of, count = (dict(zip(found.labels, of, strict=True)) for of in (found.domains, found.counts.tolist()))
        self._groups = Groups(domain_of, count, found.shuffled_labels)
        self._sums, self._shuffled_sums = (
            {contrast: LabelSums(found.labels, found.counts, total) for contrast, total in of.items()}
            for of in (found.sums, found.shuffled_sums)
        )

    def of_sample(
        self, example: Example, directions: Sequence[Direction], n_absent: Sequence[int] | None = None
    ) -> list[Steered]:
        """What steers the queries of a sample, and about how many of the first absent sounds, for each direction."""
        columns = [tuple(event[key] for event in example.events) for key in ("position", "label", "domain")]
        absent = tuple(sound["label"] for sound in example.absent)
        samples = [Sample(example.example_id, *columns, absent[:n]) for n in n_absent or [0] * len(directions)]
        needed = sorted({stored_state(state) for direction in directions for state in direction.contrast})
        _, states = store.read_states(self._states, needed, [example.example_id], *self._origin)
        states = {name: values[0] for name, values in states.items()}
        return [self._steered(*each, states) for each in zip(directions, samples, strict=True)]

    def _steered(self, direction: Direction, sample: Sample, states: dict[str, np.ndarray]) -> Steered:
        sums = self._shuffled_sums if direction.control == "shuffled_labels" else self._sums
        found = sources(direction, sample, self._groups)
        if direction.over == "own" and all(len(states[stored_state(name)]) == 1 for name in direction.contrast):
            # A contrast that names no label is no event's.
            targets, labels = ([""] * len(found) for _ in range(2))
        else:
            targets, labels = [source.position for source in found], [source.label for source in found]
        vectors = directions_of(direction, sample, states, self._groups, sums.get(direction.contrast))
        return Steered(vectors, targets, labels)
