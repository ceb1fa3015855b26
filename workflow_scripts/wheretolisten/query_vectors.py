"""Steering vectors of queries, put together from result files by the scripts that steer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import contrasted_states
from wheretolisten.steering.kinds import BenchmarkSums, Sample, steering_labels, steering_vectors, target_positions
from wheretolisten.steering.labels import LabelSums


@dataclass(frozen=True, eq=False)
class Query:
    """One query's vectors [kind, layer, hidden]; for each the position and the label of the event that it is of.

    Both are empty where the vector is no event's; an absent label has no position.
    """

    vectors: np.ndarray
    targets: list[str]
    labels: list[str]


class QueryVectors:
    """Vectors of the queries of one shard.

    Own-sample vectors are read as the states that they are the difference of: stored by themselves they would take as
    much room again for every kind.

    Parameters
    ----------
    activations
        Activations of the shard.
    vectors
        Label sums of the benchmark.
    sample_ids
        Samples of the shard.
    benchmark_digest
        Digest of the shard.
    model
        Identity of the model.

    Raises
    ------
    UserError
        If one of the files is damaged, or not of this benchmark and model.
    """

    def __init__(
        self, activations: Path, vectors: Path, sample_ids: Sequence[str], benchmark_digest: str, model: str
    ) -> None:
        self._activations, self._origin = activations, (benchmark_digest, model)
        found = store.read_vectors(vectors, sample_ids, *self._origin)
        self._shuffled_labels = found.shuffled_labels
        sums, shuffled = (LabelSums(found.labels, found.counts, total) for total in (found.sums, found.shuffled_sums))
        self._sums = BenchmarkSums(sums, shuffled, dict(zip(found.labels, found.domains, strict=True)))

    def of_query(self, events: pd.DataFrame, position: str, kinds: Sequence[str]) -> Query:
        """Vectors that steer for the event at one position of a sample; `events` are the sample's, in order."""
        sample_id = events["sample_id"].iloc[0]
        needed = sorted({state for kind in kinds for state in contrasted_states(kind)})
        _, states = store.read_states(self._activations, needed, [sample_id], *self._origin)
        sample = Sample(
            sample_id,
            tuple(events["label"]),
            tuple(events["domain"]),
            self._shuffled_labels[sample_id],
            {state: values[0] for state, values in states.items()},
        )
        place = POSITIONS.index(position)
        return Query(
            np.stack([steering_vectors(kind, sample, self._sums)[place] for kind in kinds]),
            [target_positions(kind, sample_id)[place] for kind in kinds],
            [steering_labels(kind, sample, self._sums)[place] for kind in kinds],
        )
