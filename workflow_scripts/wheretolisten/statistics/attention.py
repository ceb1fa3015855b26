"""How steering moves the attention that text pays to audio."""

import numpy as np

from wheretolisten.localization.windows import attention_shares


def mean_share(attention: np.ndarray, layers: list[int]) -> np.ndarray:
    """Share of the attention to audio per token, averaged over blocks with equal weights, [..., audio_token].

    Parameters
    ----------
    attention
        [..., layer, audio_token], real audio tokens only.
    layers
        Blocks that are averaged.
    """
    return attention_shares(attention[..., layers, :]).mean(axis=-2)


def mean_attention_change(base: np.ndarray, steered: np.ndarray, layers: list[int]) -> tuple[np.ndarray, int]:
    """Mean change in the share of attention per audio token (the quantity of SWL Figure 2).

    Every sample's attention is normalised to sum 1 over its audio tokens in each block before it is averaged, so that
    the change sums to 0 and no sample weighs more than another.

    Parameters
    ----------
    base, steered
        [sample, layer, audio_token], real audio tokens only.
    layers
        Blocks that are averaged, with equal weights.

    Returns
    -------
    change
        Steered minus base, [audio_token], in percent of the attention to audio.
    n_samples
        Samples with finite attention above zero in every one of the blocks; the others are left out.
    """
    valid = np.ones(len(base), dtype=bool)
    for attention in (base, steered):
        totals = attention[:, layers].sum(axis=-1, dtype=np.float64)
        valid &= (np.isfinite(totals) & (totals > 0)).all(axis=-1)
    change = mean_share(steered[valid], layers) - mean_share(base[valid], layers)
    return 100 * change.mean(axis=0), int(valid.sum())
