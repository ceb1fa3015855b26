"""Draw the share of attention that goes to the audio, by layer and condition (after SWL Figure 1)."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

import itertools
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wheretolisten import arguments, log
from wheretolisten.errors import UserError
from wheretolisten.report.names import method_name, model_name
from wheretolisten.statistics.audio_share import STATISTICS
from wheretolisten.statistics.tables import read_table

CONDITIONS = {
    "original": ("Question as it is", style.BLACK, "o"),
    "prompt_only": ("Prompt only", style.SKY, "s"),
    "audio_silence": ("Steering, audio − silence", style.ORANGE, "^"),
    "audio_none": ("Steering, audio − no audio", style.VERMILLION, "v"),
    "instruction": ("Steering, instruction", style.BLUE, "D"),
}
"""Condition → its name, colour and marker; those of the default run, which are drawn first."""

_FURTHER = ((style.GREEN, "P"), (style.PURPLE, "X"), (style.GREY, "*"), ("#332288", "<"), ("#882255", ">"))
"""Colours and markers of other methods, in turn."""


def main(argv: list[str] | None = None) -> None:
    """Write the figure of every model and one study, from audio_share.csv, as PDF and PNG."""
    args = arguments.parse(__doc__, argv, table=Path, models=[str], study=str, pdf=[Path], png=[Path])
    logger = log.start("plot_audio_share")
    words = ("model", "study", "condition")
    table = read_table(args.table, words, ("layer", *STATISTICS), "tabulate_audio_share")
    for model, (pdf,), (png,) in arguments.by_model(args.models, args.pdf, args.png):
        rows = table[(table["model"] == model) & (table["study"] == args.study)]
        if rows.empty:
            raise UserError(
                f"{args.table}: model {model!r} has no shares of study {args.study!r}; name one that the table holds"
            )
        style.save(draw_audio_share(rows, f"{model_name(model)}, study {args.study}"), pdf, png)
        logger.info("%d conditions: %s", rows["condition"].nunique(), pdf)


def draw_audio_share(table: pd.DataFrame, title: str) -> Figure:
    """Two panels, layers along x: the share of each condition, and its difference to the question as it is.

    Parameters
    ----------
    table
        Rows of one model and study, with the columns condition, layer and `statistics.audio_share.STATISTICS`;
        shares from 0 to 1, drawn in percent.
    title
        Heading of the figure.
    """
    style.apply()
    figure, (share, difference) = plt.subplots(1, 2, figsize=(style.PAGE_WIDTH, 3.1))
    looks = _looks(table["condition"])
    lines = []
    for number, (name, look) in enumerate(looks.items()):
        rows = table[table["condition"] == name]
        lines.append(_draw(share, rows, number, look, "mean", "ci_low", "ci_high"))
        if name != "original":
            _draw(difference, rows, number, look, "difference", "difference_low", "difference_high")
    share.set_ylabel("Attention to audio\n(% of all attention)")
    difference.axhline(0, color=style.BLACK, linewidth=0.8)
    difference.set_ylabel("Change against the question\nas it is (percentage points)")
    for axis in (share, difference):
        axis.set_xlabel("Decoder block")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.spines[["top", "right"]].set_visible(False)
    counts = table["n"].unique()
    figure.suptitle(f"{title} (n = {counts[0]} questions)", fontsize=plt.rcParams["axes.titlesize"])
    figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        title="Bands: 95 % interval over recordings.",
        columnspacing=1.6,
    )
    style.fit_titles(figure)
    return figure


def _looks(conditions: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    present = set(conditions)
    others = zip(sorted(present - CONDITIONS.keys()), itertools.cycle(_FURTHER), strict=False)
    known = {name: look for name, look in CONDITIONS.items() if name in present}
    return known | {name: (method_name(f"steering_{name}"), *look) for name, look in others}


def _draw(axis: Axes, rows: pd.DataFrame, number: int, look: tuple[str, str, str], *columns: str) -> plt.Line2D:
    label, colour, marker = look
    mean, low, high = (100 * rows[column] for column in columns)
    axis.fill_between(rows["layer"], low, high, color=colour, alpha=0.18, linewidth=0)
    # Markers, too, so that lines can be told apart without colour; few, and not all at the same blocks.
    every = max(1, len(rows) // 6)
    marked = (number % every, every)
    (line,) = axis.plot(
        rows["layer"], mean, color=colour, marker=marker, markersize=3.5, markevery=marked, label=label, zorder=3
    )
    return line


if __name__ == "__main__":
    log.run(main)
