"""Draw the reading of one query, sound, attention without and with steering, scores, chosen window; and its page."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import spectrogram

from wheretolisten import arguments, log
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.directions import Direction
from wheretolisten.config.layers import select_layers
from wheretolisten.config.probe import Localization
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.errors import UserError
from wheretolisten.figures.events import Event, as_events, draw_events, events_of, fit_names
from wheretolisten.files import refusal
from wheretolisten.localization.windows import Window, find_window, without_vector
from wheretolisten.page import write_page
from wheretolisten.report.names import model_name
from wheretolisten.statistics.attention import mean_share
from wheretolisten.statistics.overlap import window_overlap
from wheretolisten.store import read_passes

_TRUE = style.VERMILLION
_CHOSEN = style.BLUE

_log = logging.getLogger("plot_reading")


def main(argv: list[str] | None = None) -> None:
    """Write how each model reads one sample and position as PDF, PNG, and HTML page that plays the sound.

    Un-steered passes, and those steered at that position, are listed model by model, shard by shard; paths of audio
    start in `examples_folder`.
    """
    args = arguments.parse(
        __doc__,
        argv,
        models=[str],
        unsteered=[Path],
        attention=[Path],
        events=Path,
        examples_folder=Path,
        settings=Localization.from_json,
        sample=int,
        position=str,
        method=str,
        direction=Direction.from_json,
        pdf=[Path],
        png=[Path],
        html=[Path],
    )
    log.start("plot_reading")
    of_examples = pd.read_csv(args.events, dtype={"sample_id": str, "label": str}, keep_default_na=False)
    events = events_of(of_examples, args.events, args.sample, args.position)
    sample_id = events["sample_id"].iloc[0]
    event = events.loc[args.position]
    reason = missing_vectors(args.direction, of_examples).get((sample_id, args.position))
    # Symbolic examples have no audio.
    sound = _read_audio(args.examples_folder / event["path"]) if event["path"] else None
    files = arguments.by_model(args.models, args.unsteered, args.attention, args.pdf, args.png, args.html)
    for model, of_unsteered, of_attention, (pdf,), (png,), (html,) in files:
        unsteered, attention = read_passes(of_unsteered), read_passes(of_attention)
        row = _row_of(sample_id, unsteered.sample_id, of_unsteered)
        n_tokens, rate = int(unsteered.n_audio_tokens[row]), unsteered.tokens_per_second
        base = unsteered.of("base")[row]
        steered = attention.of(args.method, args.position)[_row_of(sample_id, attention.sample_id, of_attention)]
        window = find_window(base, steered, event["duration"], rate, n_tokens, args.settings)
        found = f"overlap {100 * window_overlap(window, event['onset'], event['offset']):.0f} %"
        if reason:
            window, found = without_vector(reason, rate), "no vector"
        layers = select_layers(args.settings.layers, len(base))
        # A failed query is drawn, too: attention that is not finite leaves gaps, the last panel states the reason.
        shares = [mean_share(values[:, :n_tokens], layers) for values in (base, steered)]
        figure = draw_reading(
            sound,
            as_events(events),
            events.index.get_loc(args.position),
            *shares,
            window,
            event["sample_seconds"],
            f"{model_name(model)}, sample {sample_id}: where is the sound of {event['label']}? {found.capitalize()}",
        )
        style.save(figure, pdf, png)
        of_page = {
            "file": f"Sample {sample_id}: {event['label']}",
            "seconds": float(event["sample_seconds"]),
            "model": model_name(model),
            "method": f"steering_{args.method}",
            "tokens_per_second": rate,
            "asked": "steered",
            "sounds": [as_sound(event["label"], base[:, :n_tokens], steered[:, :n_tokens], layers, window)],
            "truth": events[["onset", "offset", "label"]].to_dict("records"),
        }
        write_page(of_page, sound, html)
        _log.info("sample %s, %s: %s: %s", sample_id, args.position, found, pdf)


def as_sound(
    label: str, base: np.ndarray, steered: np.ndarray, layers: Sequence[int], window: Window
) -> dict[str, Any]:
    """One query as a sound of a page (`page.write_page`), without a threshold: the published probe always answers.

    Parameters
    ----------
    base, steered
        Attention to the audio without and with the vector, [layer, audio_token].
    layers
        Blocks that are scored; the curves are means over them, those of single blocks are there to choose.
    window
        Outcome of the search.
    """
    n_tokens, found = base.shape[1], window.tied_starts.size == 1
    shares = [n_tokens * mean_share(values, layers) for values in (base, steered)]
    score = float(window.score.max()) if window.score.size else None
    with np.errstate(divide="ignore", invalid="ignore"):  # without attention there is no ratio: a gap
        change = np.log2(shares[1] / shares[0])
        by_layer = [np.log2(mean_share(steered, [layer]) / mean_share(base, [layer])) for layer in layers]
    interval = {"onset": window.start_seconds, "offset": window.end_seconds, "score": score}
    return {
        "name": label,
        "heard": found,
        "score": score,
        "p_value": None,
        "threshold": None,
        "reason": "" if found else window.failure or f"{window.tied_starts.size} windows tie",
        "intervals": [interval] if found else [],
        "curve": {
            "seconds": (np.arange(n_tokens) + 0.5) / window.tokens_per_second,
            "change": change,
            "base": shares[0],
            "asked": shares[1],
        },
        "layers": [{"layer": int(layer), "change": values} for layer, values in zip(layers, by_layer, strict=True)],
    }


def _row_of(sample_id: str, sample_ids: np.ndarray, paths: list[Path]) -> int:
    rows = np.flatnonzero(sample_ids == sample_id)
    if rows.size == 0:
        raise UserError(f"{paths[0]}: sample {sample_id} is not in it; pass the shard that holds the sample")
    return int(rows[0])


def _read_audio(path: Path) -> np.ndarray | None:
    """The sound [frame] at 16 kHz, or None where it, or the library that reads it, is not at hand."""
    try:
        import soundfile  # only here: everything but the spectrogram can be drawn without it

        audio, _ = soundfile.read(io.BytesIO(path.read_bytes()), dtype="float32")
    except (ImportError, OSError, RuntimeError) as error:
        if not isinstance(error, FileNotFoundError) and (refused := refusal(path, error)):
            raise refused from error
        _log.warning("no spectrogram: %s: %s", path, error)
        return None
    return audio


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
    names = draw_events(axes[1], events, queried, "#c8c8c8", 8)
    axes[1].set_yticks([])
    axes[1].set_ylabel("True\nevents")
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


def _draw_sound(axis: Axes, audio: np.ndarray | None) -> None:
    axis.set_ylabel("Frequency\n(kHz)")
    axis.set_ylim(0, SAMPLING_RATE / 2000)
    if audio is None:
        axis.text(0.5, 0.5, "there is no audio at hand", transform=axis.transAxes, ha="center", va="center")
        axis.set_yticks([])
        return
    frequencies, times, power = spectrogram(audio, SAMPLING_RATE, nperseg=512, noverlap=256)
    level = 10 * np.log10(power + 1e-20)
    level -= level.max()
    step = times[1] - times[0]
    extent = (times[0] - step / 2, times[-1] + step / 2, 0, frequencies[-1] / 1000)
    image = axis.imshow(level, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-80, vmax=0)
    axis.figure.colorbar(image, ax=axis, pad=0.01, aspect=10, ticks=[-80, -40, 0]).set_label("Level (dB)")


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


if __name__ == "__main__":
    log.run(main)
