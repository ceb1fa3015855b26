"""How far effects of steering carry: to other data, beside another direction, until text breaks, along answers."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from wheretolisten.config.effects import DECAYED, UNSTEERED
from wheretolisten.statistics.comparison import flip_signs
from wheretolisten.statistics.effects import chosen_settings
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
    "highest",
    "breaks",
    "breaks_low",
    "breaks_high",
    "strength_before",
    "margin_before",
    "margin_before_low",
    "margin_before_high",
)
"""`breaks`: the lowest strength that was tried of those from which on generated answers are more surprising, or repeat
themselves more, than un-steered ones by more than the limits of the study; empty where text does not break up to the
`highest`. low and high: the same of the upper and of the lower ends of the 95 % intervals of these excesses, so that
text surely breaks from `breaks_high` on, and may from `breaks_low` on. before: the strength below, and the change of
the margin there."""


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


TRANSFER = (
    "arm",
    "built",
    "measured",
    "layers",
    "strength",
    "layers_home",
    "strength_home",
    "there",
    "there_low",
    "there_high",
    "home",
    "home_low",
    "home_high",
    "share",
    "share_low",
    "share_high",
    "p",
    "n_items",
)
"""`there`: change of the margin of the axis that is measured under the direction that is built along another one, at
the setting that was chosen for it, with p by sign flips; `home`: under the same arm's direction of the measured axis,
at its own; share: there divided by home, with 95 % interval, where the interval of home does not hold 0."""


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


def transfer(found: pd.DataFrame) -> pd.DataFrame:
    """What the directions of one axis do on pairs of the others, with the columns `TRANSFER`.

    The interval of the share is that of its linearised ratio: of the mean of (there − share · home) / mean home.

    Parameters
    ----------
    found
        What `steer_texts` wrote of one study and model.
    """
    margins = found[(found["split"] == "report") & (found["measure"] == "margin")]
    base = {axis: rows.set_index("item") for axis, rows in margins[margins["arm"] == UNSTEERED].groupby("measured")}
    chosen, changes = chosen_settings(found), {}
    for (axis, arm), setting in chosen.items():
        here = margins[(margins["axis"] == axis) & (margins["arm"] == arm)]
        here = here[(here["layers"] == setting[0]) & (here["strength"] == setting[1])]
        for measured, rows in here.groupby("measured"):
            changes[axis, arm, measured] = rows.set_index("item")["value"] - base[measured]["value"]
    rows = []
    for (axis, arm, measured), there in changes.items():
        home = changes.get((measured, arm, measured))
        if axis == measured or home is None:
            continue
        of_items = base[measured]
        dependence = Dependence(of_items.index.to_numpy(), of_items["source"].to_numpy())
        both = estimate(np.stack([there, home]), dependence)
        low, high = both.interval()
        share = both.mean[0] / both.mean[1]
        linearised = estimate(((there - share * home) / both.mean[1]).to_numpy()[None], dependence).interval()
        shares = [share, share + linearised[0][0], share + linearised[1][0]]
        row = [arm, axis, measured, *chosen[axis, arm], *chosen[measured, arm]]
        row += [each[number] for number in (0, 1) for each in (both.mean, low, high)]
        row += shares if low[1] * high[1] > 0 else [np.nan] * 3
        rows.append([*row, flip_signs(there.to_numpy()[None], dependence)[0], len(of_items)])
    return pd.DataFrame(rows, columns=TRANSFER)


def breaking(table: pd.DataFrame, limits: Mapping[str, float]) -> pd.DataFrame:
    """From which strength on text breaks, of every arm whose answers are there at every strength.

    Parameters
    ----------
    table
        What `statistics.effects.summarize` makes of one study and model.
    limits
        Measure of generated answers → the excess over un-steered ones that counts as broken.

    Returns
    -------
    pd.DataFrame
        The columns `BREAKING`. A strength at which no answer has a character counts as broken.
    """
    rows = []
    for (axis, arm, layers), here in table[table["layers"] != ""].groupby(["axis", "arm", "layers"], sort=False):
        own = here[here["measured"] == axis]
        by_measure = {measure: of_one.set_index("strength").sort_index() for measure, of_one in own.groupby("measure")}
        margins, answered = by_measure["margin"], by_measure.get("words", own[:0])
        if not set(margins.index) <= set(answered.index):
            continue
        ends = []
        for end in ("difference", "difference_high", "difference_low"):
            broken = np.zeros(len(margins), bool)
            for measure, limit in limits.items():
                excess = by_measure[measure].reindex(margins.index)
                # Answers of one source alone have no interval.
                broken |= ~(excess[end].fillna(excess["difference"]).to_numpy() <= limit)
            ends.append(_from_where_on(margins.index, broken))
        tried = margins.index.to_numpy()
        below = tried[tried < ends[0]] if np.isfinite(ends[0]) else tried
        row = [axis, arm, layers, tried[-1], *ends, below[-1] if len(below) else np.nan]
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


def _from_where_on(strengths: pd.Index, broken: np.ndarray) -> float:
    """The lowest strength from which on, at all higher ones too, text is broken; NaN if there is none."""
    n_from_there = int(np.logical_and.accumulate(broken[::-1]).sum())
    return float(strengths[len(strengths) - n_from_there]) if n_from_there else np.nan
