"""What arms do to answers, held against the un-steered model: means, differences of the same items, and tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten.config.effects import COLUMNS as FOUND
from wheretolisten.config.effects import DECAYED, UNSTEERED
from wheretolisten.statistics.comparison import flip_signs, holm
from wheretolisten.statistics.intervals import Dependence, estimate

COLUMNS = (
    "axis",
    "arm",
    "layers",
    "strength",
    "chosen",
    "measure",
    "measured",
    "value",
    "ci_low",
    "ci_high",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "n_items",
)
"""`axis` is steered along, `measured` that of the items; `chosen`: 1 for the setting that was chosen on other pairs.
`difference`, its 95 % interval and p are against the un-steered model on the same items, p by sign flips of items;
p_holm is corrected over the arms of an axis, at their chosen settings, on the margins of the axis that they are about,
of each by itself where they are about several."""

SHARES = ("guardrail", "kept", "refused", "first_word")
"""Measures of which an item has 0 or 1."""


def read_found(path: str | Path) -> pd.DataFrame:
    """What `steer_texts` or `unlearn_facts` wrote, names and blocks as text."""
    words = [column for column in FOUND if column not in ("strength", "value")]
    return pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(words, str))


def summarize(found: pd.DataFrame) -> pd.DataFrame:
    """All settings of all arms, with the columns `COLUMNS`.

    Parameters
    ----------
    found
        What `steer_texts` wrote of one study and model.
    """
    reported = found[(found["split"] == "report") & ~found["measure"].isin(("relative_length", *DECAYED))]
    chosen = chosen_settings(found)
    base = reported[reported["arm"] == UNSTEERED]
    rows = []
    for (axis, arm, layers, strength, measure, measured), values in reported.groupby(
        ["axis", "arm", "layers", "strength", "measure", "measured"], sort=False
    ):
        values = values.set_index("item")
        dependence = Dependence(values.index.to_numpy(), values["source"].to_numpy())
        mean = estimate(values["value"].to_numpy()[None], dependence)
        low, high = mean.share_interval() if measure in SHARES else mean.interval()
        before = base[(base["measure"] == measure) & (base["measured"] == measured)].set_index("item")["value"]
        # An answer may be empty on one side.
        differences = (values["value"] - before.reindex(values.index)).to_numpy()[None]
        compared = arm != UNSTEERED and np.isfinite(differences).any()
        change = estimate(differences, dependence) if compared else None
        row = [axis, arm, layers, strength, int(chosen.get((axis, arm), ("", 0.0)) == (layers, strength))]
        row += [measure, measured, mean.mean[0], low[0], high[0]]
        row += [change.mean[0], *(end[0] for end in change.interval())] if compared else [np.nan] * 3
        row += [flip_signs(differences, dependence)[0] if compared else np.nan, np.nan, int(mean.n_queries[0])]
        rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS)
    margins = table[(table["measure"] == "margin") & (table["chosen"] == 1) & (table["arm"] != UNSTEERED)]
    for (axis, measured), family in margins.groupby(["axis", "measured"], sort=False):
        if measured in _own_axes(table, axis):
            table.loc[family.index, "p_holm"] = holm(family["p"].to_numpy(float))
    return table


def _own_axes(table: pd.DataFrame, axis: str) -> list[str]:
    """Axes that arms along an axis are about: that one, and others of whose questions answers in words are there.

    An edit that takes facts back is about facts to keep, too. The un-steered model is about all axes.
    """
    here = table[(table["axis"] == axis) & (table["measured"] != "")]
    answered = here if axis == "" else here[(here["measure"] == "words") | (here["measured"] == axis)]
    return list(dict.fromkeys(answered["measured"]))


def chosen_settings(found: pd.DataFrame) -> dict[tuple[str, str], tuple[str, float]]:
    """Axis, arm → blocks and strength that were chosen; nothing for arms that add nothing."""
    rows = found[found["measure"] == "chosen"]
    return {(row.axis, row.arm): (row.layers, row.value) for row in rows.itertuples()}


OVERVIEW = (
    "axis",
    "arm",
    "layers",
    "strength",
    "margin",
    "margin_low",
    "margin_high",
    "p_holm",
    "other_axes",
    "option_margin",
    "letter_margin",
    "token_mass",
    "kept_pct",
    "kept_low",
    "kept_high",
    "divergence",
    "guardrail_pct",
    "surprise",
    "words",
    "agreement_pct",
    "relative_length",
    "first_word_pct",
    "lag",
    "perceived",
)
"""One row per arm at its chosen setting and axis that it is about, of whose items all is (divergence and guardrail of
none). margin and its interval, option_margin, letter_margin, token_mass: change against the un-steered model;
other_axes: the largest change of the margin of an axis that the arm is not about, by absolute value. kept_pct, its
interval, guardrail_pct: in percent; surprise and words: of generated answers. first_word_pct, and lag and
perceived in steps: of models that are interrupted."""


def overview(found: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """What most people want to see, with the columns `OVERVIEW`; `table` is what `summarize` makes of `found`."""
    rows = []
    for axis, arm in dict.fromkeys(zip(table["axis"], table["arm"], strict=True)):
        here = table[(table["axis"] == axis) & (table["arm"] == arm)]
        here = here[here["chosen"] == 1] if arm != UNSTEERED else here
        own_axes = _own_axes(table, axis)
        about = found[(found["axis"] == axis) & (found["arm"] == arm)]
        for own in own_axes:
            rows.append(_row(own, arm, here[~here["measured"].isin(set(own_axes) - {own})], about))
    return pd.DataFrame(rows, columns=OVERVIEW)


def _row(axis: str, arm: str, here: pd.DataFrame, about: pd.DataFrame) -> list[object]:
    def of(measure: str, column: str, measured: Iterable[str] = ("",)) -> float:
        rows = here[(here["measure"] == measure) & here["measured"].isin(list(measured))]
        return float(rows[column].iloc[0]) if len(rows) else np.nan

    others = here[(here["measure"] == "margin") & (here["measured"] != axis)]["difference"].dropna()
    spread = float(others.loc[others.abs().idxmax()]) if len(others) else np.nan
    setting = here[["layers", "strength"]].iloc[0]
    about = about[about["layers"] == setting["layers"]]
    agreement = about[about["measure"] == "agreement"]["value"]
    relative = about[(about["measure"] == "relative_length") & (about["strength"] == setting["strength"])]["value"]
    own = (axis,)
    return [
        axis,
        arm,
        setting["layers"],
        setting["strength"] if setting["layers"] else np.nan,
        of("margin", "difference", own),
        of("margin", "difference_low", own),
        of("margin", "difference_high", own),
        of("margin", "p_holm", own),
        spread,
        of("option_margin", "difference", own),
        of("letter_margin", "difference", own),
        of("token_mass", "difference", own),
        *(100 * of("kept", column, own) for column in ("value", "ci_low", "ci_high")),
        of("divergence", "value"),
        100 * of("guardrail", "value"),
        of("surprise", "value", own),
        of("words", "value", own),
        100 * float(agreement.iloc[0]) if len(agreement) else np.nan,
        float(relative.iloc[0]) if len(relative) else np.nan,
        100 * of("first_word", "value", own),
        of("lag", "value", own),
        of("perceived", "value", own),
    ]
