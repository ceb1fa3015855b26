"""Right answers of several methods to the same items: accuracy, differences, and what a signal says of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from wheretolisten.statistics.comparison import flip_signs, holm
from wheretolisten.statistics.intervals import Dependence, estimate

COLUMNS = (
    "method",
    "accuracy_pct",
    "ci_low",
    "ci_high",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "gained",
    "lost",
    "n_items",
)
"""Percent and percentage points. `difference`, its 95 % interval and p are against the unsteered answers to the same
items, p by sign flips of recordings (on items about different recordings this is McNemar's test), p_holm corrected
over the methods; `gained` items are right under the method alone, `lost` ones without it alone."""


def compare_accuracy(correct: Mapping[str, np.ndarray], reference: str, dependence: Dependence) -> pd.DataFrame:
    """Accuracy of every method, and its difference to a reference, with the columns `COLUMNS`.

    Parameters
    ----------
    correct
        Method → whether each answer is right, [item]; or shares of it, where an item is asked several times.
    reference
        Method that the others are held against.
    dependence
        Which items depend on each other.
    """
    names = list(correct)
    values = 100 * np.array([np.asarray(correct[name], float) for name in names])
    found = estimate(values / 100, dependence)
    low, high = found.share_interval()
    differences = values - values[names.index(reference)]
    change = estimate(differences, dependence)
    lowest, highest = (np.clip(end, -100, 100) for end in change.interval())
    others = np.array([name != reference for name in names])
    p = np.full(len(names), np.nan)
    p[others] = flip_signs(differences[others], dependence)
    table = pd.DataFrame(
        {
            "method": names,
            "accuracy_pct": 100 * found.mean,
            "ci_low": 100 * low,
            "ci_high": 100 * high,
            "difference": change.mean,
            "difference_low": lowest,
            "difference_high": highest,
            "p": p,
            "p_holm": holm(p),
            "gained": (differences > 0).sum(axis=1),
            "lost": (differences < 0).sum(axis=1),
            "n_items": found.n_queries,
        }
    )
    table.loc[~others, ["difference", "difference_low", "difference_high"]] = np.nan
    return table[list(COLUMNS)]


def accuracy_by(
    correct: Mapping[str, np.ndarray], groups: Sequence[Sequence[str]], dependence: Dependence
) -> pd.DataFrame:
    """Accuracy of every method in groups of items: the columns group, method, accuracy_pct, ci_low, ci_high, n_items.

    Parameters
    ----------
    groups
        Groups of each item, [item]: none, one or several (MMAU gives a category, none, or a list).
    """
    names = list(dict.fromkeys(group for of_item in groups for group in of_item))
    parts = []
    for group in sorted(names):
        inside = np.where([group in of_item for of_item in groups], 1.0, np.nan)
        found = estimate(np.array([np.asarray(each, float) for each in correct.values()]) * inside, dependence)
        low, high = found.share_interval()
        numbers = {"accuracy_pct": 100 * found.mean, "ci_low": 100 * low, "ci_high": 100 * high}
        parts.append(pd.DataFrame({"group": group, "method": list(correct)} | numbers | {"n_items": found.n_queries}))
    columns = ["group", "method", "accuracy_pct", "ci_low", "ci_high", "n_items"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def auc(
    signal: np.ndarray, correct: np.ndarray, dependence: Dependence, kinds: Sequence[object] | None = None
) -> tuple[float, float, float]:
    """How often a signal is higher for a right answer than for a wrong one: area under the ROC curve, and its interval.

    Ties count half. The area is the mean of one term per item, its placement among the answers of the other kind
    (DeLong et al. 1988), so that the interval knows items that share a source as intervals of means do (Obuchowski
    1997).

    Parameters
    ----------
    signal
        [item].
    correct
        Whether the answer is right, [item].
    kinds
        Kind of each item, [item]: only items of one kind are compared, and pairs of all kinds weigh alike. A signal
        that tells easy kinds of questions from hard ones says nothing then. None: all are of one kind.

    Returns
    -------
    area, low, high
        From 0 to 1, 0.5 by chance; NaN where no right answer has a wrong one to be compared with.
    """
    signal, correct = np.asarray(signal, float), np.asarray(correct, bool)
    # As numbers, because tuples would become rows of an array.
    known = {kind: number for number, kind in enumerate(dict.fromkeys(kinds or [None]))}
    kind = np.array([known[each] for each in (kinds or [None] * len(signal))], dtype=int)
    # Terms whose mean is the area, and whose variance is that of its estimate: right and wrong answers weigh alike.
    n_pairs, area, terms = 0, 0.0, np.zeros(len(signal))
    for number in known.values():
        right, wrong = correct & (kind == number), ~correct & (kind == number)
        n_right, n_wrong = int(right.sum()), int(wrong.sum())
        if n_right and n_wrong:
            inside = right | wrong
            ranks = np.zeros(len(signal))
            ranks[inside] = rankdata(signal[inside])
            placed = (ranks[right] - rankdata(signal[right])) / n_wrong
            of_wrong = 1 - (ranks[wrong] - rankdata(signal[wrong])) / n_right
            area += placed.mean() * n_right * n_wrong
            terms[right] = (placed - placed.mean()) * n_wrong * len(signal)
            terms[wrong] = (of_wrong - placed.mean()) * n_right * len(signal)
            n_pairs += n_right * n_wrong
    if not n_pairs:
        return np.nan, np.nan, np.nan
    area /= n_pairs
    low, high = estimate((area + terms / n_pairs)[None], dependence).share_interval()
    return float(area), float(low[0]), float(high[0])


def best_setting(accuracy: np.ndarray) -> int:
    """The setting with the highest mean over calibration items, [setting, item]; of equals the first.

    Nothing else is handed over, so that no reported item can have a part in the choice. Settings come in the order in
    which they change the model more and more: where they are as good, the mildest is taken.
    """
    return int(np.argmax(np.asarray(accuracy, float).mean(axis=1)))
