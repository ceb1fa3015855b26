"""Draw what arms do to answers, and what else they do, by their strength: one row of panels for every axis."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wheretolisten import arguments, log
from wheretolisten.config.effects import UNSTEERED
from wheretolisten.report.names import model_name
from wheretolisten.statistics.tables import read_table, rows_of

WORDS = ("model", "study", "axis", "arm", "layers", "measure", "measured")
NUMBERS = ("strength", "chosen", "value", "difference", "difference_low", "difference_high")

_PANELS = {
    "margin": "Change of the margin (nats)",
    "divergence": "Divergence on neutral\nprompts (nats)",
    "surprise": "Surprise of answers\n(nats per token)",
    "lag": "Steps until it is silent",
    "guardrail": "Guardrail answered\nrightly (share)",
}
"""What is drawn of an axis, where it was measured: the change of the margin, of the others the value."""


def main(argv: list[str] | None = None) -> None:
    """Write the figure of every model and one study, from the table of all settings, as PDF and PNG."""
    args = arguments.parse(__doc__, argv, table=Path, models=[str], study=str, pdf=[Path], png=[Path])
    logger = log.start("plot_effects")
    table = read_table(args.table, WORDS, NUMBERS, "tabulate_effects")
    for model, pdfs, pngs in arguments.by_model(args.models, args.pdf, args.png):
        rows = rows_of(table, args.table, model, args.study)
        style.save(draw_effects(rows, f"{model_name(model)}, study {args.study}"), pdfs[0], pngs[0])
        logger.info("%d settings of %s", len(rows), model)


def draw_effects(table: pd.DataFrame, title: str) -> Figure:
    """Lines over strength with 95 % bands, the chosen setting marked; arms that add nothing are dashed lines across.

    Parameters
    ----------
    table
        Rows of one model and study, with the columns `WORDS` and `NUMBERS`.
    title
        Heading of the figure.
    """
    style.apply()
    axes_of = [axis for axis in dict.fromkeys(table["axis"]) if axis]
    n_strengths = table[table["layers"] != ""].groupby(["measure", "axis", "arm"])["strength"].nunique()
    panels = {measure: label for measure, label in _PANELS.items() if measure in set(table["measure"])}
    # At the chosen strengths alone there is nothing to draw of it over strength.
    if n_strengths.get("guardrail", pd.Series([0])).max() < 2:
        panels.pop("guardrail", None)
    figure, panes = plt.subplots(
        len(axes_of),
        len(panels),
        figsize=(style.PAGE_WIDTH, 0.9 + 1.9 * len(axes_of)),
        squeeze=False,
        sharex="col",
    )
    arms = [arm for arm in dict.fromkeys(table["arm"]) if arm != UNSTEERED]
    colours = style.arm_colours(arms)
    for row, axis in enumerate(axes_of):
        for pane, (measure, label) in zip(panes[row], panels.items(), strict=True):
            of_panel = table[(table["measure"] == measure) & table["measured"].isin(("", axis))]
            _draw_panel(pane, of_panel, axis, arms, colours, measure)
            pane.set_ylabel(label)
            pane.set_xscale("log")
            strengths = sorted(
                of_panel.loc[(of_panel["axis"] == axis) & (of_panel["strength"] > 0), "strength"].unique()
            )
            pane.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
            pane.minorticks_off()
            if len(strengths) > 4:
                pane.tick_params(axis="x", labelsize=6)
            pane.spines[["top", "right"]].set_visible(False)
            if row == len(axes_of) - 1:
                pane.set_xlabel("Strength λ")
        panes[row, 0].set_title(f"Steered along {axis}", loc="left", fontsize=8)
    handles = [
        Line2D([], [], color=colours[arm], linestyle=_style(arm), marker="o", markersize=3, label=arm.replace("_", " "))
        for arm in arms
    ]
    handles.append(Line2D([], [], color=style.BLACK, linestyle=":", label="unsteered"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=5,
        frameon=False,
        title="Ringed: the strength that was chosen. Dashed lines across: no direction is added. Bands: 95 % interval.",
    )
    figure.suptitle(title, fontsize=9)
    style.fit_titles(figure)
    return figure


def _style(arm: str) -> str:
    """One kind of controls is drawn through, others are dash-dotted."""
    return "-." if arm.startswith(style.CONTROL_ARMS[1:]) else "-"


def _draw_panel(
    pane: Axes, table: pd.DataFrame, axis: str, arms: list[str], colours: dict[str, str], measure: str
) -> None:
    changes = measure == "margin"
    before = table[(table["arm"] == UNSTEERED) & (table["measure"] == measure)]["value"]
    level = 0.0 if changes or measure == "divergence" else float(before.iloc[0]) if len(before) else np.nan
    pane.axhline(level, color=style.BLACK, linestyle=":", linewidth=0.8)
    for arm in arms:
        rows = table[(table["arm"] == arm) & (table["axis"] == axis)].sort_values("strength")
        if rows.empty:
            continue
        values = rows["difference" if changes else "value"].to_numpy()
        if (rows["layers"] == "").all():
            pane.axhline(values[0], color=colours[arm], linestyle="--")
            continue
        strengths = rows["strength"].to_numpy()
        pane.plot(strengths, values, color=colours[arm], linestyle=_style(arm), marker="o", markersize=2.5)
        if changes:
            low, high = rows["difference_low"].to_numpy(), rows["difference_high"].to_numpy()
            pane.fill_between(strengths, low, high, color=colours[arm], alpha=0.15, linewidth=0)
        chosen = rows["chosen"].to_numpy() == 1
        ring = {"markersize": 7, "markerfacecolor": "none", "linestyle": "none", "markeredgewidth": 1}
        pane.plot(strengths[chosen], values[chosen], marker="o", color=colours[arm], **ring)


if __name__ == "__main__":
    log.run(main)
