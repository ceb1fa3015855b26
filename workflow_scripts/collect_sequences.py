"""Join the shards of sequences into its tables of samples and of events."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.examples.shards import collect, write_shard
from wheretolisten.files import atomic_path


def main(argv: list[str] | None = None) -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="tables of the shards in order, csv")
    parser.add_argument("--samples", type=Path, required=True, help="table of samples to write, csv")
    parser.add_argument("--events", type=Path, required=True, help="table of events to write, csv")
    args = parser.parse_args(argv)
    logger = log.start("collect_sequences")
    samples, events = collect(args.shards)
    with atomic_path(args.samples) as temporary:
        samples.to_csv(temporary, index=False, lineterminator="\n")
    write_shard(events, args.events)
    logger.info("%d samples, %.1f hours of audio", len(samples), samples["seconds"].sum() / 3600)
    for domain, count in samples["domain"].value_counts().sort_index().items():
        logger.info("domain %s: %d samples", domain, count)


if __name__ == "__main__":
    log.run(main)
