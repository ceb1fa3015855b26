"""What result files say about how they were made."""

import shlex
from pathlib import Path
from typing import Any

import h5py

from wheretolisten.errors import UserError
from wheretolisten.store.schema import DAMAGE, digest_of_attributes


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Attributes of a result file of any kind, as `PartedFile.merge` wrote them.

    Raises
    ------
    UserError
        If the file is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            attributes = dict(file.attrs)
            if attributes["attributes_digest"] != digest_of_attributes(attributes):
                raise ValueError("its attributes have changed")
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: the file is damaged ({reason}); delete it (rm {shlex.quote(str(path))}) and run the same command "
            "again, which rebuilds it"
        ) from error
    return attributes
