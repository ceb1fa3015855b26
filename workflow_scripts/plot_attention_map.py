"""Draw where each text token reads the audio, block by block, in the base, the prompted and the steered pass."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from wheretolisten import arguments, log
from wheretolisten.config.directions import Direction
from wheretolisten.config.positions import order_positions
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.errors import UserError
from wheretolisten.examples import read_shard
from wheretolisten.figures.events import Event, draw_events, fit_names
from wheretolisten.localization.windows import attention_shares
from wheretolisten.report.names import method_name, model_name
from wheretolisten.store import read_passes

MOST_BLOCKS = 10
"""Models with more blocks are drawn by a selection."""

_SELECTED = 8
_TRUE = style.VERMILLION
_PAGE_HEIGHT = 10.8  # inches
_TOKEN_HEIGHT = 6.4  # points, where the page has room for it
_MARGINS = 1.5  # inches: title, events, axis of time, colour bar
_EVENTS_HEIGHT, _LONG_EVENTS_HEIGHT = 0.17, 0.45  # inches, the other where names need several lines
_LONGEST_TOKEN = 13  # characters
_NAME_SIZE = 6.5  # points


def main(argv: list[str] | None = None) -> None:
    """Write the map of one query of every model as PDF and PNG; `method` steered in it, with `direction`."""
    args = arguments.parse(
        __doc__,
        argv,
        models=[str],
        attention=[Path],
        events=Path,
        method=str,
        direction=Direction.from_json,
        pdf=[Path],
        png=[Path],
    )
    logger = log.start("plot_attention_map")
    of_examples = read_shard(args.events)
    without_vector = missing_vectors(args.direction, of_examples)
    positions = order_positions(of_examples["position"])
    for model, (path,), (pdf,), (png,) in arguments.by_model(args.models, args.attention, args.pdf, args.png):
        query = read_passes([path])
        (sample_id,), position = query.sample_id, query.attributes["event"]
        missing = without_vector.get((sample_id, position))
        if missing:
            logger.warning("%s has no vector for the query: %s", args.method, missing)
        events = of_examples[of_examples["sample_id"] == sample_id].set_index("position")
        if set(events.index) != set(positions):
            raise UserError(
                f"{args.events}: sample {sample_id} of {path} is not listed with all its positions; build the "
                "study again"
            )
        events = events.loc[positions]
        names = {
            "base": "Base",
            "prompted": method_name("prompt_only"),
            "steered": method_name(f"steering_{args.method}"),
        }
        figure = draw_attention_map(
            [
                Pass(
                    names[name], text, values[:, : len(text)], *(["no vector"] if missing and name == "steered" else [])
                )
                for (name, _), text, values in zip(query.passes, query.text[0], query.values[0], strict=True)
            ],
            [Event(*times) for times in zip(events["label"], events["onset"], events["offset"], strict=True)],
            positions.index(position),
            query.tokens_per_second,
            events["sample_seconds"].iloc[0],
            f"{model_name(model)}, sample {sample_id}: where text reads the audio; "
            f"queried: {events.loc[position, 'label']}",
        )
        style.save(figure, pdf, png)
        logger.info("sample %s, %s: %s", sample_id, position, pdf)


@dataclass(frozen=True)
class Pass:
    """One pass: its name, its text tokens, and their attention masses [layer, text_token, audio_token].

    `failure` says why these are not finite, where they are not.
    """

    name: str
    tokens: Sequence[str]
    attention: np.ndarray
    failure: str = "attention is not finite"


def drawn_blocks(n_layers: int) -> list[int]:
    """Blocks that the figure shows: all of up to ten, else eight evenly spaced ones from the first to the last."""
    if n_layers <= MOST_BLOCKS:
        return list(range(n_layers))
    return np.linspace(0, n_layers - 1, _SELECTED).round().astype(int).tolist()


def readable(token: str) -> str:
    """A token as a label: the space before a word left out, other white space made visible, long ones cut."""
    text = token[1:] if token[:1] == " " and token.strip() else token
    for character, sign in {"\n": "↵", "\r": "␍", "\t": "⇥", " ": "␣"}.items():
        text = text.replace(character, sign)
    return text if len(text) <= _LONGEST_TOKEN else text[: _LONGEST_TOKEN - 1] + "…"


def draw_attention_map(
    passes: Sequence[Pass],
    events: Sequence[Event],
    queried: int,
    tokens_per_second: float,
    sample_seconds: float,
    title: str,
) -> Figure:
    """Grid of heat maps: passes side by side, blocks below one another; time along x, text tokens along y.

    The colour is the share of a text token's attention to audio that falls on one audio token, so that every row of a
    heat map sums to 1; the bar beside it is the row's attention mass, which that normalisation hides.

    Parameters
    ----------
    passes
        Passes over one recording, of the same blocks.
    events
        True events in order of time.
    queried
        Index of the event that is asked for.
    tokens_per_second
        Rate of audio tokens, in Hz.
    sample_seconds
        Duration of the sample, in seconds.
    title
        Heading of the figure.
    """
    style.apply()
    n_layers = len(passes[0].attention)
    blocks = drawn_blocks(n_layers)
    # Rows without any attention to audio have no shares.
    with np.errstate(invalid="ignore"):
        shares = [100 * attention_shares(one.attention[blocks]) for one in passes]
    masses = [100 * one.attention[blocks].sum(axis=-1) for one in passes]
    # A few peaks would leave everything else white.
    top = _finite_quantile(shares, 0.99)
    heaviest = _finite_quantile(masses, 1.0)

    longest = max(len(one.tokens) for one in passes)
    row_height = min(longest * _TOKEN_HEIGHT / 72, (_PAGE_HEIGHT - _MARGINS) / len(blocks))
    figure, axes = plt.subplots(
        1 + len(blocks),
        2 * len(passes),
        figsize=(style.PAGE_WIDTH, _MARGINS + len(blocks) * row_height),
        gridspec_kw={
            "height_ratios": [_EVENTS_HEIGHT, *[row_height] * len(blocks)],
            "width_ratios": [1, 0.16] * len(passes),
        },
        sharex="col",
    )
    figure.get_layout_engine().set(w_pad=0.025, h_pad=0.015, wspace=0, hspace=0)
    size = min(6.0, 72 * row_height / longest)
    names = []
    for column, one in enumerate(passes):
        maps, bars = axes[:, 2 * column], axes[:, 2 * column + 1]
        names += draw_events(maps[0], events, queried, "#d0d0d0", _NAME_SIZE)
        maps[0].set_axis_off()
        maps[0].set_title(one.name, fontsize=8)
        bars[0].set_axis_off()
        # Labels stand on the lower third of their row: centred ones would move up and down with their descenders.
        lines = np.arange(len(one.tokens)) + 0.5 + 0.35 * size * len(one.tokens) / (72 * row_height)
        labels = [readable(token) for token in one.tokens]
        for row, (share, mass) in enumerate(zip(shares[column], masses[column], strict=True), start=1):
            mesh = _draw_shares(maps[row], share, tokens_per_second, top, events, queried, one.failure)
            maps[row].set_yticks(lines, labels, fontsize=size, va="baseline")
            bars[row].barh(np.arange(len(mass)) + 0.5, mass, height=0.8, color=style.GREY, linewidth=0)
            bars[row].set_ylim(len(mass), 0)
            bars[row].set_yticks([])
            bars[row].spines[["top", "right"]].set_visible(False)
        maps[0].set_xlim(0, max(sample_seconds, share.shape[1] / tokens_per_second))
        bars[0].set_xlim(0, heaviest)
        two_digits = np.format_float_positional(heaviest, precision=2, fractional=False, trim="-")
        bars[-1].set_xticks([0, heaviest], ["0", two_digits], fontsize=6.5)
        maps[-1].set_xlabel("Time (s)")
        bars[-1].set_xlabel("Mass\n(%)")
    for row, block in enumerate(blocks, start=1):
        axes[row, 0].set_ylabel(f"Block {block}")
    figure.align_ylabels(axes[1:, 0])
    bar = figure.colorbar(mesh, ax=axes, location="bottom", extend="max", shrink=0.6, aspect=60, pad=0.01)
    bar.set_label(
        "Share of a text token's attention to audio (% per audio token). Bars: mass of all its attention to audio"
        + (f"\n{len(blocks)} of {n_layers} blocks, evenly spaced" if len(blocks) < n_layers else "")
    )
    bar.outline.set_linewidth(0.7)
    figure.suptitle(title, fontsize=9)
    style.fit_titles(figure)
    all_events = list(events) * len(passes)
    if not fit_names(names, all_events):
        figure.set_figheight(figure.get_figheight() + _LONG_EVENTS_HEIGHT - _EVENTS_HEIGHT)
        axes[0, 0].get_gridspec().set_height_ratios([_LONG_EVENTS_HEIGHT, *[row_height] * len(blocks)])
        figure.draw_without_rendering()
        for name, event in zip(names, all_events, strict=True):
            name.set(text=event.label, fontsize=_NAME_SIZE)
        fit_names(names, all_events)
    return figure


def _finite_quantile(values: Sequence[np.ndarray], quantile: float) -> float:
    pooled = np.concatenate([array.ravel() for array in values])
    pooled = pooled[np.isfinite(pooled)]
    return float(np.quantile(pooled, quantile)) or 1.0 if pooled.size else 1.0


def _draw_shares(
    axis: Axes,
    share: np.ndarray,
    tokens_per_second: float,
    top: float,
    events: Sequence[Event],
    queried: int,
    failure: str,
) -> QuadMesh:
    n_text, n_audio = share.shape
    edges = np.arange(n_audio + 1) / tokens_per_second
    mesh = axis.pcolormesh(edges, np.arange(n_text + 1), share, cmap="Blues", vmin=0, vmax=top, rasterized=True)
    if np.isfinite(share).any():
        for number, event in enumerate(events):
            line = {"color": _TRUE, "linewidth": 0.9} if number == queried else {"color": style.GREY, "linewidth": 0.5}
            for time in (event.onset, event.offset):
                axis.axvline(time, **line)
    else:
        axis.text(0.5, 0.5, failure, transform=axis.transAxes, ha="center", va="center", fontsize=6.5)
    axis.set_ylim(n_text, 0)
    axis.tick_params(axis="y", length=0, pad=1.5)
    return mesh


if __name__ == "__main__":
    log.run(main)
