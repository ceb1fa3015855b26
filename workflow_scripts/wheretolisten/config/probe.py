"""How a model is steered, read and asked."""

from typing import Literal

from pydantic import Field, model_validator

from wheretolisten.config.layers import Layers, select_layers
from wheretolisten.config.sections import Section, check_template
from wheretolisten.errors import UserError

VECTOR_KINDS = ("sample", "label_mean", "random_direction")
"""Which vector steers a query: the query's own sample's, its label's mean over the other samples, or (a control) one as
long as the own sample's in a random direction."""


class Emphasis(Section):
    """Steer some blocks more strongly and the others less, at the same total strength (AVS, layer weights).

    λ_l = λ(1 + β·|L_dec|/|L_inc|) for the emphasised blocks L_inc, λ(1 − β) for the other steered blocks L_dec.
    """

    layers: Layers = Field(description="emphasised blocks L_inc, among the steered ones")
    beta: float = Field(0.5, ge=0, le=1, description="β, dimensionless; 0: all alike, 1: the others not at all")


class Steering(Section):
    """How a vector is added to the residual stream: h' = Norm(h + scale · v) at each steered block.

    VISTA's released form, Norm(h/‖h‖ + λ(1 + max(0, cos(h, −v))) · v/‖v‖), has `site: mlp`, `normalisation: state` and
    `gate: opposed`.
    """

    scale: float = Field(0.1, description="λ, dimensionless")
    layers: Layers = Field("all", description="steered blocks, 0-based")
    emphasis: Emphasis | None = Field(None, description="null: every steered block at the same strength")
    site: Literal["block", "mlp"] = Field("block", description="h: output of the block, or of its MLP alone")
    positions: Literal["all", "after_audio", "last"] = Field("all", description="steered tokens of the prompt")
    normalisation: Literal["none", "unit", "state"] = Field(
        "none", description="unit: every layer's vector to length 1; state: to the length of the state it is added to"
    )
    gate: Literal["none", "opposed"] = Field(
        "none", description="opposed: λ(1 + max(0, cos(h, −v))), more where the state points away from the vector"
    )
    preserve_norm: bool = Field(True, description="restore the length of every steered state")

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


class Readout(Section):
    """Which attention is read: rows of text queries, columns of audio keys, every block."""

    text_rows: Literal["all", "last"] = Field("all", description="text tokens after the audio that are summed over")
    kernel: Literal["sdpa", "flash"] = Field("sdpa", description="flash: the package flash-attn, on a GPU only")


class Prompts(Section):
    """Wording of the probe (SWL §3.3; `{label}` stands for the sound's name)."""

    positive: str = "Which part of the audio has the sound of {label}?"
    negative: str = "Focus on the entire audio"
    query: str = Field("", description="question appended to both instructions; empty: none")
    inference: str = Field("Describe the audio.", description="prompt of the base and of the steered pass")
    label_wording: dict[str, str] = Field(default_factory=dict, description="label → its words in prompts")
    domain_wording: dict[str, str] = Field(
        default_factory=lambda: {"languages": "{label} speech"},
        description="domain → words for its labels that have no wording of their own; default: the label itself",
    )

    @model_validator(mode="after")
    def _check_fields(self) -> "Prompts":
        check_template(self.positive, "positive", {"label"})
        for domain, wording in self.domain_wording.items():
            check_template(wording, f"domain_wording.{domain}", {"label"})
        for name in ("negative", "inference"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty")
        return self

    def positive_for(self, label: str, domain: str) -> str:
        """The positive instruction for a label, with the query appended: p+ ⊕ query."""
        return _join(self.positive.format(label=self.wording(label, domain)), self.query)

    def negative_with_query(self) -> str:
        """The negative instruction with the query appended: p− ⊕ query."""
        return _join(self.negative, self.query)

    def wording(self, label: str, domain: str) -> str:
        """The words that stand for a label of a domain in prompts."""
        return self.label_wording.get(label) or self.domain_wording.get(domain, "{label}").format(label=label)


class Localization(Section):
    """From attention to a window (SWL §3.3)."""

    layers: Layers = Field("second_half", description="blocks scored, 0-based")
    layer_weights: Literal["linear", "uniform"] = Field("linear", description="w_l: rising with depth, or equal")
    epsilon: float = Field(1e-8, gt=0, description="ε in the ratio of window shares")
    tie_tolerance: float = Field(1e-6, ge=0, lt=1, description="relative; windows closer to the best than this tie")


class DirectPrompt(Section):
    """Asking the model for the onset in words (SWL §4: the direct-prompting baseline)."""

    question: str = (
        "This audio contains three sound events in sequence. The sound of {label} lasts {duration:.2f} seconds. "
        "What is the starting time (in seconds) of this event from the beginning of the audio?"
    )
    max_new_tokens: int = Field(64, ge=1, le=4096)

    @model_validator(mode="after")
    def _check_fields(self) -> "DirectPrompt":
        check_template(self.question, "question", {"label"}, {"duration"})
        return self

    def question_for(self, wording: str, duration: float) -> str:
        """The question about one event; `duration` in seconds."""
        return self.question.format(label=wording, duration=duration)


class Probe(Section):
    """The localization probe and its baselines."""

    prompts: Prompts = Prompts()
    steering: Steering = Steering()
    readout: Readout = Readout()
    localization: Localization = Localization()
    direct_prompt: DirectPrompt = DirectPrompt()
    random_draws: int = Field(100, ge=1, description="uniform random windows drawn per query")
    random_seed: int = Field(0, ge=0)


def _join(first: str, second: str) -> str:
    return f"{first} {second}".strip()
