"""What result files say about how they were made."""

import shlex
from pathlib import Path
from typing import Any

from wheretolisten.store.hdf5 import open_hdf5
from wheretolisten.store.schema import digest_of_attributes


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Attributes of a result file of any kind, as `PartedFile.merge` wrote them.

    Raises
    ------
    UserError
        If the file is damaged or cannot be read (`open_hdf5`).
    """
    way_out = f"delete it (rm {shlex.quote(str(path))}) and run the same command again, which rebuilds it"
    with open_hdf5(path, way_out) as file:
        attributes = dict(file.attrs)
        if attributes["attributes_digest"] != digest_of_attributes(attributes):
            raise ValueError("its attributes have changed")
    return attributes
