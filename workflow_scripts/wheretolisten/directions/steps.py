"""Directions from time steps at which a model listens to those at which it speaks. Arrays only; blocks are independent.

The contrast of arXiv 2606.11386: mean state while listening minus mean state while speaking, not brought to any length.
"""

import numpy as np

from wheretolisten.errors import UserError


def by_scores(
    speaking: np.ndarray, listening: np.ndarray, thresholds: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Steps that are told apart by what their states predict (logit lens).

    Parameters
    ----------
    speaking, listening
        S_gen and S_perc, mean over blocks: the probability that a state gives to what the model itself says, and to the
        user's next token, [dialogue, step]; NaN where a dialogue is over.
    thresholds
        Θ_gen, Θ_perc.

    Returns
    -------
    tuple of np.ndarray
        True at steps of listening, S_perc ≥ Θ_perc and S_gen < Θ_gen, and at steps of speaking, S_gen ≥ Θ_gen and
        S_perc < Θ_perc, [dialogue, step]. Steps with both or neither are left out.
    """
    generates, perceives = speaking >= thresholds[0], listening >= thresholds[1]
    known = np.isfinite(speaking) & np.isfinite(listening)
    return known & perceives & ~generates, known & generates & ~perceives


def by_clock(
    n_steps: int, starts: np.ndarray, ends: np.ndarray, margin: int, longest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps that are told apart by when the user speaks, whatever the model does.

    Parameters
    ----------
    n_steps
        Steps of every dialogue.
    starts, ends
        First and last step of the user's question, [dialogue].
    margin
        Steps that are left out at each of its ends.
    longest
        Steps of speaking behind the question, at most.

    Returns
    -------
    tuple of np.ndarray
        True at steps of listening and of speaking, [dialogue, step].
    """
    step, starts, ends = np.arange(n_steps), starts[:, None], ends[:, None]
    listening = (step >= starts + margin) & (step <= ends - margin)
    return listening, (step >= ends + margin) & (step < ends + margin + longest)


def contrast(states: np.ndarray, listening: np.ndarray, speaking: np.ndarray) -> np.ndarray:
    """μ = mean(h | listening) − mean(h | speaking) over steps of all dialogues, float64 [layer, width].

    Parameters
    ----------
    states
        [dialogue, step, layer, width].
    listening, speaking
        Which steps are meant, [dialogue, step].

    Raises
    ------
    UserError
        If there is no step of a kind.
    """
    for what, there in (("listens", listening), ("speaks", speaking)):
        if not there.any():
            raise UserError(
                f"there is no step at which the model {what}; change the thresholds, the margin, or the dialogues"
            )
    return states[listening].mean(axis=0, dtype=np.float64) - states[speaking].mean(axis=0, dtype=np.float64)


def poles(states: np.ndarray, listening: np.ndarray, speaking: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean states of each dialogue at the two kinds of steps, [dialogue, layer, width], of dialogues that have both."""
    both = listening.any(axis=1) & speaking.any(axis=1)
    return tuple(
        np.stack([of_dialogue[at].mean(axis=0) for of_dialogue, at in zip(states[both], there[both], strict=True)])
        if both.any()
        else states[:0, 0]
        for there in (listening, speaking)
    )


def steps_until(reached: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """Steps from an onset to the first step, itself included, at which something is reached, [row].

    Parameters
    ----------
    reached
        [row, step].
    onsets
        [row].

    Returns
    -------
    np.ndarray
        0 where it is reached at the onset; the steps that are left from the onset on where it never is.
    """
    found = []
    for row, onset in zip(reached, onsets, strict=True):
        behind = row[onset:]
        found.append(int(behind.argmax()) if behind.any() else len(behind))
    return np.array(found)
