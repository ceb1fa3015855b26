"""A recording of any length, cut into chunks that a model hears at once, which overlap.

Each is heard between two stretches of noise as loud as itself. Attention is read as shares of what goes to the audio: a
sound that goes on from the first frame to the last could not gain any if there were nothing beside it.
"""

from dataclasses import dataclass

import numpy as np

from wheretolisten.clips.pcm import as_heard
from wheretolisten.clips.randomness import generator
from wheretolisten.config.constants import SAMPLING_RATE

_HEARD_SECONDS = 19.0
"""What is heard at once at most, noise included: what scores were calibrated on, and what all shipped models hear."""
_NOISE_SECONDS = 1.5
_OVERLAP = 0.25


@dataclass(frozen=True)
class Chunk:
    """A part of a recording, in audio tokens of the whole recording.

    Attributes
    ----------
    first, after
        First token, and the one after the last.
    """

    first: int
    after: int


class Cutting:
    """How recordings are cut for a model.

    Parameters
    ----------
    tokens_per_second
        Of its audio tokens, in Hz.
    max_seconds
        The longest recording that it hears as a whole; None: no end is known.

    Attributes
    ----------
    n_noise
        Tokens of noise before and behind a chunk.
    n_tokens
        Tokens of a chunk, without noise.
    """

    def __init__(self, tokens_per_second: float, max_seconds: float | None) -> None:
        self.tokens_per_second = tokens_per_second
        heard = min(_HEARD_SECONDS, max_seconds or _HEARD_SECONDS)
        self.n_noise = round(_NOISE_SECONDS * tokens_per_second)
        self.n_tokens = int(heard * tokens_per_second) - 2 * self.n_noise

    @property
    def seconds(self) -> float:
        """Length of a chunk, without noise."""
        return self.n_tokens / self.tokens_per_second

    def total(self, n_frames: int) -> int:
        """Audio tokens of a recording of so many frames; the last one may reach over its end."""
        return -(-n_frames // self._frames(1))

    def chunks(self, n_frames: int) -> list[Chunk]:
        """The chunks of a recording of so many frames, in order; the last one ends with it."""
        total = self.total(n_frames)
        if total <= self.n_tokens:
            return [Chunk(0, total)]
        hop = round((1 - _OVERLAP) * self.n_tokens)
        starts = [*range(0, total - self.n_tokens, hop), total - self.n_tokens]
        return [Chunk(start, start + self.n_tokens) for start in starts]

    def sound(self, pcm: np.ndarray, chunk: Chunk) -> np.ndarray:
        """What is heard of a chunk, between noise: float32 [frame].

        Parameters
        ----------
        pcm
            The whole recording, int16 [frame] at 16 kHz.
        """
        n_frames = self._frames(chunk.after) - self._frames(chunk.first)
        part = as_heard(np.asarray(pcm[self._frames(chunk.first) : self._frames(chunk.after)]))
        part = np.concatenate([part, np.zeros(n_frames - len(part), np.float32)])
        level, rng = float(np.std(part)), generator("around a chunk", chunk.first)
        noise = [level * rng.standard_normal(self._frames(self.n_noise)).astype(np.float32) for _ in range(2)]
        return np.clip(np.concatenate([noise[0], part, noise[1]]), -1, 1)

    def _frames(self, n_tokens: int) -> int:
        return round(n_tokens * SAMPLING_RATE / self.tokens_per_second)
