"""How much attention goes to the audio, layer by layer and against the un-steered question (SWL Figure 1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from wheretolisten.config.layers import select_layers
from wheretolisten.statistics.intervals import clustered_interval

STATISTICS = ("mean", "ci_low", "ci_high", "difference", "difference_low", "difference_high", "n")
"""Columns that describe a group of items: mean share with its 95 % interval, mean difference to `original` with its
95 % interval, number of items."""


def summarize_by_layer(share: np.ndarray, conditions: Sequence[str], audio_ids: Sequence[str]) -> pd.DataFrame:
    """Mean share by condition and layer, with the columns condition, layer and `STATISTICS`.

    Differences are paired: every item's share minus the same item's under `original`. Items about
    one recording are alike, so intervals take recordings for independent, not items.

    Parameters
    ----------
    share
        P_l, [item, condition, layer], 0 to 1.
    conditions
        Names, [condition]; `original` is among them.
    audio_ids
        Recording of every item, [item].
    """
    original = share[:, conditions.index("original")]
    rows = [
        {"condition": name, "layer": layer} | _describe(share[:, index, layer], original[:, layer], audio_ids)
        for index, name in enumerate(conditions)
        for layer in range(share.shape[2])
    ]
    return pd.DataFrame(rows, columns=["condition", "layer", *STATISTICS])


def summarize_second_half(share: np.ndarray, conditions: Sequence[str], audio_ids: Sequence[str]) -> pd.DataFrame:
    """As `summarize_by_layer`, of the mean over layers L/2 … L−1: the columns condition and `STATISTICS`."""
    mean = share[..., select_layers("second_half", share.shape[2])].mean(axis=2)
    original = mean[:, conditions.index("original")]
    rows = [
        {"condition": name} | _describe(mean[:, index], original, audio_ids) for index, name in enumerate(conditions)
    ]
    return pd.DataFrame(rows, columns=["condition", *STATISTICS])


def _describe(values: np.ndarray, original: np.ndarray, audio_ids: Sequence[str]) -> dict[str, Any]:
    values, difference = values.astype(np.float64), values.astype(np.float64) - original
    numbers = [
        *(values.mean(), *clustered_interval(values, audio_ids)),
        *(difference.mean(), *clustered_interval(difference, audio_ids)),
        len(values),
    ]
    return dict(zip(STATISTICS, numbers, strict=True))
