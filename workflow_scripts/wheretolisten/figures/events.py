"""Events of a recording, named in a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Text

from wheretolisten.config.positions import order_positions
from wheretolisten.errors import UserError
from wheretolisten.figures import style


@dataclass(frozen=True)
class Event:
    """A true event: label, onset and offset in seconds."""

    label: str
    onset: float
    offset: float


def events_of(table: pd.DataFrame, path: Path, sample: int, position: str) -> pd.DataFrame:
    """Rows of a sample, by its index, in a table of events, by position, in order of time.

    Raises
    ------
    UserError
        If the table, which `path` names, has no such position, or lacks one of the sample.
    """
    positions = order_positions(table["position"])
    if position not in positions:
        raise UserError(f"{path}: there is no event {position!r} ({', '.join(positions)}); choose one of these")
    events = table[table["sample_id"].astype(int) == sample].set_index("position", drop=False)
    if set(events["position"]) != set(positions):
        raise UserError(f"{path}: sample {sample} is not listed with all its positions; choose another sample")
    return events.loc[positions]


def as_events(rows: pd.DataFrame) -> list[Event]:
    """Rows of a table of events, to be drawn."""
    return [Event(*times) for times in zip(rows["label"], rows["onset"], rows["offset"], strict=True)]


def draw_events(
    axis: Axes, events: Sequence[Event], queried: int, grey: str, size: float, colour: str = style.VERMILLION
) -> list[Text]:
    """Events as named stretches of a strip, the one that is queried in colour; a second sound lies below its event."""
    names = []
    for number, event in enumerate(events):
        around = [other for other in events if other is not event and _overlap(event, other)]
        low, high = 0.0, 1.0
        if around:
            second = any(_length(event) < _length(other) for other in around)
            low, high = (0.0, 0.5) if second else (0.5, 1.0)
        asked = number == queried
        axis.axvspan(event.onset, event.offset, low, high, color=colour if asked else grey, linewidth=0)
        place, ink = ((event.onset + event.offset) / 2, (low + high) / 2), "white" if asked else style.BLACK
        names.append(axis.text(*place, event.label, color=ink, ha="center", va="center", fontsize=size, clip_on=True))
    axis.set_ylim(0, 1)
    return names


def _overlap(first: Event, second: Event) -> bool:
    # Tables hold microseconds.
    return min(first.offset, second.offset) - max(first.onset, second.onset) > 2e-6


def _length(event: Event) -> float:
    return event.offset - event.onset


def fit_names(names: Sequence[Text], events: Sequence[Event]) -> bool:
    """Make the names of events fit into their stretches of time; the layout must be known. Returns whether all do."""
    fitted = []
    for name, event in zip(names, events, strict=True):
        axis, figure = name.axes, name.figure
        seconds = np.ptp(axis.get_xlim())
        width = axis.get_position().width * figure.get_figwidth() * (event.offset - event.onset) / seconds
        _, middle = name.get_position()
        height = axis.get_position().height * figure.get_figheight() * 2 * min(middle, 1 - middle)
        fitted.append(style.fit_into(name, width - 0.04, height))
    return all(fitted)
