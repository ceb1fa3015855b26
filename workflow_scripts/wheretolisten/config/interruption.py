"""A model that listens and speaks at once is interrupted, and steered to listen (arXiv 2606.11386)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wheretolisten.config.effects import UNSTEERED
from wheretolisten.config.models import Model
from wheretolisten.config.sections import Section, UserPaths, check_repetition, check_rising

INTERRUPTION = "interruption"
"""Axis of the pairs: questions with which the model is interrupted. A positive answer repeats what was asked about, a
negative one begins with another word of it."""

UNINTERRUPTED, RANDOM, REVERSED = "uninterrupted", "random", "reversed"
"""Arms that are always there, beside the un-steered model: the same questions while the model is silent; random
directions of the same length; and the first direction at its chosen block and strength with the wrong sign."""


class Clock(Section):
    """Which steps of a dialogue are listening and which speaking, by when the user speaks."""

    margin: int = Field(1, ge=1, description="steps that are left out at each end of the user's question")
    speaking: int = Field(10, ge=1, description="steps of speaking behind it, at most")


class Interruption(Section):
    """How the model is interrupted, how directions are built and chosen, and what is measured."""

    steps: list[Literal["scores", "clock"]] = Field(
        ["scores", "clock"],
        min_length=1,
        description="how steps of listening are told from steps of speaking, an arm each. scores: by what states "
        "predict (logit lens); clock: by when the user speaks",
    )
    lens: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="blocks over which the scores are averaged; null: the second half"
    )
    generating: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Θ_gen: probability of the model's own token from which on it generates; null: the mean over all "
        "steps of the dialogues to build of",
    )
    perceiving: float | None = Field(
        None, gt=0, lt=1, description="Θ_perc: the same of the user's next token, from which on it perceives"
    )
    clock: Clock = Field(Clock(), description="steps of listening and speaking by the clock")
    blocks: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="blocks that are tried, one at a time; null: each"
    )
    strengths: list[Annotated[float, Field(gt=0)]] = Field(
        [0.25, 0.5, 0.75, 1.0, 2.0],
        min_length=1,
        description="α that are tried, and reported at the chosen block, rising",
    )
    windows: list[Annotated[int, Field(ge=1)]] = Field(
        [3, 6, 9],
        min_length=1,
        description="ΔT that are tried, rising: steps from the interruption on that are steered, with a strength that "
        "falls to 0 in equal steps; the longest is that of the arm with the wrong sign",
    )
    limit: float = Field(
        0.1,
        gt=0,
        description="nats per step, over 8 steps: a setting that diverges further from the un-steered model where it "
        "is triggered falsely is not chosen",
    )
    n_build: int = Field(30, ge=2, description="dialogues that directions are built of, at most")
    n_choose: int = Field(24, ge=2, description="dialogues that settings are chosen on, at most")
    n_report: int = Field(
        66,
        ge=2,
        description="dialogues that are reported, at most; sources are shared out among the three, so that no two "
        "share one",
    )
    silence: int = Field(2, ge=1, description="steps of silence before a dialogue")
    after: tuple[int, int] = Field(
        (2, 7), description="steps of the model's answer after which it is interrupted, at random, least and most"
    )
    answer: int = Field(18, ge=2, description="steps of silence of the user behind a question, while it is answered")
    heard: float = Field(
        0.5,
        gt=0,
        le=1,
        description="the model counts as perceiving from the step on at which the user's next token is at least so "
        "many times as likely as at the same word of the same question while the model is silent",
    )
    draws: int = Field(
        4,
        ge=1,
        description="random directions, over which the arm of that name is averaged: one alone may hit something",
    )
    seed: int = Field(0, ge=0, description="of the split, of interruptions, false triggers and random directions")

    @model_validator(mode="after")
    def _check_fields(self) -> "Interruption":
        check_repetition(list(self.steps), "steps")
        check_rising(self.strengths)
        check_rising(self.windows, "windows")
        if not 1 <= self.after[0] <= self.after[1] < self.answer:
            raise ValueError(
                "after: write the least number of steps first, at least 1, and fewer than the answer may take "
                f"({self.answer})"
            )
        return self

    @property
    def files(self) -> dict[str, str]:
        """Files beside the dialogues that results depend on: none."""
        return {}

    @property
    def arms(self) -> list[str]:
        """Rows of the tables, in the order in which they are measured."""
        return [UNSTEERED, UNINTERRUPTED, *self.steps, RANDOM, REVERSED]


class InterruptionSettings(Section):
    """All that a study of interruptions on a model depends on, beside the files."""

    model: Model
    pairs: UserPaths = Field(description="tables of questions")
    interruption: Interruption
