"""Tabulate the overlap at every value of a sweep."""

import argparse
from pathlib import Path

import pandas as pd

from wheretolisten import log
from wheretolisten.statistics.sweeps import summarize_sweep
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Write overlap by model, value and position of one sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--localization", type=Path, required=True, help="one row per query and value, csv")
    parser.add_argument("--table", type=Path, required=True, help="overlap by model, value and position, csv")
    args = parser.parse_args(argv)
    logger = log.start("tabulate_sweep")
    # A query without a vector has no overlap; a value may be called "NA".
    kinds, unknown = {"value": str, "model": str}, {"overlap": [""]}
    queries = pd.read_csv(args.localization, keep_default_na=False, na_values=unknown, dtype=kinds)
    table = summarize_sweep(queries)
    write_table(table, args.table, decimals=6)
    for row in table[table["position"] == "overall"].itertuples():
        logger.info(
            "%s, %s: %.1f %% of %d queries, %d more have no vector",
            *(row.model, row.value, row.overlap_pct, row.n_queries, row.n_without_vector),
        )


if __name__ == "__main__":
    log.run(main)
