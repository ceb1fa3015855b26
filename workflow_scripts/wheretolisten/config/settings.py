"""What one script's job depends on, where no model is run; `config.passes` has the others."""

from typing import Literal

from pydantic import Field

from wheretolisten.config.directions import Direction, StateName
from wheretolisten.config.examples import Composition, Perturbation, Questions, Recordings
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Localization
from wheretolisten.config.prompts import Wording
from wheretolisten.config.sections import Section


class AveragingSettings(Section):
    """Which contrasts are summed by label, beside the model that the states are of."""

    contrasts: list[tuple[StateName, StateName]]


class ScoredMethod(Section):
    """What the windows of a method are found in."""

    passes: str = Field(description="name of the passes that it reads")
    direction: Direction | None = Field(None, description="what they are steered with; null: nothing")
    localization: Localization


class ScoringSettings(Section):
    """All that the windows of a study depend on, beside attention."""

    methods: dict[str, ScoredMethod] = Field(description="row of the tables → what is read")
    localization: Localization = Field(description="that of candidates for windows of unknown duration")


class ListeningSettings(Section):
    """All that the intervals of a model in recordings depend on, beside the files."""

    model: Model
    recordings: Recordings
    method: Literal["ask", "steer"]


class QuestionSettings(Section):
    """All that questions about sequences depend on, beside their events."""

    questions: Questions
    wording: Wording


class PerturbingSettings(Section):
    """All that perturbed sequences depend on, beside the clips."""

    composition: Composition
    perturbation: Perturbation
    model: Model | None = Field(None, description="whose windows are moved; null: none, the noise is random")
    prompt: str = Field("", description="template that asks about an event")
    wording: Wording = Wording()
    localization: Localization = Field(Localization(), description="how its windows are found, against absent sounds")
    text_rows: Literal["all", "last"] = "all"
