"""What one script's job depends on, where no model is run; `config.passes` has the others."""

from wheretolisten.config.directions import StateName
from wheretolisten.config.probe import Wording
from wheretolisten.config.questions import ProceduralQuestions
from wheretolisten.config.sections import Section


class AveragingSettings(Section):
    """Which contrasts are summed by label, beside the model that the states are of."""

    contrasts: list[tuple[StateName, StateName]]


class QuestionSettings(Section):
    """All that questions about a benchmark depend on, beside its events."""

    questions: ProceduralQuestions
    wording: Wording
