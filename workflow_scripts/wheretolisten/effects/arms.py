"""An arm of a study: built on some pairs, its blocks and strength chosen on others, measured on the rest."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from wheretolisten.config.effects import UNSTEERED, Arm, Effects
from wheretolisten.config.layers import Layers, select_layers
from wheretolisten.directions.builders import agreement
from wheretolisten.directions.vectors import norms
from wheretolisten.effects import poles
from wheretolisten.effects.measuring import NOBODY, Meter, Row, Steered, tabulated
from wheretolisten.effects.pairs import BUILD, CHOOSE, REPORT, Pair
from wheretolisten.errors import UserError

_log = logging.getLogger(__name__)

_WRONG = 0.01
"""How improbable it must be that a direction which tells nothing agrees with so few pairs."""

Tried = TypeVar("Tried")

Unit = tuple[str, str]
"""Axis that is steered along, and arm; the un-steered model has no axis."""

Sides = Mapping[str, Mapping[str, Sequence[Pair]]]
"""Axis → side → pairs, as `pairs.split` has them."""


def units_of(effects: Effects) -> list[Unit]:
    """What is measured one after the other: the un-steered model, then every arm along every axis."""
    arms = effects.arms.items()
    return [
        ("", UNSTEERED),
        *((axis, name) for axis in effects.axes for name, arm in arms if axis in (arm.along or effects.axes)),
    ]


class Study:
    """All arms of a study on one model.

    Parameters
    ----------
    meter
        Measures on the model.
    effects
        The study.
    sides
        Its pairs.
    """

    def __init__(self, meter: Meter, effects: Effects, sides: Sides) -> None:
        self._meter, self._effects, self._sides = meter, effects, sides
        self._poles: dict[str, poles.Poles] = {}

    def measure(self, unit: Unit) -> pd.DataFrame:
        """All that is measured of an arm, one value per row.

        Returns
        -------
        pd.DataFrame
            The columns `config.effects.COLUMNS`.

        Raises
        ------
        UserError
            If a direction points the wrong way on pairs that it was not built of.
        """
        axis, name = unit
        settings = self._unsteered() if name == UNSTEERED else self._of_arm(axis, name, self._effects.arms[name])
        return tabulated(axis, name, settings)

    def _unsteered(self) -> Iterator[tuple[str, str, float, list[Row]]]:
        yield CHOOSE, "", 0.0, self._margins(CHOOSE, NOBODY)
        rows = [*self._margins(REPORT, NOBODY), *self._meter.guardrail(NOBODY)]
        for axis in self._effects.axes:
            rows += self._of_axis(axis, NOBODY)
        yield REPORT, "", 0.0, rows

    def _margins(self, side: str, steered: Steered) -> list[Row]:
        """On the pairs of all axes, whichever of them is steered along."""
        return [row for sides in self._sides.values() for row in self._meter.margins(sides[side], steered)]

    def _of_axis(self, axis: str, steered: Steered) -> list[Row]:
        reported, build = self._sides[axis][REPORT], self._sides[axis][BUILD]
        rows = self._meter.generated(reported, self._effects.axes[axis], steered)
        if self._effects.options:
            rows += self._meter.options(reported, steered)
        if self._effects.decay is not None:
            rows += self._meter.decay(axis, steered, self._meter.own_tokens(build))
        if self._effects.token_mass:
            rows += self._meter.token_mass(reported, steered, self._meter.own_tokens(build))
        return rows

    def _of_arm(self, axis: str, name: str, arm: Arm) -> Iterator[tuple[str, Layers, float, list[Row]]]:
        instruction = self._effects.axes[axis].positive[0] if arm.instructed else None
        if arm.build is None:
            yield REPORT, "", 0.0, self._report(axis, Steered(None, None, instruction))
            return
        direction = own = self._direction(axis, name)
        if arm.plus is not None:
            second = self._direction(arm.plus.axis, arm.plus.arm)
            direction = poles.Direction(own.vectors + second.vectors, None)
        held_out = self._poles_of(axis, arm, CHOOSE)
        # A second direction need not tell these pairs apart.
        agreed = agreement(own.vectors, held_out.positive, held_out.negative)
        # As long as the states at the site are: what λ means where directions differ in length.
        relative = norms(direction.vectors) / norms(self._poles_of(axis, arm, BUILD).positive).mean(axis=0)

        def steered(layers: Layers, strength: float) -> Steered:
            steering = arm.steering.model_copy(update={"layers": layers, "scale": strength})
            return Steered(direction, steering, instruction)

        tried: dict[tuple[str, float], tuple[float, float]] = {}

        def tune(layers: Layers, strength: float) -> Iterator[tuple[str, Layers, float, list[Row]]]:
            if (str(layers), strength) in tried:
                return
            margins = self._meter.margins(self._sides[axis][CHOOSE], steered(layers, strength))
            rows = [*margins, *self._meter.divergence(steered(layers, strength))]
            moved = [row.value for row in rows if row.measure == "divergence"]
            tried[str(layers), strength] = np.mean([row.value for row in margins]), np.mean(moved) if moved else 0.0
            yield CHOOSE, layers, strength, rows

        strengths = arm.strengths or self._effects.strengths
        candidates = [arm.layers] if arm.layers is not None else self._effects.layers
        middle = strengths[len(strengths) // 2]
        for layers in candidates:
            yield from tune(layers, middle)
        by_name = {str(each): each for each in candidates}
        layers = by_name[best_within({name: tried[name, middle] for name in by_name}, self._effects.limit)]
        for strength in strengths:
            yield from tune(layers, strength)
        strength = best_within({each: tried[str(layers), each] for each in strengths}, self._effects.limit)
        # A support may leave some of the steered blocks alone.
        changed = [block for block in select_layers(layers, len(agreed)) if relative[block] > 0]
        agree = float(agreed[changed].mean()) if changed else 0.5
        self._check_sign(axis, name, arm, agree)
        _log.info(
            "%s along %s: blocks %s, strength %g; %.0f %% of pairs agree", name, axis, layers, strength, 100 * agree
        )
        about = [Row("chosen", "", "", strength), Row("agreement", "", "", agree)]
        if arm.plus is not None:
            both = norms(own.vectors[changed]) * norms(second.vectors[changed])
            cosine = (own.vectors[changed] * second.vectors[changed]).sum(axis=-1) / both
            about.append(Row("cosine", "", "", float(cosine.mean()), arm.plus.axis))
        yield CHOOSE, layers, strength, about
        for each in strengths:
            length = float(each * relative[changed].mean()) if changed else 0.0
            # What takes longest is measured where it counts, unless it is asked for.
            whole = each == strength or self._effects.every_strength
            found = self._report(axis, steered(layers, each)) if whole else self._curve(steered(layers, each))
            yield REPORT, layers, each, [*found, Row("relative_length", "", "", length)]

    def _direction(self, axis: str, name: str) -> poles.Direction:
        """An arm's own direction, without the one that is added to it."""
        arm, n_heads = self._effects.arms[name], self._meter.engine.adapter.text_config.num_attention_heads
        return poles.build(self._poles_of(axis, arm, BUILD), arm, f"{axis}/{name}", self._effects.seed, n_heads)

    def _check_sign(self, axis: str, name: str, arm: Arm, agree: float) -> None:
        if arm.steering.operator not in ("add", "set") or arm.control or (arm.support and arm.support.by == "random"):
            return
        check_sign(f"arm {name!r} along {axis!r}", agree, len(self._sides[axis][CHOOSE]))

    def _report(self, axis: str, steered: Steered) -> list[Row]:
        return [*self._curve(steered), *self._meter.guardrail(steered), *self._of_axis(axis, steered)]

    def _curve(self, steered: Steered) -> list[Row]:
        return [*self._margins(REPORT, steered), *self._meter.divergence(steered)]

    def _poles_of(self, axis: str, arm: Arm, side: str) -> poles.Poles:
        # Most arms are built of the same states.
        of_states = {"answers", "instructions", "tokens", "read"}
        fires = arm.build == "fired", arm.support is None
        key = f"{axis} {side} {arm.model_dump_json(include=of_states)} {arm.site} {fires}"
        if key not in self._poles:
            self._poles[key] = poles.collect(self._meter.engine, self._sides[axis][side], self._effects.axes[axis], arm)
        return self._poles[key]


