"""How far effects of steering carry: whether two directions add up, from which strength on text breaks, how long."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from wheretolisten.config.effects import DECAYED, UNSTEERED
from wheretolisten.statistics.comparison import flip_signs
from wheretolisten.statistics.intervals import Dependence, estimate

ADDITIVITY = (
    "axis",
    "arm",
    "first_arm",
    "second_axis",
    "second_arm",
    "layers",
    "strength",
    "cosine",
    "measured",
    "first",
    "second",
    "both",
    "sum",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "divergence_first",
    "divergence_second",
    "divergence_both",
    "n_items",
)
"""`first`, `second`, `both`: change of the margin of the axis that is `measured` against the un-steered model, under
each direction alone and under both; difference: both minus their sum, with its 95 % interval and p by sign flips, on
the same items. cosine: of the two directions, mean over the steered blocks."""

BREAKING = (
    "axis",
    "arm",
    "layers",
    "breaks_at",
    "highest",
    "breaks",
    "breaks_low",
    "breaks_high",
    "strength_before",
    "margin_before",
    "margin_before_low",
    "margin_before_high",
)
"""`breaks`: the lowest strength that was tried of those from which on the surprise of generated answers exceeds the
un-steered one by more than `breaks_at`, nats per token; empty where text does not break up to the highest one. low and
high: the same of the upper and of the lower end of the 95 % interval of that excess, so that text surely breaks from
`breaks_high` on, and may from `breaks_low` on. before: the strength below, and the change of the margin there."""


DECAY = (
    "axis",
    "arm",
    "layers",
    "strength",
    "measure",
    "along",
    "token",
    "value",
    "ci_low",
    "ci_high",
    "n_texts",
)
"""Means over the texts that fill a bin, which starts at `token`, with 95 % interval over texts. drift: KL(un-steered ‖
steered), lean: change of the log-ratio of the probabilities of the poles' own words, nats per token each; `along` the
un-steered model's answers, or the arm's own."""


def additivity(found: pd.DataFrame, sums: Mapping[str, tuple[str, str, str]]) -> pd.DataFrame:
    """Arms that add two directions against what each does alone, with the columns `ADDITIVITY`.

    Parameters
    ----------
    found
        What `steer_texts` wrote of one study and model.
    sums
        Those arms → the arm that adds the first direction alone; axis and arm of the second one.
    """
    reported = found[(found["split"] == "report") & found["measure"].isin(("margin", "divergence"))]
    cosine = found[found["measure"] == "cosine"].set_index(["axis", "arm"])["value"]
    sources = reported.drop_duplicates("item").set_index("item")["source"]
    keys = ["axis", "arm", "layers", "strength", "measure", "measured"]
    values = {key: rows.set_index("item")["value"] for key, rows in reported.groupby(keys, sort=False)}
    rows = []
    for axis, arm, layers, strength, measure, measured in values:
        if arm not in sums or measure != "margin":
            continue
        alone, second_axis, second_arm = sums[arm]
        base = values["", UNSTEERED, "", 0.0, "margin", measured]
        three = [(axis, alone), (second_axis, second_arm), (axis, arm)]
        changes = [values[*unit, layers, strength, "margin", measured] - base for unit in three]
        moved = [values.get((*unit, layers, strength, "divergence", ""), pd.Series()).mean() for unit in three]
        first, second, both = (change.to_numpy() for change in changes)
        differences = (both - first - second)[None]
        dependence = Dependence(base.index.to_numpy(), sources[base.index].to_numpy())
        difference = estimate(differences, dependence)
        low, high = difference.interval()
        row = [axis, arm, alone, second_axis, second_arm, layers, strength, cosine[axis, arm], measured]
        row += [first.mean(), second.mean(), both.mean(), first.mean() + second.mean()]
        row += [difference.mean[0], low[0], high[0], flip_signs(differences, dependence)[0]]
        rows.append([*row, *moved, len(base)])
    return pd.DataFrame(rows, columns=ADDITIVITY)


def breaking(table: pd.DataFrame, breaks_at: float) -> pd.DataFrame:
    """From which strength on text breaks, of every arm whose answers are there at every strength.

    Parameters
    ----------
    table
        What `statistics.effects.summarize` makes of one study and model.
    breaks_at
        The excess of surprise that counts as broken, nats per token.

    Returns
    -------
    pd.DataFrame
        The columns `BREAKING`. A strength at which no answer has a word counts as broken.
    """
    rows = []
    for (axis, arm, layers), here in table[table["layers"] != ""].groupby(["axis", "arm", "layers"], sort=False):
        own = here[here["measured"] == axis]
        margins = own[own["measure"] == "margin"].set_index("strength").sort_index()
        said = own[own["measure"].isin(("surprise", "words"))].groupby("strength")["measure"].nunique()
        if not set(margins.index) <= set(said.index):
            continue
        surprise = own[own["measure"] == "surprise"].set_index("strength").reindex(margins.index)
        ends = [
            # Answers of one source alone have no interval.
            _from_where_on(surprise[end].fillna(surprise["difference"]), breaks_at)
            for end in ("difference", "difference_high", "difference_low")
        ]
        tried = margins.index.to_numpy()
        below = tried[tried < ends[0]] if np.isfinite(ends[0]) else tried
        row = [axis, arm, layers, breaks_at, tried[-1], *ends]
        row += [below[-1] if len(below) else np.nan]
        before = margins.loc[below[-1]] if len(below) else None
        row += [np.nan] * 3 if before is None else list(before[["difference", "difference_low", "difference_high"]])
        rows.append(row)
    return pd.DataFrame(rows, columns=BREAKING)


def decay(found: pd.DataFrame) -> pd.DataFrame:
    """What is left of steering along answers, by bins of tokens, with the columns `DECAY`.

    Parameters
    ----------
    found
        What `steer_texts` wrote of one study and model.
    """
    of_bins = found[found["measure"].isin(DECAYED)]
    rows = []
    for (axis, arm, layers, strength, measure, token), here in of_bins.groupby(
        ["axis", "arm", "layers", "strength", "measure", "token"], sort=False
    ):
        dependence = Dependence(here["item"].to_numpy(), here["source"].to_numpy())
        mean = estimate(here["value"].to_numpy()[None], dependence)
        low, high = mean.interval()
        rows.append([axis, arm, layers, strength, *DECAYED[measure], token, mean.mean[0], low[0], high[0], len(here)])
    return pd.DataFrame(rows, columns=DECAY)


def _from_where_on(excess: pd.Series, limit: float) -> float:
    """The lowest strength from which on, at all higher ones too, values exceed a limit; NaN counts as more, too."""
    broken = ~(excess.to_numpy() <= limit)
    n_from_there = int(np.logical_and.accumulate(broken[::-1]).sum())
    return float(excess.index[len(excess) - n_from_there]) if n_from_there else np.nan
