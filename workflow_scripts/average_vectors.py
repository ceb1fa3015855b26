"""Steering vectors of a benchmark: own-sample, label means over the other samples, and random directions."""

import argparse
from pathlib import Path

import numpy as np

from wheretolisten import log, provenance, store
from wheretolisten.benchmark import read_shard
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.sections import Section
from wheretolisten.files import sha256_of_file
from wheretolisten.steering.vectors import contrast, cosine, norms, vectors_by_kind


def main(argv: list[str] | None = None) -> None:
    """Contrast the states of all shards, average over labels, and write every event's vectors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--activations", nargs="+", required=True, help="activations, one file per shard")
    parser.add_argument("--shards", nargs="+", required=True, help="the benchmark's shards, in the same order")
    parser.add_argument("--identity", required=True, help="identity of the model that the activations are of")
    parser.add_argument("--output", type=Path, required=True, help="vectors, HDF5")
    args = parser.parse_args(argv)
    logger = log.start("average_vectors")

    digests = [sha256_of_file(path) for path in args.shards]
    states = [
        store.read_states(path, digest, args.identity) for path, digest in zip(args.activations, digests, strict=True)
    ]
    labels = np.concatenate([_labels(path, shard[0]) for path, shard in zip(args.shards, states, strict=True)])
    sample_ids = np.concatenate([shard[0] for shard in states])
    own = np.concatenate([contrast(positive, negative[:, None]) for _, negative, positive in states])
    del states

    kinds = vectors_by_kind(own, labels, sample_ids)
    inputs = {f"activations_{number}": path for number, path in enumerate(args.activations)}
    identity, attributes = provenance.of_job("average_vectors", Section(), inputs)
    attributes |= {"model": args.identity, "benchmark_digests": digests}
    result = store.PartedFile(args.output, store.VECTORS, identity, attributes)
    result.write(
        0,
        {
            "sample_id": sample_ids.astype("S"),
            "label": np.char.encode(labels, "utf-8"),
            **{f"vector/{kind}": vectors for kind, vectors in kinds.items()},
            "norm/sample": norms(own),
            "norm/label_mean": norms(kinds["label_mean"]),
            "cosine": cosine(own, kinds["label_mean"]),
        },
    )
    result.merge(1)
    names, counts = np.unique(labels, return_counts=True)
    if (counts < 2).any():
        logger.warning("no label mean where a label occurs in one sample only: %s", ", ".join(names[counts < 2]))
    logger.info("%d samples; %d labels, each in %d to %d of them", len(own), len(names), counts.min(), counts.max())


def _labels(path: str, sample_ids: np.ndarray) -> np.ndarray:
    """Labels [sample, position] of a shard's samples."""
    table = read_shard(path).pivot(index="sample_id", columns="position", values="label")
    return table.loc[sample_ids, list(POSITIONS)].to_numpy().astype(str)


if __name__ == "__main__":
    log.run(main)
