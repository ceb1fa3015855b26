"""Which vector steers a query: every kind of `config.probe.VectorKind`, from the states of the query's sample."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import contrasted_states
from wheretolisten.steering.labels import LabelSums, absent_labels, shuffle_labels
from wheretolisten.steering.vectors import contrast, random_direction

_OF_NO_EVENT = ("random_direction", "absent_label", "shuffled_labels", "neutral")


@dataclass(frozen=True, eq=False)
class Sample:
    """What the vectors of a sample's queries are made of.

    Attributes
    ----------
    sample_id
        Index of the sample in its benchmark, as text.
    labels, domains
        Of its events, [position].
    shuffled_labels
        Labels that `labels.shuffle_labels` put on its events, [position].
    states
        Name (see `config.probe.contrasted_states`) → last-token states, [position, layer, hidden], or [1, layer,
        hidden] where all events share them.
    """

    sample_id: str
    labels: tuple[str, ...]
    domains: tuple[str, ...]
    shuffled_labels: tuple[str, ...]
    states: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class BenchmarkSums:
    """What label means are made of: sums by label, sums by shuffled label, and label → domain."""

    sums: LabelSums
    shuffled_sums: LabelSums
    domain_of: Mapping[str, str]


def steering_vectors(kind: str, sample: Sample, benchmark: BenchmarkSums) -> np.ndarray:
    """Vectors of one kind for the queries of a sample.

    Parameters
    ----------
    kind
        As `config.probe.VectorKind`.
    sample
        The sample, with the states that the kind contrasts.
    benchmark
        Sums over the benchmark that the sample is part of.

    Returns
    -------
    np.ndarray
        float32 [position, layer, hidden]; NaN where there is none: for a label that no other sample has, and where no
        label of the domain is absent.
    """
    first, second = contrasted_states(kind)
    own = contrast(sample.states[first], sample.states[second])
    own = np.broadcast_to(own, (len(POSITIONS), *own.shape[1:]))
    if kind == "random_direction":
        return random_direction(own, [sample.sample_id] * len(POSITIONS), POSITIONS)
    if kind == "other_label":
        return own[[POSITIONS.index(other_position(sample.sample_id, position)) for position in POSITIONS]]
    if kind == "shuffled_labels":
        return _means(benchmark.shuffled_sums, sample.labels, own, sample.shuffled_labels)
    if kind in ("label_mean", "absent_label"):
        return _means(benchmark.sums, steering_labels(kind, sample, benchmark), own, sample.labels)
    return own


def missing_vectors(kind: str, events: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Queries of a benchmark for which `steering_vectors` has none of a kind, and why.

    It follows from the labels alone, so that a query that nothing steered is told from one whose states or attention
    are not finite.

    Parameters
    ----------
    events
        All events of the benchmark: sample_id, position, label, domain.

    Returns
    -------
    dict
        Sample id and position → reason.
    """
    if kind not in ("label_mean", "absent_label", "shuffled_labels"):
        return {}
    order = events["sample_id"].drop_duplicates()
    table = events.pivot(index="sample_id", columns="position", values=["label", "domain"]).loc[order]
    labels, domains = (table[name][list(POSITIONS)].to_numpy().astype(str) for name in ("label", "domain"))
    domain_of = dict(zip(labels.ravel().tolist(), domains.ravel().tolist(), strict=True))
    averaged = shuffle_labels(labels, order.tolist()) if kind == "shuffled_labels" else labels
    count = dict(zip(*np.unique(averaged, return_counts=True), strict=True))
    missing = {}
    for sample_id, own, of_sample, own_domains in zip(order, labels, averaged, domains, strict=True):
        sought = own
        if kind == "absent_label":
            sought = absent_labels(sample_id, own.tolist(), own_domains.tolist(), domain_of)
        for position, label, domain in zip(POSITIONS, sought, own_domains, strict=True):
            if not label:
                missing[sample_id, position] = f"no label of domain {str(domain)!r} is absent from the recording"
            elif count[label] == (of_sample == label).sum():
                shuffled = " after shuffling" if kind == "shuffled_labels" else ""
                missing[sample_id, position] = f"no other sample has label {str(label)!r}{shuffled}"
    return missing


def steering_labels(kind: str, sample: Sample, benchmark: BenchmarkSums) -> list[str]:
    """Label whose vector steers each query of a sample, [position]; empty where it is nobody's."""
    if kind == "absent_label":
        return absent_labels(sample.sample_id, sample.labels, sample.domains, dict(benchmark.domain_of))
    targets = target_positions(kind, sample.sample_id)
    return [sample.labels[POSITIONS.index(target)] if target else "" for target in targets]


def target_positions(kind: str, sample_id: str) -> list[str]:
    """Position of the event whose vector steers each query of a sample, [position]; empty where it is no event's."""
    if kind in _OF_NO_EVENT:
        return [""] * len(POSITIONS)
    if kind == "other_label":
        return [other_position(sample_id, position) for position in POSITIONS]
    return list(POSITIONS)


def other_position(sample_id: str, position: str) -> str:
    """The event of a sample whose vector steers the query of another one: the next one, or the one before, in a circle.

    Within a sample every event's vector steers one query. Over samples both directions are equally frequent, also among
    those of a domain where two or four domains take turns: which one a sample has is the parity of the ones among the
    binary digits of its index (the Thue-Morse sequence). Plain alternation would keep step with the domains.
    """
    step = 1 if int(sample_id).bit_count() % 2 else -1
    return POSITIONS[(POSITIONS.index(position) + step) % len(POSITIONS)]


def _means(sums: LabelSums, labels: list[str], own: np.ndarray, own_labels: tuple[str, ...]) -> np.ndarray:
    return np.stack([sums.mean_without(label, own, own_labels) for label in labels])
