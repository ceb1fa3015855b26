"""The checked configuration as YAML, every key spelled out."""

import json
import re
from collections.abc import Iterator
from typing import Any

from wheretolisten.config.sections import Section


def as_yaml(section: Section) -> str:
    """Block mappings with sorted keys; scalars and lists as in JSON, which YAML reads alike.

    PyYAML is Snakemake's, and not everywhere where scripts run.
    """
    return "\n".join(_lines(section.model_dump(mode="json"), "")) + "\n"


def _lines(values: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in sorted(values.items()):
        if isinstance(value, dict) and value:
            yield f"{indent}{_key(key)}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{_key(key)}: {_flow(value)}"


def _key(name: str) -> str:
    """Bare where it can be read as nothing but a name; YAML 1.1 takes some words, such as no, for truth values."""
    plain = re.fullmatch(r"[a-z][a-z0-9_.-]+", name) and name not in ("null", "true", "false", "yes", "no", "on", "off")
    return name if plain else json.dumps(name)


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)}: {_flow(each)}' for key, each in sorted(value.items()))}}}"
    # JSON writes a character beyond U+FFFF as two escapes, which YAML reads as two characters.
    text = re.sub(r"\\ud[89ab]..\\ud[c-f]..", lambda pair: json.loads(f'"{pair[0]}"'), json.dumps(value))
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # 1e-08 is a string to YAML 1.1
    return text
