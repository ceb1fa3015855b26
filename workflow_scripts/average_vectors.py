"""Sums of own-sample steering vectors by label, from which label means follow, and lengths and angles of vectors."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import log, provenance, store
from wheretolisten.benchmark import read_shard
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.sections import Section
from wheretolisten.files import sha256_of_file
from wheretolisten.steering.labels import shuffle_labels, sum_by_label
from wheretolisten.steering.vectors import contrast, cosine, norms


def main(argv: list[str] | None = None) -> None:
    """Contrast the states of all shards, one shard at a time, and add the vectors up by label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", nargs="+", required=True, help="activations, one file per shard")
    parser.add_argument("--shards", nargs="+", required=True, help="the benchmark's shards, in the same order")
    parser.add_argument("--identity", required=True, help="identity of the model that the activations are of")
    parser.add_argument("--output", type=Path, required=True, help="vectors, HDF5")
    args = parser.parse_args(argv)
    logger = log.start("average_vectors")

    digests = [sha256_of_file(path) for path in args.shards]
    tables = [_by_position(path) for path in args.shards]
    labels = np.concatenate([table["label"][list(POSITIONS)].to_numpy() for table in tables]).astype(str)
    domains = np.concatenate([table["domain"][list(POSITIONS)].to_numpy() for table in tables]).astype(str)
    sample_ids = [sample_id for table in tables for sample_id in table.index]
    shuffled = shuffle_labels(labels, sample_ids)

    def own_vectors() -> Iterator[tuple[slice, np.ndarray]]:
        """Rows of each shard's samples, and their own-sample vectors [sample, position, layer, hidden]."""
        start = 0
        for path, table, digest in zip(args.activations, tables, digests, strict=True):
            _, states = store.read_states(path, sample_ids=table.index, benchmark_digest=digest, model=args.identity)
            yield slice(start, start + len(table)), contrast(states["positive"], states["negative"])
            start += len(table)

    names = np.unique(labels)
    sums = shuffled_sums = None
    for rows, own in own_vectors():
        events = own.reshape(-1, *own.shape[2:])
        of_shard, shuffled_of_shard = (sum_by_label(events, of[rows].ravel(), names) for of in (labels, shuffled))
        sums = of_shard if sums is None else sums + of_shard
        shuffled_sums = shuffled_of_shard if shuffled_sums is None else shuffled_sums + shuffled_of_shard
    lengths, mean_lengths, angles = [], [], []
    for rows, own in own_vectors():
        for vectors, of_sample in zip(own, labels[rows], strict=True):
            means = np.stack([sums.mean_without(label, vectors, of_sample) for label in of_sample])
            lengths.append(norms(vectors))
            mean_lengths.append(norms(means))
            angles.append(cosine(vectors, means))

    inputs = {f"activations_{number}": path for number, path in enumerate(args.activations)}
    identity, attributes = provenance.of_job("average_vectors", Section(), inputs)
    attributes |= {"model": args.identity, "benchmark_digests": digests}
    result = store.PartedFile(args.output, store.VECTORS, identity, attributes)
    domain_of = dict(zip(labels.ravel(), domains.ravel(), strict=True))
    result.write(
        0,
        {
            "label": np.char.encode(names, "utf-8"),
            "domain": np.char.encode([domain_of[label] for label in names], "utf-8"),
            "count": sums.count,
            "sum/label": sums.total,
            "sum/shuffled": shuffled_sums.total,
            "sample_id": np.array(sample_ids, dtype="S"),
            "shuffled_label": np.searchsorted(names, shuffled),
            "norm/sample": np.stack(lengths),
            "norm/label_mean": np.stack(mean_lengths),
            "cosine": np.stack(angles),
        },
    )
    result.merge(1)
    rare = [label for label in names if (labels == label).any(axis=1).sum() < 2]
    if rare:
        logger.warning("no label mean where a label occurs in one sample only: %s", ", ".join(rare))
    counts = (sums.count.min(), sums.count.max())
    logger.info("%d samples; %d labels, each of %d to %d events", len(labels), len(names), *counts)


def _by_position(path: str) -> pd.DataFrame:
    """Labels and domains of a shard's samples, one row per sample: columns label and domain by position."""
    table = read_shard(path)
    order = table["sample_id"].drop_duplicates()
    return table.pivot(index="sample_id", columns="position", values=["label", "domain"]).loc[order]


if __name__ == "__main__":
    log.run(main)
