"""From a recording to what a model hears in it, and where."""

import hashlib
import json
import logging
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wheretolisten.clips.audibility import FLOOR
from wheretolisten.clips.randomness import generator
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.layers import select_layers
from wheretolisten.config.probe import Localization
from wheretolisten.engine.passes import Engine
from wheretolisten.files import atomic_path
from wheretolisten.listening.asking import Method, shares
from wheretolisten.listening.calibration import LISTED, Calibration, rate_of_chunk
from wheretolisten.listening.chunks import Chunk, Cutting
from wheretolisten.listening.findings import Finding, look, nothing, rank_p_value, together

_AT_ONCE = 4
"""Chunks that go through the model together, and are kept on disk together."""
_FEWEST_OTHERS, _MOST_OTHERS = 3, 8
_MOST_LAYERS_SECONDS = 60

_log = logging.getLogger(__name__)


class Listener:
    """A model, the sounds it is asked about, and what else it is asked to see what asking does by itself.

    Parameters
    ----------
    engine
        The model.
    sounds
        Sounds that are asked about; none: every one of `vocabulary`.
    vocabulary
        Words that others are drawn from.
    method
        See `asking.Method`.
    calibration
        What is known of the model; None: nothing, and a sound is heard if it scores higher than every other word.

    Attributes
    ----------
    sounds
        What is asked about.
    absent
        What it is held against: words that nobody asked about, or all where all are asked about.
    words
        Both.
    """

    def __init__(
        self,
        engine: Engine,
        sounds: Sequence[str],
        vocabulary: Sequence[str],
        method: Method,
        calibration: Calibration | None,
    ) -> None:
        self.engine, self.method, self._listing = engine, method, not sounds
        self.sounds = list(sounds or vocabulary)
        drawn = draw_others(self.sounds, vocabulary)
        self.absent = drawn if sounds else list(vocabulary)
        self.words = list(dict.fromkeys([*self.sounds, *self.absent]))
        against = {word: draw_others([word], vocabulary) if self._listing else drawn for word in self.sounds}
        against = {word: [other for other in against.get(word, self.words) if other != word] for word in self.words}
        self._against = [[self.words.index(other) for other in against[word]] for word in self.words]
        self._calibration = calibration if calibration and calibration.scores else None
        self._cutting = Cutting(engine.adapter.tokens_per_second, engine.adapter.max_seconds)

    def _threshold(self, seconds: float = 0.0) -> float | None:
        """Score that absent sounds exceed in so few recordings of this length, or chunks; None: not calibrated."""
        if self._calibration is None:
            return None
        rate = self._calibration.false_alarms * (LISTED if self._listing else 1)
        return self._calibration.threshold(rate_of_chunk(rate, seconds, self._cutting.seconds))

    def _least(self, best: np.ndarray, number: int, others: Sequence[int], seconds: float) -> float:
        """Least score of what is heard of a sound.

        The longer a recording, the higher scores of absent sounds. What holds for all recordings of that length need
        not be asked for where the others that this one was asked about stayed lower: none of K of them scores as high
        as a sound that is absent, too, in 1 / (K + 1) of the cases (docs/matched.md).
        """
        highest = float(best[list(others)].max())
        if self._calibration is None:
            return highest
        return min(self._threshold(seconds), max(self._threshold(), highest))

    def find(self, pcm: np.ndarray, parts: Path) -> Finding:
        """What all chunks of a recording say together.

        Parameters
        ----------
        pcm
            int16 [frame] at 16 kHz, mono.
        parts
            Folder for what is finished of a long recording; the next call with the same recording goes on from there,
            and takes it away in the end.
        """
        seconds = len(pcm) / SAMPLING_RATE
        threshold = self._threshold()
        chunks = self._cutting.chunks(len(pcm))
        batches = [chunks[start : start + _AT_ONCE] for start in range(0, len(chunks), _AT_ONCE)]
        keeping = len(batches) > 1
        if keeping:
            parts = parts / self._key(pcm, threshold)
        findings: list[Finding] = []
        for number, batch in enumerate(batches):
            kept = parts / f"{number:05d}.npz"
            found = _load(kept) if keeping else None
            if found is None:
                found = self._hear(pcm, batch, threshold)
                if keeping:
                    _save(kept, found)
                    heard = batch[-1].after / self._cutting.tokens_per_second
                    _log.info("heard %.0f of %.0f s", min(heard, seconds), seconds)
            findings.extend(found)
        if keeping:
            shutil.rmtree(parts, ignore_errors=True)
        return together(chunks, findings)

    def _hear(self, pcm: np.ndarray, batch: Sequence[Chunk], threshold: float | None) -> list[Finding]:
        cutting, rate = self._cutting, self._cutting.tokens_per_second
        asked = range(len(self.sounds))
        recordings = [cutting.sound(pcm, chunk) for chunk in batch]
        loud = [number for number, sound in enumerate(recordings) if np.std(sound) >= FLOOR]
        heard = shares(self.engine, [recordings[number] for number in loud], self.words, self.method) if loud else []
        n_layers = len(select_layers(Localization().layers, self.engine.adapter.n_layers))
        found = [nothing(len(self.words), len(asked), n_layers, chunk.after - chunk.first) for chunk in batch]
        for number, share in zip(loud, heard, strict=True):
            n_tokens = batch[number].after - batch[number].first
            found[number] = look(share, asked, self._against, cutting.n_noise, n_tokens, rate, threshold)
        return found

    def tell(self, found: Finding, seconds: float) -> dict[str, Any]:
        """What was found, as `listen.json` has it, without file, model and what the model is trusted with.

        Parameters
        ----------
        found
            By `find`.
        seconds
            Length of the recording.
        """
        rate, absent = self._cutting.tokens_per_second, [self.words.index(word) for word in self.absent]
        layers = select_layers(Localization().layers, self.engine.adapter.n_layers)
        centres = ((np.arange(found.change.shape[1]) + 0.5) / rate).round(3).tolist()
        sounds = []
        for number, name in enumerate(self.sounds):
            others = [other for other in absent if other != number]
            least = self._least(found.best, number, others, seconds)
            intervals = [
                {
                    "onset": round(first / rate, 3),
                    "offset": round(min(after / rate, seconds), 3),
                    "score": rounded(score),
                }
                for of, first, after, score in found.stretches
                if of == number and score >= least
            ]
            sounds.append(
                {
                    "name": name,
                    "heard": bool(intervals),
                    "score": rounded(found.best[number]),
                    "p_value": rounded(rank_p_value(found.best, number, others)),
                    "threshold": rounded(least),
                    "intervals": intervals,
                    "curve": {
                        "seconds": centres,
                        "change": rounded(found.change[number]),
                        "base": rounded(found.base[number]),
                        "asked": rounded(found.asked[number]),
                    },
                    "layers": [
                        {"layer": layer, "change": rounded(values)}
                        for layer, values in zip(layers, found.layers[number], strict=True)
                    ]
                    if seconds <= _MOST_LAYERS_SECONDS
                    else None,
                }
            )
        return {
            "version": 1,
            "seconds": round(seconds, 3),
            "method": self.method,
            "tokens_per_second": rate,
            "absent": self.absent,
            "sounds": sounds,
        }

    def _key(self, pcm: np.ndarray, threshold: float | None) -> str:
        """Names what parts are about: the recording, the model, and what it is asked."""
        digest = hashlib.sha256()
        for start in range(0, len(pcm), 1 << 24):
            digest.update(np.ascontiguousarray(pcm[start : start + (1 << 24)]))
        asked = [self.engine.adapter.name, self.sounds, self.words, self.method, threshold]
        digest.update(json.dumps(asked).encode())
        return digest.hexdigest()[:16]


