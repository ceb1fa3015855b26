"""How states at two poles become a direction. Arrays only; blocks are independent."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from wheretolisten.errors import UserError

_RIDGE = 1.0
"""Penalty of the logistic regression on its squared normal, of states brought to unit variance on average."""

FIRING_MIDPOINT, FIRING_SLOPE = 0.15, 10.0
"""Of the weight f(δ) = 1 / (1 + exp(−10 (δ − 0.15))) of a unit that fires δ more often at the positive pole (NPTI)."""


def mean(positive: np.ndarray, negative: np.ndarray, rank: int = 1) -> np.ndarray:
    """Mean of the differences of pairs (CAA), [layer, width].

    Parameters
    ----------
    positive, negative
        States at the two poles, [pair, layer, width]. So in all builders.
    rank
        Components of `svd`; the others take no notice of it.
    """
    return (positive - negative).mean(axis=0)


def mean_unpaired(positive: np.ndarray, negative: np.ndarray, rank: int = 1) -> np.ndarray:
    """Mean at the positive pole of every other pair minus mean at the negative pole of the rest: sets without pairs."""
    return positive[::2].mean(axis=0) - negative[1::2].mean(axis=0)


def pca(positive: np.ndarray, negative: np.ndarray, rank: int = 1) -> np.ndarray:
    """First component of states centred pair by pair (RepE), as long as the mean difference along it.

    Centred so, the two states of a pair are ± half their difference, and components of them are those of the uncentred
    differences: what all pairs share stays. Centring the differences themselves would take it away (a test shows it).
    """
    return _along(svd_basis(positive - negative, 1)[:, 0], positive - negative)


def svd(positive: np.ndarray, negative: np.ndarray, rank: int = 1) -> np.ndarray:
    """Mean difference within the first components of the uncentred differences (FOXP2), [layer, width]."""
    differences = positive - negative
    basis = svd_basis(differences, rank)
    shift = differences.mean(axis=0)
    return np.einsum("lrw,lrv,lv->lw", basis, basis, shift)


def probe(positive: np.ndarray, negative: np.ndarray, rank: int = 1) -> np.ndarray:
    """Normal of a logistic regression that tells the poles apart, as long as the mean difference along it.

    States are centred and divided by one number for each block, so that no direction is favoured; penalty ½‖w‖².
    """
    n_pairs, n_layers, width = positive.shape
    poles = np.repeat([1.0, 0.0], n_pairs)
    normals = np.empty((n_layers, width))
    for layer in range(n_layers):
        states = np.concatenate([positive[:, layer], negative[:, layer]]).astype(np.float64)
        states -= states.mean(axis=0)
        states /= states.std() * np.sqrt(width) or 1.0

        def loss(normal: np.ndarray, states: np.ndarray = states) -> tuple[float, np.ndarray]:
            scores = states @ normal
            value = np.logaddexp(0, scores).sum() - poles @ scores + _RIDGE / 2 * normal @ normal
            return value, states.T @ (expit(scores) - poles) + _RIDGE * normal

        normals[layer] = minimize(loss, np.zeros(width), jac=True, method="L-BFGS-B").x
    return _along(normals, positive - negative)


BUILDERS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "mean": mean,
    "mean_unpaired": mean_unpaired,
    "pca": pca,
    "svd": svd,
    "probe": probe,
}
"""Builders of states, by what `config.effects.Arm.build` calls them; `fired` is built of tokens."""


def fired(tokens: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """What is added to units that fire more often at the positive pole: p95 · f(δ) (NPTI), [layer, width].

    Parameters
    ----------
    tokens
        Activations at the tokens of answers of the positive pole, [token, layer, width].
    excess
        δ: share of the tokens at which a unit is positive at the positive pole minus that at the other, [layer, width].
    """
    return np.percentile(tokens, 95, axis=0) * expit(FIRING_SLOPE * (excess - FIRING_MIDPOINT))


def svd_basis(differences: np.ndarray, rank: int) -> np.ndarray:
    """First right singular vectors of [pair, layer, width], orthonormal, [layer, rank, width].

    Raises
    ------
    UserError
        If there are fewer pairs, or less width, than components.
    """
    if rank > min(differences.shape[0], differences.shape[2]):
        raise UserError(
            f"rank: {rank} components of {differences.shape[0]} pairs of width {differences.shape[2]}; lower it"
        )
    return np.linalg.svd(differences.transpose(1, 0, 2), full_matrices=False)[2][:, :rank]


def agreement(direction: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Share of pairs whose positive state lies further along the direction than the negative one, [layer].

    On pairs that it was not built of, less than half says that its sign is wrong, or that it is noise.
    """
    return (np.einsum("plw,lw->pl", positive - negative, direction) > 0).mean(axis=0)


def _along(normals: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Directions as long as the mean difference along them, and so turned that it is positive, [layer, width]."""
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    return unit * np.einsum("lw,lw->l", unit, differences.mean(axis=0))[:, None]
