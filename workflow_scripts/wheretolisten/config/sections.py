"""What all sections of the configuration have in common."""

import json
import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wheretolisten.errors import UserError

UserPath = Annotated[str, AfterValidator(os.path.expanduser)]
"""A path that a user writes. `~` at its begin is spelled out here, so that nothing after the configuration sees it."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


UserPaths = Annotated[
    list[UserPath],
    BeforeValidator(_listed, json_schema_input_type=UserPath | list[UserPath]),
    Field(min_length=1),
]
"""One such path or several of them."""

SHORTEST_SECONDS = 0.1
"""Shortest clip and shortest event."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are refused, values are frozen and strictly typed where it matters."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_numbers(cls, values: Any) -> Any:
        # pydantic would take yes and no, which YAML reads as true and false, for 1 and 0.
        for key, field in cls.model_fields.items():
            numeric = field.annotation in (int, float, int | None)
            if numeric and isinstance(values, dict) and isinstance(values.get(key), bool):
                raise ValueError(f"{key} must be a number, not {values[key]}")
        return values

    def as_json(self) -> str:
        """The section as canonical JSON (sorted keys), fit for a command line and for a digest."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> "Section":
        """Parse what `as_json` wrote.

        Raises
        ------
        UserError
            If the text does not fit the section.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise UserError(first_sentence(error, "--settings")) from error


def check_interval(interval: tuple[float, float], key: str) -> None:
    low, high = interval
    if not SHORTEST_SECONDS <= low <= high <= 600:
        raise ValueError(
            f"{key} must be [shortest, longest] with {SHORTEST_SECONDS:g} <= shortest <= longest <= 600 seconds"
        )


def check_template(text: str, key: str, required: set[str], optional: frozenset[str] | set[str] = frozenset()) -> None:
    try:
        text.format(**dict.fromkeys(required, "dog"), **dict.fromkeys(optional, 1.0))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{key}: cannot fill {text!r}: {error}; it may use {sorted(required | optional)}") from None
    for name in required:
        if f"{{{name}}}" not in text:
            raise ValueError(f"{key} must contain {{{name}}}")


def check_word_or(value: Any, words: tuple[str, ...], section: type[Section], example: str) -> Any:
    """A value that is one of some words, or a section; one sentence instead of one per member of a union.

    Raises
    ------
    ValueError
        If it is neither; `example` says what a section looks like.
    """
    if isinstance(value, section) or value in words:
        return value
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is none of {', '.join(words)}, and {example}")
    try:
        return section.model_validate(value)
    except ValidationError as error:
        raise ValueError("; ".join(problems_of(error))) from None


def check_repetition(names: list[str], what: str = "label") -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is listed twice; keep one of them")


def check_rising(values: list[float], what: str = "strengths") -> None:
    if values != sorted(set(values)):
        raise ValueError(f"{what}: write each once, the lowest first")


def first_sentence(error: ValidationError, where: str) -> str:
    return f"{where}: " + "; ".join(problems_of(error))


def problems_of(error: ValidationError) -> list[str]:
    """What is wrong, one sentence each: the dotted path of a key, a colon, and why."""
    problems = []
    for item in error.errors():
        # The discriminator of a union appears in the location, though the user never wrote it.
        location = ".".join(
            str(part)
            for depth, part in enumerate(item["loc"])
            if depth != 2 or item["loc"][0] not in ("sounds", "examples", "studies")
        )
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key; remove it or correct its spelling"
        elif item["loc"][-1:] == ("[key]",):
            location = ".".join(map(str, item["loc"][:-2]))
            message = f"YAML reads the name {item['input']!r} as no text; put it in quotes"
        elif item["type"] == "missing":
            message = f"the {'value' if isinstance(item['loc'][-1], int) else 'key'} is missing; add it"
        elif item["type"] == "too_short":
            message = "there must be at least one; name it"
        elif item["type"] in {"dict_type", "model_type"}:
            message = f"must hold keys of its own, not {item['input']!r}"
        elif item["type"] == "union_tag_not_found":
            types = "procedural, folder, esc50 or sakura"
            types = types if item["loc"][0] == "sounds" else "sequences, symbolic, questions, mmau, recordings or pairs"
            message = f"the key type is missing; add {types}"
        elif item["type"] != "value_error":
            message = f"{message[0].lower()}{message[1:]}, not {item['input']!r}"
        problems.append(f"{location}: {message}" if location else message)
    return problems
