"""Stretches of audio that gain attention when a sound is asked about: how many, how long and where is not known.

The statistic is that of `localization.windows.find_window_of_any_width`. Where several stretches may gain, the best one
is taken out and what is left is searched again as if it were all there is, so that a loud occurrence does not hide a
faint one (Zhang, Assunção & Kulldorff 2010, Int. J. Health Geographics 9:22: sequential deletion).
"""

from dataclasses import dataclass

import numpy as np

from wheretolisten.localization.windows import attention_shares

_LOWEST = 1e-8
_GROWTH = 1.15
"""Factor from one width that is tried to the next: an event between two of them is missed by a fourteenth at most."""
_DIP, _LEAST = 0.15, 3
"""What `split` calls nearly gone, relative to the mean; and the fewest tokens of an occurrence."""


@dataclass(frozen=True)
class Stretch:
    """A window of audio tokens: first, the one after the last, and its score."""

    first: int
    after: int
    score: float


def change(asked: np.ndarray, reference: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """By how much the share of every token grows, [audio_token]: Σ_l w_l log2(asked / reference).

    Parameters
    ----------
    asked, reference
        Shares of attention, [layer, audio_token].
    weights
        Of the blocks, [layer], summing to 1.
    """
    return weights @ np.log2((asked + _LOWEST) / (reference + _LOWEST))


class Scan:
    """All windows of one pass, held against a reference.

    Parameters
    ----------
    asked, reference
        Attention or shares of it, scored blocks only, [layer, audio_token].
    weights
        Of the blocks, [layer], summing to 1.
    first, after
        Windows lie within these tokens; the others count for shares, and nothing is found there.
    shortest
        Width of the shortest window, in tokens.
    """

    def __init__(
        self,
        asked: np.ndarray,
        reference: np.ndarray,
        weights: np.ndarray,
        first: int = 0,
        after: int | None = None,
        shortest: int = 3,
    ) -> None:
        self._asked, self._reference = attention_shares(asked), attention_shares(reference)
        self._weights = weights
        after = self._asked.shape[1] if after is None else after
        widths = _widths(shortest, after - first)
        self._starts = np.concatenate([np.arange(first, after - width + 1) for width in widths])
        self._ends = self._starts + np.repeat(widths, [after - first - width + 1 for width in widths])

    def best(self, without: np.ndarray | None = None) -> Stretch:
        """The window that gains most; its score is 0 or less where none gains.

        Parameters
        ----------
        without
            Tokens that are taken out, bool [audio_token].
        """
        starts, ends = self._starts, self._ends
        if without is not None:
            taken = np.concatenate([[0], np.cumsum(without)])
            whole = taken[ends] == taken[starts]
            starts, ends = starts[whole], ends[whole]
            if not starts.size:
                return Stretch(0, 0, 0.0)
        p, q = (_shares(each, without, starts, ends) for each in (self._asked, self._reference))
        score = self._weights @ (np.sign(p - q) * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))
        best = int(score.argmax())
        return Stretch(int(starts[best]), int(ends[best]), float(score[best]))

    def all(self, threshold: float) -> list[Stretch]:
        """Stretches that score at least `threshold`, in order of time; those that touch are one.

        Parameters
        ----------
        threshold
            Least score, above 0.
        """
        without, found = np.zeros(self._asked.shape[1], dtype=bool), []
        while (stretch := self.best(without)).score >= threshold > 0:
            found.append(stretch)
            without[stretch.first : stretch.after] = True
        return join(found)


def join(stretches: list[Stretch], gap: int = 1) -> list[Stretch]:
    """Stretches in order of time; those that overlap, or have at most `gap` tokens between them, are one.

    The score is that of the best part.
    """
    joined: list[Stretch] = []
    for each in sorted(stretches, key=lambda stretch: stretch.first):
        if joined and each.first - joined[-1].after <= gap:
            last = joined.pop()
            each = Stretch(last.first, max(last.after, each.after), max(last.score, each.score))
        joined.append(each)
    return joined


def split(stretch: Stretch, change: np.ndarray, smoothed: int) -> list[Stretch]:
    """The occurrences of a sound that one window holds together: it is cut where the change nearly goes away.

    That is where the change, averaged over `smoothed` tokens, is below a seventh of its mean over the stretch, for two
    tokens at least; what is left between two cuts are three tokens at least.

    Parameters
    ----------
    stretch
        Of `Scan.all`.
    change
        Of every token, [audio_token], as `change` returns it.
    smoothed
        Tokens, an odd number.
    """
    inside = slice(stretch.first, stretch.after)
    smooth = np.convolve(change, np.ones(smoothed) / smoothed, "same")[inside]
    above = smooth > _DIP * change[inside].mean()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]))).reshape(-1, 2) + stretch.first
    parts = [Stretch(int(first), int(after), stretch.score) for first, after in edges if after - first >= _LEAST]
    parts = join(parts)
    if len(parts) < 2:
        return [stretch]
    # A dip at either end is none between two occurrences.
    parts[0] = Stretch(stretch.first, parts[0].after, stretch.score)
    parts[-1] = Stretch(parts[-1].first, stretch.after, stretch.score)
    return parts


def _widths(shortest: int, longest: int) -> list[int]:
    widths, width = [min(shortest, longest)], float(shortest)
    while widths[-1] < longest:
        width *= _GROWTH
        widths.append(min(longest, max(widths[-1] + 1, round(width))))
    return widths


def _shares(shares: np.ndarray, without: np.ndarray | None, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Shares of windows of what is left, [layer, window], off 0 and 1."""
    left = shares if without is None else np.where(without, 0.0, shares)
    sums = np.concatenate([np.zeros((len(left), 1)), np.cumsum(left, axis=1)], axis=1)
    return np.clip((sums[:, ends] - sums[:, starts]) / sums[:, -1:], _LOWEST, 1 - _LOWEST)
