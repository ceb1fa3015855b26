"""From any audio file to 16 kHz mono."""

import math
from pathlib import Path

import numpy as np
import soundfile

from wheretolisten.clips.pcm import quantise
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.files import refusal

_BLOCK = 1 << 18
_LOWEST_RATE = 1_000  # Hz; a header that says less is wrong, and would blow up when resampled
_SILENCE = 1e-4  # root mean square, −80 dB of full scale


class BadFileError(Exception):
    """A file that cannot serve as a clip; the message is the reason, to follow the file's name."""


def decode(path: Path, min_seconds: float) -> np.ndarray:
    """Read a file in any format that libsndfile knows, mix it to mono and resample it → int16 [frame] at 16 kHz.

    A floating-point file that goes beyond full scale is made quieter as a whole.

    Raises
    ------
    BadFileError
        If the file is missing, empty, no audio, broken, silent or shorter than `min_seconds`.
    UserError
        If the operating system does not let it be read.
    """
    try:
        if not path.exists():
            raise BadFileError("does not exist")
        if not path.is_file():
            raise BadFileError("is not a file")
        # libsndfile, were it to open the file first, would call a refusal of the system one of the decoder.
        with path.open("rb") as file:
            if not file.read(1):
                raise BadFileError("is empty (0 bytes)")
        mono, rate = _read_mono(path)
    except (OSError, soundfile.SoundFileError) as error:
        if refused := refusal(path, error):  # no bad file: left out, it would be missed without reason
            raise refused from error
        raise BadFileError(f"cannot be read as audio ({' '.join(str(error).split())})") from error
    if rate < _LOWEST_RATE:
        raise BadFileError(f"has a sampling rate of {rate} Hz")
    if not np.isfinite(mono).all():
        raise BadFileError("holds values that are not finite numbers (NaN or infinity)")
    if len(mono) / rate < min_seconds:
        raise BadFileError(f"lasts {len(mono) / rate:.2f} s, less than min_seconds ({min_seconds:g} s)")
    if math.sqrt(np.mean(np.square(mono))) < _SILENCE:
        raise BadFileError("is silent")
    return quantise(_fit(_resample(mono, rate)))


def _read_mono(path: Path) -> tuple[np.ndarray, int]:
    blocks = []
    with soundfile.SoundFile(path) as file:
        while len(block := file.read(_BLOCK, dtype="float64", always_2d=True)):
            blocks.append(block.mean(axis=1))
        return np.concatenate(blocks) if blocks else np.zeros(0), file.samplerate


def _resample(mono: np.ndarray, rate: int) -> np.ndarray:
    if rate == SAMPLING_RATE:
        return mono
    import soxr  # not needed, nor installed, where only prepared clips are read

    return soxr.resample(mono, rate, SAMPLING_RATE, quality="HQ")


def _fit(signal: np.ndarray) -> np.ndarray:
    peak = float(np.abs(signal).max())
    return signal / peak if peak > 1 else signal
