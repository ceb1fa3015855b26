"""How a model is steered, read and asked."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from wheretolisten.config.directions import ABSENT_SOUNDS, DIRECTIONS, PARAPHRASE, Direction, State, paraphrased
from wheretolisten.config.layers import Layers, select_layers
from wheretolisten.config.prompts import ABOUT_EVENT, PROMPTS, Prompts, Wording, fields_of, state_of
from wheretolisten.config.sections import Section, check_template, check_word_or, first_sentence
from wheretolisten.errors import UserError

_METHOD_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class Emphasis(Section):
    """Steer some blocks more strongly and the others less, at the same total strength (AVS, layer weights).

    λ_l = λ(1 + β·|L_dec|/|L_inc|) for the emphasised blocks L_inc, λ(1 − β) for the other steered blocks L_dec.
    """

    layers: Layers = Field(description="emphasised blocks L_inc, among the steered ones, as `steering.layers`")
    beta: float = Field(0.5, ge=0, le=1, description="β, dimensionless; 0: all alike, 1: the others not at all")


def _check_decay(value: Any) -> Any:
    """Refuse what is neither a factor nor `linear`, in one sentence instead of one per member of a union."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value != "linear" and not (is_number and 0 < value <= 1):
        raise ValueError(f"{value!r} is neither a number above 0 and at most 1 nor linear")
    return value


class Decoding(Section):
    """A window of decoding steps that are steered, and how the strength fades in it."""

    first: int = Field(ge=1, description="the first so many decoded tokens are steered, the others are not")
    decay: Annotated[float | Literal["linear"], BeforeValidator(_check_decay)] = Field(
        1.0,
        description="d, above 0 and at most 1: the n-th of them, from 0, at λ·dⁿ; 1: all alike; linear: at "
        "λ(1 − n/first), as where a speaking model is interrupted (docs/studies/interruption.md)",
    )

    def weight(self, step: int) -> float:
        """What λ is multiplied with at a step of the window, from 0."""
        return 1 - step / self.first if self.decay == "linear" else self.decay**step


def _check_decoding(value: Any) -> Any:
    return check_word_or(value, ("none", "all"), Decoding, "a window such as {first: 3}")


