"""Studies of effects: what steering does to a text model's answers, and what else it does."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from wheretolisten.config.layers import Layers
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.config.sections import Section, UserPath, UserPaths, check_repetition, check_rising, check_word_or

UNSTEERED = "unsteered"
"""The arm that every study has: nothing added, nothing said before the question."""

COLUMNS = (
    *("axis", "arm", "split", "layers", "strength", "measure", "measured", "item", "source", "value", "text"),
    "token",
)
"""Columns of what is measured, one value per row. axis: that is steered along; split: choose or report; measured: the
axis of the item; token: the first one of the bin of decoded tokens that the value is of, from 0."""

DECAYED = {
    f"{measure}_{text}": (measure, text) for measure in ("drift", "lean") for text in ("unsteered_text", "own_text")
}
"""Measures that are taken by bins of tokens → what is measured, along which text."""


class Support(Section):
    """Coordinates of a site that an arm may change: those that tell the poles apart best, over all blocks together."""

    by: Literal["correlation", "probe", "firing", "cohens_d", "heads", "random"] = Field(
        description="correlation: Pearson, of the coordinate with the pole; probe: how far the best threshold on it is "
        "right above chance; firing: difference of the shares of tokens at which it is positive (NPTI); cohens_d: "
        "difference of means in pooled standard deviations; heads: whole attention heads, by how often the pole is "
        "told from what a head puts out (ITI); random: drawn, the control"
    )
    keep: float = Field(
        0.005,
        gt=0,
        le=1,
        description="share of the coordinates of all blocks that is kept, the highest in absolute value",
    )
    at_least: float = Field(0.0, ge=0, description="and whose absolute value is at least this")
    side: Literal["both", "positive", "negative"] = Field(
        "both", description="positive: coordinates that the positive pole raises; negative: the others"
    )


class First(Section):
    """The first tokens of an answer."""

    first: int = Field(ge=1, description="how many, their mean")


def _check_tokens(value: Any) -> Any:
    return check_word_or(value, ("prompt_last", "last", "mean"), First, "{first: 3}")


Tokens = Annotated[Literal["prompt_last", "last", "mean"] | First, BeforeValidator(_check_tokens)]


class Plus(Section):
    """A direction that is added beside an arm's own: that of another arm, along the same axis or another one."""

    axis: str = Field(description="axis that it is built along")
    arm: str = Field(description="arm that it is built as, at the same blocks and strengths; a control is one, too")


