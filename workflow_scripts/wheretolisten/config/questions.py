"""Questions with choices about recordings, and what is measured while a model reads them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wheretolisten.config.sections import Section, UserPath, check_repetition, check_template

QUESTION_KINDS = ("order", "existence", "next", "absence", "previous")
"""What the questions that are made from a benchmark ask, one of each about a sample at most."""

CONDITIONS = ("original", "prompt_only", "audio_silence", "audio_none", "instruction")
"""Passes in which the share of attention to the audio is measured (SWL Figure 1): the question as it is; the same with
the focus instruction before it; and the question as it is while a vector is added, of audio against silence, of audio
against no audio at all, or of one instruction against the other."""


class MmauQuestions(Section):
    """Questions in MMAU's format, and the audio they are about."""

    type: Literal["mmau"] = Field(description="items in MMAU's format")
    path: UserPath = Field(
        description="json: a list of items with id, audio_id, question, choices and, unless withheld, answer"
    )
    audio: UserPath = Field(description="folder that every audio_id starts from")
    splits: list[str] | None = Field(None, min_length=1, description="keep items of these splits only; null: all")
    n_items: int | None = Field(None, ge=1, description="keep the first ones only; null: all")
    max_seconds: float = Field(
        30.0, ge=0.1, le=600, description="longer recordings are cut off here, as the models' own processors do"
    )
    on_bad_item: Literal["skip", "refuse"] = Field(
        "skip", description="an item that is broken, or whose audio is: name and skip it, or stop"
    )

    @model_validator(mode="after")
    def _check_splits(self) -> "MmauQuestions":
        check_repetition(self.splits or [], "split")
        return self


class ProceduralQuestions(Section):
    """Questions made from what the samples of a benchmark are known to hold."""

    type: Literal["procedural"] = Field(description="made from the samples of a benchmark")
    benchmark: str = Field(description="benchmark whose samples are asked about")
    n_items: int = Field(60, ge=1, description="at most; a sample yields up to five")
    seed: int = Field(0, ge=0, description="of the choice and order of items")

    def n_items_about(self, n_samples: int) -> int:
        """Number of items about a benchmark of `n_samples`."""
        return min(self.n_items, n_samples * len(QUESTION_KINDS))


QuestionSet = Annotated[MmauQuestions | ProceduralQuestions, Field(discriminator="type")]


class AudioShare(Section):
    """How the share of attention that goes to the audio is measured (SWL Figure 1)."""

    positive: str = Field(
        "Focus on the meaningful part of the audio", description="p+, put before the question", min_length=1
    )
    negative: str = Field("Focus on the entire audio", description="p−, put before the question", min_length=1)
    item: str = Field("{question} Choose one of: {choices}", description="wording of a question with its choices")

    @model_validator(mode="after")
    def _check_fields(self) -> "AudioShare":
        check_template(self.item, "item", {"question", "choices"})
        return self
