"""Tabulate what every arm does to answers, and what else it does, against the un-steered model."""

import json
from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.report.names import model_name
from wheretolisten.statistics.effects import overview, read_found, summarize
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Write the tables of all studies and models as csv; `studies` says which file each model has, JSON."""
    args = arguments.parse(__doc__, argv, studies=json.loads, table=Path, overview=Path)
    logger = log.start("tabulate_effects")
    tables, overviews = [], []
    for study, models in args.studies.items():
        for model, file in models.items():
            found = read_found(file)
            table = summarize(found)
            shown = overview(found, table)
            for each, kept in ((table, tables), (shown, overviews)):
                each.insert(0, "model", model)
                each.insert(1, "study", study)
                kept.append(each)
            for row in shown.itertuples():
                logger.info(
                    "%s, %s, %s along %s: margin %+.3f nats (95 %% interval %+.3f to %+.3f)",
                    *(model_name(model), study, row.arm, row.axis, row.margin, row.margin_low, row.margin_high),
                )
    write_table(pd.concat(tables), args.table, decimals=6)
    write_table(pd.concat(overviews), args.overview, decimals=6)


if __name__ == "__main__":
    log.run(main)
