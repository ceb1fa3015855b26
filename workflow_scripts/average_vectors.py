"""Sums of own vectors by label, from which label means follow, for every contrast that some method takes means of."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import log, provenance, store
from wheretolisten.config.directions import stored_state
from wheretolisten.config.settings import AveragingSettings
from wheretolisten.directions.labels import shuffle_labels, sum_by_label
from wheretolisten.directions.vectors import own_contrast
from wheretolisten.examples import read_shard
from wheretolisten.files import sha256_of_file


def main(argv: list[str] | None = None) -> None:
    """Contrast the states of all shards, one shard at a time, and add the vectors up by label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="contrasts, JSON")
    parser.add_argument("--states", nargs="+", required=True, help="states, one file per shard")
    parser.add_argument("--shards", nargs="+", required=True, help="the examples' shards, in the same order")
    parser.add_argument("--identity", required=True, help="identity of the model that the states are of")
    parser.add_argument("--output", type=Path, required=True, help="label sums, HDF5")
    args = parser.parse_args(argv)
    logger = log.start("average_vectors")
    settings = AveragingSettings.from_json(args.settings)

    digests = [sha256_of_file(path) for path in args.shards]
    tables = [read_shard(path) for path in args.shards]
    events = pd.concat(tables, ignore_index=True)
    sample_ids = events["sample_id"].unique().tolist()
    labels = events["label"].to_numpy().astype(str)
    shuffled = shuffle_labels(labels, sample_ids)
    names, counts = np.unique(labels, return_counts=True)
    sums = {}
    start = 0
    for path, table, digest in zip(args.states, tables, digests, strict=True):
        rows = slice(start, start + len(table))
        start += len(table)
        needed = sorted({stored_state(state) for pair in settings.contrasts for state in pair})
        ids = table["sample_id"].unique()
        _, states = store.read_states(path, needed, ids, digest, args.identity)
        for first, second in settings.contrasts:
            of_samples = ({name: values[sample] for name, values in states.items()} for sample in range(len(ids)))
            vectors = np.concatenate(
                [own_contrast((first, second), each, len(table) // len(ids)) for each in of_samples]
            )
            for kind, of in (("sum", labels), ("shuffled_sum", shuffled)):
                of_shard, name = sum_by_label(vectors, of[rows], names), f"{kind}/{first}/{second}"
                sums[name] = sums[name] + of_shard if name in sums else of_shard

    inputs = {f"states_{number}": path for number, path in enumerate(args.states)}
    identity, attributes = provenance.of_job("average_vectors", settings, inputs)
    attributes |= {"model": args.identity, "examples_digests": digests, "contrasts": settings.contrasts}
    result = store.PartedFile(args.output, store.schema.directions(settings.contrasts), identity, attributes)
    domain_of = dict(zip(labels, events["domain"], strict=True))
    encoded = {
        name: store.texts(values)
        for name, values in (
            ("label", names),
            ("domain", [domain_of[label] for label in names]),
            ("sample_id", sample_ids),
        )
    }
    rows = np.searchsorted(names, shuffled).reshape(len(sample_ids), -1)
    result.write(
        0, {"count": counts, **encoded, "shuffled_label": rows, **{name: each.total for name, each in sums.items()}}
    )
    result.merge(1)
    rare = [label for label in names if events.loc[labels == label, "sample_id"].nunique() < 2]
    if rare:
        logger.warning("no label mean where a label occurs in one sample only: %s", ", ".join(rare))
    logger.info(
        "%d samples; %d labels, each of %d to %d events", len(sample_ids), len(names), counts.min(), counts.max()
    )


if __name__ == "__main__":
    log.run(main)