def best_within(tried: Mapping[Tried, tuple[float, float]], limit: float) -> Tried:
    """The setting with the highest margin of those that leave the rest alone; if none does, the mildest.

    Parameters
    ----------
    tried
        Setting → its margin, and how far it diverges from the un-steered model, in nats.
    limit
        What is allowed of the latter.
    """
    allowed = [setting for setting, (_, moved) in tried.items() if moved <= limit]
    if allowed:
        return max(allowed, key=lambda setting: tried[setting][0])
    return min(tried, key=lambda setting: tried[setting][1])


def check_sign(where: str, agree: float, n_pairs: int) -> None:
    """Stop where a direction is turned round: a wrong sign has happened in published code.

    Parameters
    ----------
    where
        What it is, for a sentence that begins with it.
    agree
        Share of the pairs, which it was not built of, whose positive state lies further along it.
    n_pairs
        How many these are.

    Raises
    ------
    UserError
        If so few agree that chance hardly has it (one-sided binomial test, 1 %).
    """
    # Of noise, about half of the pairs agree.
    if binomtest(round(agree * n_pairs), n_pairs, alternative="less").pvalue < _WRONG:
        raise UserError(
            f"{where}: on pairs that its direction was not built of, it points the wrong way "
            f"({100 * agree:.0f} % of {n_pairs} agree); read other tokens or blocks, build it of more pairs, or "
            "take it out"
        )
    if agree <= 0.5:
        _log.warning("%s is no better than noise on pairs that it was not built of", where)
