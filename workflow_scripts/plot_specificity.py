"""Draw which event of the recording the windows of one model land on."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.errors import UserError
from wheretolisten.figures.specificity import draw_specificity
from wheretolisten.figures.style import save
from wheretolisten.statistics.names import model_name
from wheretolisten.statistics.specificity import COLUMNS
from wheretolisten.statistics.tables import read_table


def main(argv: list[str] | None = None) -> None:
    """Write the confusion matrices of one model and benchmark as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="specificity.csv")
    parser.add_argument("--model", required=True)
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_specificity")

    numbers = ("share", "n")
    words = [column for column in COLUMNS if column not in numbers]
    table = read_table(arguments.table, words, numbers, "tabulate_specificity")
    rows = table[(table["model"] == arguments.model) & (table["benchmark"] == arguments.benchmark)]
    if rows.empty:
        raise UserError(
            f"{arguments.table}: model {arguments.model!r} does not answer benchmark {arguments.benchmark!r}; name one "
            "that the table holds"
        )
    figure = draw_specificity(rows, f"{model_name(arguments.model)}: where windows land under steering")
    save(figure, arguments.pdf, arguments.png)
    logger.info("%s", arguments.pdf)


if __name__ == "__main__":
    log.run(main)
