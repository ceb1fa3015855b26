"""The recordings that items are about, as models hear them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wheretolisten.clips.audibility import audible
from wheretolisten.clips.decode import BadFileError, decode
from wheretolisten.clips.names import path_problem
from wheretolisten.clips.pcm import as_heard
from wheretolisten.config.constants import SAMPLING_RATE
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
