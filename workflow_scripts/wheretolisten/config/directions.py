"""What a direction is made of: contrasts of states are data, so that a new one needs no code."""

import re
import string
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from wheretolisten.config.sections import Section

PROMPT_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
"""What a prompt may be called."""


_STATE_NAME = re.compile(rf"({PROMPT_NAME.pattern})(?:@(silence|none))?(@label)?(?:@absent([1-9]\d?)?)?")

ABSENT_SOUNDS = 3
"""Absent sounds that a state @absent is the mean over, where its name says no number."""


def _check_state(name: str) -> str:
    if not _STATE_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} names no state; write a prompt, and behind it @silence or @none, @label, @absent or @absent5 if "
            "need be, in this order"
        )
    return name


StateName = Annotated[str, AfterValidator(_check_state)]
"""A prompt: what it leaves at its last token, about the recording, about silence of equal length (@silence), or without
any audio (@none); at the last token of the label's words instead of its own (@label); the mean over that many sounds
that the recording does not hold, which the prompt is asked about in the event's place (@absent)."""


def averaged_over(name: str) -> int:
    """Number of absent sounds that a state is the mean over; 0 of an event's own."""
    found = _STATE_NAME.fullmatch(name)
    return int(found[4] or ABSENT_SOUNDS) if "@absent" in name else 0


def stored_state(name: str) -> str:
    """The state that is taken from the model: of `where@absent`, the state `where` about absent sounds."""
    return name.partition("@absent")[0]


class State(Section):
    """What one prompt leaves at one of its tokens."""

    prompt: str = Field(description="template; {label} stands for the words of an event's label")
    heard: Literal["recording", "silence", "none"] = "recording"
    token: Literal["last", "label"] = Field("last", description="the prompt's last token, or that of the label's words")
    absent: int = Field(0, description="absent sounds that the prompt is also asked about")

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

    def absent_needed(self, name: str, n_asked: int) -> int:
        """Absent sounds whose state `name` is needed where the direction steers queries about `n_asked` of them.

        A sound is no part of the mean that its own state is held against.
        """
        of_means = [
            averaged_over(each) + (n_asked > 0)
            for each in self.contrast
            if averaged_over(each) and stored_state(each) == name
        ]
        return max(n_asked, *of_means, 0)


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
