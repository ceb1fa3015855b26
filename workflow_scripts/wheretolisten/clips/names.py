"""What labels and paths in tables must not hold; light, because planning asks for it."""

import os
import re
from pathlib import Path


def label_problem(label: str) -> str | None:
    """Why a label cannot be used, to follow the name of what has it; None if it can."""
    if not label:
        return "has no label"
    if re.search(r"[/\\|\x00-\x1f\x7f-\x9f\u2028\u2029]", label):
        return f"has the label {label!r}; a label holds no slash, no '|' and no line break"
    return None


def path_problem(path: str, folder: str | Path) -> str | None:
    """Why a path in a table, relative to `folder`, cannot be followed; None if it can."""
    inside = os.path.normpath(path)
    if os.path.isabs(inside) or inside.split(os.sep)[0] == os.pardir:
        return f"lies outside {folder}: {path!r}"
    return None
