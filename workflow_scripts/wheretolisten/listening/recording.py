"""Recordings of one's own: one file, many or a folder of them, of any length."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from wheretolisten.clips.audibility import FLOOR
from wheretolisten.clips.decode import UNKNOWN_FRAMES, BadFileError, decode
from wheretolisten.clips.pcm import quantise
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.errors import UserError
from wheretolisten.examples.recordings import SUFFIXES
from wheretolisten.files import atomic_path, refusal

SHORTEST_SECONDS = 0.5
_LONG_SECONDS = 600
_BLOCK_SECONDS = 30


def listed(paths: Sequence[Path]) -> list[Path]:
    """The files that are named, and those with a usual suffix of audio in folders that are, each once.

    Raises
    ------
    UserError
        If one of them does not exist, or a folder holds no recording.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
            if not inside:
                raise UserError(
                    f"{path}: the folder holds no recording ({', '.join(sorted(SUFFIXES))}); name files one by one"
                )
            found.update(dict.fromkeys(inside))
        elif path.exists():
            found[path] = None
        else:
            raise UserError(f"{path}: there is no such file; check the path")
    return list(found)


def read(path: Path, scratch: Path) -> np.ndarray:
    """A recording as int16 [frame], 16 kHz mono; one of more than ten minutes by blocks, and then it stays on disk.

    Parameters
    ----------
    path
        The file, in any format that libsndfile reads.
    scratch
        Where a long recording is written to.

    Raises
    ------
    UserError
        If the file is missing, broken, no audio, silent, or shorter than `SHORTEST_SECONDS`.
    """
    try:
        if _seconds(path) <= _LONG_SECONDS:
            return decode(path, SHORTEST_SECONDS)
        return _read_long(path, scratch)
    except BadFileError as error:
        raise UserError(f"{path}: the file {error}; give another recording") from error


def _seconds(path: Path) -> float:
    """What the header says; 0 where it says nothing or cannot be read, so that `decode` reads it or says why."""
    try:
        found = soundfile.info(path)
    except (OSError, soundfile.SoundFileError, TypeError):
        return 0.0
    return found.frames / found.samplerate if found.frames < UNKNOWN_FRAMES else 0.0


def _read_long(path: Path, scratch: Path) -> np.ndarray:
    n_frames, loudest = 0, 0.0
    try:
        with soundfile.SoundFile(path) as file, atomic_path(scratch) as temporary, temporary.open("wb") as target:
            resampler = soxr.ResampleStream(file.samplerate, SAMPLING_RATE, 1, dtype="float64", quality="HQ")
            left = file.frames
            while left > 0:
                block = file.read(min(left, _BLOCK_SECONDS * file.samplerate), dtype="float64", always_2d=True)
                left -= len(block)
                if not len(block):
                    raise BadFileError(f"is cut off: its header promises {left / file.samplerate:.2f} s more")
                if not np.isfinite(block).all():
                    raise BadFileError("holds values that are not finite numbers (NaN or infinity)")
                pcm = quantise(resampler.resample_chunk(np.ascontiguousarray(block.mean(axis=1)), last=left <= 0))
                n_frames, loudest = n_frames + len(pcm), max(loudest, float(np.std(block.mean(axis=1))))
                target.write(pcm.tobytes())
            if loudest < FLOOR:
                raise BadFileError("is silent")
    except soundfile.SoundFileError as error:
        if refused := refusal(path, error):
            raise refused from error
        raise BadFileError(f"is broken ({' '.join(str(error).split())})") from error
    return np.memmap(scratch, dtype=np.int16, mode="r", shape=(n_frames,))
