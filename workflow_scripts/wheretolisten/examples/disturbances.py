"""What happens to recordings on their way to a listener: a room, and a lossy codec. Events stay when they were."""

import io
import math

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.examples import Codec, Reverberation
from wheretolisten.errors import UserError

_SUBTYPES = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
_BLOCK = 1 << 14  # frames; libsndfile keeps what Vorbis is given at once on the stack


def impulse_response(settings: Reverberation, rng: np.random.Generator) -> np.ndarray:
    """A room: 1 for the direct path at time 0, then Gaussian noise whose envelope falls by 60 dB in `rt60` seconds.

    This is the usual statistical model of late reverberation (Polack 1988): no early reflections, the same decay at all
    frequencies. It ends where the envelope has fallen by 60 dB.

    Returns
    -------
    numpy.ndarray
        [frame] at 16 kHz.
    """
    n_frames = round(settings.rt60 * SAMPLING_RATE)
    echoes = rng.standard_normal(n_frames) * 10 ** (-3 * np.arange(1, n_frames + 1) / n_frames)
    echoes *= 10 ** (-settings.direct_db / 20) / math.sqrt(np.square(echoes).sum())
    return np.concatenate([[1.0], echoes])


def reverberated(signal: np.ndarray, settings: Reverberation, rng: np.random.Generator) -> np.ndarray:
    """A signal [frame] in a room, as long: echoes after its end are cut off, onsets stay where they are."""
    return fftconvolve(signal, impulse_response(settings, rng))[: len(signal)]


def coded(signal: np.ndarray, codec: Codec) -> np.ndarray:
    """A signal [frame] at 16 kHz, in −1 … 1, encoded and decoded by libsndfile: as long, and not delayed.

    MP3 is written with a variable rate: at constant low ones the header does not say what the encoder delays, and the
    decoder cannot take it off.

    Raises
    ------
    UserError
        If libsndfile was built without the codec.
    """
    container, subtype = _SUBTYPES[codec.format]
    if subtype not in soundfile.available_subtypes(container):
        raise UserError(
            f"composition.codec: libsndfile {soundfile.__libsndfile_version__} was built without {codec.format}; "
            "install soundfile from its wheel, which brings one that has it, or choose another format"
        )
    file = io.BytesIO()
    variable = {"bitrate_mode": "VARIABLE"} if codec.format == "mp3" else {}
    about = {"format": container, "subtype": subtype, "compression_level": codec.compression} | variable
    with soundfile.SoundFile(file, "w", SAMPLING_RATE, 1, **about) as encoder:
        for start in range(0, len(signal), _BLOCK):
            encoder.write(signal[start : start + _BLOCK])
    file.seek(0)
    decoded, _ = soundfile.read(file)
    return np.concatenate([decoded, np.zeros(max(0, len(signal) - len(decoded)))])[: len(signal)]