class Steering(Section):
    """How a state h of each steered block is changed along a vector v; by default h' = Norm(h + scale · v).

    docs/steering.md has the formulas of all operators. VISTA's released form, Norm(h/‖h‖ + λ(1 + max(0, cos(h, −v))) ·
    v/‖v‖), has `site: mlp`, `normalisation: state` and `gate: opposed`.
    """

    scale: float = Field(0.1, description="λ, dimensionless")
    layers: Layers = Field(
        "all",
        description="steered blocks, from 0: `all`, `second_half`, `last`, a list, a range `14-29`, a part of depth "
        "`50%-100%`",
    )
    emphasis: Emphasis | None = Field(None, description="null: every steered block at the same strength")
    operator: Literal["add", "ablate", "set", "scale", "cap"] = Field(
        "add",
        description="add λv; ablate λ of the component along v; set that component to λ‖v‖; scale it by λ; cap: take λ "
        "of what is positive away from every coordinate of a support, and leave the negative ones",
    )
    site: Literal["block", "attention", "mlp", "heads", "gates", "neurons", "final_norm"] = Field(
        "block",
        description="h: output of the block, of its attention or of its MLP; of its heads, before o_proj; of the "
        "gates of its MLP, before they are multiplied; of its neurons, before down_proj; final_norm: of the norm "
        "behind the last block, for answers only",
    )
    positions: Literal["all", "after_audio", "last", "none"] = Field(
        "all", description="steered tokens of the prompt; none: an answer's tokens alone, as decoding says"
    )
    decoding: Annotated[Literal["none", "all"] | Decoding, BeforeValidator(_check_decoding)] = Field(
        "all", description="steered tokens of an answer, as they are decoded: all, none, or a window of the first ones"
    )
    normalisation: Literal["none", "unit", "state"] = Field(
        "none", description="unit: every layer's vector to length 1; state: to the length of the state it is added to"
    )
    gate: Literal["none", "opposed"] = Field(
        "none", description="opposed: λ(1 + max(0, cos(h, −v))), more where the state points away from the vector"
    )
    preserve_norm: bool = Field(True, description="restore the length of every steered state")

    @model_validator(mode="after")
    def _check_operator(self) -> "Steering":
        for key, unset in (("normalisation", "none"), ("gate", "none"), ("emphasis", None)):
            if self.operator != "add" and getattr(self, key) != unset:
                raise ValueError(
                    f"{key} says how a vector is added, which operator {self.operator!r} does not do; set {key}: "
                    f"{unset or 'null'}, or operator: add"
                )
        if (
            isinstance(self.decoding, Decoding)
            and self.decoding.decay != 1
            and self.operator not in ("add", "ablate", "cap")
        ):
            raise ValueError(
                f"decoding.decay lets λ go to 0, which operator {self.operator!r} does not take for no steering; take "
                "decay out, or set operator: add, ablate or cap"
            )
        if self.site == "final_norm" and self.layers != "last":
            raise ValueError("site final_norm lies behind the last block; set layers: last")
        return self

    def at_step(self, step: int) -> "Steering | None":
        """How the token that an answer's decoding takes in at a step, from 0, is steered; None if it is not."""
        if self.decoding == "all":
            return self
        if self.decoding == "none" or step >= self.decoding.first:
            return None
        return self.model_copy(update={"scale": self.scale * self.decoding.weight(step)})

    def scales(self, n_layers: int) -> dict[int, float]:
        """Strength λ_l of every steered block, by its index; AVS's weights where there is an emphasis.

        Raises
        ------
        UserError
            If a block does not exist, or none of the steered blocks is emphasised.
        """
        layers = select_layers(self.layers, n_layers)
        if self.emphasis is None:
            return dict.fromkeys(layers, self.scale)
        increased = set(select_layers(self.emphasis.layers, n_layers)) & set(layers)
        if not increased:
            raise UserError(f"emphasis.layers: {self.emphasis.layers!r} holds no steered block; name one of {layers}")
        beta, n_decreased = self.emphasis.beta, len(layers) - len(increased)
        more, less = self.scale * (1 + beta * n_decreased / len(increased)), self.scale * (1 - beta)
        return {layer: more if layer in increased else less for layer in layers}

    def check_vectors(self) -> None:
        """Refuse sites that take no vector of the residual stream, and the workflow makes its vectors of block outputs.

        Heads are often as wide as the stream, so that nothing else would tell. What lies behind all blocks is refused,
        too: studies read attention.

        Raises
        ------
        UserError
            If the site is heads, gates or neurons, or the final norm.
        """
        if self.site == "final_norm":
            raise UserError(
                "site: studies read attention, which comes before the final_norm; set site to block, attention or mlp"
            )
        if self.site in ("heads", "gates", "neurons"):
            raise UserError(
                f"site: the vectors of this workflow are of block outputs, not of {self.site}; set site to block, "
                "attention or mlp"
            )


class Readout(Section):
    """Which attention is read: rows of text queries, columns of audio keys, every block."""

    text_rows: Literal["all", "last"] = Field("all", description="text tokens after the audio that are summed over")
    kernel: Literal["sdpa", "flash"] = Field("sdpa", description="flash: the package flash-attn, on a GPU only")


class Localization(Section):
    """From attention to a window (SWL §3.3)."""

    reference: Literal["base", "absent"] = Field(
        "base",
        description="what a pass is held against: the base pass, as published, or the same intervention for sounds "
        "that the recording does not hold (docs/matched.md)",
    )
    absent_sounds: int = Field(
        ABSENT_SOUNDS,
        ge=1,
        le=16,
        description="how many such sounds, at most; drawn by the sample's id, of its own domain first",
    )
    absent_average: Literal["mean", "median"] = Field("mean", description="over them, of shares of attention")
    absent_mistaken: int = Field(
        0,
        ge=0,
        description="how many of them are other events of the recording after all, as it happens where nobody knows "
        "what it holds",
    )
    layers: Layers = Field("second_half", description="blocks that are scored, as `steering.layers`")
    layer_weights: Literal["linear", "uniform"] = Field("linear", description="w_l: rising with depth, or equal")
    epsilon: float = Field(1e-8, gt=0, description="ε in the ratio of window shares")
    tie_tolerance: float = Field(1e-6, ge=0, lt=1, description="relative; windows closer to the best than this tie")
    unknown_durations: list[Annotated[float, Field(gt=0, le=600)]] = Field(
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
        min_length=1,
        description="durations tried where the event's is not known, in seconds",
    )

    @model_validator(mode="after")
    def _check_mistaken(self) -> "Localization":
        if self.absent_mistaken > self.absent_sounds:
            raise ValueError(
                f"absent_mistaken: {self.absent_mistaken} of {self.absent_sounds} absent sounds cannot be present; "
                "lower it"
            )
        return self

    @property
    def n_absent(self) -> int:
        """Absent sounds that passes are read about for it."""
        return self.absent_sounds if self.reference == "absent" else 0


