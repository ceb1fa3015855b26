"""Where the keys of a configuration stand: in which file, on which line."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wheretolisten.errors import UserError

Keys = dict[tuple[str, ...], tuple[str, Any]]
"""Path of a key → the place where it stands, and its value where that is a single one, else `...`."""


def place_of(problem: str, places: Mapping[str, str]) -> str:
    """The place of the key that a problem is about.

    Parameters
    ----------
    problem
        A sentence that starts with a dotted path. Where no such key stands in a file, the place is that of the section
        it belongs to.
    places
        Dotted path of every key → where it stands.
    """
    # A section's own check may name the path in two parts: "methods: sample.steering: ...".
    path = problem.replace(": ", ".").split(" ")[0]
    while path and path not in places:
        path = path.rpartition(".")[0]
    return places.get(path, "config.yaml")


def refuse_repeated_keys(path: str | Path) -> Keys:
    """Keys of a configuration file; one that names something twice is refused: YAML would keep the last without a word.

    Raises
    ------
    UserError
        Naming the file, the line and what is wrong there.
    """
    import yaml  # comes with Snakemake, and jobs do without it

    file = os.path.relpath(path)
    file = str(path) if file.startswith(os.pardir) else file
    content = Path(path).read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file}: line {line}: this is not UTF-8 text; save the file as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        if _is_json(text):
            return {}  # Snakemake reads it as JSON, where tabs are allowed
        mark = getattr(error, "problem_mark", None)
        line, problem = (f"line {mark.line + 1}: ", error.problem) if mark else ("", " ".join(str(error).split()))
        raise UserError(f"{file}: {line}this is not YAML ({problem}); correct it, and indent by spaces") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{file}: the file holds no keys; write sections of config.yaml into it, such as models")
    found: Keys = {}
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while waiting:
        parents, node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(((*parents, str(number)), item) for number, item in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                line, inner = key.start_mark.line + 1, (*parents, str(key.value))
                if inner in found:
                    raise UserError(f"{file}: line {line}: {key.value!r} is named twice; rename or remove one")
                is_null = value.tag == "tag:yaml.org,2002:null"
                single = None if is_null else value.value if isinstance(value, yaml.ScalarNode) else ...
                found[inner] = (f"{file}: line {line}", single)
                waiting.append((inner, value))
    return found


def keys_of_arguments(values: Mapping[str, Any], parents: tuple[str, ...] = ()) -> Keys:
    """Keys that the command line sets."""
    found: Keys = {}
    for key, value in values.items():
        path = (*parents, str(key))
        found[path] = ("--config", ... if isinstance(value, Mapping) else value)
        if isinstance(value, Mapping):
            found |= keys_of_arguments(value, path)
    return found


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
