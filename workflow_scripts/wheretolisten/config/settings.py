"""What one script's job depends on."""

from typing import Literal

from pydantic import Field

from wheretolisten.config.models import Model
from wheretolisten.config.probe import DirectPrompt, Method, Prompts, Readout, Steering
from wheretolisten.config.questions import AudioShare, ProceduralQuestions
from wheretolisten.config.sections import Section


class ExtractionSettings(Section):
    """All that un-steered passes depend on."""

    model: Model
    prompts: Prompts
    readout: Readout
    states: dict[str, str] = Field(
        default_factory=dict,
        description="states beside the positive and the negative one that some method needs → their instruction",
    )


class SteeringSettings(Section):
    """All that steered passes depend on, beside states and label sums."""

    model: Model
    inference: str
    methods: dict[str, Method]
    readout: Readout


class MapSettings(Section):
    """All that the map of one query's attention depends on, beside the query, states and label sums."""

    model: Model
    prompts: Prompts
    method: Method


class DirectSettings(Section):
    """All that direct answers depend on."""

    model: Model
    prompts: Prompts
    direct_prompt: DirectPrompt


class QuestionSettings(Section):
    """All that questions about a benchmark depend on, beside its events."""

    questions: ProceduralQuestions
    prompts: Prompts


class AnalysisSettings(Section):
    """All that the share of attention to audio depends on, beside the questions; as in `questions.MmauQuestions`."""

    model: Model
    audio_share: AudioShare
    steering: Steering
    readout: Readout
    splits: list[str] | None
    max_seconds: float
    on_bad_item: Literal["skip", "refuse"]
