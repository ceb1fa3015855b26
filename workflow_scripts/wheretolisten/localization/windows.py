"""The window that gains attention under steering (SWL §3.3)."""

import functools
import math
from collections.abc import Iterable
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


def cumulative_shares(attention: np.ndarray) -> np.ndarray:
    """Share of the attention to audio that lies before each token, [layer, audio_token + 1], from 0 to 1, in float64.

    Windows of every width are differences of it: P(i) = Σ_{t=i}^{i+W-1} a_t / Σ_t a_t (SWL §3.3) is the sum up to
    token i + W less that up to token i.

    Parameters
    ----------
    attention
        [layer, audio_token], real audio tokens only.
    """
    sums = np.cumsum(attention_shares(attention), axis=-1)
    return np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)


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
    passes = (_Pass(attention, n_audio_tokens, settings) for attention in (base, other))
    return _find_window(*passes, window_width(duration, tokens_per_second), tokens_per_second, settings)


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
    passes = (_Pass(attention, n_audio_tokens, settings) for attention in (base, other))
    return _find_window_of_any_width(*passes, tokens_per_second, settings)


def find_windows(
    base: np.ndarray,
    others: Iterable[np.ndarray],
    duration: float,
    tokens_per_second: float,
    n_audio_tokens: int,
    settings: Localization,
) -> list[tuple[Window, Window]]:
    """The windows of `find_window` and of `find_window_of_any_width` for several passes over one recording.

    They are the same windows, found faster: every pass is summed up once.

    Parameters
    ----------
    others
        Attention of the passes that are held against `base`, each [layer, audio_token].

    Raises
    ------
    ValueError
        As `find_window`.
    """
    unsteered, width = _Pass(base, n_audio_tokens, settings), window_width(duration, tokens_per_second)
    windows = []
    for other in others:
        _check(base, other, n_audio_tokens)
        steered = _Pass(other, n_audio_tokens, settings)
        windows.append(
            (
                _find_window(unsteered, steered, width, tokens_per_second, settings),
                _find_window_of_any_width(unsteered, steered, tokens_per_second, settings),
            )
        )
    return windows


class _Pass:
    """The scored blocks of one pass; what windows of all widths have in common is computed once, when it is asked for.

    Parameters
    ----------
    attention
        [layer, audio_token], all blocks, perhaps padded.
    """

    def __init__(self, attention: np.ndarray, n_audio_tokens: int, settings: Localization) -> None:
        self._attention = attention[select_layers(settings.layers, len(attention)), :n_audio_tokens]
        self.n_layers, self.n_tokens = self._attention.shape

    @functools.cached_property
    def failure(self) -> str:
        """Why the attention cannot be scored; empty if it can."""
        if not np.isfinite(self._attention).all():
            return "attention is not finite"
        if (self._attention.sum(axis=-1, dtype=np.float64) <= 0).any():
            return "a block pays no attention to the audio"
        return ""

    def shares(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Shares of the windows between `starts` and `ends`, [window], in tokens: [layer, window]."""
        return self._sums[:, ends] - self._sums[:, starts]

    @functools.cached_property
    def _sums(self) -> np.ndarray:
        return cumulative_shares(self._attention)


def _find_window(base: _Pass, other: _Pass, width: int, tokens_per_second: float, settings: Localization) -> Window:
    if width < 1:
        return Window(width, tokens_per_second, failure="the event is shorter than half an audio token")
    if width > base.n_tokens:
        return Window(width, tokens_per_second, failure="the event is longer than the audio")
    if failure := base.failure or other.failure:
        return Window(width, tokens_per_second, failure=failure)
    starts = np.arange(base.n_tokens - width + 1)
    ratio = other.shares(starts, starts + width) / (base.shares(starts, starts + width) + settings.epsilon)
    score = layer_weights(base.n_layers, settings.layer_weights) @ ratio
    return Window(width, tokens_per_second, score, _best(score, settings.tie_tolerance))


def _find_window_of_any_width(base: _Pass, other: _Pass, tokens_per_second: float, settings: Localization) -> Window:
    widths = sorted({window_width(duration, tokens_per_second) for duration in settings.unknown_durations})
    widths = [width for width in widths if 1 <= width <= base.n_tokens]
    if not widths:
        return Window(0, tokens_per_second, failure="no candidate duration fits the audio")
    if failure := base.failure or other.failure:
        return Window(0, tokens_per_second, failure=failure)
    starts = np.concatenate([np.arange(base.n_tokens - width + 1) for width in widths])
    width = np.repeat(widths, [base.n_tokens - width + 1 for width in widths])
    lowest, highest = settings.epsilon, 1 - settings.epsilon
    p, q = (np.clip(each.shares(starts, starts + width), lowest, highest) for each in (other, base))
    p = np.where(np.abs(p - q) <= settings.tie_tolerance * q, q, p)
    score = np.sign(p - q) * (rel_entr(p, q) + rel_entr(1 - p, 1 - q))
    best = _best(layer_weights(base.n_layers, settings.layer_weights) @ score, settings.tie_tolerance)
    return Window(width[best], tokens_per_second, tied_starts=starts[best])


def _check(base: np.ndarray, other: np.ndarray, n_audio_tokens: int) -> None:
    if base.ndim != 2 or len(base) != len(other) or min(base.shape[1], other.shape[1]) < n_audio_tokens:
        raise ValueError(f"attention of shapes {base.shape} and {other.shape} for {n_audio_tokens} audio tokens")


def _best(score: np.ndarray, tolerance: float) -> np.ndarray:
    """Indices of the scores that tie with the best one."""
    best = score.max()
    return np.flatnonzero(score >= best - tolerance * abs(best))
