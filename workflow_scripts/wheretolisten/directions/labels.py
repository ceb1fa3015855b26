"""Vectors of labels: means over the events of all samples but one, from sums over all of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LabelSums:
    """Sums of own-sample vectors by label, from which the mean over any other samples follows.

    A vector of a 7B model has half a megabyte, so that the means of all queries would take as much room as all samples
    together; the sums take as much as one vector per label.

    Attributes
    ----------
    labels
        [label].
    count
        Events of each label, [label].
    total
        Sum of their vectors, float64 [label, layer, hidden].
    """

    labels: tuple[str, ...]
    count: np.ndarray
    total: np.ndarray

    def __add__(self, other: "LabelSums") -> "LabelSums":
        """Sums over the events of both, which name the same labels."""
        return LabelSums(self.labels, self.count + other.count, self.total + other.total)

    def mean_without(self, label: str, vectors: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """Mean vector of a label over all events but some, so that no query steers itself.

        Parameters
        ----------
        label
            Label that is averaged.
        vectors
            Vectors of the events that are left out, those of one sample, [event, layer, hidden].
        labels
            Their labels, [event]; only events of `label` matter.

        Returns
        -------
        np.ndarray
            float32 [layer, hidden]; NaN where no event is left, and where the label is unknown.
        """
        if label not in self.labels:
            return np.full(self.total.shape[1:], np.nan, dtype=np.float32)
        row = self.labels.index(label)
        own = np.asarray(labels) == label
        n_left = self.count[row] - own.sum()
        if n_left == 0:
            return np.full(self.total.shape[1:], np.nan, dtype=np.float32)
        left = self.total[row] - np.asarray(vectors)[own].sum(axis=0, dtype=np.float64)
        return (left / n_left).astype(np.float32)


def sum_by_label(vectors: np.ndarray, labels: Sequence[str], names: Sequence[str]) -> LabelSums:
    """Add the vectors of every label up.

    Parameters
    ----------
    vectors
        [event, layer, hidden].
    labels
        [event].
    names
        All labels, also those of no event here.
    """
    labels = np.asarray(labels)
    if len(vectors) != len(labels):
        raise ValueError(f"{len(vectors)} vectors, {len(labels)} labels")
    count = np.array([(labels == name).sum() for name in names])
    total = np.stack([vectors[labels == name].sum(axis=0, dtype=np.float64) for name in names])
    return LabelSums(tuple(names), count, total)


def shuffle_labels(labels: Sequence[str], sample_ids: Sequence[str]) -> np.ndarray:
    """The same labels on other events: a random permutation over all events, so that every label keeps its count.

    Parameters
    ----------
    labels
        [event], of all samples in order.
    sample_ids
        [sample]; the permutation is drawn with a seed that follows from them, so that equal examples have equal ones.

    Returns
    -------
    np.ndarray
        [event].
    """
    digest = hashlib.sha256("/".join(sample_ids).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big")).permutation(np.asarray(labels))


def absent_labels(
    sample_id: str, labels: Sequence[str], domains: Sequence[str], domain_of: Mapping[str, str]
) -> list[str]:
    """For each event of a sample a label of its domain that the sample does not hold.

    Which one follows from the sample's id. The events of a sample get different ones, as long as there are enough.

    Parameters
    ----------
    sample_id
        The sample.
    labels, domains
        Of its events, [event].
    domain_of
        Label → domain, of all labels of the examples.

    Returns
    -------
    list of str
        [event]; empty where the sample holds every label of the domain.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(sample_id.encode()).digest(), "big"))
    drawn = {}
    for domain in sorted(set(domains)):
        absent = sorted(label for label, own in domain_of.items() if own == domain and label not in labels)
        drawn[domain] = rng.permutation(absent).tolist() or [""]
    return [drawn[domain][event % len(drawn[domain])] for event, domain in enumerate(domains)]
