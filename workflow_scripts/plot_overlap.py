"""Draw the overlap by position and method."""

import argparse
from pathlib import Path

import pandas as pd

from wheretolisten import log
from wheretolisten.errors import UserError
from wheretolisten.figures.overlap import draw_overlap
from wheretolisten.figures.style import save
from wheretolisten.localization.table import RANDOM_MODEL, read_localization
from wheretolisten.statistics.intervals import clustered_interval
from wheretolisten.statistics.summary import COLUMNS


def main(argv: list[str] | None = None) -> None:
    """Write the bars of overlap of one benchmark as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="overlap.csv")
    parser.add_argument("--localization", type=Path, nargs="+", required=True, help="the tables it was made from")
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_overlap")

    table = pd.read_csv(arguments.table, keep_default_na=False, dtype={"model": str, "benchmark": str})
    missing = set(COLUMNS) - set(table)
    if missing:
        raise UserError(
            f"{arguments.table}: column {', '.join(sorted(missing))} is missing; run tabulate_overlap again"
        )
    table = _rows_of(table, arguments.benchmark, arguments.table)
    where = ", ".join(str(path) for path in arguments.localization)
    localization = _rows_of(read_localization(arguments.localization), arguments.benchmark, where)
    save(draw_overlap(table, _intervals(localization)), arguments.pdf, arguments.png)
    logger.info("%d bars: %s", len(table), arguments.pdf)


def _rows_of(table: pd.DataFrame, benchmark: str, where: str | Path) -> pd.DataFrame:
    rows = table[(table["benchmark"] == benchmark) & (table["model"] != RANDOM_MODEL)]
    if rows.empty:
        raise UserError(f"{where}: no model answers benchmark {benchmark!r}; name one that the tables hold")
    return rows


def _intervals(localization: pd.DataFrame) -> pd.DataFrame:
    """95 % intervals of the overlap by model, method and position, in percent."""
    both = pd.concat([localization, localization.assign(position="overall")])
    rows = []
    for (model, method, position), group in both.groupby(["model", "method", "position"]):
        low, high = clustered_interval(100 * group["overlap"].to_numpy(), group["source"].to_numpy())
        rows.append({"model": model, "method": method, "position": position, "low": low, "high": high})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    log.run(main)