class DirectPrompt(Section):
    """Asking the model for the onset in words (SWL §4: the direct-prompting baseline)."""

    question: str = Field(
        "This audio contains three sound events in sequence. The sound of {label} lasts {duration:.2f} seconds. "
        "What is the starting time (in seconds) of this event from the beginning of the audio?",
        description="asked about every event",
    )
    max_new_tokens: int = Field(64, ge=1, le=4096, description="tokens of an answer, at most")

    @model_validator(mode="after")
    def _check_fields(self) -> "DirectPrompt":
        check_template(self.question, "question", {"label"}, {"duration"})
        return self


class Method(Section):
    """A row of the tables: `steering_<name>`, a direction that is added to the base pass; or a prompt in its place.

    In the configuration `steering` and `localization` hold the keys that differ from the sections of these names.
    `Probe` fills in the others, so that no method holds a value that is not used.
    """

    direction: str | None = Field(None, description="name of a direction; null where a prompt is asked instead")
    prompt: str | None = Field(
        None, description="name of a prompt about an event; the method's name then starts with prompt_, and is its row"
    )
    steering: Steering | None = Field(None, description="keys that differ from the section steering")
    localization: Localization = Field(Localization(), description="keys that differ from the section localization")

    @model_validator(mode="after")
    def _check_kind(self) -> "Method":
        if (self.direction is None) == (self.prompt is None):
            raise ValueError("it takes a direction, or a prompt that is asked instead; write one of the two")
        if self.prompt is not None and self.steering is not None:
            raise ValueError("steering: a prompt that is asked steers nothing; take the key out, or name a direction")
        return self

    def resolve(self, steering: Steering, localization: Localization) -> "Method":
        """The method with every key of its steering and its localization, from the sections and its own changes."""
        sections = (
            {"steering": steering, "localization": localization} if self.steers else {"localization": localization}
        )
        resolved = {}
        for name, section in sections.items():
            changed = getattr(self, name) or Section()
            changes = {key: getattr(changed, key) for key in changed.model_fields_set}
            try:
                resolved[name] = type(section).model_validate(dict(section) | changes)
            except ValidationError as error:
                raise ValueError(first_sentence(error, name)) from None
        return self.model_copy(update=resolved)

    @property
    def steers(self) -> bool:
        """Whether it adds a direction."""
        return self.direction is not None


def row_of(method: str) -> str:
    """What tables call a method: a prompt that is asked by its own name."""
    return method if method.startswith("prompt_") else f"steering_{method}"


