"""Studies: examples × methods × readout; and sweeps, which are a study with one key changed, value by value."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, field_serializer, model_validator

from wheretolisten.config.directions import Direction
from wheretolisten.config.effects import Effects
from wheretolisten.config.interruption import Interruption
from wheretolisten.config.layers import select_layers
from wheretolisten.config.probe import Localization, Probe, Steering
from wheretolisten.config.prompts import ABOUT_EVENT, ABOUT_QUESTION, PAIRED, RECORDED, check_prompts
from wheretolisten.config.sections import Section, check_repetition, check_template, first_sentence
from wheretolisten.config.unlearning import Unlearning
from wheretolisten.errors import UserError

HEADS = "heads"
"""The one key that is none of the probe's: how many of the attention heads are read, the best ones first."""

EACH = "each"
"""Stands for every block of a model by itself, among the values of a key that names blocks."""

KEYS = (
    *(f"steering.{key}" for key in Steering.model_fields),
    "prompts.inference",
    "readout.text_rows",
    *(f"localization.{key}" for key in Localization.model_fields),
    HEADS,
)
"""What can be varied: keys of the configuration, and `heads`. The vectors are the study's own in all of them."""

AVERAGED = "averaged"
"""Value, in the results of `heads`, of the probe as it is: attention averaged over the heads of a block."""


def _check_names(names: Any) -> Any:
    """Refuse what is neither `all` nor a list of names, in one sentence instead of one per member of a union."""
    if names == "all":
        return names
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{names!r} is neither all nor a list of names, at least one")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is listed twice; keep one of them")
    return names


Score = Literal["choice", "per_token", "letter", "words"]
SCORES: tuple[Score, ...] = get_args(Score)

Chosen = Annotated[Any, BeforeValidator(_check_names)]
"""`all`, or a list of names."""


class Choosing(Section):
    """How answers are chosen among those of a question, and which heads are taken for those that listen (ASH)."""

    prompt: str = Field("question", description="prompt that questions are asked with, one that names {question}")
    instructed: str = Field("focus", description="the same behind an instruction to listen, in the row prompt_only")
    answer: str = Field(
        "{choice}", description='how a choice stands in an answer, such as " {choice}" where answers begin with a blank'
    )
    permute: Literal["letters", "rows", "both"] | None = Field(
        None,
        description="ask every question as often as it has choices, each with every letter, in every row, or both once "
        "(docs/listening.md); null: once, as it is",
    )
    max_new_tokens: int = Field(
        0, ge=0, description="tokens of an answer in words, which MMAU's rules score; 0: none is asked for"
    )
    score: Score = Field(
        "choice",
        description="what heads and strengths are chosen by. choice: the likeliest choice, whole texts; per_token: by "
        "the mean over its tokens; letter: the likeliest letter; words: the answer in words. All are reported",
    )
    calibration: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of the recordings that heads and strengths are chosen on; the rest is reported",
    )
    n_heads: list[Annotated[int, Field(ge=1)]] = Field(
        [20], description="numbers of heads that are tried; []: no heads are looked for"
    )
    strengths: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 1.0, 2.0, 4.0], min_length=1, description="β that are tried"
    )
    site: Literal["block", "final_norm"] = Field(
        "block", description="where β·s(x) is added: the last block's output, or behind the final norm"
    )
    seed: int = Field(0, ge=0, description="of the calibration recordings, the random heads and the orders of choices")

    @model_validator(mode="after")
    def _check_fields(self) -> "Choosing":
        check_template(self.answer, "answer", {"choice"})
        for key in ("n_heads", "strengths"):
            check_repetition([f"{value:g}" for value in getattr(self, key)], key)
        if self.score == "words" and not self.max_new_tokens:
            raise ValueError("score: words needs answers in words; set max_new_tokens, or another score")
        return self

    @property
    def scores(self) -> tuple[Score, ...]:
        """What is reported."""
        return SCORES if self.max_new_tokens else SCORES[:-1]


OF_PAIRS = ("effects", "unlearning", "interruption")
"""Readouts of studies about pairs, each with a section of its name."""


