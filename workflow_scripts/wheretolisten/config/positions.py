"""Names of the events of a sample: begin, middle and end of three in sequence, else event-1, event-2, ... by onset."""

import re
from collections.abc import Iterable

from wheretolisten.config.constants import POSITIONS
from wheretolisten.errors import UserError

PATTERN = "|".join((*POSITIONS, "event-[1-9][0-9]*"))
"""What a position may be called, as a regular expression; a position becomes a folder and a value of options."""

DESCRIPTION = f"{', '.join(POSITIONS)}, or event-1, event-2, ..."
"""The same in words."""


def name_positions(n_events: int) -> tuple[str, ...]:
    """Names of `n_events` events, in order of their onsets."""
    return tuple(f"event-{number}" for number in range(1, n_events + 1))


ABSENT = "absent"
"""Folder of passes that are steered for absent sounds, of all events together."""


def absent_positions(n_sounds: int) -> tuple[str, ...]:
    """What stands in an event's place where a prompt is about a sound that the recording does not hold."""
    return tuple(f"{ABSENT}-{number}" for number in range(1, n_sounds + 1))


def is_absent(position: str) -> bool:
    """Whether it stands for a sound that the recording does not hold."""
    return position.startswith(f"{ABSENT}-")


def is_position(name: str) -> bool:
    """Whether events can have this name."""
    return re.fullmatch(PATTERN, name) is not None


def others_of(position: str, names: Iterable[str]) -> list[str]:
    """The other events among the positions of a sample, from the next one on, in a circle; absent sounds are none."""
    events = order_positions(name for name in names if not is_absent(name))
    here = events.index(position)
    return events[here + 1 :] + events[:here]


def order_positions(names: Iterable[str]) -> list[str]:
    """The different ones among `names`, in order of time. A name says which event of its sample it is.

    Raises
    ------
    UserError
        If events cannot have one of the names.
    """

    def place(name: str) -> tuple[bool, int]:
        if not is_position(name):
            raise UserError(f"{name!r} is no position: events are called {DESCRIPTION}; correct the table")
        # Tables of several studies hold both kinds of names.
        return (False, POSITIONS.index(name)) if name in POSITIONS else (True, int(name.removeprefix("event-")))

    return sorted(set(names), key=place)
