"""The library for programs of one's own, without Snakemake: what docs/python.md uses, under one name.

No script imports this module, so that none comes to depend on more than it needs.
"""

from pathlib import Path

import numpy as np

from wheretolisten.clips.decode import BadFileError, decode
from wheretolisten.clips.pcm import as_heard
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Localization, Steering
from wheretolisten.directions.vectors import contrast
from wheretolisten.engine.passes import Engine, Likelihoods, Reading
from wheretolisten.engine.selfcheck import load
from wheretolisten.errors import UserError
from wheretolisten.localization.windows import Window, find_window, find_window_of_any_width
from wheretolisten.models.adapter import Symbols

__all__ = [
    "Engine",
    "Likelihoods",
    "Localization",
    "Model",
    "Reading",
    "Steering",
    "Symbols",
    "UserError",
    "Window",
    "contrast",
    "find_window",
    "find_window_of_any_width",
    "load",
    "read_recording",
]


def read_recording(path: str | Path) -> np.ndarray:
    """A recording as models hear it, from a file in any format that libsndfile reads; the workflow reads clips alike.

    Parameters
    ----------
    path
        The file: any sampling rate, any number of channels.

    Returns
    -------
    np.ndarray
        float32 [frame], 16 kHz mono, in −1 … 1.

    Raises
    ------
    UserError
        If the file is missing, broken, silent, or cannot be read (docs/sounds.md).
    """
    try:
        pcm = decode(Path(path), min_seconds=0.1)
    except BadFileError as error:
        raise UserError(f"{path}: the file {error}; give another recording") from error
    return as_heard(pcm)
