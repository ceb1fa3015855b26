"""From any audio file to 16 kHz mono."""

import io
import math
import re
from pathlib import Path

import numpy as np
import soundfile

from wheretolisten.clips.audibility import FLOOR, levels
from wheretolisten.clips.pcm import quantise
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.files import refusal

_BLOCK = 1 << 12  # frames; where reading fails within a block, the whole block is lost
_LOWEST_RATE = 1_000  # Hz; a header that says less is wrong, and would blow up when resampled
_CANCELLED = 1e-2  # level of the mix over that of the loudest channel; below, the channels are each other's inverse
_SLACK = 0.01  # s; writers that count the header as audio promise a few frames too many
# libsndfile's notes on sizes that go beyond the file: of WAV (data), AIFF (SSND), AU (Data Size), W64 (riff) and RF64.
_SIZES = re.compile(r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_FRAMES = re.compile(r"frame count \d+ does not match value from 'ds64' chunk of (\d+)")
# A writer into a pipe cannot go back to fill in the size: 0x7FFFF000 (sox), 0xFFFFFFFF (ffmpeg) and the like stand for
# "unknown", as does libsndfile's own number of frames of FLAC without a total length.
UNKNOWN_FRAMES = 0x7F000000


class BadFileError(Exception):
    """A file that cannot serve as a clip; the message is the reason, to follow the file's name."""


def decode(path: Path, min_seconds: float, least_audible: float = 0.1) -> np.ndarray:
    """Read a file in any format that libsndfile knows, mix it to mono and resample it → int16 [frame] at 16 kHz.

    A floating-point file that goes beyond full scale is made quieter as a whole. Files without a length, as programs
    write them into a pipe, are read to their end.

    Parameters
    ----------
    path
        The file.
    min_seconds
        Shortest duration, in seconds.
    least_audible
        How much of it has to be louder than the least that is heard, in seconds; half the file where that is less.

    Raises
    ------
    BadFileError
        If the file is missing, empty, no audio, broken, cut off, silent (a constant is no sound) or nearly so, shorter
        than `min_seconds`, or if its channels cancel each other.
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
        mono, rate, loudest = _read_mono(path)
    except (OSError, soundfile.SoundFileError, TypeError) as error:
        # A TypeError is soundfile's answer to .raw, which does not say how it is to be read.
        if refused := refusal(path, error):  # no bad file: left out, it would be missed without reason
            raise refused from error
        raise BadFileError(f"cannot be read as audio ({_sentence(error)})") from error
    if rate < _LOWEST_RATE:
        raise BadFileError(f"has a sampling rate of {rate} Hz")
    seconds = len(mono) / rate
    if seconds < min_seconds:
        raise BadFileError(f"lasts {seconds:.2f} s, less than min_seconds ({min_seconds:g} s)")
    level = np.std(mono)
    if loudest >= FLOOR and level < _CANCELLED * loudest:
        raise BadFileError("is silent when mixed to mono: its channels cancel each other, so keep one of them")
    if level < FLOOR:
        raise BadFileError("is silent")
    pcm = quantise(_fit(_resample(mono, rate)))
    least = min(least_audible, seconds / 2)
    if (heard := np.count_nonzero(levels(pcm) >= FLOOR) / SAMPLING_RATE) < least:
        raise BadFileError(f"is nearly silent: {heard:.2f} s of it can be heard, less than {least:.2g} s")
    return pcm


class _Stream(soundfile.SoundFile):
    """A file that is read once, from its beginning to its end.

    soundfile seeks after every block to where it is, which fails at the end of FLAC without a total length.
    """

    def seekable(self) -> bool:
        """Whether it can be read in another order; so that nobody tries, it cannot."""
        return False


def _read_mono(path: Path) -> tuple[np.ndarray, int, float]:
    """Mean of the channels [frame], sampling rate (Hz), and the level of the loudest channel, without its mean."""
    blocks, total, energy = [np.zeros(0)], 0.0, 0.0
    failure = ""
    with _open(path) as file:
        # Behind the audio there may be tags, which are no audio.
        left = file.frames if 0 < file.frames < UNKNOWN_FRAMES else math.inf
        try:
            while len(block := file.read(min(_BLOCK, left), dtype="float64", always_2d=True)):
                left -= len(block)
                if not np.isfinite(block).all():
                    raise BadFileError("holds values that are not finite numbers (NaN or infinity)")
                blocks.append(block.mean(axis=1))
                total, energy = total + block.sum(axis=0), energy + np.square(block).sum(axis=0)
        except soundfile.SoundFileError as error:
            failure = f" ({_sentence(error)})"
        mono, rate = np.concatenate(blocks), file.samplerate
        promised = _promised(file, len(mono))
    if promised - len(mono) > _SLACK * rate:
        raise BadFileError(
            f"is cut off: its header promises {promised / rate:.2f} s, and the file holds {len(mono) / rate:.2f} s"
            + failure
        )
    if failure:
        raise BadFileError(f"is broken after {len(mono) / rate:.2f} s{failure}")
    n_frames = max(1, len(mono))
    variance = energy / n_frames - np.square(total / n_frames)
    return mono, rate, float(np.sqrt(np.maximum(variance, 0).max()))


def _open(path: Path) -> _Stream:
    file = _Stream(path)
    if file.frames or file.format not in ("WAV", "WAVEX"):
        return file
    # A size of 0 is another "unknown", which libsndfile takes at its word. It is true where a chunk or nothing follows.
    with file:
        content = path.read_bytes()
    head, data, sound = content.partition(b"data" + bytes(4))
    is_chunk = re.match(rb"[ -~]{4}", sound) and int.from_bytes(sound[4:8], "little") <= len(sound) - 8
    return _Stream(io.BytesIO(content if is_chunk or not sound else head + data[:4] + b"\xff" * 4 + sound))


def _promised(file: _Stream, n_frames: int) -> float:
    """Frames that the header promises; `n_frames`, those that were read, where it promises nothing."""
    if sizes := _SIZES.search(file.extra_info):
        promised, held = map(int, sizes.groups())
        return n_frames if promised >= UNKNOWN_FRAMES else n_frames * promised / max(1, held)
    if frames := _FRAMES.search(file.extra_info):
        promised = int(frames[1])
    elif file.format == "MP3" and "constant" in file.extra_info:
        promised = n_frames  # without a header that counts frames, libsndfile's number is a guess from the first one
    else:
        promised = file.frames
    return n_frames if promised >= UNKNOWN_FRAMES else promised


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())


def _resample(mono: np.ndarray, rate: int) -> np.ndarray:
    if rate == SAMPLING_RATE:
        return mono
    import soxr  # not needed, nor installed, where only prepared clips are read

    return soxr.resample(mono, rate, SAMPLING_RATE, quality="HQ")


def _fit(signal: np.ndarray) -> np.ndarray:
    peak = float(np.abs(signal).max())
    return signal / peak if peak > 1 else signal
