"""Tabulate and draw the overlap at every value of a sweep: one panel per model."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from wheretolisten import arguments, log
from wheretolisten.report.names import model_name, position_name
from wheretolisten.statistics.summary import rows_of
from wheretolisten.statistics.sweeps import summarize_sweep
from wheretolisten.statistics.tables import read_table, write_table

_FEW_COLOURS = (style.ORANGE, style.GREEN, style.BLUE)
_LABEL_WIDTH = 1.5  # inches
_MOST_LINES = 10
_NAMES = {
    "steering.scale": "Strength of steering λ",
    "steering.layers": "Steered blocks",
    "steering.positions": "Steered tokens",
    "prompts.inference": "Inference prompt",
    "readout.text_rows": "Text tokens that are read",
    "localization.layers": "Scored blocks",
    "localization.layer_weights": "Weights of the blocks",
    "heads": "Attention heads that are read",
}


def main(argv: list[str] | None = None) -> None:
    """Write overlap by model, value and position of sweeps as csv, and draw it as PDF and PNG.

    Sweep by sweep: `localization` has one row per query and value; `vary` is the key that is varied, `own` the own
    value of the run.
    """
    args = arguments.parse(
        __doc__, argv, localization=[Path], vary=[str], own=[str], table=[Path], pdf=[Path], png=[Path]
    )
    logger = log.start("plot_sweep")
    words, numbers = ("model", "sweep", "value", "position", "sample_id", "source"), ("overlap", "chance")
    for localization, vary, own, target, pdf, png in zip(
        args.localization, args.vary, args.own, args.table, args.pdf, args.png, strict=True
    ):
        table = summarize_sweep(read_table(localization, words, numbers, "score_sweep"))
        table = table.round(6)  # what is drawn is what the table says
        write_table(table, target, decimals=6)
        for row in table[table["position"] == "overall"].itertuples():
            logger.info(
                "%s, %s, %s: %.1f %% of %d queries, %d more have no vector",
                *(target.stem, row.model, row.value, row.overlap_pct, row.n_queries, row.n_without_vector),
            )
        style.save(draw_sweep(table, vary, own), pdf, png)


def draw_sweep(table: pd.DataFrame, vary: str, own: str) -> Figure:
    """Overlap by value and position: lines with bands where all values are numbers, else dots with intervals.

    Parameters
    ----------
    table
        Rows of one sweep, with the columns of `statistics.sweeps.COLUMNS`.
    vary
        Key that is varied.
    own
        The run's own value, which is marked.
    """
    style.apply()
    models = list(dict.fromkeys(table["model"]))
    values = list(dict.fromkeys(table["value"]))
    numeric = all(map(_is_number, values))
    n_columns = min(2, len(models))
    n_rows = -(-len(models) // n_columns)
    width = style.PAGE_WIDTH if n_columns == 2 else 1.4 * style.COLUMN_WIDTH
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(width, 1), sharex=True, sharey=True, squeeze=False)
    # Words of ours are read more easily with blanks; prompts are the user's.
    shown = {value: value if vary.startswith("prompts.") else value.replace("_", " ") for value in values}
    labels = {value: _wrapped(figure, text) for value, text in shown.items()}
    row_height = max(0.36, 0.13 * max(label.count("\n") + 1 for label in labels.values()))
    height = 2.2 if numeric else max(1.5, 0.6 + row_height * len(values))
    figure.set_figheight(height * n_rows + 0.75)
    draw = _draw_lines if numeric else _draw_dots
    overlap, varied = "Overlap (% of the event)", _NAMES.get(vary, vary)
    colours = _colours(rows_of(table["position"]))
    for number, (axis, model) in enumerate(zip(axes.flat, models, strict=False)):
        draw(axis, table[table["model"] == model], labels, own, colours)
        axis.set_title(model_name(model))
        axis.spines[["top", "right"]].set_visible(False)
        if number + n_columns >= len(models):  # the lowest panel of its column
            axis.set_xlabel(varied if numeric else overlap)
            axis.tick_params(axis="x", labelbottom=True)
    for axis in axes.flat[len(models) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel(overlap if numeric else varied)
    marker = {"marker": "o", "markersize": 3.5}
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, linestyle="-", **marker, label=position_name(position))
        for position, colour in colours.items()
    ]
    handles.append(Line2D([], [], color=style.GREY, linestyle=(0, (3, 1.5)), label="Chance (by colour)"))
    handles.append(Patch(color=style.LIGHT_GREY, alpha=0.4, linewidth=0, label="Value of this run"))
    counts = table.loc[table["position"] == "overall", "n_queries"]
    n_beside = 6 if n_columns == 2 else 3
    further_lines = -(-len(handles) // n_beside) - 6 // n_beside
    figure.set_figheight(figure.get_figheight() + 0.16 * further_lines)
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=n_beside,
        frameon=False,
        title=f"{_span(counts)} queries per value. {'Bands' if numeric else 'Bars'}: 95 % interval.",
        columnspacing=1.4,
        handlelength=1.6,
    )
    style.fit_titles(figure)
    return figure


def _wrapped(figure: Figure, value: str) -> str:
    """A value as a label beside its row: a prompt may be several sentences long."""
    font = FontProperties(size=plt.rcParams["ytick.labelsize"])
    return "\n".join(style.wrap(figure, value, font, _LABEL_WIDTH, _MOST_LINES))


def _colours(positions: list[str]) -> dict[str, str]:
    """Colour of each position; the last one is all queries together."""
    n_events = len(positions) - 1
    colours = (
        _FEW_COLOURS if n_events <= len(_FEW_COLOURS) else map(to_hex, plt.cm.viridis(np.linspace(0, 0.92, n_events)))
    )
    return dict(zip(positions, [*list(colours)[:n_events], style.BLACK], strict=True))


def _dashes(number: int) -> tuple[int, tuple[int, int]]:
    """Line style of the chance at a position: taking turns, because chance is the same at begin and end."""
    return (3 * number, (3, 6))


def _draw_lines(axis: Axes, table: pd.DataFrame, labels: dict[str, str], own: str, colours: dict[str, str]) -> None:
    numbers = sorted(map(float, labels))
    smallest = min((abs(number) for number in numbers if number), default=1.0)
    axis.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    if _is_number(own):
        axis.axvline(float(own), color=style.LIGHT_GREY, alpha=0.4, linewidth=6, zorder=0)
    for number, (position, colour) in enumerate(colours.items()):
        rows = table[table["position"] == position]
        rows = rows.iloc[np.argsort(rows["value"].astype(float))]
        x = rows["value"].astype(float)
        axis.fill_between(x, rows["ci_low"], rows["ci_high"], color=colour, alpha=0.13, linewidth=0)
        axis.plot(x, rows["overlap_pct"], color=colour, marker="o", markersize=3, zorder=3)
        axis.axhline(rows["chance"].mean(), color=colour, linestyle=_dashes(number), linewidth=0.9, zorder=1)
    axis.set_xticks(numbers, [f"{number:g}" for number in numbers])
    axis.tick_params(axis="x", which="minor", bottom=False)
    axis.set_ylim(0, 104)
    axis.set_yticks(range(0, 101, 20))


def _draw_dots(axis: Axes, table: pd.DataFrame, labels: dict[str, str], own: str, colours: dict[str, str]) -> None:
    # Read from top to bottom, in the order of the configuration.
    heights = {value: -number for number, value in enumerate(labels)}
    if own in heights:
        axis.axhspan(heights[own] - 0.5, heights[own] + 0.5, color=style.LIGHT_GREY, alpha=0.4, linewidth=0, zorder=0)
    step = 0.72 / len(colours)
    for number, (position, colour) in enumerate(colours.items()):
        rows = table[table["position"] == position]
        y = rows["value"].map(heights) + step * ((len(colours) - 1) / 2 - number)
        # The mean itself may lie outside its interval by rounding only.
        error = np.abs([rows["overlap_pct"] - rows["ci_low"], rows["ci_high"] - rows["overlap_pct"]])
        axis.errorbar(rows["overlap_pct"], y, xerr=error, fmt="o", color=colour, markersize=3.5, elinewidth=0.9)
        axis.axvline(rows["chance"].mean(), color=colour, linestyle=_dashes(number), linewidth=0.9, zorder=1)
    axis.set_yticks(list(heights.values()), list(labels.values()))
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(0.5 - len(labels), 0.5)
    axis.set_xlim(-2, 104)
    axis.set_xticks(range(0, 101, 20))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _span(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return str(low) if low == high else f"{low} to {high}"


if __name__ == "__main__":
    log.run(main)
