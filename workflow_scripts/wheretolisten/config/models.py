"""Who listens."""

import re
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from wheretolisten.config.sections import Section, UserPath

REHEARSAL = "rehearsal-"
"""How the names of models with random weights start, and no others, so that no file or table hides what they are."""


class Model(Section):
    """A checkpoint that transformers can load."""

    checkpoint: UserPath = Field(description="folder, or repository id on the model hub")
    revision: str | None = Field(None, description="commit of the hub repository, 40 digits; null for a folder")
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

    @field_validator("revision", mode="before")
    @classmethod
    def _check_revision(cls, revision: Any, info: ValidationInfo) -> Any:
        # YAML reads digits without quotes as a number.
        if revision is None or (isinstance(revision, str) and re.fullmatch("[0-9a-f]{40}", revision)):
            return revision
        raise ValueError(
            f"{revision!r} is not the full hash of a commit, and what a branch, tag or short hash names can change; "
            "write its 40 digits (0-9, a-f), in quotes: the repository's page lists them under Files, History, and "
            f"they are printed by: {pinning_command(info.data.get('checkpoint', 'owner/name'), revision)} "
            "(null for a folder)"
        )

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


def pinning_command(checkpoint: str, revision: Any = None) -> str:
    """A command that prints the commit of a hub repository that a branch, tag or short hash names; None: the newest."""
    chosen = f"{checkpoint!r}, revision={str(revision)!r}" if revision else repr(checkpoint)
    return f'uv run python -c "import huggingface_hub as h; print(h.model_info({chosen}).sha)"'
