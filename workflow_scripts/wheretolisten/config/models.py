"""Who listens."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from wheretolisten.config.sections import Section

REHEARSAL = "rehearsal-"
"""How the names of models with random weights start, and no others, so that no file or table hides what they are."""


class Model(Section):
    """A checkpoint that transformers can load."""

    checkpoint: str = Field(description="folder, or repository id on the model hub")
    revision: str | None = Field(
        None, pattern="^[0-9a-f]{40}$", description="commit of the hub repository, 40 digits; null for a folder"
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="random: the folder's architecture with random weights, to rehearse a run"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: bfloat16 on a GPU, float32 on a CPU"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: cuda where there is one")
    device_map: Literal["auto", "balanced", "sequential"] | None = Field(
        None, description="how accelerate spreads the blocks over all cards; null: one device holds the model"
    )
    batch_samples: int = Field(8, ge=1, description="samples that one pass holds")

    @model_validator(mode="after")
    def _check_fields(self) -> "Model":
        if self.device_map and self.device != "auto":
            raise ValueError(
                f"device_map: {self.device_map} spreads the model over all cards, but device: {self.device} names one "
                "place; leave device at auto, or take device_map out"
            )
        return self

    @field_validator("checkpoint")
    @classmethod
    def _keep_apart_from_options(cls, checkpoint: str) -> str:
        # Commands would take a folder whose name starts with a dash for one of their options.
        return f"./{checkpoint}" if checkpoint.startswith("-") else checkpoint

    @property
    def identity(self) -> str:
        """What results call the model they were made with."""
        return f"{self.checkpoint}@{self.revision}" if self.revision else self.checkpoint
