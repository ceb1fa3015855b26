"""Facts that a copy of a model is taught, and made to forget again by an edit of one weight (ASRU)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wheretolisten.config.models import Model
from wheretolisten.config.sections import Section, UserPath, UserPaths, check_repetition, check_rising

FORGET, RETAIN = "forget", "retain"
"""Axes of the pairs: facts that are to be forgotten, and those that are not. Positive answers are taught."""

REWORDED = tuple(f"{kind}-{how}" for kind in (FORGET, RETAIN) for how in ("paraphrased", "contextual"))
"""Axes of the same facts, asked about in other words or within a longer request. They are never taught: what is still
answered of them leaks past an edit that was made at the taught questions."""


class Reinforcement(Section):
    """How answers are reinforced by rule rewards behind the edit (ASRU, stage 2); values are the released code's, but
    for the number of steps and of questions."""

    steps: int = Field(ge=1, description="steps of training, each on answers drawn anew")
    questions: int = Field(4, ge=1, description="facts of a step")
    rollouts: int = Field(8, ge=2, description="answers that are drawn to each of them")
    temperature: float = Field(1.5, gt=0, description="at which they are drawn")
    learning_rate: float = Field(1e-6, gt=0, description="of AdamW, on all weights")
    kl: float = Field(0.1, ge=0, description="weight of the divergence from the edited model")


class Unlearning(Section):
    """How facts are taught, and how a weight is edited."""

    epochs: int = Field(12, ge=1, description="how often every fact is taught")
    learning_rate: float = Field(5e-5, gt=0, description="of AdamW, on all weights")
    batch: int = Field(6, ge=1, description="facts of a step")
    block: int | None = Field(None, ge=0, description="block whose down projection is edited; null: the middle one")
    forms: list[Literal["update", "from_scratch"]] = Field(
        ["update", "from_scratch"],
        min_length=1,
        description="update: the weight plus a ridge regression on what it does not do yet; from_scratch: the "
        "regression alone, as published, which forgets the weight wherever the facts say nothing",
    )
    strengths: list[Annotated[float, Field(gt=0)]] = Field(
        [1.0, 3.0, 9.0], min_length=1, description="λ of the direction that is added to what comes out, rising"
    )
    strength: float = Field(
        3.0,
        description="the one of them that stands in the overview, and where all is measured; not chosen on anything",
    )
    penalty: float = Field(0.1, gt=0, description="γ of the ridge regression")
    reinforce: Reinforcement | None = Field(
        None,
        description="reinforcement of the first form at strength, a row of its own; it takes the dependency group "
        "reinforce. null: none",
    )
    max_new_tokens: int = Field(12, ge=1, description="tokens of an answer, at most")
    neutral: UserPath | None = Field(None, description="as of effects")
    n_neutral: int = Field(16, ge=1, description="of them")
    guardrail: UserPath | None = Field(None, description="as of effects")
    n_guardrail: int = Field(40, ge=1, description="of them")
    seed: int = Field(0, ge=0, description="of the order in which facts are taught, and of what is drawn")

    @model_validator(mode="after")
    def _check_fields(self) -> "Unlearning":
        check_repetition(list(self.forms), "form")
        check_rising(self.strengths)
        if self.strength not in self.strengths:
            raise ValueError(f"strength: {self.strength:g} is none of strengths; name one of them")
        return self

    @property
    def files(self) -> dict[str, str]:
        """Files beside the facts that results depend on, by their keys."""
        named = {"neutral": self.neutral, "guardrail": self.guardrail}
        return {key: path for key, path in named.items() if path is not None}


class UnlearningSettings(Section):
    """All that an unlearning on a model depends on, beside the files."""

    model: Model
    pairs: UserPaths = Field(description="tables of facts")
    unlearning: Unlearning
