"""What result files say about how they were made."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wheretolisten.errors import UserError
from wheretolisten.files import write_text
from wheretolisten.store.hdf5 import open_hdf5
from wheretolisten.store.schema import digest_of_attributes


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Attributes of a result file of any kind, as `PartedFile.merge` wrote them, or `write_origin` beside a table.

    Raises
    ------
    UserError
        If the file is damaged or cannot be read (`open_hdf5`).
    """
    way_out = f"delete it (rm {shlex.quote(str(path))}) and run the same command again, which rebuilds it"
    if Path(path).suffix == ".json":
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: the file is damaged ({error}); {way_out}") from error
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
    with open_hdf5(path, way_out) as file:
        attributes = dict(file.attrs)
        if attributes["attributes_digest"] != digest_of_attributes(attributes):
            raise ValueError("its attributes have changed")
    return attributes


def write_origin(path: str | Path, attributes: Mapping[str, Any]) -> None:
    """Write how a table was made beside it, as JSON: attributes of `provenance.of_job`, and where the job ran."""
    shown = dict(attributes) | {"settings": json.loads(attributes["settings"])}
    write_text(Path(path), json.dumps(shown, indent=2, sort_keys=True) + "\n")
