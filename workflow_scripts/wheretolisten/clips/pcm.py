"""16-bit audio in and out of files. The samples are the identity of a file, not its bytes."""

import hashlib
import io
from pathlib import Path

import numpy as np
import soundfile

from wheretolisten.clips.records import Clip
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.errors import UserError
from wheretolisten.files import refusal

FULL_SCALE = 32_768
"""Integer that stands for an amplitude of 1."""


def quantise(signal: np.ndarray) -> np.ndarray:
    """Amplitudes [frame] in −1 … 1 as int16 [frame]; what lies beyond is cut off."""
    whole = np.rint(np.asarray(signal, dtype=np.float64) * FULL_SCALE)
    return np.clip(whole, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_heard(pcm: np.ndarray) -> np.ndarray:
    """int16 audio [frame] as models hear it: float32 [frame], in −1 … 1."""
    return pcm.astype(np.float32) / FULL_SCALE


def digest_of(pcm: np.ndarray) -> str:
    """Hex SHA-256 of audio [frame] as little-endian int16."""
    return hashlib.sha256(np.ascontiguousarray(pcm, dtype="<i2").tobytes()).hexdigest()


def write_flac(path: str | Path, pcm: np.ndarray) -> None:
    """Write int16 audio [frame] at 16 kHz as FLAC, into a folder that takes its place as a whole."""
    encoded = io.BytesIO()
    # The lowest level: a twentieth larger than the default, and much faster to write and to read.
    soundfile.write(encoded, pcm, SAMPLING_RATE, subtype="PCM_16", format="FLAC", compression_level=0.0)
    # libsndfile, were it to write the file, would call a full disk a problem of the decoder.
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(encoded.getbuffer())


def read_pcm(path: Path, digest: str, what: str, remedy: str) -> np.ndarray:
    """Read a file that `write_flac` wrote → int16 [frame].

    Raises
    ------
    UserError
        If the file cannot be read, is missing, broken or holds other audio than `digest` says; `what` names it,
        `remedy` says what to do unless it is the operating system that does not let it be read.
    """
    try:
        # libsndfile, were it to open the file, would call a refusal of the system one of the decoder.
        pcm, _ = soundfile.read(io.BytesIO(path.read_bytes()), dtype="int16")
    except (OSError, soundfile.SoundFileError) as error:
        if not isinstance(error, FileNotFoundError) and (refused := refusal(path, error)):
            raise refused from error
        raise UserError(f"{what}: {path} cannot be read ({error}); {remedy}") from error
    if digest_of(pcm) != digest:
        raise UserError(f"{what}: {path} is not the audio that the table describes (digest differs); {remedy}")
    return pcm


def read_clip(clip: Clip, folder: Path) -> np.ndarray:
    """Audio of a clip whose table lies in `folder` → int16 [frame].

    Raises
    ------
    UserError
        If the file is missing, broken or has changed.
    """
    return read_pcm(folder / clip.path, clip.digest, f"clip {clip.clip_id}", "rerun with --forcerun prepare_clips")
