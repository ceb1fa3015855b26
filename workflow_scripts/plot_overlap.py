"""Draw the overlap by position and method."""

import argparse
from pathlib import Path

import pandas as pd

from wheretolisten import log
from wheretolisten.errors import UserError
from wheretolisten.figures.overlap import draw_overlap
from wheretolisten.figures.style import save
from wheretolisten.localization.table import RANDOM_MODEL
from wheretolisten.statistics.summary import COLUMNS
from wheretolisten.statistics.tables import read_table


def main(argv: list[str] | None = None) -> None:
    """Write the bars of overlap of one benchmark as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="overlap.csv")
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_overlap")

    words, numbers = COLUMNS[:4], COLUMNS[4:]
    table = read_table(arguments.table, words, numbers, "tabulate_overlap")
    table = _rows_of(table, arguments.benchmark, arguments.table)
    save(draw_overlap(table), arguments.pdf, arguments.png)
    logger.info("%d bars: %s", len(table), arguments.pdf)


def _rows_of(table: pd.DataFrame, benchmark: str, where: Path) -> pd.DataFrame:
    rows = table[(table["benchmark"] == benchmark) & (table["model"] != RANDOM_MODEL)]
    if rows.empty:
        raise UserError(f"{where}: no model answers benchmark {benchmark!r}; name one that the tables hold")
    return rows


if __name__ == "__main__":
    log.run(main)
