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


def main(argv: list[str] | None = None) -> None:
    """Write the bars of overlap of one benchmark as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="overlap.csv")
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_overlap")

    numbers = {column: [""] for column in ("ci_low", "ci_high")}
    names = {"model": str, "benchmark": str}
    table = pd.read_csv(arguments.table, keep_default_na=False, na_values=numbers, dtype=names)
    missing = set(COLUMNS) - set(table)
    if missing:
        raise UserError(
            f"{arguments.table}: column {', '.join(sorted(missing))} is missing; run tabulate_overlap again"
        )
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
