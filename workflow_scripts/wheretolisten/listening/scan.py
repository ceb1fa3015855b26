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
_HIGH, _LEAST = 0.3, 3
"""What `Scan.occurrences` calls high, relative to the mean; and the fewest tokens of an occurrence."""
_POWER = 0.2


@dataclass(frozen=True)
class Stretch:
    """A window of audio tokens: first, the one after the last, and its score."""

    first: int
    after: int
    score: float


def tempered(attention: np.ndarray) -> np.ndarray:
    """Attention in which single tokens count for less, as shares, [..., audio_token]: a^0.2 / Σ a^0.2.

    A pretrained model gives much of what it gives the audio to few tokens, whatever it is asked. Then a change of all
    others hardly moves shares. The smaller the power, the nearer are differences of shares to those of logarithms.

    Parameters
    ----------
    attention
        Attention or shares of it, [..., audio_token].
    """
    return attention_shares(attention**_POWER)


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
        self._first, self._after = first, after
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

    def occurrences(self, stretch: Stretch, smoothed: int) -> list[Stretch]:
        """The occurrences of a sound in and around one window: where the change stays high.

        The scan says that attention gains, and roughly where: a window goes on from one occurrence to the next, where
        little speaks against it, and ends where the gain is steepest. Occurrences are where the change, averaged over
        `smoothed` tokens, is at least three tenths of its mean over the window, for three tokens at least, beyond the
        window, too.

        Parameters
        ----------
        stretch
            Of `all`.
        smoothed
            Tokens, an odd number.

        Returns
        -------
        list of Stretch
            In order of time, each with the window's score; the window itself where there is none.
        """
        changed = change(self._asked, self._reference, self._weights)
        smooth = np.convolve(changed, np.ones(smoothed) / smoothed, "same")[self._first : self._after]
        high = smooth >= _HIGH * changed[stretch.first : stretch.after].mean()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]))).reshape(-1, 2) + self._first
        return [
            Stretch(int(first), int(after), stretch.score)
            for first, after in edges
            if first < stretch.after and after > stretch.first and after - first >= _LEAST
        ] or [stretch]


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
