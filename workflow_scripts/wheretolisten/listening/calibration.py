"""Which words a model can be trusted with, and how high it scores sounds that a recording does not hold."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wheretolisten.checkpoint import read_header
from wheretolisten.errors import UserError

LISTED = 0.2
"""Where nobody asked for single sounds, each word of a model is called heard at so much of its false-alarm rate: with
18 words at 5 %, one recording in five lists one that is not there."""

RATES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
"""False-alarm rates of a chunk that scores are kept for."""


@dataclass(frozen=True)
class Calibration:
    """What is known of a model.

    Attributes
    ----------
    words
        Sounds that it was made for.
    false_alarms
        Share of recordings without a sound in which it is called heard, chosen for the model.
    scores
        Score that absent sounds exceed in a chunk at each rate of `RATES`, rising; None: not known for the method.
    """

    words: tuple[str, ...]
    false_alarms: float
    scores: tuple[float, ...] | None

    def threshold(self, rate: float) -> float:
        """Score that absent sounds exceed in this share of chunks; between and beyond `RATES` on a power law."""
        x, y = np.log(RATES), np.log(self.scores)
        if rate < RATES[-1]:
            slope = (y[-1] - y[0]) / (x[-1] - x[0])
            return float(np.exp(y[-1] + slope * (np.log(rate) - x[-1])))
        return float(np.exp(np.interp(-np.log(rate), -x, y)))


def words_for(sounds: Sequence[str], known: Calibration | None, model: str) -> list[str]:
    """What a model is asked about in the place of each sound: the word in its name that the model was made for, if any.

    Of "church bell" the last word says what it is, of "dog bark" the one that is known.

    Parameters
    ----------
    known
        What is known of the model; None: nothing, and sounds are asked about as they are.
    model
        How errors call it.

    Raises
    ------
    UserError
        If two sounds would be asked about as the same word.
    """
    if known is None:
        return list(sounds)
    asked: dict[str, str] = {}
    for sound in sounds:
        word = next((word for word in reversed(sound.lower().split()) if word in known.words), sound)
        if word in asked:
            raise UserError(f"{model} knows {asked[word]!r} and {sound!r} as {word!r}; ask about one of them")
        asked[word] = sound
    return list(asked)


def rate_of_chunk(rate: float, seconds: float, chunk_seconds: float) -> float:
    """False-alarm rate of a chunk such that a recording has `rate` as a whole.

    Chunks that overlap count for what is new in them: 1 − (1 − rate)^(1/m), m = max(1, seconds/chunk_seconds) (Šidák).
    """
    return 1 - (1 - rate) ** (1 / max(1.0, seconds / chunk_seconds))


def quantiles(scores: np.ndarray) -> tuple[float, ...]:
    """What `Calibration.scores` holds, from scores of absent sounds, [query]."""
    return tuple(float(f"{np.quantile(scores, 1 - rate):.4g}") for rate in RATES)


def fingerprint(folder: Path) -> str:
    """Digest of a checkpoint's projector as its files hold it; of nothing where no tensor is named so."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        header = read_header(path) or {}
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            for name, tensor in sorted(header.items()):
                if "projector" in name:
                    first, after = tensor["data_offsets"]
                    file.seek(start + first)
                    digest.update(name.encode() + file.read(after - first))
    return digest.hexdigest()[:16]


def read(path: Path, folder: Path, method: str) -> Calibration | None:
    """What is known of the model in a folder; None of one that was not calibrated."""
    own = fingerprint(folder)
    for known in json.loads(path.read_text(encoding="utf-8")).values():
        if own in known["fingerprints"]:
            scores = known["scores"].get(method)
            return Calibration(tuple(known["words"]), known["false_alarms"], scores and tuple(scores))
    return None


def every_word(path: Path) -> list[str]:
    """All words that any model was made for: what to hold sounds against where nothing is known of a model."""
    known = json.loads(path.read_text(encoding="utf-8")).values()
    return list(dict.fromkeys(word for each in known for word in each["words"]))
