"""Put what was heard, the sound and its spectrogram into the template."""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.files import write_text

EMBEDDED_BYTES = 16_000_000
"""A recording is part of its page up to this size as FLAC: about ten minutes. Larger ones are opened from the page."""

MAX_POINTS = 1500
"""Values of a curve; of longer recordings each is the mean of several audio tokens."""

_TEMPLATE = Path(__file__).with_name("template.html")
_MARK = "/*DATA*/"

_WINDOW, _HOP = 512, 256
_COLUMNS = 1600
_LOUDNESS_RANGE = 80.0
_SHADES = 32  # more cannot be told apart and double the image


def write_page(listen: Mapping[str, Any], audio: np.ndarray | None, path: Path) -> None:
    """Write a page that plays a recording and shows where its sounds are heard.

    Parameters
    ----------
    listen
        What listen.json holds: of the file its `file`, `seconds`, `model`, `method`, `trusted`, `absent`,
        `tokens_per_second` and `sounds`; of each sound `name`, `heard`, `score`, `p_value`, `threshold`, `intervals`
        (`onset`, `offset` in seconds, `score`), `curve` (`seconds`, `change`, `base`, `asked`, each [audio_token]) and
        `layers` (`layer`, `change`), or None. May have `truth` (`onset`, `offset`, `label`), `asked`, how the curve of
        that name is called, and for each sound `reason`, why nothing was decided. `threshold` and `p_value` may be
        None. Values that are not finite leave gaps.
    audio
        The sound at 16 kHz, [frame], from −1 to 1; None where it is not at hand.
    path
        Page to write, complete or not at all.

    Raises
    ------
    ValueError
        If the audio is not mono, a curve has another length than its times, or a sound is heard nowhere or the reverse.
    UserError
        If the file cannot be written.
    """
    if audio is not None and np.ndim(audio) != 1:
        raise ValueError(f"the audio has the shape {np.shape(audio)}; a page plays mono sound, [frame]")
    data = dict(listen) | {"sounds": [_shortened(sound) for sound in listen["sounds"]], "audio": None, "image": None}
    if audio is not None and len(audio):
        data["image"] = base64.b64encode(draw_spectrogram(audio)).decode()
        sound = _as_flac(audio)
        data["limit"] = None if len(sound) <= EMBEDDED_BYTES else EMBEDDED_BYTES // 1_000_000
        if data["limit"] is None:
            data["audio"] = base64.b64encode(sound).decode()
    # Not `replace`: names in the data may look like the mark.
    before, _, after = _TEMPLATE.read_text(encoding="utf-8").partition(_MARK)
    write_text(path, before + as_script(data) + after)


def as_script(data: Any) -> str:
    """JSON that may stand between script tags: nothing in it ends the tag, opens a comment or is not a number.

    Source: "Restrictions for contents of script elements", HTML Standard, 4.12.1.3.
    """
    text = json.dumps(_finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Half of a surrogate pair, as odd file names have it, is no UTF-8.
    return text.encode("utf-8", "replace").decode()


def shorten(values: Sequence[float], most: int = MAX_POINTS) -> np.ndarray:
    """Means of as few neighbours as make at most that many values, [point]; what is not finite does not count.

    Parameters
    ----------
    values
        One per audio token, [audio_token].
    """
    values = np.asarray(values, dtype=float)
    step = max(1, math.ceil(values.size / most))
    padded = np.full(math.ceil(values.size / step) * step, np.nan)
    padded[: values.size] = values
    blocks = padded.reshape(-1, step)
    known = np.isfinite(blocks)
    counts = known.sum(axis=1)
    return np.where(counts, np.where(known, blocks, 0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def draw_spectrogram(audio: np.ndarray) -> bytes:
    """A PNG of at most 1600 columns by 128 rows: 0 to 8 kHz upwards, 80 dB below the loudest to the loudest.

    Power of Hann windows of 32 ms every 16 ms, averaged within a column.
    """
    from matplotlib.image import imsave

    audio = np.pad(np.nan_to_num(np.asarray(audio, dtype=np.float32)), _WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(audio, _WINDOW)[::_HOP]
    n_columns = min(_COLUMNS, len(windows))
    column_of = np.arange(len(windows)) * n_columns // len(windows)
    power, shape = np.zeros((n_columns, _WINDOW // 4)), np.hanning(_WINDOW).astype(np.float32)
    for first in range(0, len(windows), 4096):  # an hour has 225 thousand windows
        of_windows = np.abs(np.fft.rfft(windows[first : first + 4096] * shape)[:, 1:]) ** 2
        np.add.at(power, column_of[first : first + 4096], of_windows.reshape(len(of_windows), -1, 2).mean(axis=2))
    power /= np.bincount(column_of)[:, None]
    level = 10 * np.log10(power / max(power.max(), 1e-20) + 1e-20)
    shades = np.round((_SHADES - 1) * np.clip(1 + level / _LOUDNESS_RANGE, 0, 1))
    image = io.BytesIO()
    imsave(image, shades.T, vmin=0, vmax=_SHADES - 1, cmap="magma", origin="lower", format="png")
    return image.getvalue()


def _as_flac(audio: np.ndarray) -> bytes:
    """Every browser plays it, and its times are exact, which those of MP3 are not."""
    import soundfile  # only here: pages without audio do without it

    file = io.BytesIO()
    soundfile.write(file, np.clip(np.nan_to_num(audio), -1, 1), SAMPLING_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _shortened(sound: Mapping[str, Any]) -> dict[str, Any]:
    if sound["heard"] != bool(sound["intervals"]):
        raise ValueError(f"{sound['name']}: heard is {sound['heard']}, with {len(sound['intervals'])} intervals")
    curves = dict(sound["curve"])
    n_tokens = len(curves["seconds"])
    layers = sound.get("layers") or []
    of_layers = [(f"layer {layer['layer']}", layer["change"]) for layer in layers]
    for name, values in [*curves.items(), *of_layers]:
        if len(values) != n_tokens:
            raise ValueError(f"{sound['name']}: {name} has {len(values)} values, its times are {n_tokens}")
    return dict(sound) | {
        "curve": {name: _rounded(shorten(values)) for name, values in curves.items()}
        | {"tokens": max(1, math.ceil(n_tokens / MAX_POINTS))},
        "layers": [dict(layer) | {"change": _rounded(shorten(layer["change"]))} for layer in layers],
    }


def _rounded(values: np.ndarray) -> list[float]:
    """To four digits before or behind the point, whatever is more: the page shows three."""
    return [float(f"{value:.4g}") if abs(value) < 1000 else round(value, 3) for value in values.tolist()]


def _finite(value: Any) -> Any:
    """The same, where numbers are Python's own and those that JSON has no word for are None."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_finite(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
