"""The random baseline: windows drawn without listening."""

import hashlib

import numpy as np


def draw_starts(
    seed: int, sample_id: str, position: str, sample_seconds: float, duration: float, n_draws: int
) -> np.ndarray:
    """Starts of windows drawn uniformly from [0, T - W], in seconds, to the microsecond as times in tables, [draw].

    The draws of a query depend on the seed and on the query alone, so adding samples or reordering them changes none.
    More draws extend fewer.

    Parameters
    ----------
    sample_seconds
        T, duration of the sample in seconds.
    duration
        W, known duration of the event in seconds.

    Raises
    ------
    ValueError
        If the event is longer than the sample.
    """
    if duration > sample_seconds:
        raise ValueError(f"sample {sample_id}: an event of {duration} s in {sample_seconds} s of audio")
    digest = hashlib.sha256(f"{sample_id}/{position}".encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
    return (rng.random(n_draws) * (sample_seconds - duration)).round(6)
