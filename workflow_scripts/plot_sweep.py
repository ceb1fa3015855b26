"""Draw the overlap at every value of a sweep."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.figures.style import save
from wheretolisten.figures.sweep import draw_sweep
from wheretolisten.statistics.tables import read_table


def main(argv: list[str] | None = None) -> None:
    """Write the figure of one sweep as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="table of the sweep, csv")
    parser.add_argument("--vary", required=True, help="key that is varied")
    parser.add_argument("--own", required=True, help="the run's own value of it")
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_sweep")
    words, numbers = ("model", "value", "position"), ("overlap_pct", "ci_low", "ci_high", "chance", "n_queries")
    table = read_table(arguments.table, words, numbers, "tabulate_sweep")
    save(draw_sweep(table, arguments.vary, arguments.own), arguments.pdf, arguments.png)
    logger.info("%d values: %s", table["value"].nunique(), arguments.pdf)


if __name__ == "__main__":
    log.run(main)
