"""Draw the overlap by position and method: one panel per model."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from wheretolisten import arguments, log
from wheretolisten.errors import UserError
from wheretolisten.localization.table import METHODS, RANDOM_MODEL, order_methods
from wheretolisten.report.names import method_name, model_name, position_tick
from wheretolisten.statistics.summary import COLUMNS, OVERALL, rows_of
from wheretolisten.statistics.tables import read_table

_BAR = 0.16
"""Width of a bar, where all of a position have room beside each other."""

_MOST_BESIDE = 5
"""Positions that two panels have room for side by side, all queries together included."""


def main(argv: list[str] | None = None) -> None:
    """Write the bars of overlap of one study, from overlap.csv, as PDF and PNG."""
    args = arguments.parse(__doc__, argv, table=Path, study=str, pdf=Path, png=Path)
    logger = log.start("plot_overlap")
    table = read_table(args.table, COLUMNS[:4], COLUMNS[4:], "tabulate_scores")
    rows = table[(table["study"] == args.study) & (table["model"] != RANDOM_MODEL)]
    if rows.empty:
        raise UserError(f"{args.table}: no model answers study {args.study!r}; name one that the tables hold")
    style.save(draw_overlap(rows), args.pdf, args.png)
    logger.info("%d bars: %s", len(rows), args.pdf)


def draw_overlap(table: pd.DataFrame) -> Figure:
    """Bars of overlap by position, one panel per model, with the level of chance at each position.

    Parameters
    ----------
    table
        Rows of one study as in overlap.csv, with the columns model, method, position, overlap_pct, ci_low, ci_high,
        lift, n_queries and n_without_vector. Drawn are the methods of `localization.table.METHODS`, others have figures
        of their own; the random baseline is not drawn as bars, because the lines of chance are its expectation.
    """
    style.apply()
    models = list(dict.fromkeys(table["model"]))
    table = table[table["method"].isin(METHODS)]
    methods = order_methods(table["method"])
    positions = rows_of(table["position"])
    n_columns = min(2 if len(positions) <= _MOST_BESIDE else 1, len(models))
    n_rows = -(-len(models) // n_columns)
    wide = n_columns == 2 or len(positions) > _MOST_BESIDE
    width = style.PAGE_WIDTH if wide else 1.4 * style.COLUMN_WIDTH
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(width, 2.4 * n_rows + 0.75), sharey=True, sharex=True, squeeze=False
    )
    for axis, model in zip(axes.flat, models, strict=False):
        _draw_model(axis, table[table["model"] == model], methods, positions)
        axis.set_title(model_name(model))
    for axis in axes.flat[len(models) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("Overlap (% of the event)")
    handles: list[Patch | Line2D] = [
        Patch(color=style.METHOD_COLOURS[method], label=method_name(method)) for method in methods
    ]
    handles.append(Line2D([], [], color=style.BLACK, linestyle=(0, (3, 1.5)), label="Chance (random window)"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        title=_caption(table, positions, separator=" " if wide else "\n"),
        columnspacing=1.4,
        handlelength=1.6,
    )
    style.fit_titles(figure)
    return figure


def _draw_model(axis: Axes, table: pd.DataFrame, methods: list[str], positions: list[str]) -> None:
    bars, width = table.set_index(["method", "position"]), min(_BAR, 0.9 / len(methods))
    for column, position in enumerate(positions):
        present = [method for method in methods if (method, position) in bars.index]
        for method in present:
            x = column + width * (methods.index(method) - (len(methods) - 1) / 2)
            value = bars.loc[(method, position), "overlap_pct"]
            if np.isnan(value):  # no query has a vector
                axis.text(x, 1.5, "–", ha="center", va="bottom", fontsize=6.5)
                continue
            axis.bar(x, value, 0.92 * width, color=style.METHOD_COLOURS[method], linewidth=0)
            if value < 1:  # a bar too low to be seen
                axis.text(x, 1.5, f"{value:.0f}", ha="center", va="bottom", fontsize=6.5)
                continue
            low, high = bars.loc[(method, position), ["ci_low", "ci_high"]]
            if not np.isnan(low):
                error = [[value - low], [high - value]]
                axis.errorbar(x, value, error, fmt="none", ecolor="#404040", elinewidth=0.8, capsize=1.5, capthick=0.8)
        if present:
            here = bars.loc[[(method, position) for method in present]]
            # Of all queries, if there is a method that has a vector for each.
            here = here[here["n_without_vector"] == here["n_without_vector"].min()]
            chance = np.mean((here["overlap_pct"] - here["lift"]).to_numpy())
            half = width * len(methods) / 2 + 0.04
            axis.plot([column - half, column + half], [chance] * 2, color="white", linewidth=2.2, zorder=4)
            axis.plot(
                [column - half, column + half],
                [chance] * 2,
                color=style.BLACK,
                linestyle=(0, (3, 1.5)),
                linewidth=1.1,
                zorder=5,
            )
    axis.set_xticks(range(len(positions)), [position_tick(position) for position in positions])
    axis.tick_params(axis="x", length=0, labelbottom=True)
    if positions[0].startswith("event-"):
        axis.set_xlabel("Event, in order of onset")
    axis.axvline(len(positions) - 1.5, color="#c0c0c0", linewidth=0.7)
    axis.set_ylim(0, 104)  # room for the interval of a bar at 100 %
    axis.set_yticks(range(0, 101, 20))
    axis.spines[["top", "right"]].set_visible(False)


def _caption(table: pd.DataFrame, positions: list[str], separator: str) -> str:
    named = table["position"]
    if len(positions) > _MOST_BESIDE:  # too many to list
        named, positions = named.where(named == OVERALL, "each event"), ["each event", OVERALL]
    counts = table.groupby(named)["n_queries"]
    texts = []
    for position in positions:
        if position in counts.groups:
            low, high = counts.min()[position], counts.max()[position]
            texts.append(f"{position} {low}" if low == high else f"{position} {low} to {high}")
    return separator.join(
        [
            f"Queries per bar: {', '.join(texts)}.",
            "Error bars: 95 % interval.",
            *(["Dash: no query has a vector."] if table["overlap_pct"].isna().any() else []),
        ]
    )


if __name__ == "__main__":
    log.run(main)
