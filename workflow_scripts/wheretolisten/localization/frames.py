"""A linear probe on what the text stack is given of the audio: how much of *where* lies in it before any attention."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from wheretolisten.config.probe import Localization
from wheretolisten.localization.windows import Window, find_windows, without_vector

FRAMES_PER_SECOND = 6.25
"""At most so many frames of a second are kept, in Hz: averages of as many audio tokens as it takes."""

RIDGE = 0.01
"""Penalty, as a share of the number of frames, of weights for features of variance 1."""

_LEAST = 1e-6
"""Score of a frame that does not sound like the label at all, beside 1 for one that does."""


def tokens_per_frame(tokens_per_second: float) -> int:
    """Audio tokens that one frame is the average of."""
    return max(1, round(tokens_per_second / FRAMES_PER_SECOND))


def frames_of(tokens: np.ndarray, n_tokens: int) -> np.ndarray:
    """Averages of every `n_tokens` audio tokens, the last one of those that are left, [frame, hidden], float32."""
    firsts = np.arange(0, len(tokens), n_tokens)
    counts = np.diff([*firsts, len(tokens)])
    return (np.add.reduceat(tokens.astype(np.float64), firsts, axis=0) / counts[:, None]).astype(np.float32)


class FrameProbe:
    """Ridge regression of each label's presence onto frames of audio tokens, from other recordings.

    Every sample is scored by a regression of its own: without the sample, and without all that share a source recording
    with it. The sums that regressions are made of are taken once, and those samples out of them.

    Parameters
    ----------
    frames
        Of every sample, [frame, hidden] each.
    events
        Their events: sample_id, label, source, onset, offset (seconds); samples in the order of `frames`.
    frames_per_second
        Rate, in Hz.

    Raises
    ------
    ValueError
        If there are frames of more or fewer samples than have events.
    """

    def __init__(self, frames: Sequence[np.ndarray], events: pd.DataFrame, frames_per_second: float) -> None:
        self._samples = {sample_id: n for n, sample_id in enumerate(dict.fromkeys(events["sample_id"]))}
        if len(self._samples) != len(frames):
            raise ValueError(f"frames of {len(frames)} samples, but events of {len(self._samples)}")
        self.frames_per_second = frames_per_second
        self._labels = sorted(set(events["label"]))
        together = np.concatenate(frames).astype(np.float64)
        mean, deviation = together.mean(axis=0), together.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1)
        self._features = [np.pad((each - mean) / scale, ((0, 0), (0, 1)), constant_values=1) for each in frames]
        self._targets = [np.zeros((len(each), len(self._labels))) for each in frames]
        sources: dict[str, set[int]] = {}
        for event in events.to_dict("records"):
            number = self._samples[event["sample_id"]]
            times = (np.arange(len(frames[number])) + 0.5) / frames_per_second
            inside = (times >= event["onset"]) & (times < event["offset"])
            self._targets[number][inside, self._labels.index(event["label"])] = 1
            sources.setdefault(event["source"], set()).add(number)
        self._holds = np.array([target.any(axis=0) for target in self._targets])
        self._related = {n: set().union(*(of for of in sources.values() if n in of)) for n in range(len(frames))}
        self._squares, self._products = self._sums(range(len(frames)))
        self._n_frames = len(together)
        self._scores: dict[int, dict[str, np.ndarray]] = {}

    def _sums(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        features = np.concatenate([self._features[number] for number in numbers])
        return features.T @ features, features.T @ np.concatenate([self._targets[number] for number in numbers])

    def scores(self, sample_id: str) -> Mapping[str, np.ndarray]:
        """Label → presence in each frame of a sample, [frame]: about 1 and 0; labels that other recordings have."""
        number = self._samples[sample_id]
        if number not in self._scores:
            self._scores = {number: self._score(number)}  # events of a sample follow each other
        return self._scores[number]

    def _score(self, number: int) -> dict[str, np.ndarray]:
        squares, products = self._sums(sorted(self._related[number]))
        n_frames = self._n_frames - sum(len(self._features[each]) for each in self._related[number])
        penalty = np.full(len(squares), RIDGE * n_frames)
        penalty[-1] = 1e-9  # of the constant: none, and yet enough where no recording is left
        weights = np.linalg.solve(self._squares - squares + np.diag(penalty + 1e-9), self._products - products)
        predicted = self._features[number] @ weights
        known = np.delete(self._holds, sorted(self._related[number]), axis=0).any(axis=0)
        return {label: predicted[:, n] for n, label in enumerate(self._labels) if known[n]}

    def windows(self, event: Mapping[str, Any], settings: Localization) -> tuple[Window, Window]:
        """Windows of an event, of known and of unknown duration, where the frames sound most like its label."""
        scores = self.scores(event["sample_id"]).get(event["label"])
        if scores is None:
            window = without_vector("no other recording has the label", self.frames_per_second)
            return window, window
        # As if it were attention of one block, beside attention that is the same everywhere.
        present = np.maximum(scores, _LEAST)[None]
        times = (event["duration"], self.frames_per_second, len(scores))
        return find_windows(np.ones_like(present), [present], *times, settings.model_copy(update={"layers": "all"}))[0]
