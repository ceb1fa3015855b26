"""The configuration as Snakemake read it, checked and typed."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wheretolisten.config import on_disk
from wheretolisten.config.places import keys_of_arguments, place_of, refuse_repeated_keys
from wheretolisten.config.sections import Section, problems_of
from wheretolisten.config.studies import AnyStudy, Study
from wheretolisten.config.workflow import Config
from wheretolisten.errors import UserError


def find_places(files: Sequence[str | Path], arguments: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Place of every key, as in "my.yaml: line 3", by its dotted path.

    Parameters
    ----------
    files
        Configuration files in the order in which they are merged: of a key that several name, the last one counts.
    arguments
        What the command line sets, which comes after all files.

    Raises
    ------
    UserError
        If a file is no UTF-8 text, no YAML or without keys, or names something twice; or if an entry gets another type
        than it has in a file before.
    """
    places: dict[str, str] = {}
    types: dict[tuple[str, ...], tuple[str, Any]] = {}
    for keys in [*map(refuse_repeated_keys, files), keys_of_arguments(arguments or {})]:
        for path, (place, value) in keys.items():
            places[".".join(path)] = place
            if path[0] not in ("sounds", "examples"):
                continue
            if len(path) == 3 and path[2] == "type":
                first_place, first = types.setdefault(path[:2], (place, value))
                if value != first:
                    # Merged, it would be one with the other keys of the first.
                    raise UserError(
                        f"{place}: {'.'.join(path)}: {path[1]!r} is of type {first} already ({first_place}), and an "
                        f"entry keeps its type; give yours another name, and take that one out with `{path[1]}: null`"
                    )
    return places


def load(raw: Mapping[str, Any], root: str | Path | None = ".", places: Mapping[str, str] | None = None) -> Config:
    """Check raw configuration and return it typed.

    Parameters
    ----------
    raw
        What Snakemake read from config.yaml and `--config`.
    root
        Folder that relative paths in the configuration start from; None: what they name is not looked at. Where it is
        not the working directory, the paths of sounds and examples are returned absolute. That of a checkpoint
        names the model in all results and stays as it is: `checkpoint.folder_of` finds it.
    places
        Where every key stands, from `find_places`; by default all of them in config.yaml.

    Raises
    ------
    UserError
        Naming every wrong key, the file and line that it stands on, its value and what to do.
    """
    try:
        config = Config.model_validate(raw)
        if root is not None:
            root = Path(root).resolve()
            on_disk.check(config, root)
    except (ValidationError, UserError) as error:
        problems = problems_of(error) if isinstance(error, ValidationError) else [str(error)]
        by_place = itertools.groupby(problems, lambda problem: place_of(problem, places or {}))
        raise UserError("; ".join(f"{place}: {'; '.join(group)}" for place, group in by_place)) from error
    if root in (None, Path.cwd()):
        return config
    return config.model_copy(
        update={
            section: {name: _at(root, entry) for name, entry in getattr(config, section).items()}
            for section in ("sounds", "examples")
        }
        | {"studies": {name: _effects_at(root, study) for name, study in config.studies.items()}}
    )


_PATHS = ("path", "csv", "audio", "events", "names")
"""Keys of sounds and examples that name files of the user."""


def _at(root: Path, entry: Section) -> Section:
    paths = {key: getattr(entry, key, None) for key in _PATHS}
    return entry.model_copy(
        update={
            key: [str(root / each) for each in path] if isinstance(path, list) else str(root / path)
            for key, path in paths.items()
            if path is not None
        }
    )


def _effects_at(root: Path, study: AnyStudy) -> AnyStudy:
    """A study, the tables that its effects or its unlearning name found from a folder."""

    def at(path: str | None) -> str | None:
        return None if path is None else str(root / path)

    if not isinstance(study, Study):
        return study
    if study.readout == "interruption":
        return study  # it names none
    if study.readout == "unlearning":
        facts = study.unlearning
        paths = {"neutral": at(facts.neutral), "guardrail": at(facts.guardrail)}
        return study.model_copy(update={"unlearning": facts.model_copy(update=paths)})
    given = study.effects
    axes = {
        name: axis
        if axis.check is None
        else axis.model_copy(update={"check": axis.check.model_copy(update={"words": at(axis.check.words)})})
        for name, axis in given.axes.items()
    }
    arms = {name: arm.model_copy(update={"features": at(arm.features)}) for name, arm in given.arms.items()}
    paths = {"neutral": at(given.neutral), "guardrail": at(given.guardrail), "arms": arms}
    if given.decay is not None:
        paths["decay"] = given.decay.model_copy(update={"prompts": at(given.decay.prompts)})
    return study.model_copy(update={"effects": given.model_copy(update={"axes": axes} | paths)})
