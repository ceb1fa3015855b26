"""Compare studies of the same events with the first of them, query by query."""

from pathlib import Path

from wheretolisten import arguments, log
from wheretolisten.localization.table import read_localization
from wheretolisten.statistics.summary import OVERALL, compare_studies
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Write the table of differences from the first of `studies`."""
    args = arguments.parse(__doc__, argv, localizations=[Path], studies=[str], output=Path)
    logger = log.start("compare_studies")
    table = compare_studies(read_localization(args.localizations), args.studies)
    for row in table[table["position"] == OVERALL].itertuples():
        logger.info(
            "%s, %s, %s against %s: %+.2f points (95 %% interval %+.2f to %+.2f)",
            *(row.study, row.model, row.method, row.other, row.difference, row.ci_low, row.ci_high),
        )
    write_table(table, args.output, decimals=4)


if __name__ == "__main__":
    log.run(main)
