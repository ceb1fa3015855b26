"""Draw how steering with the label at each position moves attention, averaged over recordings (after SWL Figure 2)."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wheretolisten import arguments, log
from wheretolisten.config.directions import Direction
from wheretolisten.config.layers import select_layers
from wheretolisten.config.positions import order_positions
from wheretolisten.config.probe import Localization
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.errors import UserError
from wheretolisten.report.names import method_name, model_name, position_name
from wheretolisten.statistics.attention import mean_attention_change
from wheretolisten.store import Passes, read_passes

_log = logging.getLogger("plot_attention_change")


def main(argv: list[str] | None = None) -> None:
    """Write the heat map of every model as PDF and PNG.

    Un-steered passes, and `steered` ones event by event, are listed model by model, shard by shard. The blocks that are
    scored (`settings`) are averaged; drawn is the steering of `method`, with `direction`.
    """
    args = arguments.parse(
        __doc__,
        argv,
        models=[str],
        unsteered=[Path],
        steered=[Path],
        events=Path,
        settings=Localization.from_json,
        method=str,
        direction=Direction.from_json,
        pdf=[Path],
        png=[Path],
    )
    log.start("plot_attention_change")
    events = pd.read_csv(args.events, dtype={"sample_id": str, "label": str}, keep_default_na=False)
    missing = missing_vectors(args.direction, events)
    times = _true_events(events, args.events)
    positions = order_positions(events["position"])
    files = arguments.by_model(args.models, args.unsteered, args.pdf, args.png, args.steered)
    for model, paths, (pdf,), (png,), of_events in files:
        unsteered = read_passes(paths)
        base, n_tokens = unsteered.of("base"), int(unsteered.n_audio_tokens[0])
        if (unsteered.n_audio_tokens != n_tokens).any():
            raise UserError(
                f"{paths[0]}: samples have different numbers of audio tokens, so they cannot be averaged token by "
                "token; choose a study of examples with equal clip_seconds"
            )
        layers = select_layers(args.settings.layers, base.shape[1])
        changes, count = _changes(unsteered, of_events, positions, layers, args.method, missing)
        figure = draw_attention_change(
            changes,
            positions,
            times,
            unsteered.tokens_per_second,
            f"{model_name(model)}: {method_name(f'steering_{args.method}').lower()}, "
            f"{_describe(layers)} weighted equally",
            count,
        )
        style.save(figure, pdf, png)
        _log.info("%d samples, %d audio tokens: %s", count, n_tokens, pdf)


def _changes(
    unsteered: Passes,
    steered: Sequence[Path],
    positions: Sequence[str],
    layers: list[int],
    method: str,
    missing: Mapping[tuple[str, str], str],
) -> tuple[np.ndarray, int]:
    """Mean change at every position, [position, audio_token], and the samples behind the one that has fewest."""
    base, n_tokens = unsteered.of("base"), int(unsteered.n_audio_tokens[0])
    changes, counts = [], []
    for position in positions:
        paths = [path for path in steered if path.parent.name == position]
        attention = read_passes(paths)
        if not np.array_equal(attention.sample_id, unsteered.sample_id):
            raise UserError(f"{paths[0]}: holds other samples than the un-steered passes; run steer_attention again")
        reasons = [missing.get((sample_id, position)) for sample_id in unsteered.sample_id]
        if all(reasons):
            _log.warning("%s: %s has no vector for any sample: %s", position, method, reasons[0])
            changes.append(np.full(n_tokens, np.nan))
            counts.append(0)
            continue
        of_method = attention.of(method, position)[:, :, :n_tokens]
        change, count = mean_attention_change(base[:, :, :n_tokens], of_method, layers)
        if count == 0:
            raise UserError(f"{paths[0]}: no sample has finite attention; look at the log of steer_attention")
        if count < len(reasons):
            _log.warning(
                "%s: %d samples left out, %d of them without a vector, the others without attention",
                *(position, len(reasons) - count, len(reasons) - reasons.count(None)),
            )
        changes.append(change)
        counts.append(count)
    return np.stack(changes), min(counts)


def _true_events(events: pd.DataFrame, path: Path) -> list[tuple[float, float]]:
    """Onset and offset at each position, in seconds; all samples must agree."""
    times = []
    for position in order_positions(events["position"]):
        rows = events.loc[events["position"] == position, ["onset", "offset"]]
        if rows.empty or np.ptp(rows.to_numpy(), axis=0).max() > 1e-3:
            raise UserError(f"{path}: events at position {position!r} differ in time; choose a study of equal examples")
        times.append((float(rows["onset"].iloc[0]), float(rows["offset"].iloc[0])))
    return times


def _describe(layers: list[int]) -> str:
    if len(layers) == 1:
        return f"block {layers[0]}"
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"blocks {layers[0]} to {layers[-1]}"
    if len(layers) > 6:
        return f"{len(layers)} blocks from {layers[0]} to {layers[-1]}"
    return f"blocks {', '.join(map(str, layers))}"


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


if __name__ == "__main__":
    log.run(main)
