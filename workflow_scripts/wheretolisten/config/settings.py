"""What one script's job depends on, where no model is run; `config.passes` has the others."""

from wheretolisten.config.directions import StateName
from wheretolisten.config.examples import Questions
from wheretolisten.config.prompts import Wording
from wheretolisten.config.sections import Section


class AveragingSettings(Section):
    """Which contrasts are summed by label, beside the model that the states are of."""

    contrasts: list[tuple[StateName, StateName]]


class QuestionSettings(Section):
    """All that questions about sequences depend on, beside their events."""

    questions: Questions
    wording: Wording
