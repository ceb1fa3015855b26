"""Which coordinates of a site tell two poles apart: the support of sparse steering. Arrays only."""

from collections.abc import Callable, Sequence

import numpy as np

from wheretolisten.config.effects import Support


def correlation(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Pearson correlation of each coordinate with the pole (+1, −1), [layer, width]; 0 where it does not vary.

    Parameters
    ----------
    positive, negative
        States at the two poles, [pair, layer, width]. So in all scores.
    """
    half = (positive.mean(axis=0) - negative.mean(axis=0)) / 2
    spread = np.concatenate([positive, negative]).std(axis=0)
    return np.divide(half, spread, out=np.zeros_like(half), where=spread > 0)


def cohens_d(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Difference of means in pooled standard deviations (Cohen's d, n − 1), [layer, width]; 0 where nothing varies."""
    difference = positive.mean(axis=0) - negative.mean(axis=0)
    spread = np.sqrt((positive.var(axis=0, ddof=1) + negative.var(axis=0, ddof=1)) / 2)
    return np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)


def probe(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """How far the best threshold on a coordinate is right above chance, −½ … ½; below 0 the negative pole is higher.

    Balanced, as there are as many states at each pole; equal values fall on one side together.
    """
    n_pairs = len(positive)
    states = np.concatenate([positive, negative])
    order = np.argsort(states, axis=0, kind="stable")
    is_positive = order < n_pairs
    ranked = np.take_along_axis(states, order, axis=0)
    # Behind the k-th lowest value: how many more negative than positive states lie below.
    balance = np.cumsum(np.where(is_positive, -1, 1), axis=0)
    balance[:-1][ranked[1:] == ranked[:-1]] = 0  # no threshold fits between equal values
    best = np.abs(balance).argmax(axis=0)
    return np.take_along_axis(balance, best[None], axis=0)[0] / (2 * n_pairs)


def firing(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """δ: difference of the shares of tokens at which a unit is positive (NPTI), [layer, width].

    `positive` and `negative` are such shares, [pair, layer, width].
    """
    return positive.mean(axis=0) - negative.mean(axis=0)


def of_heads(positive: np.ndarray, negative: np.ndarray, n_heads: int) -> np.ndarray:
    """How often the pole is told from what a head puts out, above chance, −½ … ½, [layer, head].

    By the midpoint between the poles' means, along the difference of these means: a probe without a parameter to fit,
    in the place of ITI's logistic regression. `positive` and `negative` are states at the site `heads`.
    """
    shape = (*positive.shape[:2], n_heads, -1)
    first, second = positive.reshape(shape), negative.reshape(shape)
    difference = first.mean(axis=0) - second.mean(axis=0)
    middle = (first.mean(axis=0) + second.mean(axis=0)) / 2
    above = np.einsum("plhw,lhw->plh", first - middle, difference) > 0
    below = np.einsum("plhw,lhw->plh", second - middle, difference) < 0
    accuracy = (above.mean(axis=0) + below.mean(axis=0)) / 2
    return accuracy - 0.5


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "correlation": correlation,
    "probe": probe,
    "firing": firing,
    "cohens_d": cohens_d,
}
"""Scores by what `config.effects.Support.by` calls them; `random` needs none."""


def choose(scores: np.ndarray, support: Support) -> np.ndarray:
    """Whether each coordinate belongs to the support, [layer, width].

    The highest absolute scores over all blocks, `support.keep` of them, those of one side only where it says so; equal
    ones by block and coordinate.
    """
    ranked = {"both": np.abs(scores), "positive": scores, "negative": -scores}[support.side]
    n_kept = max(1, round(support.keep * scores.size))
    chosen = np.zeros(scores.size, dtype=bool)
    chosen[np.argsort(-ranked, axis=None, kind="stable")[:n_kept]] = True
    return chosen.reshape(scores.shape) & (ranked >= support.at_least) & (ranked > 0)


def draw(shape: Sequence[int], support: Support, rng: np.random.Generator) -> np.ndarray:
    """As many coordinates, drawn over all blocks, [layer, width]."""
    size = int(np.prod(shape))
    chosen = np.zeros(size, dtype=bool)
    chosen[rng.permutation(size)[: max(1, round(support.keep * size))]] = True
    return chosen.reshape(tuple(shape))