class Arm(Section):
    """A row of the tables: a direction that is added, an instruction that is given, or both."""

    build: Literal["mean", "pca", "probe", "svd", "mean_unpaired", "fired"] | None = Field(
        "mean",
        description="how poles become a direction. mean: mean of the pairs' differences; mean_unpaired: mean at "
        "the positive pole of half of the pairs minus mean at the negative pole of the others; pca: first component of "
        "the states centred pair by pair (RepE); probe: normal of a logistic regression; svd: the pairs' "
        "differences within their first components, uncentred; fired: 95th percentile of a coordinate at the positive "
        "pole, weighed by how much more often it fires there (NPTI). null: nothing is added",
    )
    rank: int = Field(1, ge=1, description="components of svd")
    answers: bool = Field(True, description="poles have the pairs' positive and negative answers")
    instructions: bool = Field(False, description="poles have the axis's opposing instructions before the question")
    tokens: Tokens = Field(
        "mean",
        description="where states are read: prompt_last, the prompt's last token; last token, mean over all, or mean "
        "over the first tokens of the answer",
    )
    read: Literal["block", "attention", "mlp", "heads", "gates", "neurons"] | None = Field(
        None, description="site that states are read at; null: where they are steered"
    )
    support: Support | None = Field(None, description="coordinates that may change; null: all")
    features: UserPath | None = Field(
        None,
        description="sparse autoencoder (safetensors: W_enc, W_dec, b_enc, b_dec) of the one block in layers: poles "
        "are told apart, and a support is chosen, in its features; what they change is decoded and added",
    )
    length: Literal["none", "unit", "positive", "deviation"] = Field(
        "none",
        description="each block's vector, as it is; of length 1; as long as the mean state of the positive pole "
        "(PaLRS); or as the standard deviation of the states along it (ITI)",
    )
    control: Literal["random", "shuffled"] | None = Field(
        None,
        description="random: a random direction of the same length in each block and in the same support; shuffled: "
        "the same built with half of the pairs' poles exchanged, brought to the length it had with none",
    )
    plus: Plus | None = Field(
        None,
        description="a second direction, of another arm, that is added together with its own; an arm that is the same "
        "without it has to be there, and additivity.csv says whether both do what each does alone",
    )
    along: list[str] | None = Field(None, min_length=1, description="axes that it is steered along; null: all")
    instructed: bool = Field(False, description="whether the axis's positive instruction stands before the question")
    steering: Steering = Field(
        Steering(), description="how it is added; its scale and its layers are what the study tries"
    )
    layers: Layers | None = Field(None, description="steered blocks, not chosen; null: chosen among the study's")
    strengths: list[Annotated[float, Field(gt=0)]] | None = Field(
        None, min_length=1, description="tried in place of the study's"
    )

    @model_validator(mode="after")
    def _check_arm(self) -> "Arm":
        for key, instead in (("scale", "strengths"), ("layers", "layers")):
            if getattr(self.steering, key) != getattr(Steering(), key):
                raise ValueError(f"steering.{key}: what is tried stands beside steering; write {instead}")
        if self.build is None:
            if not self.instructed:
                raise ValueError("an arm adds a direction (build) or gives an instruction (instructed: true), or both")
            return self
        if not (self.answers or self.instructions):
            raise ValueError("poles differ in their answers, their instructions, or both; set one of the two to true")
        if self.tokens != "prompt_last" and not self.answers:
            raise ValueError("tokens: without answers there is only the prompt to read; set tokens: prompt_last")
        if self.tokens == "prompt_last" and not self.instructions:
            raise ValueError(
                "tokens: before an answer begins, poles with the same prompt are the same; set instructions: true, or "
                "tokens: mean"
            )
        if self.build == "fired" and self.site not in ("gates", "neurons"):
            raise ValueError("build: fired is about units that fire or do not; set steering.site: gates")
        if self.support is not None and self.support.by == "heads" and self.site != "heads":
            raise ValueError("support.by: heads are those of steering.site: heads; set that, or choose otherwise")
        if self.steering.operator == "cap" and self.support is None:
            raise ValueError("steering.operator: cap is about the coordinates of a support; name one")
        if self.features is not None and not (isinstance(self.layers, list) and len(self.layers) == 1):
            raise ValueError("features: an autoencoder is of one block; name it, as in layers: [12]")
        if self.features is not None and (self.build == "fired" or self.steering.operator == "cap"):
            raise ValueError("features: their changes are decoded and added; take operator: cap, or build: fired, out")
        if self.site != self.steering.site and {self.site, self.steering.site} & {"heads", "gates", "neurons"}:
            raise ValueError(
                f"read: states of {self.site} are no vectors for {self.steering.site}; read them where they are steered"
            )
        return self

    @property
    def site(self) -> str:
        """Where its states are read."""
        return self.read or self.steering.site


class Check(Section):
    """A rule that a generated answer keeps or not; of several, all are checked."""

    words_at_most: int | None = Field(None, ge=1, description="words of the answer")
    language: str | None = Field(None, pattern="[a-z]{2}", description="two-letter code of the language it is in")
    words: UserPath | None = Field(
        None,
        description="table with the columns pole (positive, negative) and word: more of the former than of the latter",
    )

    @model_validator(mode="after")
    def _check_any(self) -> "Check":
        if not self.model_fields_set:
            raise ValueError("there is no rule; write words_at_most, language or words")
        return self


