"""Where sounds come from."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from wheretolisten.config.labels import Named, Names, known_instead, refuse_alike
from wheretolisten.config.sections import Section, UserPath, check_interval, check_repetition

PROCEDURAL_LABELS = {
    "animals": ("dog", "cat", "cow", "sheep", "frog", "pig", "hen", "rooster", "crow"),
    "everyday": ("siren", "bell", "horn", "telephone", "whistle", "drum", "engine", "rain", "clock"),
}
"""Sounds that can be synthesised, by domain."""


def _check_domains(domains: dict[str, list[str]] | None) -> dict[str, list[str]] | None:
    if domains == {}:
        raise ValueError("no domain is listed; list one with its labels, or write null for a single one")
    owner: dict[str, str] = {}
    for domain, labels in (domains or {}).items():
        if not labels:
            raise ValueError(f"domain {domain!r} lists no label; add its labels or take it out")
        check_repetition(labels)
        for label in labels:
            if owner.setdefault(label, domain) != domain:
                raise ValueError(f"label {label!r} is listed under {owner[label]!r} and {domain!r}; keep one of them")
    refuse_alike(owner, "label")
    return domains


class _Library(Section):
    on_bad_file: Literal["skip", "refuse"] = Field(
        "skip", description="what to do with a file that is broken, silent or too short: name and skip it, or stop"
    )
    min_seconds: float = Field(0.5, gt=0, description="shorter files count as bad, in seconds")


class ProceduralLibrary(Section):
    """Clips synthesised from code; needs no files."""

    type: Literal["procedural"] = Field(description="synthesised from code; needs no files")
    labels: Names | None = Field(None, min_length=1, description="labels that are synthesised; null: all eighteen")
    clips_per_label: int = Field(40, ge=1, description="different clips of each label")
    clip_seconds: tuple[float, float] = Field((4.5, 5.5), description="shortest and longest clip, in seconds")
    seed: int = Field(1, ge=0, description="of the random numbers that clips are made of")

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, labels: Names | None) -> Names | None:
        known = [label for names in PROCEDURAL_LABELS.values() for label in names]
        for label in labels or ():
            if label not in known:
                raise ValueError(f"there is no procedural sound {label!r}; {known_instead(label, known)}")
        check_repetition(labels or [])
        return labels

    @model_validator(mode="after")
    def _check_range(self) -> "ProceduralLibrary":
        check_interval(self.clip_seconds, "clip_seconds")
        return self

    def labels_by_domain(self) -> dict[str, list[str]]:
        """Domain → the labels that are synthesised; a domain without any is left out."""
        chosen = {
            domain: [label for label in names if self.labels is None or label in self.labels]
            for domain, names in PROCEDURAL_LABELS.items()
        }
        return {domain: labels for domain, labels in chosen.items() if labels}


Domains = Annotated[
    dict[str, Names] | None,
    Named,
    AfterValidator(_check_domains),
    Field(description="domain → its labels; null: one domain, 'sounds'"),
]


class FolderLibrary(_Library):
    """A folder with one sub-folder per label that holds its audio files."""

    type: Literal["folder"] = Field(description="a folder of folders, one per label")
    path: UserPath = Field(description="`<path>/<label>/<file>`, in any format that libsndfile reads")
    domains: Domains = None


class Esc50Library(_Library):
    """A csv beside an `audio` folder, laid out as ESC-50's `meta/esc50.csv`."""

    type: Literal["esc50"] = Field(description="a table beside a folder of audio files, as ESC-50")
    csv: UserPath = Field(
        description="table with the columns filename and category, and optionally fold and a recording id"
    )
    audio: UserPath = Field(description="folder that holds the files named in the table")
    source_column: str | None = Field(
        None, description="column that names the recording a clip was cut from; null: each file is its own source"
    )
    folds: list[int] | None = Field(None, min_length=1, description="keep these folds only; null: all")
    domains: Domains = None


class SakuraLibrary(_Library):
    """A checkout of SAKURA's data: one folder per track, each with `metadata.csv` and its audio."""

    type: Literal["sakura"] = Field(description="a checkout of SAKURA's data")
    path: UserPath = Field(description="folder that holds the folders of tracks")
    tracks: Annotated[dict[str, UserPath], Named] = Field(
        default_factory=lambda: {"animals": "Animal", "languages": "Language"},
        min_length=1,
        description="domain → track folder inside the checkout",
    )


Library = Annotated[
    ProceduralLibrary | FolderLibrary | Esc50Library | SakuraLibrary,
    Field(discriminator="type"),
]
