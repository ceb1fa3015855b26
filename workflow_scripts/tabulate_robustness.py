"""Tabulate how far effects carry: to other data, beside another direction, until text breaks, along answers."""

import json
from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.report.names import model_name
from wheretolisten.statistics.effects import read_found, summarize
from wheretolisten.statistics.robustness import (
    ADDITIVITY,
    BREAKING,
    DECAY,
    TRANSFER,
    additivity,
    breaking,
    decay,
    transfer,
)
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Write the tables of all studies and models as csv.

    `studies` says which file each model has, `sums` which arms of a study add two directions, and `limits` where the
    text of a study counts as broken, JSON each.
    """
    args = arguments.parse(
        __doc__,
        argv,
        studies=json.loads,
        sums=json.loads,
        limits=json.loads,
        additivity=Path,
        breaking=Path,
        decay=Path,
        transfer=Path,
    )
    logger = log.start("tabulate_robustness")
    columns = {args.additivity: ADDITIVITY, args.breaking: BREAKING, args.decay: DECAY, args.transfer: TRANSFER}
    tables = {path: [pd.DataFrame(columns=list(of_table))] for path, of_table in columns.items()}
    for study, models in args.studies.items():
        for model, file in models.items():
            found = read_found(file)
            made = {
                args.additivity: additivity(found, args.sums[study]),
                args.decay: decay(found),
                args.transfer: transfer(found),
            }
            if study in args.limits:
                made[args.breaking] = breaking(summarize(found), args.limits[study])
            for path, table in made.items():
                tables[path].append(table.assign(model=model, study=study))
            for row in made[args.additivity].itertuples():
                logger.info(
                    "%s, %s, %s along %s at %g, margin of %s: both %+.3f, sum %+.3f nats",
                    *(model_name(model), study, row.arm, row.axis, row.strength, row.measured, row.both, row.sum),
                )
    for path, of_all in tables.items():
        table = pd.concat(of_all).infer_objects()  # without a study an empty column knows no type
        write_table(table[["model", "study", *of_all[0]]], path, decimals=6)


if __name__ == "__main__":
    log.run(main)