class Axis(Section):
    """What a pair's two answers differ in, said as opposing instructions, and how an answer is checked."""

    positive: list[str] = Field(
        min_length=1, description="instructions for the first pole; the first one is that of arms that are instructed"
    )
    negative: list[str] = Field(min_length=1, description="for the other, one for each")
    check: Check | None = Field(None, description="what a generated answer of the first pole keeps")

    @model_validator(mode="after")
    def _check_pairs(self) -> "Axis":
        if len(self.positive) != len(self.negative):
            raise ValueError(
                f"{len(self.positive)} positive and {len(self.negative)} negative instructions; they are pairs"
            )
        return self


class Decay(Section):
    """How long steering lasts along answers, by bins of decoded tokens."""

    prompts: UserPath = Field(description="table with the column prompt: what is answered at length")
    n_prompts: int = Field(8, ge=1, description="of them")
    max_new_tokens: int = Field(200, ge=1, description="tokens of an answer, at most")
    bin: int = Field(25, ge=1, description="tokens of a bin; one that a text does not fill is left out")

    @model_validator(mode="after")
    def _check_bin(self) -> "Decay":
        if self.bin > self.max_new_tokens:
            raise ValueError(
                f"bin: no answer of at most {self.max_new_tokens} tokens fills {self.bin}; lower it, or raise "
                "max_new_tokens"
            )
        return self


