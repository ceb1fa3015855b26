"""What is asked."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

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


def _check_methods(methods: Any) -> Any:
    """Refuse what is neither `all` nor a list of names, in one sentence instead of one per member of a union."""
    if methods == "all":
        return methods
    if not isinstance(methods, list) or not methods or not all(isinstance(name, str) for name in methods):
        raise ValueError(f"{methods!r} is neither all nor a list of names of probe.methods, at least one")
    for name in methods:
        if methods.count(name) > 1:
            raise ValueError(f"method {name!r} is listed twice; keep one of them")
    return methods


class Benchmark(Section):
    """A named benchmark: a clip library, a size, a composition and the methods that answer it."""

    library: str
    n_samples: int = Field(500, ge=1)
    composition: Composition = Composition()
    methods: Annotated[Any, BeforeValidator(_check_methods)] = Field(
        "all", description="steered methods: all of probe.methods, or a list of their names"
    )
