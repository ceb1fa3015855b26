"""Whose vector steers a query: every control is one function of labels alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wheretolisten.config.directions import Direction
from wheretolisten.config.positions import absent_positions
from wheretolisten.directions.labels import absent_labels, shuffle_labels


@dataclass(frozen=True)
class Sample:
    """The events of one sample in order: their positions, labels and domains, [event].

    `absent` are labels of sounds that it does not hold and that it is asked about as well, [absent].
    """

    sample_id: str
    positions: tuple[str, ...]
    labels: tuple[str, ...]
    domains: tuple[str, ...]
    absent: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """Positions of the events and of absent sounds, [event + absent]."""
        return (*self.positions, *absent_positions(len(self.absent)))

    @classmethod
    def of(cls, events: pd.DataFrame) -> "Sample":
        """From the rows of a table of events."""
        columns = (tuple(map(str, events[name])) for name in ("position", "label", "domain"))
        return cls(events["sample_id"].iloc[0], *columns)


@dataclass(frozen=True, eq=False)
class Groups:
    """The labels of sequences: their domains, how many events each has, and where shuffling put them.

    `shuffled` is sample id → labels that `labels.shuffle_labels` put on its events, [event].
    """

    domain_of: Mapping[str, str]
    count: Mapping[str, int]
    shuffled: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, samples: list[Sample]) -> "Groups":
        """Of all samples of sequences, in its order."""
        labels = np.array([label for sample in samples for label in sample.labels], dtype=str)
        domains = [domain for sample in samples for domain in sample.domains]
        shuffled = shuffle_labels(labels, [sample.sample_id for sample in samples]).tolist()
        ends = np.cumsum([len(sample.labels) for sample in samples]).tolist()
        names, counts = np.unique(labels, return_counts=True)
        return cls(
            dict(zip(labels.tolist(), domains, strict=True)),
            dict(zip(names.tolist(), counts.tolist(), strict=True)),
            {
                sample.sample_id: tuple(shuffled[end - len(sample.labels) : end])
                for sample, end in zip(samples, ends, strict=True)
            },
        )


@dataclass(frozen=True)
class Source:
    """Whose vector steers one query.

    Attributes
    ----------
    position, label
        Event of the sample whose vector it is, and its label; empty where it is none's. An absent label has no event.
    group
        Label over whose other events the mean is taken, where one is.
    missing
        Why there is none; empty where there is one.
    """

    position: str
    label: str
    group: str = ""
    missing: str = ""


def _own(sample: Sample, groups: Groups) -> list[Source]:
    labels = (*sample.labels, *sample.absent)
    return [Source(*own, group=own[1]) for own in zip(sample.asked, labels, strict=True)]


def _nobody(sample: Sample, groups: Groups) -> list[Source]:
    # What shuffling left under the label of the query, and random directions: no event's and no label's.
    return [Source("", "", group=label) for label in (*sample.labels, *sample.absent)]


def _other_event(sample: Sample, groups: Groups) -> list[Source]:
    own = dict(zip(sample.asked, _own(sample, groups), strict=True))
    others = (
        other_positions(sample.sample_id, some) for some in (sample.positions, sample.asked[len(sample.labels) :])
    )
    return [own[position] for positions in others for position in positions]


def other_positions(sample_id: str, positions: Sequence[str]) -> list[str]:
    """For each event of a sample another one of it: the next one, or the one before, in a circle.

    Within a sample every event's vector steers one query. Over samples both directions are equally frequent, also among
    those of a domain where two or four domains take turns: which one a sample has is the parity of the ones among the
    binary digits of its index (the Thue-Morse sequence). Plain alternation would keep step with the domains.
    """
    step = 1 if int(sample_id).bit_count() % 2 else -1
    return [positions[(number + step) % len(positions)] for number in range(len(positions))]


def _absent_label(sample: Sample, groups: Groups) -> list[Source]:
    absent = absent_labels(sample.sample_id, sample.labels, sample.domains, groups.domain_of)
    found = [
        Source("", label, label, "" if label else f"no label of domain {domain!r} is absent from the recording")
        for label, domain in zip(absent, sample.domains, strict=True)
    ]
    # An absent sound is asked about with the vector of another one.
    return found + [Source("", label, label) for label in (*sample.absent[1:], *sample.absent[:1])]


_SOURCES: dict[str | None, Callable[[Sample, Groups], list[Source]]] = {
    None: _own,
    "random": _nobody,
    "other_event": _other_event,
    "absent_label": _absent_label,
    "shuffled_labels": _nobody,
}
"""Control of a direction → whose vector steers each query of a sample."""


def sources(direction: Direction, sample: Sample, groups: Groups) -> list[Source]:
    """Whose vector steers each query of a sample, [event + absent].

    It follows from the labels alone, so that a query that nothing steered is told from one whose states or attention
    are not finite.
    """
    found = _SOURCES[direction.control](sample, groups)
    if direction.over == "own":
        return found
    averaged = labels_averaged(direction, sample, groups)
    return [
        source
        if source.missing or groups.count.get(source.group, 0) > averaged.count(source.group)
        else Source(
            source.position,
            source.label,
            source.group,
            f"no other sample has label {source.group!r}"
            + " after shuffling" * (direction.control == "shuffled_labels"),
        )
        for source in found
    ]


def labels_averaged(direction: Direction, sample: Sample, groups: Groups) -> tuple[str, ...]:
    """Labels under which the sample's own events enter the means of labels, [event]."""
    return groups.shuffled[sample.sample_id] if direction.control == "shuffled_labels" else sample.labels


def missing_vectors(direction: Direction, events: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Queries of sequences for which a direction has no vector, and why.

    Parameters
    ----------
    events
        All events of the examples: sample_id, position, label, domain.

    Returns
    -------
    dict
        Sample id and position → reason.
    """
    if direction.over == "own":
        return {}
    samples = [Sample.of(rows) for _, rows in events.groupby("sample_id", sort=False)]
    groups = Groups.of(samples)
    return {
        (sample.sample_id, position): source.missing
        for sample in samples
        for position, source in zip(sample.positions, sources(direction, sample, groups), strict=True)
        if source.missing
    }
