"""What a direction is made of: contrasts of states are data, so that a new one needs no code."""

import re
import string
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from wheretolisten.config.sections import Section

PROMPT_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
"""What a prompt may be called."""


def _check_state(name: str) -> str:
    prompt, at, instead = name.partition("@")
    if not PROMPT_NAME.fullmatch(prompt) or (at and instead not in ("silence", "none")):
        raise ValueError(f"{name!r} names no state; write a prompt, and behind it @silence or @none if need be")
    return name


StateName = Annotated[str, AfterValidator(_check_state)]
"""A prompt: what it leaves at its last token, about the recording, about silence of equal length (@silence), or without
any audio (@none)."""


class State(Section):
    """What one prompt leaves at its last token."""

    prompt: str = Field(description="template; {label} stands for the words of an event's label")
    heard: Literal["recording", "silence", "none"] = "recording"

    @property
    def of_event(self) -> bool:
        """Whether every event of an example has a state of its own."""
        return any(field == "label" for _, field, _, _ in string.Formatter().parse(self.prompt))


class Direction(Section):
    """v = F(first) − F(second), of the query's own example or of others, or a control in its place."""

    contrast: tuple[StateName, StateName] = Field(description="first and second state")
    over: Literal["own", "others_of_label"] = Field(
        "own", description="of the example itself, or the mean over all other examples with the label"
    )
    control: Literal["random", "other_event", "absent_label", "shuffled_labels"] | None = Field(
        None,
        description="random: a random direction, as long; other_event: that of another event of the example; with "
        "over: others_of_label: absent_label, a label that the example does not hold; shuffled_labels, after shuffling",
    )

    @model_validator(mode="after")
    def _check_control(self) -> "Direction":
        if self.contrast[0] == self.contrast[1]:
            raise ValueError(
                f"contrast: both states are {self.contrast[0]!r}, which differ in nothing; name another one"
            )
        over = "others_of_label" if self.control in ("absent_label", "shuffled_labels") else "own"
        if self.control is not None and self.over != over:
            raise ValueError(f"control: {self.control} is made with over: {over}, not {self.over}; correct one of them")
        return self


_SAMPLE = ("positive", "negative")

DIRECTIONS = {
    "sample": Direction(contrast=_SAMPLE),
    "label_mean": Direction(contrast=_SAMPLE, over="others_of_label"),
    "random_direction": Direction(contrast=_SAMPLE, control="random"),
    "other_label": Direction(contrast=_SAMPLE, control="other_event"),
    "absent_label": Direction(contrast=_SAMPLE, over="others_of_label", control="absent_label"),
    "shuffled_labels": Direction(contrast=_SAMPLE, over="others_of_label", control="shuffled_labels"),
    "neutral": Direction(contrast=("negative_1", "negative")),
    "silence": Direction(contrast=("positive", "positive@silence")),
    "no_audio": Direction(contrast=("positive", "positive@none")),
    # Of questions with choices (SWL Figure 1): AVS's two, and that of the instructions.
    "audio_silence": Direction(contrast=("question", "question@silence")),
    "audio_none": Direction(contrast=("question", "question@none")),
    "instruction": Direction(contrast=("focus", "whole")),
}
"""Those that are always there; docs/controls.md says what each is for. With every prompt positive_<n> or negative_<n>
there is one in which it takes the place of positive or negative, see `paraphrased`."""

PARAPHRASE = re.compile(r"(positive|negative)_([1-9]\d*)")


def paraphrased(name: str) -> Direction | None:
    """The direction positive_<n> or negative_<n>; None if it is another name."""
    found = PARAPHRASE.fullmatch(name)
    if found is None:
        return None
    return Direction(contrast=("positive", name) if found[1] == "negative" else (name, "negative"))
