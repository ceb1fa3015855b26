"""Draw the overlap over all positions, study by study and method by method: one panel per model."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wheretolisten import arguments, log
from wheretolisten.errors import UserError
from wheretolisten.localization.table import RANDOM_MODEL, order_methods
from wheretolisten.report.names import method_name, model_name
from wheretolisten.statistics.summary import COLUMNS, OVERALL
from wheretolisten.statistics.tables import read_table

_ROOM = 0.72
"""Part of a study's room that its points take."""


def main(argv: list[str] | None = None) -> None:
    """Write the overlap of some studies, from overlap.csv, as PDF and PNG."""
    args = arguments.parse(__doc__, argv, table=Path, studies=[str], pdf=Path, png=Path)
    logger = log.start("plot_studies")
    table = read_table(args.table, COLUMNS[:4], COLUMNS[4:], "tabulate_scores")
    rows = table[(table["position"] == OVERALL) & (table["model"] != RANDOM_MODEL)]
    for study in args.studies:
        if study not in set(rows["study"]):
            raise UserError(f"{args.table}: no model answers study {study!r}; name one that the tables hold")
    style.save(draw_studies(rows, args.studies), args.pdf, args.png)
    logger.info("%d studies: %s", len(args.studies), args.pdf)


def draw_studies(table: pd.DataFrame, studies: list[str]) -> Figure:
    """Points of overlap with 95 % intervals, studies side by side in the given order, and the level of chance.

    Parameters
    ----------
    table
        Rows of all positions together as in overlap.csv, with the columns model, study, method, overlap_pct, ci_low,
        ci_high, lift and n_without_vector.
    studies
        Those that are drawn.
    """
    style.apply()
    table = table[table["study"].isin(studies)]
    models, methods = list(dict.fromkeys(table["model"])), order_methods(table["method"])
    colours = style.method_colours(methods)
    figure, axes = plt.subplots(
        len(models), 1, figsize=(style.PAGE_WIDTH, 1.9 * len(models) + 0.8), sharex=True, squeeze=False
    )
    for axis, model in zip(axes[:, 0], models, strict=True):
        _draw_model(axis, table[table["model"] == model], methods, studies, colours)
        axis.set_title(model_name(model))
        axis.set_ylabel("Overlap (% of the event)")
    handles = [
        Line2D([], [], color=colours[method], marker="o", markersize=3.5, linestyle="none", label=method_name(method))
        for method in methods
    ]
    handles.append(Line2D([], [], color=style.BLACK, linestyle=(0, (3, 1.5)), label="Chance (random window)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, title="Bars: 95 % interval.")
    style.fit_titles(figure)
    return figure


def _draw_model(
    axis: Axes, table: pd.DataFrame, methods: list[str], studies: list[str], colours: dict[str, str]
) -> None:
    points = table.set_index(["study", "method"])
    for column, study in enumerate(studies):
        present = [method for method in methods if (study, method) in points.index]
        for method in present:
            x = column + _ROOM * ((methods.index(method) + 0.5) / len(methods) - 0.5)
            value, low, high = points.loc[(study, method), ["overlap_pct", "ci_low", "ci_high"]]
            if np.isnan(value):  # no query has a vector
                continue
            error = None if np.isnan(low) else [[value - low], [high - value]]
            axis.errorbar(x, value, error, fmt="o", color=colours[method], markersize=3, elinewidth=0.9)
        here = points.loc[[(study, method) for method in present]]
        # Of all queries, if there is a method that has a vector for each.
        here = here[here["n_without_vector"] == here["n_without_vector"].min()]
        chance = np.mean((here["overlap_pct"] - here["lift"]).to_numpy())
        axis.plot([column - 0.45, column + 0.45], [chance] * 2, color=style.BLACK, linestyle=(0, (3, 1.5)))
        if column:
            axis.axvline(column - 0.5, color="#e0e0e0", linewidth=0.6)
    slanted = {"rotation": 35, "rotation_mode": "anchor", "ha": "right"} if len(studies) > 6 else {}
    axis.set_xticks(range(len(studies)), studies, **slanted)
    axis.tick_params(axis="x", length=0)
    axis.set_xlim(-0.5, len(studies) - 0.5)
    axis.set_ylim(0, 104)  # room for the interval of a point at 100 %
    axis.set_yticks(range(0, 101, 20))
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    log.run(main)
