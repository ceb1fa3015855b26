"""What is asked."""

from typing import Literal

from pydantic import Field, model_validator

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.sections import Section, check_interval


class Composition(Section):
    """What one sample of a benchmark is made of (SWL: three clips in sequence, noise between them)."""

    clip_seconds: tuple[float, float] = Field((4.5, 5.5), description="shortest and longest event, in seconds")
    gap_seconds: float = Field(1.0, ge=0, le=60, description="noise between events, in seconds")
    gap_noise: Literal["white", "pink", "silence"] = "white"
    loudness: Literal["untouched", "rms"] = Field("untouched", description="rms: every clip to rms_level first")
    rms_level: float = Field(0.1, gt=0, lt=1, description="root mean square that loudness: rms brings clips to")
    domains: Literal["within", "mixed"] = Field("within", description="labels of a sample from one domain, or any")
    seed: int = Field(2606, ge=0)

    @model_validator(mode="after")
    def _check_range(self) -> "Composition":
        check_interval(self.clip_seconds, "clip_seconds")
        return self

    @property
    def longest_seconds(self) -> float:
        """Upper bound of a sample's duration, in seconds."""
        return len(POSITIONS) * self.clip_seconds[1] + (len(POSITIONS) - 1) * self.gap_seconds


class Benchmark(Section):
    """A named benchmark: a clip library, a size and a composition."""

    library: str
    n_samples: int = Field(500, ge=1)
    composition: Composition = Composition()
