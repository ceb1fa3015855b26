"""Draw the share of attention that goes to the audio, by layer and condition."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.errors import UserError
from wheretolisten.figures.audio_share import draw_audio_share
from wheretolisten.figures.style import save
from wheretolisten.statistics.audio_share import STATISTICS
from wheretolisten.statistics.names import model_name
from wheretolisten.statistics.tables import read_table


def main(argv: list[str] | None = None) -> None:
    """Write the figure of one model as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="audio_share.csv")
    parser.add_argument("--model", required=True)
    parser.add_argument("--questions", required=True, help="question set that is drawn")
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_audio_share")

    words = ("model", "questions", "condition")
    table = read_table(arguments.table, words, ("layer", *STATISTICS), "tabulate_audio_share")
    rows = table[(table["model"] == arguments.model) & (table["questions"] == arguments.questions)]
    if rows.empty:
        raise UserError(
            f"{arguments.table}: model {arguments.model!r} has not read the questions {arguments.questions!r}; name a "
            "set that the table holds"
        )
    figure = draw_audio_share(rows, f"{model_name(arguments.model)}, questions {arguments.questions}")
    save(figure, arguments.pdf, arguments.png)
    logger.info("%d conditions: %s", rows["condition"].nunique(), arguments.pdf)


if __name__ == "__main__":
    log.run(main)