class Effects(Section):
    """How arms are built, chosen and measured (docs/studies/README.md)."""

    axes: dict[str, Axis] = Field(
        default_factory=dict, description="axes of the examples that are steered along, each measured on all of them"
    )
    arms: dict[str, Arm] = Field(default_factory=dict, description="rows of the tables; unsteered is always there")
    n_build: int = Field(48, ge=2, description="pairs of an axis that directions are built of, at most")
    n_choose: int = Field(24, ge=2, description="pairs of an axis that blocks and strengths are chosen on, at most")
    n_report: int = Field(
        60,
        ge=2,
        description="pairs of an axis that are reported, at most; sources are shared out among the three in these "
        "proportions, so that no two share one",
    )
    layers: list[Layers] = Field(
        ["27%-60%"], min_length=1, description="blocks that are tried, all at the middle strength"
    )
    strengths: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 1.0, 2.0], min_length=1, description="λ that are tried at the chosen blocks, and reported, rising"
    )
    limit: float = Field(
        0.5,
        gt=0,
        description="nats: a setting that diverges further from the un-steered model on neutral prompts is not chosen",
    )
    every_strength: bool = Field(
        False,
        description="whether answers are generated, and the guardrail is asked, at every strength, not only at the "
        "chosen one; breaking.csv then says from which strength on text breaks",
    )
    breaks_at: float = Field(
        1.0,
        gt=0,
        description="nats per token by which the surprise of generated answers exceeds that of un-steered ones where "
        "text counts as broken",
    )
    repeats_at: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="and the share of an answer that repeats itself, by runs of five characters: loops surprise nobody",
    )
    per_token: bool = Field(True, description="answers are compared by the mean over their tokens, not by the sum")
    options: bool = Field(
        False,
        description="whether both answers of the steered axis are shown as lettered options, too, in each order and "
        "with each letter",
    )
    token_mass: int = Field(
        0, ge=0, description="first steps at which the probability of the poles' own words is compared; 0: none"
    )
    n_generated: int = Field(12, ge=0, description="reported pairs whose questions are answered in words")
    max_new_tokens: int = Field(32, ge=1, description="tokens of such an answer, at most")
    decay: Decay | None = Field(
        None, description="long answers along which the effect is followed, token by token, at the chosen setting"
    )
    neutral: UserPath | None = Field(None, description="table with the column prompt: what steering should leave alone")
    n_neutral: int = Field(16, ge=1, description="of them")
    guardrail: UserPath | None = Field(
        None, description="table with the columns question, answer, wrong_1 …: what should be answered as before"
    )
    n_guardrail: int = Field(40, ge=1, description="of them")
    seed: int = Field(0, ge=0, description="of the split, of random directions and supports")

    @model_validator(mode="after")
    def _check_fields(self) -> "Effects":
        if UNSTEERED in self.arms:
            raise ValueError(f"arms: {UNSTEERED} is always there; give yours another name")
        for name, arm in self.arms.items():
            check_rising(arm.strengths or self.strengths, f"strengths (of {name})")
            for axis in arm.along or ():
                if axis not in self.axes:
                    raise ValueError(
                        f"arms.{name}.along: there is no axis {axis!r}; name one of {', '.join(self.axes)}"
                    )
        check_repetition([str(layers) for layers in self.layers], "layers")
        return self

    @model_validator(mode="after")
    def _check_sums(self) -> "Effects":
        for name, arm in self.arms.items():
            if arm.plus is None:
                continue
            where, other = f"arms.{name}.plus", self.arms.get(arm.plus.arm)
            if arm.plus.axis not in self.axes:
                raise ValueError(f"{where}: there is no axis {arm.plus.axis!r}; name one of {', '.join(self.axes)}")
            if other is None or other.build is None or other.plus is not None:
                raise ValueError(f"{where}: {arm.plus.arm!r} is no arm that adds one direction; name one that does")
            if other.along is not None and arm.plus.axis not in other.along:
                raise ValueError(f"{where}: {arm.plus.arm!r} is not steered along {arm.plus.axis!r}; add it to along")
            if any(each.support or each.instructed or each.steering.operator != "add" for each in (arm, other)):
                raise ValueError(
                    f"{where}: only whole directions that are added have a sum; take support, instructed and operator "
                    "out of both arms"
                )
            if arm.build is None or arm.control is not None:
                raise ValueError(f"{where}: the control of a sum is a second direction that is one; name such an arm")
            same = arm.steering == other.steering and (arm.strengths or self.strengths) == (
                other.strengths or self.strengths
            )
            if arm.layers is None or arm.layers != other.layers or not same:
                raise ValueError(
                    f"{where}: effects add up at the same blocks and strengths; give both arms the same layers, "
                    "strengths and steering"
                )
            if self.alone(name) is None:
                raise ValueError(f"{where}: no arm is the same without plus; add it, as what the sum is compared with")
        return self

    def alone(self, name: str) -> str | None:
        """The arm that adds the first direction of a sum alone; None if there is none."""
        arm, left_out = self.arms[name], {"plus", "along"}
        for other, candidate in self.arms.items():
            reaches = candidate.along is None or set(arm.along or self.axes) <= set(candidate.along)
            if candidate.plus is None and reaches and _same(arm, candidate, left_out):
                return other
        return None

    @property
    def sums(self) -> dict[str, tuple[str, str, str]]:
        """Arms that add two directions → the arm that adds the first one alone; axis and arm of the second one."""
        return {name: (self.alone(name), arm.plus.axis, arm.plus.arm) for name, arm in self.arms.items() if arm.plus}

    @property
    def limits(self) -> dict[str, float]:
        """Measure of generated answers → by how much it exceeds that of un-steered ones where text is broken."""
        return {"surprise": self.breaks_at, "repeated": self.repeats_at}

    @property
    def files(self) -> dict[str, str]:
        """Files beside the pairs that results depend on, by their keys."""
        named = {"neutral": self.neutral, "guardrail": self.guardrail}
        named |= {"decay.prompts": self.decay.prompts if self.decay else None}
        named |= {f"axes.{name}.check.words": axis.check.words for name, axis in self.axes.items() if axis.check}
        named |= {f"arms.{name}.features": arm.features for name, arm in self.arms.items()}
        return {key: path for key, path in named.items() if path is not None}


def _same(one: Arm, other: Arm, left_out: set[str]) -> bool:
    return one.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)


class EffectSettings(Section):
    """All that the effects of a study on a model depend on, beside the files."""

    model: Model
    pairs: UserPaths = Field(description="tables of pairs")
    effects: Effects

    def as_json(self) -> str:
        """As of other sections, but axes and arms in the order of the configuration, which is that of the tables."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=True)
