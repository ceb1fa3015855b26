"""Audio-specialist heads: those whose attention to the audio goes with right answers (ASH, arXiv 2603.06854)."""

from collections.abc import Collection, Sequence

import numpy as np

N_HEADS = 20
"""How many heads are specialists, where nobody says otherwise; ASH does not state its number."""

Head = tuple[int, int]
"""Block and head, both counted from 0."""


def correlations(mass: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Pearson correlation of each head's attention to the audio with correctness (ASH).

    Parameters
    ----------
    mass
        Attention from the last prompt token to all audio tokens, [item, layer, head], from 0 to 1.
    correct
        Whether the answer to each item is right, [item].

    Returns
    -------
    np.ndarray
        [layer, head], from −1 to 1; NaN where a head's mass is the same for all items, and everywhere if all answers
        are right, or all wrong: nothing goes with what does not vary.
    """
    mass, correct = np.asarray(mass, np.float64), np.asarray(correct, np.float64)
    deviations, of_correct = mass - mass.mean(axis=0), correct - correct.mean()
    covariance = np.einsum("ilh,i->lh", deviations, of_correct)
    # A mass that differs by rounding alone does not vary.
    varies = np.ptp(mass, axis=0) > 1e-9 * np.abs(mass).max(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = covariance / np.sqrt((deviations**2).sum(axis=0) * (of_correct**2).sum())
    return np.where(varies & (of_correct**2).sum().astype(bool), found, np.nan)


def specialists(correlation: np.ndarray, n_heads: int = N_HEADS) -> list[Head]:
    """The heads with the highest correlations, best first, or all that have one; of equals the lower block and head."""
    order = np.argsort(-correlation, axis=None, kind="stable")  # NaN come last
    ranked = [tuple(map(int, np.unravel_index(index, correlation.shape))) for index in order]
    return [head for head in ranked if np.isfinite(correlation[head])][:n_heads]


def random_heads(
    shape: tuple[int, int], n_heads: int, without: Collection[Head], rng: np.random.Generator
) -> list[Head]:
    """As many heads that are none of others, drawn: the control of specialists; `shape` is layers, heads."""
    others = [head for head in np.ndindex(*shape) if head not in set(without)]
    return sorted(others[index] for index in rng.permutation(len(others))[:n_heads])


def listening_signal(mass: np.ndarray, heads: Sequence[Head]) -> np.ndarray:
    """Mean mass of some heads, [item], from [item, layer, head] (ASH)."""
    layers, numbers = zip(*heads, strict=True)
    return np.asarray(mass)[:, list(layers), list(numbers)].mean(axis=1)


def listening_direction(audio: np.ndarray, silence: np.ndarray, heads: Sequence[Head]) -> np.ndarray:
    """s(x): what the audio adds to the last prompt token, mean over the blocks that hold one of the heads (ASH).

    Parameters
    ----------
    audio, silence
        States of the last prompt token with the recording, and with silence of equal length, after every block,
        [item, layer, hidden].
    heads
        A block counts once, however many heads it holds.

    Returns
    -------
    np.ndarray
        [item, hidden].
    """
    layers = sorted({layer for layer, _ in heads})
    return (np.asarray(audio)[:, layers] - np.asarray(silence)[:, layers]).mean(axis=1)
