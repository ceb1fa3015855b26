"""How far the engine is from each model's own code, as one table."""

import json
from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.files import write_text

COLUMNS = ("model", "type", "device", "dtype", "states", "attention", "shared_states", "shared_attention", "verdict")
"""Differences of `selfcheck.Agreement`, in full and with shared prefixes, and what is done with a model."""


def main(argv: list[str] | None = None) -> None:
    """Write what `check_model` found as csv, and print it."""
    args = arguments.parse(__doc__, argv, checks=[Path], table=Path)
    logger = log.start("tabulate_checks")
    table = pd.DataFrame([json.loads(path.read_text(encoding="utf-8")) for path in args.checks])[list(COLUMNS)]
    write_text(args.table, table.to_csv(index=False))
    print(table.to_string(index=False, float_format="{:.1e}".format))
    logger.info("%d models: %s", len(table), args.table)


if __name__ == "__main__":
    log.run(main)
