"""What one script's job depends on."""

from pydantic import Field

from wheretolisten.config.models import Model
from wheretolisten.config.probe import DirectPrompt, Prompts, Readout, SteeredMethod
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
    methods: dict[str, SteeredMethod]
    readout: Readout


class MapSettings(Section):
    """All that the map of one query's attention depends on, beside the query, states and label sums."""

    model: Model
    prompts: Prompts
    method: SteeredMethod


class DirectSettings(Section):
    """All that direct answers depend on."""

    model: Model
    prompts: Prompts
    direct_prompt: DirectPrompt
