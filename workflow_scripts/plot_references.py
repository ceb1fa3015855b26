"""Draw the window scores of one query whose passes are held against the base pass, and against absent sounds."""

from wheretolisten.figures import style  # isort: skip  # before matplotlib, which it frees of the user's settings

import logging
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wheretolisten import arguments, log
from wheretolisten.config.settings import ScoredMethod, ScoringSettings
from wheretolisten.errors import UserError
from wheretolisten.figures.events import Event, as_events, draw_events, events_of, fit_names
from wheretolisten.localization.readings import Readings
from wheretolisten.localization.references import NO_REFERENCE
from wheretolisten.localization.table import METHODS
from wheretolisten.localization.windows import Window, find_window, without_vector
from wheretolisten.report.names import method_name, model_name
from wheretolisten.statistics.overlap import window_overlap
from wheretolisten.store import read_passes, read_passes_by_event

_TRUE, _BASE, _ABSENT = style.VERMILLION, style.GREY, style.BLUE
_MOST = 2
"""Methods that are drawn: those of `METHODS` first."""

_log = logging.getLogger("plot_references")


def main(argv: list[str] | None = None) -> None:
    """Write the scores of one sample and position by each model as PDF and PNG.

    Passes are those of the shard that holds the sample, model by model, steered ones event by event; `events` are all
    of the study.
    """
    args = arguments.parse(
        __doc__,
        argv,
        models=[str],
        unsteered=[Path],
        steered=[Path],
        events=Path,
        settings=ScoringSettings.from_json,
        sample=int,
        position=str,
        pdf=[Path],
        png=[Path],
    )
    log.start("plot_references")
    table = pd.read_csv(args.events, dtype={"sample_id": str, "label": str}, keep_default_na=False)
    events = events_of(table, args.events, args.sample, args.position)
    event, drawn = events.loc[args.position], as_events(events)
    matched = {name: each for name, each in args.settings.methods.items() if each.localization.reference == "absent"}
    if not matched:
        raise UserError("no method of the study is held against absent sounds; add one with reference: absent")
    names = sorted(matched, key=lambda name: name not in METHODS)[:_MOST]
    for model, unsteered, steered, (pdf,), (png,) in arguments.by_model(
        args.models, args.unsteered, args.steered, args.pdf, args.png
    ):
        passes = read_passes(unsteered)
        readings = Readings(passes, read_passes_by_event(steered, passes))
        windows = {name: _windows_of(readings, matched[name], event) for name in names}
        title = f"{model_name(model)}, sample {event['sample_id']}: where is the sound of {event['label']}?"
        figure = draw_references(windows, drawn, events.index.get_loc(args.position), event["sample_seconds"], title)
        style.save(figure, pdf, png)
        for name, found in windows.items():
            shares = [100 * window_overlap(window, event["onset"], event["offset"]) for window in found]
            _log.info("%s, %s: overlap %.0f %% against base, %.0f %% against absent: %s", model, name, *shares, pdf)


def _windows_of(readings: Readings, method: ScoredMethod, event: pd.Series) -> tuple[Window, Window]:
    """The windows of the method's passes, held against the base pass and against absent sounds."""
    sample_id, position = event["sample_id"], event["position"]
    rate, found = readings.unsteered.tokens_per_second, []
    for reference in ("base", "absent"):
        settings = method.localization.model_copy(update={"reference": reference})
        against = readings.reference(method.passes, sample_id, position, settings)
        if against is None:
            found.append(without_vector(NO_REFERENCE, rate))
            continue
        asked = readings.of(method.passes, sample_id, position)
        n_tokens = readings.n_audio_tokens(sample_id)
        found.append(find_window(against, asked, event["duration"], rate, n_tokens, settings))
    return found[0], found[1]


def draw_references(
    windows: dict[str, tuple[Window, Window]],
    events: Sequence[Event],
    queried: int,
    sample_seconds: float,
    title: str,
) -> Figure:
    """Scores of every window under both references over a common axis of time, one panel per method.

    Parameters
    ----------
    windows
        Row of the tables → outcome against the base pass, and against absent sounds.
    events
        True events in order of time.
    queried
        Index of the event that is looked for.
    sample_seconds
        Duration of the sample, in seconds.
    title
        Heading of the figure.
    """
    style.apply()
    heights = [0.35] + [1.3] * len(windows)
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(style.PAGE_WIDTH, 0.9 + 1.7 * len(windows)),
        sharex=True,
        gridspec_kw={"height_ratios": heights},
    )
    names = draw_events(axes[0], events, queried, "#c8c8c8", 8)
    axes[0].set_yticks([])
    axes[0].set_ylabel("True\nevents")
    axes[0].set_title(title)
    for axis, (name, found) in zip(axes[1:], windows.items(), strict=True):
        _draw_scores(axis, found, events[queried])
        axis.set_ylabel(f"{method_name(name)}\nscore (ratio)")
    axes[0].set_xlim(0, sample_seconds)
    axes[-1].set_xlabel("Time (s); a score stands where its window starts")
    figure.align_ylabels(axes)
    style.fit_titles(figure)
    fit_names(names, events)
    return figure


def _draw_scores(axis: Axes, found: tuple[Window, Window], event: Event) -> None:
    axis.axvspan(event.onset, event.offset, color=_TRUE, alpha=0.12, linewidth=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.ticklabel_format(axis="y", useOffset=False)
    scores = np.concatenate([window.score for window in found])
    if not scores.size:
        axis.text(0.5, 0.5, f"no window: {found[1].failure}", transform=axis.transAxes, ha="center", va="center")
        return
    low, high = scores.min(), scores.max()
    room = max(high - low, 1e-3 * abs(high))
    axis.set_ylim(low - 0.12 * room, high + 0.95 * room)
    for number, (window, colour, about) in enumerate(
        zip(found, (_BASE, _ABSENT), ("against the base pass", "against absent sounds"), strict=True)
    ):
        starts = np.arange(window.score.size) / window.tokens_per_second
        axis.plot(starts, window.score, color=colour, label=about)
        if window.tied_starts.size == 1:
            level = high + (0.14 + 0.16 * number) * room
            axis.plot([window.start_seconds, window.end_seconds], [level] * 2, color=colour, linewidth=4)
    axis.plot([], [], color=style.BLACK, linewidth=4, label="chosen windows")
    axis.legend(loc="upper right", ncols=3, frameon=False, borderaxespad=0)


if __name__ == "__main__":
    log.run(main)
