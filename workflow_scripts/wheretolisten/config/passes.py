"""What a job that runs a model over examples depends on: a list of passes."""

from typing import Any, Literal

from pydantic import Field, ValidationError, field_serializer

from wheretolisten.config.directions import Direction, State
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.config.prompts import Wording
from wheretolisten.config.sections import Section, first_sentence
from wheretolisten.config.studies import HEADS, Choosing, Variation, value_name
from wheretolisten.errors import UserError

UNSTEERED_SHARES = ("original", "prompt_only")
"""Passes of a study of shares that are not steered: the question as it is, and after the focus instruction."""

UNSTEERED_CHOICES = ("unsteered", "prompt_only")
"""The same of a study of choices."""

REPLACED = ("silence", "other_recording")
"""What is heard in place of a question's recording, in passes of that name: how much of the answers the text gives."""

OF_HEADS = ("listening_heads", "random_heads")
"""Rows of tables that are steered by what the audio adds in the blocks of heads: listening ones, and random ones."""


class Pass(Section):
    """One way through the model: a prompt about an example, or about each of its events, and what is added to it."""

    name: str
    prompt: str = Field(description="template, filled from the example or the event that is asked about")
    about: Literal["example", "event"] = "example"
    direction: Direction | None = Field(None, description="null: nothing is steered")
    steering: Steering | None = Field(None, description="how the direction is added")
    text_rows: Literal["all", "last"] = Field("all", description="text tokens whose attention is read")
    absent: int = Field(0, description="sounds that the recording does not hold, about which it is made as well")

    @field_serializer("steering")
    def _only_what_is_set(self, steering: Steering | None) -> dict[str, Any] | None:
        # Results record their settings: a key that a sweep varies has no value of its own there.
        return None if steering is None else steering.model_dump(mode="json", exclude_unset=True)


class Answers(Section):
    """A question about each event that is answered in words."""

    question: str = Field(description="template")
    max_new_tokens: int


class SymbolSettings(Section):
    """How words stand for audio, as in `examples.Symbolic`."""

    tokens_per_second: float
    noise: float
    seed: int = Field(description="of the noise")


class PassSettings(Section):
    """All that a job depends on, beside the examples and the files that directions come from."""

    model: Model
    passes: list[Pass] = Field(default_factory=list)
    readout: Literal["attention", "heads", "text", "share", "head_mass"] = Field(
        "attention",
        description="from text to each audio token: averaged over heads and summed over text, by head, or by text "
        "token; or the share of all attention that goes to the audio; or by head that of the last prompt token's",
    )
    states: dict[str, State] = Field(default_factory=dict, description="states that are kept, or that directions need")
    wording: Wording = Wording()
    answers: Answers | None = None
    symbols: SymbolSettings | None = Field(None, description="null: the audio of the examples is heard")
    kernel: Literal["sdpa", "flash"] = "sdpa"
    variation: Variation | None = Field(
        None, description="a key that the passes take at every value, one after the other"
    )

    @property
    def n_absent(self) -> int:
        """Absent sounds that examples are asked about."""
        return max((each.absent for each in (*self.passes, *self.states.values())), default=0)

    def passes_for(self, n_layers: int) -> list[Pass]:
        """The passes through a model of so many blocks; those of a variation are named by the value.

        Raises
        ------
        UserError
            If a section refuses a value.
        """
        variation = self.variation
        if variation is None or variation.vary == HEADS:
            return self.passes
        found = {}
        for value in variation.values_for(n_layers):
            for each in self.passes:
                varied = _varied(each, variation.vary, value)
                # A block that is listed by itself is one of each, too.
                found.setdefault((varied.name, varied.about), varied)
        return list(found.values())


class ItemSettings(PassSettings):
    """The same for questions with choices; as in `examples.MmauQuestions`."""

    splits: list[str] | None
    max_seconds: float
    on_bad_item: Literal["skip", "refuse"]


class ChoiceSettings(ItemSettings):
    """The same for what is read of their choices; passes are those in which the recording is heard."""

    choosing: Choosing


def _varied(each: Pass, key: str, value: Any) -> Pass:
    section, _, field = key.partition(".")
    if key == "prompts.inference":
        changes = {"prompt": value}
    elif key == "readout.text_rows":
        changes = {"text_rows": value}
    elif each.steering is None:
        changes = {}
    else:
        try:
            steering = Steering.model_validate(each.steering.model_dump() | {field: value})
        except ValidationError as error:
            raise UserError(first_sentence(error, section)) from error
        value, changes = getattr(steering, field), {"steering": steering}
    return each.model_copy(update=changes | {"name": value_name(value)})