class Study(Section):
    """Examples × methods × readout."""

    examples: str = Field(description="name of the examples that are asked about")
    readout: Literal["windows", "share", "choices", "intervals", "effects", "unlearning", "interruption"] = Field(
        "windows",
        description="windows: where attention to the audio grows, event by event; share: how much of all attention "
        "goes to the audio, of examples that are questions; choices: how likely their answers are; intervals: which "
        "sounds are heard in recordings of one's own, and where (docs/recordings.md); effects: what steering does to "
        "answers, of examples that are pairs (docs/studies/README.md); unlearning: what is left of facts that a copy "
        "of the model was taught, of such examples, too; interruption: how long a model that listens and speaks at "
        "once goes on when it is interrupted, and what steering does to it (docs/studies/interruption.md)",
    )
    methods: Chosen = Field(
        "all",
        description="all that fit the examples, or a list of names from methods; where intervals are read "
        "[prompt_matched], which is all, or [matched]",
    )
    direct_prompt: bool = Field(
        True, description="whether the onset is asked for in words, too, where windows are read"
    )

    states_from: str | None = Field(
        None,
        description="examples whose states directions are made of, the same events at the same times, disturbed "
        "otherwise or not at all; null: those that are asked about",
    )

    choosing: Choosing = Field(Choosing(), description="how answers are chosen, where choices are read")

    effects: Effects = Field(Effects(), description="what steers, and what is measured, where effects are read")

    unlearning: Unlearning = Field(
        Unlearning(), description="how facts are taught and taken back, where unlearning is read"
    )

    interruption: Interruption = Field(
        Interruption(), description="how a model is interrupted and steered, where interruption is read"
    )

    frame_probe: bool = Field(
        True, description="whether a linear probe on the audio tokens stands beside the methods, where windows are read"
    )

    @property
    def needs(self) -> frozenset[str]:
        """What its examples must have: events, questions, or recordings of one's own."""
        about = {"windows": ABOUT_EVENT, "intervals": RECORDED} | dict.fromkeys(OF_PAIRS, PAIRED)
        return about.get(self.readout, ABOUT_QUESTION)

    @property
    def listening(self) -> Literal["ask", "steer"] | None:
        """How intervals are read; None where its methods are none of the two ways."""
        if self.methods == "all":
            return "ask"
        return {("prompt_matched",): "ask", ("matched",): "steer"}.get(tuple(self.methods))


class Variation(Section):
    """Which key takes which values."""

    vary: str = Field(description="a key of steering or localization, prompts.inference, readout.text_rows, or heads")
    values: list[Any] = Field(min_length=1, description="of that key; `each` for every block by itself")
    method: str = Field("sample", description="method of the study that steers")

    @model_validator(mode="after")
    def _check_fields(self) -> "Variation":
        if self.vary not in KEYS:
            raise ValueError(f"vary: {self.vary!r} cannot be varied; choose one of {', '.join(KEYS)}")
        for number, value in enumerate(self.values):
            if value in self.values[:number]:
                raise ValueError(f"values: {value!r} is listed twice; keep one of them")
            if self.vary == HEADS and value != "all" and (type(value) is not int or value < 1):
                raise ValueError(f"values: {value!r} is no number of heads; write a whole number from 1 on, or all")
        return self

    @property
    def passes(self) -> Literal["none", "steered", "all"]:
        """Which passes a value needs: none beyond the run's, the steered ones, or the base pass as well."""
        section = self.vary.partition(".")[0]
        return {"localization": "none", "steering": "steered"}.get(section, "all")

    def values_for(self, n_layers: int) -> list[Any]:
        """The values, with every block of a model of so many by itself in place of `each`."""
        found = []
        for value in self.values:
            by_block = value == EACH and self.vary.endswith(".layers")
            found += [[layer] for layer in range(n_layers)] if by_block else [value]
        return found

    def n_points(self, n_layers: int) -> int:
        """Number of values that need passes of their own, for a model of so many blocks."""
        if self.vary == HEADS:
            return 1
        return len(self.values) + (n_layers - 1) * self.values.count(EACH)


class Sweep(Variation):
    """A study once more with one key changed, value by value."""

    of: str | None = Field(None, description="study that reads windows; null: that of figures.attention_change")
    models: Chosen = Field("all", description="all, or a list of names")
    first: int = Field(24, ge=1, description="first samples of the study's examples; all, where there are fewer")
    default: bool = Field(False, description="whether it is part of the default run; `snakemake sweeps` makes all")

    @property
    def variation(self) -> Variation:
        """What is varied, without what it is varied on."""
        return Variation(vary=self.vary, values=self.values, method=self.method)


def _kind(study: Any) -> Literal["study", "sweep"]:
    keys = study if isinstance(study, Mapping) else type(study).model_fields if isinstance(study, Section) else ()
    return "sweep" if "vary" in keys or "of" in keys else "study"


AnyStudy = Annotated[Annotated[Study, Tag("study")] | Annotated[Sweep, Tag("sweep")], Discriminator(_kind)]
"""What names a key that it varies is a sweep."""


class ScoreSettings(Section):
    """All that the windows of a sweep depend on, beside attention; see `of_score`."""

    variation: Variation
    probe: Probe
    direction: Direction | None = Field(None, description="what its method steers with; null: nothing")

    @field_serializer("probe")
    def _only_what_is_set(self, probe: Probe) -> dict[str, Any]:
        # Results record their settings: what plays no part in them, and is a default of the code, is none.
        return probe.model_dump(mode="json", exclude_unset=True)


