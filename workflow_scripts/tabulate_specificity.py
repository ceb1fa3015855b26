"""Tabulate which event of the recording the predicted windows land on."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.localization.table import read_localization
from wheretolisten.statistics.specificity import summarize_specificity
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Write the shares as csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--localization", type=Path, nargs="+", required=True, help="tables of models and benchmarks")
    parser.add_argument("--other-event", nargs="*", default=[], help="methods that steer with another event's vector")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("tabulate_specificity")

    table = summarize_specificity(read_localization(arguments.localization), arguments.other_event)
    write_table(table, arguments.output, decimals=6)
    own = table[(table["landed_on"] == table["position"]) & (table["n"] > 0)]
    for key, rows in own.groupby(["model", "benchmark", "method", "reference"], sort=False):
        logger.info("%s, %s, %s: %.1f %% land on the event %s", *key[:3], 100 * rows["share"].mean(), key[3])


if __name__ == "__main__":
    log.run(main)
