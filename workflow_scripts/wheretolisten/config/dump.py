"""The checked configuration as YAML, every key spelled out."""

import json
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
            yield f"{indent}{json.dumps(key)}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{json.dumps(key)}: {_flow(value)}"


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    text = json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")  # 1e-08 is a string to YAML 1.1
    return text
