"""What a pass is held against in place of the base pass: the same one about sounds that the recording does not hold."""

from collections.abc import Sequence

import numpy as np

from wheretolisten.config.probe import Localization
from wheretolisten.localization.windows import attention_shares, find_window

NO_REFERENCE = "no sound that is absent from the recording has a vector, or none is absent"
"""Why a query has no score whose pass is held against those about absent sounds."""


def absent_passes(
    about_absent: Sequence[np.ndarray], about_events: Sequence[np.ndarray], settings: Localization
) -> list[np.ndarray]:
    """The passes that a reference is averaged over.

    Parameters
    ----------
    about_absent
        Passes about sounds that the recording does not hold, in the order in which they are taken, [..., layer,
        audio_token] each.
    about_events
        Passes about its other events, of which `settings.absent_mistaken` take the places of the first ones.
    settings
        How many are wanted.

    Returns
    -------
    list of np.ndarray
        Those whose attention is finite: a sound that there is no vector for has none.
    """
    mistaken = list(about_events[: settings.absent_mistaken])
    found = [*mistaken, *about_absent[: settings.absent_sounds][len(mistaken) :]]
    return [each for each in found if np.isfinite(each).any(axis=-1).all()]


def absent_reference(
    about_absent: Sequence[np.ndarray],
    about_events: Sequence[np.ndarray],
    n_audio_tokens: int,
    settings: Localization,
) -> np.ndarray | None:
    """What a pass is held against in place of the base pass: `reference_of` the `absent_passes`; None without any."""
    passes = absent_passes(about_absent, about_events, settings)
    return reference_of(passes, n_audio_tokens, settings.absent_average) if passes else None


def reference_of(passes: Sequence[np.ndarray], n_audio_tokens: int, average: str) -> np.ndarray:
    """Attention that any such intervention brings about: mean or median of shares, token by token.

    Each pass counts alike, however much attention its prompt pays to the audio as a whole.

    Parameters
    ----------
    passes
        [..., layer, audio_token] each, perhaps padded.
    average
        `mean` or `median`, over passes.

    Returns
    -------
    np.ndarray
        [..., layer, audio_token], in float64, real audio tokens only.
    """
    shares = attention_shares(np.stack([each[..., :n_audio_tokens] for each in passes]))
    return shares.mean(axis=0) if average == "mean" else np.median(shares, axis=0)


def rank_p_value(
    query: np.ndarray,
    absent: Sequence[np.ndarray],
    duration: float,
    tokens_per_second: float,
    n_audio_tokens: int,
    settings: Localization,
) -> tuple[float, float]:
    """How often a sound that is not there would score as high as the one that is asked about.

    Of the query and the absent sounds each is held against all the others together, so that their best scores can be
    exchanged if the recording does not hold the query's sound either; the p-value is that of its rank among them (a
    permutation test: exact where nothing else tells the query's label from the absent ones).

    Parameters
    ----------
    query
        Pass about the sound, [layer, audio_token].
    absent
        Passes about absent sounds, K of them.
    duration
        Of the window, in seconds.

    Returns
    -------
    score, p_value
        The best window's score under that reference, and (1 + the absent sounds that score as high) / (K + 1); NaN
        where one of them cannot be scored, or there is no absent sound.
    """
    passes = [query, *absent]
    scores = []
    for number, each in enumerate(passes):
        others = passes[:number] + passes[number + 1 :]
        if not others:
            return np.nan, np.nan
        reference = reference_of(others, n_audio_tokens, settings.absent_average)
        window = find_window(reference, each[:, :n_audio_tokens], duration, tokens_per_second, n_audio_tokens, settings)
        if window.failure:
            return np.nan, np.nan
        scores.append(window.score.max())
    as_high = np.array(scores[1:]) >= scores[0] * (1 - settings.tie_tolerance)
    return float(scores[0]), float(1 + as_high.sum()) / len(scores)
