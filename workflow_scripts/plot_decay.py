"""Draw what is left of steering along long answers, by bins of decoded tokens: two rows of panels for every axis."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wheretolisten import arguments, log
from wheretolisten.report.names import model_name
from wheretolisten.statistics.tables import read_table, rows_of

WORDS = ("model", "study", "axis", "arm", "measure", "along")
NUMBERS = ("token", "value", "ci_low", "ci_high")

_MEASURES = {
    "drift": "Drift from the un-steered\nmodel (nats)",
    "lean": "Lean towards the positive\npole's words (nats)",
}
_ALONG = {"unsteered_text": "along the un-steered answer", "own_text": "along its own answer"}
_CONTROL_LINES = ("-", "--", ":", "-.")


def main(argv: list[str] | None = None) -> None:
    """Write the figure of every model and one study, from the table of bins, as PDF and PNG."""
    args = arguments.parse(__doc__, argv, table=Path, models=[str], study=str, pdf=[Path], png=[Path])
    logger = log.start("plot_decay")
    table = read_table(args.table, WORDS, NUMBERS, "tabulate_robustness")
    for model, pdfs, pngs in arguments.by_model(args.models, args.pdf, args.png):
        rows = rows_of(table, args.table, model, args.study)
        style.save(draw_decay(rows, f"{model_name(model)}, study {args.study}"), pdfs[0], pngs[0])
        logger.info("%d bins of %s", len(rows), model)


def draw_decay(table: pd.DataFrame, title: str) -> Figure:
    """Lines over decoded tokens with 95 % bands, one for every arm, each point at the first token of its bin.

    Parameters
    ----------
    table
        Rows of one model and study at one setting of every arm, with the columns `WORDS` and `NUMBERS`.
    title
        Heading of the figure.
    """
    style.apply()
    rows = [(axis, measure) for axis in dict.fromkeys(table["axis"]) for measure in _MEASURES]
    arms = list(dict.fromkeys(table["arm"]))
    colours, controls = style.arm_colours(arms), [arm for arm in arms if arm.startswith(style.CONTROL_ARMS)]
    lines = dict.fromkeys(arms, "-")
    lines |= {arm: _CONTROL_LINES[number % len(_CONTROL_LINES)] for number, arm in enumerate(controls)}
    figure, panes = plt.subplots(
        len(rows),
        len(_ALONG),
        figsize=(style.PAGE_WIDTH, 0.9 + 1.8 * len(rows)),
        squeeze=False,
        sharex=True,
        sharey="row",
    )
    for row, (axis, measure) in enumerate(rows):
        for pane, (along, words) in zip(panes[row], _ALONG.items(), strict=True):
            here = table[(table["axis"] == axis) & (table["measure"] == measure) & (table["along"] == along)]
            pane.axhline(0.0, color=style.BLACK, linestyle=":", linewidth=0.8)
            for arm in arms:
                of_arm = here[here["arm"] == arm].sort_values("token")
                pane.plot(of_arm["token"], of_arm["value"], color=colours[arm], linestyle=lines[arm], marker="o", ms=2)
                if arm not in controls:
                    pane.fill_between(
                        *(of_arm[column] for column in ("token", "ci_low", "ci_high")),
                        color=colours[arm],
                        alpha=0.15,
                        linewidth=0,
                    )
            if measure == "drift":
                pane.set_title(f"Steered along {axis}: {words}", loc="left", fontsize=8)
            pane.spines[["top", "right"]].set_visible(False)
            if row == len(rows) - 1:
                pane.set_xlabel("First decoded token of the bin")
        panes[row, 0].set_ylabel(_MEASURES[measure])
    handles = [
        Line2D([], [], color=colours[arm], linestyle=lines[arm], marker="o", markersize=3, label=arm.replace("_", " "))
        for arm in arms
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        title="Both models read the same text. Bands: 95 % interval over texts. Dotted: un-steered.",
    )
    figure.suptitle(title, fontsize=9)
    style.fit_titles(figure)
    return figure


if __name__ == "__main__":
    log.run(main)
