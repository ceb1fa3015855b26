"""The window that gains attention under steering (SWL §3.3)."""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import rel_entr

from wheretolisten.config.layers import select_layers
from wheretolisten.config.probe import Localization


@dataclass(frozen=True, eq=False)
class Window:
    """Outcome of scoring one query.

    Attributes
    ----------
    width
        Length of the window, in audio tokens; where it was not known, the length of each of the best windows, [window].
    tokens_per_second
        Rate of audio tokens, in Hz.
    score
        Score of every window by its first token, [start]; empty on failure and where the length was not known.
    tied_starts
        First tokens of the best windows, [window]: one, or several where they tie; empty on failure.
    failure
        Why no window could be chosen; empty if one could, or if several tie.
    steered
        False where there was no vector, so that there is nothing to score; `failure` says why.
    """

    width: int | np.ndarray
    tokens_per_second: float
    score: np.ndarray = field(default_factory=lambda: np.empty(0))
    tied_starts: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    failure: str = ""
    steered: bool = True

    @property
    def tied(self) -> bool:
        """Whether several windows share the best score, so that none of them is the prediction."""
        return self.tied_starts.size > 1

    @property
    def start_seconds(self) -> float:
        """Predicted onset, in seconds; NaN where windows tie or scoring failed."""
        return self.tied_seconds[0].item() if self.tied_starts.size == 1 else math.nan

    @property
    def end_seconds(self) -> float:
        """Predicted offset, in seconds; NaN where windows tie or scoring failed."""
        return self.tied_seconds[1].item() if self.tied_starts.size == 1 else math.nan

    @property
    def tied_seconds(self) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends of the best windows, in seconds, [window]; empty on failure."""
        ends = self.tied_starts + self.width
        return self.tied_starts / self.tokens_per_second, ends / self.tokens_per_second


def without_vector(reason: str, tokens_per_second: float) -> Window:
    """Outcome of a query that nothing steered, because its method has no vector for it."""
    return Window(0, tokens_per_second, failure=f"no vector: {reason}", steered=False)


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
    _check(base, other, n_audio_tokens)
    width = window_width(duration, tokens_per_second)
    if width < 1:
        return Window(width, tokens_per_second, failure="the event is shorter than half an audio token")
    if width > n_audio_tokens:
        return Window(width, tokens_per_second, failure="the event is longer than the audio")
    layers = select_layers(settings.layers, base.shape[0])
    base, other = base[layers, :n_audio_tokens], other[layers, :n_audio_tokens]
    if failure := _failure_of(base, other):
        return Window(width, tokens_per_second, failure=failure)
    ratio = window_shares(other, width) / (window_shares(base, width) + settings.epsilon)
    score = layer_weights(len(layers), settings.layer_weights) @ ratio
    return Window(width, tokens_per_second, score, _best(score, settings.tie_tolerance))


def find_window_of_any_width(
    base: np.ndarray, other: np.ndarray, tokens_per_second: float, n_audio_tokens: int, settings: Localization
) -> Window:
    """Find onset and duration of the stretch of audio that gains attention; the duration need not be known.

    This is ours: SWL knows the duration. The ratio R of `find_window` cannot compare widths, because the fewer tokens a
    window holds, the further R strays from 1 by chance alone. In its place stands the statistic that scan tests use for
    windows of all sizes (Kulldorff 1997), the likelihood ratio of "this window differs" over "nothing does":

        Score(i, W) = Σ_l w_l sign(P_other − P_base) KL(P_other ‖ P_base),
        KL(p ‖ q) = p log(p/q) + (1 − p) log((1 − p)/(1 − q)),

    with the shares P^l(i) of the window of W tokens. It weighs how much a window gains by what it had: close to 0 it is
    (p − q)² / 2q(1 − q), a gain in squared standard errors. A window that widens into tokens that lose attention scores
    less, one that leaves out tokens that gain, too; a window of all the audio scores 0.

    Parameters
    ----------
    base, other, tokens_per_second, n_audio_tokens
        As `find_window`.
    settings
        As `find_window`; candidate durations are `unknown_durations`. Shares that differ by less than
        `settings.tie_tolerance` (relative) count as equal.

    Raises
    ------
    ValueError
        As `find_window`.
    """
    _check(base, other, n_audio_tokens)
    widths = sorted({window_width(duration, tokens_per_second) for duration in settings.unknown_durations})
    widths = [width for width in widths if 1 <= width <= n_audio_tokens]
    if not widths:
        return Window(0, tokens_per_second, failure="no candidate duration fits the audio")
    layers = select_layers(settings.layers, base.shape[0])
    base, other = base[layers, :n_audio_tokens], other[layers, :n_audio_tokens]
    if failure := _failure_of(base, other):
        return Window(0, tokens_per_second, failure=failure)
    weights = layer_weights(len(layers), settings.layer_weights)
    scores = []
    for width in widths:
        p, q = (np.clip(window_shares(a, width), settings.epsilon, 1 - settings.epsilon) for a in (other, base))
        p = np.where(np.abs(p - q) <= settings.tie_tolerance * q, q, p)
        scores.append(weights @ (np.sign(p - q) * (rel_entr(p, q) + rel_entr(1 - p, 1 - q))))
    best = _best(np.concatenate(scores), settings.tie_tolerance)
    starts = np.concatenate([np.arange(score.size) for score in scores])
    width = np.repeat(widths, [score.size for score in scores])
    return Window(width[best], tokens_per_second, tied_starts=starts[best])


def _check(base: np.ndarray, other: np.ndarray, n_audio_tokens: int) -> None:
    if base.ndim != 2 or len(base) != len(other) or min(base.shape[1], other.shape[1]) < n_audio_tokens:
        raise ValueError(f"attention of shapes {base.shape} and {other.shape} for {n_audio_tokens} audio tokens")


def _failure_of(*attentions: np.ndarray) -> str:
    """Why attention [layer, audio_token] cannot be scored; empty if it can."""
    for attention in attentions:
        if not np.isfinite(attention).all():
            return "attention is not finite"
        if (attention.sum(axis=-1, dtype=np.float64) <= 0).any():
            return "a block pays no attention to the audio"
    return ""


def _best(score: np.ndarray, tolerance: float) -> np.ndarray:
    """Indices of the scores that tie with the best one."""
    best = score.max()
    return np.flatnonzero(score >= best - tolerance * abs(best))
