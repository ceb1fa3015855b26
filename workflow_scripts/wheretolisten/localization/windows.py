"""The window that gains attention under steering (SWL §3.3)."""

import math
from dataclasses import dataclass, field

import numpy as np

from wheretolisten.config.layers import select_layers
from wheretolisten.config.probe import Localization


@dataclass(frozen=True, eq=False)
class Window:
    """Outcome of scoring one query.

    Attributes
    ----------
    width
        Length of the window, in audio tokens.
    tokens_per_second
        Rate of audio tokens, in Hz.
    score
        Score of every window by its first token, [start]; empty on failure.
    tied_starts
        First tokens of the best windows: one, or several where they tie; empty on failure.
    failure
        Why no window could be chosen; empty if one could, or if several tie.
    """

    width: int
    tokens_per_second: float
    score: np.ndarray = field(default_factory=lambda: np.empty(0))
    tied_starts: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    failure: str = ""

    @property
    def tied(self) -> bool:
        """Whether several windows share the best score, so that none of them is the prediction."""
        return self.tied_starts.size > 1

    @property
    def start_seconds(self) -> float:
        """Predicted onset, in seconds; NaN where windows tie or scoring failed."""
        return self.tied_starts[0] / self.tokens_per_second if self.tied_starts.size == 1 else math.nan

    @property
    def end_seconds(self) -> float:
        """Predicted offset, in seconds; NaN where windows tie or scoring failed."""
        return (self.tied_starts[0] + self.width) / self.tokens_per_second if self.tied_starts.size == 1 else math.nan


def window_width(duration: float, tokens_per_second: float) -> int:
    """Length W of the window for an event of `duration` seconds, in audio tokens.

    The product is rounded to the nearest integer, exact halves to the even one (Python's `round`).
    """
    return round(duration * tokens_per_second)


def layer_weights(n_layers: int, kind: str) -> np.ndarray:
    """Weights w_l of the scored blocks, [layer], summing to 1.

    `linear` rises with the rank of the block among the scored ones; for the second half this is l - L/2 + 1 up to the
    normalisation. `uniform` weighs all alike.
    """
    weights = np.arange(1.0, n_layers + 1.0) if kind == "linear" else np.ones(n_layers)
    return weights / weights.sum()


def attention_shares(attention: np.ndarray) -> np.ndarray:
    """Attention as a share of all attention to audio, [..., audio_token], summing to 1 over the tokens."""
    attention = np.asarray(attention, dtype=np.float64)
    return attention / attention.sum(axis=-1, keepdims=True)


def window_shares(attention: np.ndarray, width: int) -> np.ndarray:
    """Share of the attention to audio that falls into each window.

    P(i) = Σ_{t=i}^{i+W-1} a_t / Σ_t a_t (SWL §3.3), in float64.

    Parameters
    ----------
    attention
        [layer, audio_token], real audio tokens only.
    width
        W, in audio tokens.

    Returns
    -------
    np.ndarray
        [layer, start] with start 0 … N - W.
    """
    sums = np.cumsum(attention_shares(attention), axis=-1)
    sums = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)
    return sums[..., width:] - sums[..., : sums.shape[-1] - width]


def find_window(
    base: np.ndarray,
    other: np.ndarray,
    duration: float,
    tokens_per_second: float,
    n_audio_tokens: int,
    settings: Localization,
) -> Window:
    """Find the window whose share of attention grows most from the base pass to the other one.

    Score(i) = Σ_l w_l R^l(i) with R^l(i) = P_other^l(i) / (P_base^l(i) + ε); the prediction starts at its maximum
    (SWL §3.3). Windows within `settings.tie_tolerance` (relative) of the maximum tie with it, and then no window is
    predicted: the first of them would look like skill at the begin position.

    Parameters
    ----------
    base, other
        Attention of the text queries to the audio tokens in the two passes, [layer, audio_token], all blocks of the
        text stack; tokens from `n_audio_tokens` on are padding and are not read.
    duration
        Known duration of the event, in seconds.
    tokens_per_second
        Rate of audio tokens, in Hz.
    n_audio_tokens
        N, the number of real audio tokens.
    settings
        Scored blocks, their weights, ε and the tolerance of ties.

    Raises
    ------
    ValueError
        If `base` and `other` differ in their blocks, or do not hold the scored blocks and the audio tokens.
    """
    if base.ndim != 2 or len(base) != len(other) or min(base.shape[1], other.shape[1]) < n_audio_tokens:
        raise ValueError(f"attention of shapes {base.shape} and {other.shape} for {n_audio_tokens} audio tokens")
    layers = select_layers(settings.layers, base.shape[0])
    width = window_width(duration, tokens_per_second)
    if width < 1:
        return Window(width, tokens_per_second, failure="the event is shorter than half an audio token")
    if width > n_audio_tokens:
        return Window(width, tokens_per_second, failure="the event is longer than the audio")
    base, other = base[layers, :n_audio_tokens], other[layers, :n_audio_tokens]
    for attention in (base, other):
        if not np.isfinite(attention).all():
            return Window(width, tokens_per_second, failure="attention is not finite")
        if (attention.sum(axis=-1, dtype=np.float64) <= 0).any():
            return Window(width, tokens_per_second, failure="a block pays no attention to the audio")
    ratio = window_shares(other, width) / (window_shares(base, width) + settings.epsilon)
    score = layer_weights(len(layers), settings.layer_weights) @ ratio
    best = score.max()
    tied_starts = np.flatnonzero(score >= best - settings.tie_tolerance * abs(best))
    return Window(width, tokens_per_second, score, tied_starts)
