"""Arguments of scripts, as rules pass them: by name, and all of them."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from wheretolisten.errors import UserError


def parse(
    about: str | None, argv: Sequence[str] | None, **kinds: Callable[[str], Any] | list[Callable[[str], Any]]
) -> argparse.Namespace:
    """Arguments of a script; every one of them must be given.

    Parameters
    ----------
    about
        What the script does: its docstring.
    argv
        The words to read; None: those that the script was called with.
    kinds
        Name of each argument → what makes a value of a word (`str`, `Path`, `Section.from_json`), in a list where any
        number of words follow: `pdf=[Path]` reads `--pdf a.pdf b.pdf`.
    """
    parser = argparse.ArgumentParser(description=about)
    for name, kind in kinds.items():
        number = {"type": kind[0], "nargs": "*"} if isinstance(kind, list) else {"type": kind}
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, **number)
    return parser.parse_args(argv)


def wrong_settings(error: ValidationError, kind: type[BaseModel]) -> UserError:
    """What to tell of settings in JSON that are not of their kind: the first problem."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"])) or "the whole"
    return UserError(f"--settings: {place}: {problem['msg']}; see {kind.__name__} for the fields")


def by_model(models: Sequence[str], *files: Sequence[Any]) -> Iterator[tuple[str, *tuple[Sequence[Any], ...]]]:
    """Each model with its part of every list of files, which are listed model by model, equally many of each.

    Raises
    ------
    ValueError
        If a list has no equal part for every model.
    """
    for listed in files:
        if len(listed) % len(models):
            raise ValueError(f"{len(listed)} files of {len(models)} models: {', '.join(map(str, listed))}")
    for number, model in enumerate(models):
        parts = [len(listed) // len(models) for listed in files]
        yield model, *(listed[number * n : (number + 1) * n] for listed, n in zip(files, parts, strict=True))