def draw_others(sounds: Sequence[str], vocabulary: Sequence[str]) -> list[str]:
    """Words that sounds are held against: at most eight of the vocabulary that are none of them.

    Which ones follows from the sounds. Where fewer than three are left, the sounds themselves fill up.

    Raises
    ------
    ValueError
        If the vocabulary has fewer than three words beside the first sound.
    """
    order = generator("others", *sounds).permutation(len(vocabulary))
    ordered = [vocabulary[place] for place in order]
    others = [word for word in ordered if word not in sounds]
    if len(others) < _FEWEST_OTHERS:
        others = [word for word in ordered if word != sounds[0]]
    if len(others) < _FEWEST_OTHERS:
        raise ValueError(f"{len(others)} words to hold {sounds[0]!r} against")
    return others[:_MOST_OTHERS]


def rounded(values: np.ndarray | float) -> Any:
    """Numbers with four significant digits, as JSON has them."""
    if np.ndim(values):
        return [rounded(value) for value in values]
    return float(f"{values:.4g}")


def _save(path: Path, findings: Sequence[Finding]) -> None:
    arrays = {f"{name}-{k}": value for k, found in enumerate(findings) for name, value in vars(found).items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def _load(path: Path) -> list[Finding] | None:
    """What `_save` wrote; None where there is nothing, or half of it."""
    try:
        with np.load(path) as arrays:
            names = ("best", "stretches", "asked", "base", "change", "layers")
            n_findings = len(arrays.files) // len(names)
            return [Finding(*(arrays[f"{name}-{number}"] for name in names)) for number in range(n_findings)]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
