"""Draw which event of the recording the windows of a model land on: one confusion matrix per method."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wheretolisten import arguments, log
from wheretolisten.config.positions import order_positions
from wheretolisten.errors import UserError
from wheretolisten.report.names import method_name, model_name, position_tick
from wheretolisten.statistics.specificity import COLUMNS
from wheretolisten.statistics.tables import read_table

PANELS = ("steering_sample", "steering_label_mean", "steering_other_label", "steering_random_direction")
"""Methods that are drawn, where the study was answered by them; otherwise the first four it was answered by."""


def main(argv: list[str] | None = None) -> None:
    """Write the confusion matrices of every model on one study, from specificity.csv, as PDF and PNG."""
    args = arguments.parse(__doc__, argv, table=Path, models=[str], study=str, pdf=[Path], png=[Path])
    logger = log.start("plot_specificity")
    numbers = ("share", "n")
    words = [column for column in COLUMNS if column not in numbers]
    table = read_table(args.table, words, numbers, "tabulate_scores")
    for model, (pdf,), (png,) in arguments.by_model(args.models, args.pdf, args.png):
        rows = table[(table["model"] == model) & (table["study"] == args.study)]
        if rows.empty:
            raise UserError(
                f"{args.table}: model {model!r} does not answer study {args.study!r}; name one that the table holds"
            )
        style.save(draw_specificity(rows, f"{model_name(model)}: where windows land under steering"), pdf, png)
        logger.info("%s", pdf)


def draw_specificity(table: pd.DataFrame, title: str) -> Figure:
    """Share of windows by the event they land on, one panel per method.

    Parameters
    ----------
    table
        Rows of one model and study, with the columns of `statistics.specificity`.
    title
        Title of the figure.
    """
    style.apply()
    table = table[table["method"].str.startswith("steering_")]
    # A vector of another event than the queried one is judged by the event that it is of.
    elsewhere = table.loc[table["reference"] == "steered", "method"].unique()
    table = table[(table["reference"] == "steered") | ~table["method"].isin(elsewhere)]
    methods = [method for method in PANELS if method in set(table["method"])]
    methods = methods or list(dict.fromkeys(table["method"]))[: len(PANELS)]
    figure, axes = plt.subplots(
        1, len(methods), figsize=(style.PAGE_WIDTH, 2.15), squeeze=False, sharex=True, sharey=True
    )
    for axis, method in zip(axes[0], methods, strict=True):
        image = _draw_method(axis, table[table["method"] == method])
        # "Steering, own vector" of the tables; that all of them steer stands above.
        name = method_name(method).split(", ", 1)[-1]
        axis.set_title(name[:1].upper() + name[1:], fontsize=8)
    bar = figure.colorbar(image, ax=axes[0], shrink=0.62, pad=0.015)
    bar.set_label("Windows (% of the row)")
    bar.outline.set_linewidth(0)
    n = table.loc[table["method"].isin(methods), "n"]
    counts = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    figure.suptitle(title, fontsize=9)
    figure.supxlabel(
        f"Event that the window lands on; {counts} queries per row, the rest of a row covers no event",
        fontsize=8,
    )
    style.fit_titles(figure)
    return figure


def _draw_method(axis: Axes, table: pd.DataFrame):
    shares = 100 * table.pivot(index="position", columns="landed_on", values="share")
    positions = order_positions(table["position"])
    shares = shares.reindex(index=positions, columns=positions).to_numpy()
    size = None if len(positions) <= 5 else 30 / len(positions)  # points: what a cell has room for
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, values in enumerate(shares):
        for column, value in enumerate(values):
            colour = "white" if value > 55 else style.BLACK
            text = "–" if np.isnan(value) else f"{value:.0f}"
            axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    names = [position_tick(position) for position in positions]
    axis.set_xticks(range(len(positions)), names, fontsize=size)
    axis.set_yticks(range(len(positions)), names, rotation=90, va="center", fontsize=size)
    axis.tick_params(length=0, labelleft=True)
    reference = table["reference"].iloc[0]
    axis.set_ylabel("Event queried" if reference == "queried" else "Event whose\nvector was added")
    axis.spines[:].set_visible(False)
    return image


if __name__ == "__main__":
    log.run(main)
