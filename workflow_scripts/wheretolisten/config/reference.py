"""The configuration described from its types: a reference for people and a JSON schema for editors."""

import json
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wheretolisten.config.studies import Sweep
from wheretolisten.config.workflow import NAMED_ENTRIES, Config

_HEAD = """# Every key of the configuration

Written by `uv run python workflow_scripts/describe_configuration.py` from the types in
`workflow_scripts/wheretolisten/config/`; a test compares. [`config.yaml`](../config.yaml) holds what makes up the
default run, and an overlay needs only the keys that differ. `<name>` stands for names of your own; `name: null` takes
an entry out.
"""


def schema() -> dict[str, Any]:
    """JSON schema of a configuration file. A file may be an overlay: no key is required, and entries may be null."""
    found = _of_overlays(Config.model_json_schema())
    for name in NAMED_ENTRIES:
        section = found["properties"][name]
        section["additionalProperties"] = {"anyOf": [section["additionalProperties"], {"type": "null"}]}
        section.pop("minProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


def as_json() -> str:
    """The schema as it is kept in config.schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def as_markdown() -> str:
    """The reference as it is kept in docs/configuration.md: a table of keys for every section."""
    return _HEAD + "".join(_section("", Config))


def _of_overlays(node: Any) -> Any:
    """A schema that requires no key; without its key type, an entry may then fit more than one kind."""
    if isinstance(node, dict):
        kept = {"anyOf" if key == "oneOf" else key: value for key, value in node.items() if key != "required"}
        return {key: _of_overlays(value) for key, value in kept.items()}
    return [_of_overlays(each) for each in node] if isinstance(node, list) else node


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    if path:
        about = " ".join((model.__doc__ or "").split("\n\n")[0].split())
        yield f"\n## `{path}`\n\n{about}\n"
    yield "\n| key | values | default | meaning |\n|---|---|---|---|\n"
    for name, field in model.model_fields.items():
        cells = (f"`{name}`", _values(field.annotation), _default(field), field.description or "")
        yield f"| {' | '.join(_cell(cell) for cell in cells)} |\n"
    for name, field in model.model_fields.items():
        below = f"{path}.{name}" if path else name
        for nested in _models(field.annotation):
            several = typing.get_origin(field.annotation) is dict
            kind = nested.model_fields.get("type")
            of_type = f" (type: {typing.get_args(kind.annotation)[0]})" if kind else ""
            of_type = of_type or (" (with vary)" if nested is Sweep else "")
            yield from _section(f"{below}.<name>{of_type}" if several else below, nested)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for each in typing.get_args(annotation) for model in _models(each)]


def _values(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_values, arguments)))
    if origin is typing.Annotated:
        return _values(arguments[0])
    if origin is dict:
        return "names with entries" if _models(annotation) else "names with texts"
    if origin in (list, tuple):
        inner = [_values(each) for each in arguments if each is not Ellipsis]
        return f"[{', '.join(inner)}]" if origin is tuple else f"list of {inner[0]}"
    if annotation is type(None):
        return "`null`"
    if _models(annotation):
        return "section"
    return {str: "text", int: "whole number", float: "number", bool: "`true`, `false`"}.get(annotation, "see meaning")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "–"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or (_models(field.annotation) and not isinstance(value, str)):
        return "" if value is not None else "`null`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