class Probe(Section):
    """How a model is asked, steered and read."""

    prompts: Prompts = Field(
        default_factory=lambda: dict(PROMPTS), description="name → template, beside those that are always there"
    )
    wording: Wording = Field(Wording(), description="the words that stand for labels in prompts")
    steering: Steering = Field(Steering(), description="how directions are added, unless a method says otherwise")
    directions: dict[str, Direction] = Field(
        default_factory=dict, description="name → contrast, beside those that are always there (DIRECTIONS)"
    )
    readout: Readout = Field(Readout(), description="which attention is read")
    localization: Localization = Field(
        Localization(), description="how a window is found in it, unless a method says otherwise"
    )
    methods: dict[str, Method] = Field(
        {name: Method(direction=name) for name in ("sample", "label_mean", "random_direction")},
        min_length=1,
        validate_default=True,
        description="name → direction and steering; studies choose among them",
    )
    direct_prompt: DirectPrompt = Field(DirectPrompt(), description="the onset asked for in words")
    random_draws: int = Field(100, ge=1, description="uniform random windows drawn per query")
    random_seed: int = Field(0, ge=0, description="of those draws")

    @field_validator("methods")
    @classmethod
    def _resolve_methods(cls, methods: dict[str, Method], info: ValidationInfo) -> dict[str, Method]:
        # Fields are checked in their order, and a wrong one is left out.
        if not {"steering", "localization"} <= info.data.keys():
            return methods
        resolved = {}
        for name, method in methods.items():
            try:
                resolved[name] = method.resolve(info.data["steering"], info.data["localization"])
            except ValueError as error:
                raise ValueError(f"{name}.{error}") from None
        return resolved

    @model_validator(mode="after")
    def _check_methods(self) -> "Probe":
        for name, direction in self.directions.items():
            if name in DIRECTIONS or PARAPHRASE.fullmatch(name):
                raise ValueError(f"directions: {name!r} is there already; give yours another name")
            try:
                states = [self.state(state) for state in direction.contrast]
            except UserError as error:
                raise ValueError(f"directions.{name}.contrast: {error}") from None
            if direction.control in ("other_event", "absent_label") and not any(state.of_event for state in states):
                raise ValueError(
                    f"directions.{name}.control: {direction.control} takes another label, and the contrast names none; "
                    "take the control out, or name a positive instruction"
                )
        for key, steering in self.steerings.items():
            try:
                steering.check_vectors()
            except UserError as error:
                raise ValueError(f"{key}.{error}") from None
        for name, method in self.methods.items():
            self._check_method(name, method)
        return self

    def _check_method(self, name: str, method: Method) -> None:
        if not _METHOD_NAME.fullmatch(name):
            raise ValueError(f"methods: the name {name!r} becomes part of a word; use lower-case letters, digits, '_'")
        if not method.steers:
            if not name.startswith("prompt_") or name == "prompt_only":
                raise ValueError(
                    f"methods.{name}: what is asked and not steered is a row of the tables by its own name, which "
                    "starts with prompt_ and is not prompt_only; rename it"
                )
            template = self.prompts.get(method.prompt)
            if template is None or fields_of(template) != ABOUT_EVENT:
                about = [key for key, text in self.prompts.items() if text and fields_of(text) == ABOUT_EVENT]
                raise ValueError(
                    f"methods.{name}.prompt: {method.prompt!r} is no prompt that names {{label}} ({', '.join(about)}); "
                    "name one of these, or add it to prompts"
                )
            return
        if name.startswith("prompt_"):
            raise ValueError(f"methods.{name}: only what is asked and not steered has a name with prompt_; rename it")
        try:
            for state in self.direction_of(method).contrast:
                self.state(state)
        except UserError as error:
            raise ValueError(f"methods.{name}.direction: {error}") from None

    @property
    def steerings(self) -> dict[str, Steering]:
        """How directions are added: the section, and that of every method that steers, by their keys."""
        return {"steering": self.steering} | {
            f"methods.{name}.steering": method.steering for name, method in self.methods.items() if method.steers
        }

    def state(self, name: str) -> State:
        """What a state is taken from (`prompts.state_of`)."""
        return state_of(self.prompts, name)

    def direction_of(self, method: Method) -> Direction:
        """The direction that a method steers with.

        Raises
        ------
        UserError
            If it names none.
        """
        known = DIRECTIONS | self.directions
        direction = known.get(method.direction) or paraphrased(method.direction)
        if direction is None:
            raise UserError(
                f"there is no direction {method.direction!r}; choose from {', '.join(known)}, positive_<n>, "
                "negative_<n>"
            )
        return direction

    def needs(self, method: Method) -> frozenset[str]:
        """What an example must have for a method: what its prompts name (`prompts.fields_of`)."""
        if not method.steers:
            return ABOUT_EVENT
        direction = self.direction_of(method)
        named = frozenset().union(*(fields_of(self.state(state).prompt) for state in direction.contrast))
        # Means over a label and most controls are made from the events of other examples.
        of_events = direction.over != "own" or direction.control not in (None, "random")
        return named | ABOUT_EVENT if of_events else named
