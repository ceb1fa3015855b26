"""Events of a recording, named in a figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.text import Text

from wheretolisten.figures import style


@dataclass(frozen=True)
class Event:
    """A true event: label, onset and offset in seconds."""

    label: str
    onset: float
    offset: float


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
