"""The recordings that items are about, as models hear them."""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wheretolisten.clips.audibility import audible
from wheretolisten.clips.decode import BadFileError, decode
from wheretolisten.clips.names import path_problem
from wheretolisten.clips.pcm import as_heard
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.errors import UserError
from wheretolisten.questions.mmau import Item, leave_out

_SHORTEST = 0.1
"""Seconds."""


def load_recording(item: Item, folder: str | Path, max_seconds: float) -> np.ndarray:
    """Audio of an item, mixed to mono, resampled and cut off at `max_seconds`.

    Returns
    -------
    numpy.ndarray
        float32 [frame] at 16 kHz, in −1 … 1.

    Raises
    ------
    BadFileError
        If the path leads out of the folder, or the file is missing, no audio, broken, cut off or too short, or
        if what is left of it is silent.
    """
    if problem := path_problem(item.audio_id, folder):
        raise BadFileError(problem)
    # Nothing is cut out of it, so that a click is enough.
    pcm = decode(Path(folder) / item.audio_id, _SHORTEST, least_audible=0)[: round(max_seconds * SAMPLING_RATE)]
    if not audible(pcm).any():
        raise BadFileError(f"is silent in its first {max_seconds:g} s, and the rest is cut off (max_seconds)")
    return as_heard(pcm)


def other_recording(item: Item, items: Sequence[Item], load: Callable[[Item], np.ndarray]) -> np.ndarray:
    """Another item's recording: that of the next item, in a circle, which is about another file that can be used.

    Raises
    ------
    UserError
        If there is none.
    """
    start = [each.item_id for each in items].index(item.item_id)
    for each in (*items[start + 1 :], *items[:start]):
        if each.audio_id != item.audio_id:
            with contextlib.suppress(BadFileError):
                return load(each)
    raise UserError(
        f"item {item.item_id}: all questions so far are about {item.audio_id}, and a control hears another recording; "
        "ask about more recordings"
    )


def usable(items: Sequence[Item], folder: str | Path, max_seconds: float, on_bad_item: str) -> list[Item]:
    """Items whose audio can be used; the others are named in the log.

    Raises
    ------
    UserError
        If one cannot and `on_bad_item` is "refuse".
    """
    found = []
    for item in items:
        try:
            load_recording(item, folder, max_seconds)
        except BadFileError as error:
            leave_out(f"item {item.item_id}: {os.path.join(folder, item.audio_id)} {error}", on_bad_item)
            continue
        found.append(item)
    return found
