"""The reading of one query: sound, attention without and with steering, and the window chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy.signal import spectrogram

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.figures import style
from wheretolisten.localization.windows import Window

_TRUE = style.VERMILLION
_CHOSEN = style.BLUE


@dataclass(frozen=True)
class Event:
    """A true event: label, onset and offset in seconds."""

    label: str
    onset: float
    offset: float


def draw_reading(
    audio: np.ndarray | None,
    events: Sequence[Event],
    queried: int,
    base: np.ndarray,
    steered: np.ndarray,
    window: Window,
    sample_seconds: float,
    title: str,
) -> Figure:
    """Spectrogram, events, attention and window score of one query over a common axis of time.

    Parameters
    ----------
    audio
        Sound of the sample at 16 kHz, [frame]; None where it is not at hand.
    events
        True events in order of time.
    queried
        Index of the event that is looked for.
    base, steered
        Share of attention per audio token, [audio_token], summing to 1; NaN where it is not known.
    window
        Outcome of the search.
    sample_seconds
        Duration of the sample, in seconds.
    title
        Heading of the figure.
    """
    style.apply()
    figure, axes = plt.subplots(
        4, 1, figsize=(style.PAGE_WIDTH, 5.4), sharex=True, gridspec_kw={"height_ratios": [1.6, 0.35, 1.3, 1.3]}
    )
    _draw_sound(axes[0], audio)
    names = _draw_events(axes[1], events, queried)
    _draw_attention(axes[2], base, steered, window.tokens_per_second)
    _draw_score(axes[3], window, events[queried])
    for axis in axes[2:]:
        axis.axvspan(events[queried].onset, events[queried].offset, color=_TRUE, alpha=0.12, linewidth=0)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_xlim(0, max(sample_seconds, base.size / window.tokens_per_second))
    axes[0].set_title(title)
    axes[-1].set_xlabel("Time (s)")
    figure.align_ylabels(axes)
    style.fit_titles(figure)
    fit_names(names, events)
    return figure


def fit_names(names: Sequence[Text], events: Sequence[Event]) -> bool:
    """Make the names of events fit into their stretches of time; the layout must be known. Returns whether all do."""
    fitted = []
    for name, event in zip(names, events, strict=True):
        axis, figure = name.axes, name.figure
        seconds = np.ptp(axis.get_xlim())
        width = axis.get_position().width * figure.get_figwidth() * (event.offset - event.onset) / seconds
        height = axis.get_position().height * figure.get_figheight()
        fitted.append(style.fit_into(name, width - 0.04, height))
    return all(fitted)


def _draw_sound(axis: Axes, audio: np.ndarray | None) -> None:
    axis.set_ylabel("Frequency\n(kHz)")
    axis.set_ylim(0, SAMPLING_RATE / 2000)
    if audio is None:
        axis.text(0.5, 0.5, "the audio is not at hand", transform=axis.transAxes, ha="center", va="center")
        axis.set_yticks([])
        return
    frequencies, times, power = spectrogram(audio, SAMPLING_RATE, nperseg=512, noverlap=256)
    level = 10 * np.log10(power + 1e-20)
    level -= level.max()
    step = times[1] - times[0]
    extent = (times[0] - step / 2, times[-1] + step / 2, 0, frequencies[-1] / 1000)
    image = axis.imshow(level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-80, vmax=0)
    axis.figure.colorbar(image, ax=axis, pad=0.01, aspect=10, ticks=[-80, -40, 0]).set_label("Level (dB)")


def _draw_events(axis: Axes, events: Sequence[Event], queried: int) -> list[Text]:
    names = []
    for number, event in enumerate(events):
        colour = _TRUE if number == queried else "#c8c8c8"
        axis.axvspan(event.onset, event.offset, color=colour, linewidth=0)
        ink = "white" if number == queried else style.BLACK
        middle = (event.onset + event.offset) / 2
        names.append(axis.text(middle, 0.5, event.label, color=ink, ha="center", va="center", fontsize=8, clip_on=True))
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.set_ylabel("True\nevents")
    return names


def _draw_attention(axis: Axes, base: np.ndarray, steered: np.ndarray, tokens_per_second: float) -> None:
    edges = np.arange(base.size + 1) / tokens_per_second
    axis.stairs(100 * base, edges, baseline=None, color=style.BLACK, linewidth=1.0, label="base", linestyle=(0, (3, 1)))
    axis.stairs(100 * steered, edges, baseline=None, color=_CHOSEN, linewidth=1.1, label="steered")
    shares = np.concatenate([base, steered])
    top = 100 * shares[np.isfinite(shares)].max(initial=0) or 1.0
    axis.set_ylim(0, 1.3 * top)  # room for the legend above the curves
    axis.set_ylabel("Share of attention\n(% per token)")
    axis.legend(loc="upper right", ncols=2, frameon=False, borderaxespad=0)


def _draw_score(axis: Axes, window: Window, event: Event) -> None:
    axis.set_ylabel("Window score\n(ratio)")
    axis.ticklabel_format(axis="y", useOffset=False)
    if window.failure:
        axis.text(0.5, 0.5, f"no window: {window.failure}", transform=axis.transAxes, ha="center", va="center")
        return
    starts = np.arange(window.score.size) / window.tokens_per_second
    axis.plot(starts, window.score, color=style.BLACK, label="score of the window that starts here")
    low, high = window.score.min(), window.score.max()
    room = max(high - low, 1e-3 * abs(high), 1e-12)  # differences by rounding are not blown up
    axis.set_ylim(low - 0.12 * room, high + 0.8 * room)
    # Not up to the top, where the legend stands.
    bottom, top = low - 0.12 * room, high + 0.35 * room
    axis.vlines(event.onset, bottom, top, color=_TRUE, linestyle=(0, (3, 1.5)), label="true onset")
    if window.tied:
        times = window.tied_starts / window.tokens_per_second
        axis.plot(times, window.score[window.tied_starts], "o", color=_CHOSEN, markersize=3)
        axis.plot([], [], "o", color=_CHOSEN, markersize=3, label=f"{window.tied_starts.size} windows tie: none chosen")
    else:
        level = high + 0.12 * room
        axis.plot(
            [window.start_seconds, window.end_seconds],
            [level, level],
            color=_CHOSEN,
            linewidth=4,
            solid_capstyle="butt",
            label="chosen window",
        )
        axis.plot(window.start_seconds, high, "o", color=_CHOSEN, markersize=4)
    axis.legend(loc="upper right", ncols=3, frameon=False, borderaxespad=0)
