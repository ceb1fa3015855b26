"""Directions written into a weight: ridge regression onto shifted outputs (ASRU, arXiv 2605.15687). Arrays only."""

import numpy as np


def from_scratch(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """W* = (HᵀH + γI)⁻¹HᵀT, as published: outside the span of the inputs it is 0, whatever the weight was.

    With fewer rows than inputs, that destroys the layer; `update` does not.

    Parameters
    ----------
    inputs
        H: what goes into the layer, [row, in].
    targets
        T: what should come out, [row, out].
    penalty
        γ > 0.

    Returns
    -------
    np.ndarray
        [in, out]: H @ W* is what comes out then.
    """
    inputs, targets = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)
    if len(inputs) < inputs.shape[1]:  # the same, with the smaller of the two matrices
        return inputs.T @ np.linalg.solve(inputs @ inputs.T + penalty * np.eye(len(inputs)), targets)
    return np.linalg.solve(inputs.T @ inputs + penalty * np.eye(inputs.shape[1]), inputs.T @ targets)


def update(weight: np.ndarray, inputs: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
    """W + (HᵀH + γI)⁻¹Hᵀ(T − HW): the same targets, and the weight stays as it is where nothing is asked of it.

    Parameters and result as of `from_scratch`; `weight` is [in, out]. Where targets are what comes out anyway, the
    weight is returned as it is.
    """
    weight = np.asarray(weight, np.float64)
    return weight + from_scratch(inputs, np.asarray(targets, np.float64) - np.asarray(inputs) @ weight, penalty)
