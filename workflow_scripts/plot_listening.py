"""Draw which heads' attention to the audio goes with right answers, and their signal in right and wrong ones (ASH)."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from collections.abc import Collection, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from wheretolisten import arguments, log
from wheretolisten.report.names import method_name, model_name
from wheretolisten.statistics.tables import read_table, rows_of

HEADS = ("layer", "head", "correlation", "specialist")
"""Columns of the table of heads beside model and study, one row per head: both counted from 0, Pearson's r or nothing,
and 1 where the head is a specialist, otherwise 0."""

SIGNALS = ("signal", "correct")
"""Columns of the table of signals beside model, study, heads (whose signal it is) and item_id: from 0 to 1, and 1 where
the answer is right, otherwise 0."""

AREAS = ("area", "low", "high")
"""Columns of the table of areas under the ROC curve beside model, study and heads: from 0 to 1, with 95 % interval."""

_MAP_WIDTH = 2.3  # inches, about
_RIGHT, _WRONG = style.BLUE, style.VERMILLION


def main(argv: list[str] | None = None) -> None:
    """Write both figures of every model and one study, from three tables, as PDF and PNG: first heads, then signals."""
    args = arguments.parse(
        __doc__, argv, heads=Path, signals=Path, areas=Path, models=[str], study=str, pdf=[Path], png=[Path]
    )
    logger = log.start("plot_listening")
    of_whom = ("model", "study")
    tables = {
        args.heads: read_table(args.heads, of_whom, HEADS, "tabulate_choices"),
        args.signals: read_table(args.signals, (*of_whom, "heads", "item_id"), SIGNALS, "tabulate_choices"),
        args.areas: read_table(args.areas, (*of_whom, "heads"), AREAS, "tabulate_choices"),
    }
    for model, pdfs, pngs in arguments.by_model(args.models, args.pdf, args.png):
        heads, signals, areas = (rows_of(table, path, model, args.study) for path, table in tables.items())
        correlation = heads.pivot(index="layer", columns="head", values="correlation").to_numpy()
        chosen = heads.loc[heads["specialist"] == 1, ["layer", "head"]].astype(int)
        title = f"{model_name(model)}, study {args.study}"
        style.save(draw_heads(correlation, list(chosen.itertuples(index=False, name=None)), title), pdfs[0], pngs[0])
        figure = draw_signals(
            {method_name(name): rows["signal"].to_numpy() for name, rows in signals.groupby("heads", sort=False)},
            {method_name(name): rows["correct"].to_numpy() == 1 for name, rows in signals.groupby("heads", sort=False)},
            {method_name(row.heads): (row.area, row.low, row.high) for row in areas.itertuples()},
            title,
        )
        style.save(figure, pdfs[1], pngs[1])
        logger.info("%d specialists of %d heads: %s, %s", len(chosen), correlation.size, *pdfs)


def draw_heads(correlation: np.ndarray, specialists: Collection[tuple[int, int]], title: str) -> Figure:
    """Map of decoder blocks × heads, the specialists framed.

    Parameters
    ----------
    correlation
        Pearson correlation of each head's attention to the audio with right answers, [layer, head], from −1 to 1; NaN
        where there is none, as of a head whose attention does not vary. Of the items that specialists are chosen on.
    specialists
        Block and head of each, counted from 0.
    title
        Heading of the figure.
    """
    style.apply()
    n_layers, n_heads = correlation.shape
    height = np.clip(_MAP_WIDTH * n_layers / n_heads, 1.3, 4.0)  # cells are squares, unless there is no room for them
    figure, axis = plt.subplots(figsize=(style.COLUMN_WIDTH, height + 1.05))
    limit = np.abs(correlation[np.isfinite(correlation)]).max(initial=0) or 1.0
    image = axis.imshow(
        np.ma.masked_invalid(correlation), cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower", aspect="auto"
    )
    axis.set_facecolor(style.LIGHT_GREY)
    for layer, head in specialists:
        axis.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor=style.BLACK, linewidth=1))
    axis.set(xlabel="Head", ylabel="Decoder block")
    axis.set_xticks(range(0, n_heads, -(-n_heads // 8)))
    axis.set_yticks(range(0, n_layers, -(-n_layers // 8)))
    axis.tick_params(length=2)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axis, pad=0.03, aspect=18)
    bar.set_label("Correlation with right\nanswers (Pearson's r)")
    bar.outline.set_linewidth(0)
    handles = [Patch(facecolor="none", edgecolor=style.BLACK, label=f"Specialist ({len(specialists)} heads)")]
    if not np.isfinite(correlation).all():
        handles.append(Patch(color=style.LIGHT_GREY, linewidth=0, label="No correlation"))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, handlelength=1, handleheight=1)
    figure.suptitle(title, fontsize=9)
    style.fit_titles(figure)
    return figure


def draw_signals(
    signals: Mapping[str, np.ndarray],
    correct: Mapping[str, np.ndarray],
    areas: Mapping[str, tuple[float, float, float]],
    title: str,
) -> Figure:
    """Listening signal of right and of wrong answers: every item a dot, quartiles in a box; one panel per set of heads.

    Parameters
    ----------
    signals
        Name of a set of heads, such as specialists or random ones → mean attention from the last prompt token to the
        audio, [item], from 0 to 1. Of items that the heads were not chosen on: on those, it is higher for right answers
        by choice.
    correct
        The same names → whether each answer is right, [item].
    areas
        The same names → area under the ROC curve of telling right from wrong answers by the signal, and its interval;
        NaN where all are right, or all wrong.
    title
        Heading of the figure.
    """
    style.apply()
    figure, axes = plt.subplots(
        len(signals), 1, figsize=(style.COLUMN_WIDTH, 0.55 + 1.05 * len(signals)), squeeze=False, sharex=True
    )
    for axis, (name, signal) in zip(axes[:, 0], signals.items(), strict=True):
        right = np.asarray(correct[name], bool)
        groups = {"Wrong": (100 * signal[~right], _WRONG), "Right": (100 * signal[right], _RIGHT)}
        for row, (values, colour) in enumerate(groups.values()):
            _draw_group(axis, row, values, colour)
        axis.set_yticks(range(2), [f"{word} (n = {len(values)})" for word, (values, _) in groups.items()])
        axis.set_ylim(-0.5, 1.5)
        area, low, high = areas[name]
        said = "all answers alike" if np.isnan(area) else f"AUC {area:.2f} ({low:.2f} to {high:.2f})"
        axis.set_title(f"{name}: {said}", fontsize=8)
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    ticks, (left, right_end) = axes[-1, 0].get_xticks(), axes[-1, 0].get_xlim()
    axes[-1, 0].set_xticks([tick for tick in ticks if left <= tick <= right_end])
    axes[-1, 0].set_xlabel("Attention of the last prompt token to the audio\n(%, mean over the heads)")
    figure.suptitle(title, fontsize=9)
    style.fit_titles(figure)
    return figure


def _draw_group(axis: Axes, row: int, values: np.ndarray, colour: str) -> None:
    # Spread in a fixed way: equal figures are equal files.
    spread = np.random.default_rng(0).uniform(-0.3, 0.3, len(values))
    opacity = np.clip(20 / max(len(values), 1), 0.25, 0.6)
    axis.plot(values, row + spread, ".", color=colour, markersize=3.5, alpha=opacity, markeredgewidth=0, zorder=1)
    if len(values):
        line = {"color": style.BLACK, "linewidth": 0.9}
        axis.boxplot(
            values,
            orientation="horizontal",
            positions=[row],
            widths=0.5,
            whis=(0, 100),
            showfliers=False,
            boxprops=line,
            whiskerprops=line,
            medianprops=line | {"linewidth": 1.6},
            showcaps=False,
            manage_ticks=False,
        )


if __name__ == "__main__":
    log.run(main)