@dataclass(frozen=True)
class Point:
    """A value as tables show it, and the probe that has it."""

    value: str
    probe: Probe


def points(variation: Variation, probe: Probe, n_layers: int) -> list[Point]:
    """The points of a sweep, in order; of `heads` the one whose heads are read.

    Parameters
    ----------
    probe
        What all points share.
    n_layers
        Blocks of the model's text stack, for `each`.

    Raises
    ------
    UserError
        If the probe's own section refuses a value.
    """
    if variation.vary == HEADS:
        return [Point(AVERAGED, probe)]
    found: dict[str, Probe] = {}
    for value in variation.values_for(n_layers):
        with_value = changed(probe, variation.vary, value)
        # A block that is listed by itself is one of each, too.
        found.setdefault(value_name(own_value(with_value, variation.vary)), with_value)
    return [Point(*point) for point in found.items()]


def changed(probe: Probe, key: str, value: Any) -> Probe:
    """The probe with another value of one key, checked by the key's own section.

    Raises
    ------
    UserError
        If the section refuses the value.
    """
    section, _, field = key.partition(".")
    current = getattr(probe, section)
    try:
        if isinstance(current, Section):
            with_value = type(current).model_validate(current.model_dump() | {field: value})
        else:
            with_value = check_prompts(current | {field: value})
    except ValidationError as error:
        raise UserError(first_sentence(error, section)) from error
    except ValueError as error:
        raise UserError(f"prompts.{error}") from error
    return probe.model_copy(update={section: with_value})


def own_value(probe: Probe, key: str) -> Any:
    """The probe's value of a key; of `heads`, what it does with them."""
    if key == HEADS:
        return AVERAGED
    section, _, field = key.partition(".")
    values = getattr(probe, section)
    return getattr(values, field) if isinstance(values, Section) else values[field]


def value_name(value: Any) -> str:
    """A value as tables and figures show it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"block{'s' if len(value) > 1 else ''} {', '.join(map(str, value))}"
    return json.dumps(value.model_dump(mode="json") if isinstance(value, Section) else value)


def of_score(variation: Variation, probe: Probe) -> Probe:
    """Only what the windows of a sweep have in common: what they do not depend on, and the varied key, are not set."""
    key, sections = variation.vary, {"localization": probe.localization.model_dump()}
    section, _, field = key.partition(".")
    sections.get(section, {}).pop(field, None)
    return Probe.model_validate(sections)


def check_values(sweep: str, variation: Variation, probe: Probe, sizes: Mapping[str, Any]) -> None:
    """Refuse values that the probe does not take, or that a model does not have.

    Parameters
    ----------
    sweep
        Its name.
    sizes
        Text stack of a model as its config.json describes it: `num_hidden_layers`, `num_attention_heads`. What is not
        there is not checked.

    Raises
    ------
    UserError
        Naming sweep, value and way out.
    """
    n_layers, n_heads = sizes.get("num_hidden_layers"), sizes.get("num_attention_heads")
    try:
        for point in points(variation, probe, n_layers or 1):
            point.probe.steering.check_vectors()
            if n_layers is not None:
                point.probe.steering.scales(n_layers)
                scored = select_layers(point.probe.localization.layers, n_layers)
                if variation.vary == HEADS and n_heads is not None:
                    check_heads(variation, len(scored) * n_heads)
    except UserError as error:
        raise UserError(f"studies.{sweep}.values: {error}") from error


def check_heads(variation: Variation, n_heads: int) -> None:
    """Refuse more heads than there are.

    Raises
    ------
    UserError
        If a value exceeds `n_heads`, the heads of all scored blocks.
    """
    for value in variation.values:
        if value != "all" and value > n_heads:
            raise UserError(f"{value} heads, but the scored blocks have {n_heads}; choose fewer, or all")


def describe(variation: Variation, n_samples: int, n_positions: int, n_layers: Mapping[str, int], n_jobs: int) -> str:
    """What a sweep costs and what it takes from the run, in words.

    Parameters
    ----------
    n_samples, n_positions
        Samples, and events of each.
    n_layers
        Model → blocks of its text stack.
    n_jobs
        Jobs that load a model.
    """
    if variation.passes == "none":
        return "no pass; windows are scored from the attention of the run"
    n_points = [variation.n_points(layers) for layers in n_layers.values()]
    steered = sum(n_samples * n_positions * n for n in n_points)
    if variation.passes == "steered":
        return f"{n_jobs} job(s) that load a model, {steered} steered passes; vectors and base attention are the run's"
    base = sum(n_samples * n for n in n_points)
    return f"{n_jobs} job(s) that load a model, {steered} steered passes and {base} base passes; vectors are the run's"
