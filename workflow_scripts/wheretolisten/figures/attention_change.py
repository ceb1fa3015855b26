"""Where steering adds attention and where it takes it away (after SWL Figure 2)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wheretolisten.figures import style
from wheretolisten.statistics.names import position_name


def draw_attention_change(
    change: np.ndarray,
    positions: Sequence[str],
    events: Sequence[tuple[float, float]],
    tokens_per_second: float,
    title: str,
    n_samples: int,
) -> Figure:
    """Heat map of the mean change in attention: a row per steered label, time along x.

    Parameters
    ----------
    change
        Steered minus base share of attention, [position, audio_token], in percent per token; NaN where no sample has a
        vector.
    positions
        Names of the rows: the position of the event whose label steers.
    events
        Onset and offset of the event at each position, in seconds.
    tokens_per_second
        Rate of audio tokens, in Hz.
    title
        Heading of the panel.
    n_samples
        Samples behind each row.
    """
    style.apply()
    figure, axis = plt.subplots(figsize=(style.PAGE_WIDTH, 2.5))
    known = np.isfinite(change)
    limit = float(np.abs(change[known]).max(initial=0)) or 1.0
    edges = np.arange(change.shape[1] + 1) / tokens_per_second
    rows = np.arange(len(positions) + 1)
    mesh = axis.pcolormesh(edges, rows, change, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    for row, (onset, offset) in enumerate(events):
        for time in (onset, offset):
            axis.axvline(time, color="#404040", linewidth=0.7, linestyle=(0, (3, 2)))
        box = Rectangle((onset, row), offset - onset, 1, fill=False, edgecolor=style.BLACK, linewidth=1.6, zorder=3)
        box.set_clip_on(False)
        axis.add_patch(box)
    for row in np.flatnonzero(~known.any(axis=1)):
        axis.text(0.5, row + 0.5, "no vector", transform=axis.get_yaxis_transform(), ha="center", va="center")
    for row in rows[1:-1]:
        axis.axhline(row, color="white", linewidth=1.5)
    axis.set_yticks(rows[:-1] + 0.5, [position_name(position) for position in positions])
    axis.tick_params(axis="y", length=0)
    axis.set_ylabel("Position of the\nlabel that steers")
    axis.set_xlabel("Time (s); dashed: true boundaries of events; boxed: the event whose label steers")
    axis.set_xlim(0, max(edges[-1], max(offset for _, offset in events)))
    axis.set_ylim(len(positions), 0)
    axis.set_title(f"{title} (n = {n_samples} samples)")
    bar = figure.colorbar(mesh, ax=axis, pad=0.015, aspect=18)
    bar.set_label("Change in share of\nattention (% per token)")
    bar.outline.set_linewidth(0.7)
    style.fit_titles(figure)
    return figure
