"""Which choices a model takes, how often they are right, and what else a method does to the answers."""

import numpy as np
from scipy.special import logsumexp, xlogy

from wheretolisten.config.studies import Score
from wheretolisten.store import Choices


def taken(choices: Choices, score: Score) -> np.ndarray:
    """Number of the choice that is taken, [item, pass, wording]; NaN where there is none, as in passes left out.

    Parameters
    ----------
    choices
        What a study's passes found.
    score
        choice: the likeliest whole text; per_token: by the mean over its tokens; letter: the likeliest letter; words:
        the choice that the answer in words names, −1 if it names none or several.
    """
    if score == "words":
        return choices.words
    likely = choices.letters if score == "letter" else choices.choices
    if score == "per_token":
        likely = likely / choices.n_tokens[:, None, None]
    known = np.isfinite(likely)
    best = np.where(known, likely, -np.inf).argmax(axis=-1)
    return np.where(known.any(axis=-1), best, np.nan)


def correct(choices: Choices, score: Score) -> np.ndarray:
    """Share of the wordings of each item that are answered rightly, [pass, item]; NaN where nothing was asked."""
    found = taken(choices, score)
    asked = np.isfinite(found)
    right = (found == choices.right[:, None, None]) & asked
    with np.errstate(invalid="ignore"):
        return (right.sum(axis=2) / np.where(asked.any(axis=2), asked.sum(axis=2), np.nan)).T


def mass_on_choices(choices: Choices) -> np.ndarray:
    """Probability that an answer is one of the choices, [pass, item]: what breaks the text takes it away.

    The sum over choices, averaged over wordings. A choice that another one begins with counts them both, so that it can
    exceed 1.
    """
    known = np.isfinite(choices.choices)
    total = np.exp(np.where(known, choices.choices, -np.inf)).sum(axis=3)
    return _mean_over_wordings(np.where(known.any(axis=3), total, np.nan))


def divergence(choices: Choices, reference: str) -> np.ndarray:
    """KL(reference ‖ pass) over the choices of each item, in nats, averaged over wordings, [pass, item]."""
    known = np.isfinite(choices.choices)
    likely = np.where(known, choices.choices, -np.inf)
    with np.errstate(invalid="ignore"):
        share = likely - logsumexp(likely, axis=3, keepdims=True)
    before = share[:, choices.passes.index(reference), None]
    weight = np.exp(before)
    with np.errstate(invalid="ignore"):
        terms = np.where(weight > 0, xlogy(weight, weight) - weight * share, 0)
    # Rounding must not make it negative.
    return _mean_over_wordings(np.where(known.any(axis=3), terms.sum(axis=3).clip(min=0), np.nan))


def _mean_over_wordings(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return (np.where(known, values, 0).sum(axis=2) / np.where(known.any(axis=2), known.sum(axis=2), np.nan)).T
