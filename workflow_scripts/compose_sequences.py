"""Compose the samples of one shard of sequences, and render them where they have audio."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.config.examples import Composition
from wheretolisten.examples.writing import write_samples


def main(argv: list[str] | None = None) -> None:
    """Write the shard's audio folder, if there is to be one, then its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="the composition, JSON")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, csv")
    parser.add_argument("--first", type=int, required=True, help="index of the first sample")
    parser.add_argument("--stop", type=int, required=True, help="index after the last sample")
    parser.add_argument("--shard", type=Path, required=True, help="table of events to write, csv")
    parser.add_argument("--audio", type=Path, help="folder of samples to write, audio/<shard>; left out: none")
    args = parser.parse_args(argv)
    log.start("compose_sequences")
    settings = Composition.from_json(args.settings)
    write_samples(settings, args.clips, range(args.first, args.stop), args.shard, args.audio)


if __name__ == "__main__":
    log.run(main)
