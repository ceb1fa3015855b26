"""Fetch one checkpoint from the model hub into the cache, check its files, and write down what was fetched."""

import argparse
import json
from pathlib import Path

from wheretolisten import files, log
from wheretolisten.models import hub


def main(argv: list[str] | None = None) -> None:
    """Fetch one checkpoint at one commit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", required=True, help="hub repository, owner/name")
    parser.add_argument("--revision", required=True, help="commit, 40 hexadecimal digits")
    parser.add_argument("--output", type=Path, required=True, help="list of the files with sizes and digests, JSON")
    args = parser.parse_args(argv)
    logger = log.start("fetch_models")
    fetched = hub.fetch(args.checkpoint, args.revision)
    files.write_text(args.output, json.dumps(fetched, indent=2) + "\n")
    logger.info("%s is complete in %s", args.checkpoint, fetched["folder"])


if __name__ == "__main__":
    log.run(main)
