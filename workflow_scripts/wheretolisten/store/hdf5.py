"""The one place that opens HDF5 files to read them, and tells a damaged file from one that cannot be had just now."""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import h5py

from wheretolisten.errors import UserError
from wheretolisten.files import refusal

_DAMAGE = (OSError, KeyError, RuntimeError, TypeError, ValueError, MemoryError)
"""What h5py raises when it reads a damaged file; some may be the operating system's, too (h5py#1082, #1101)."""


class DamagedFileError(UserError):
    """A file in which HDF5 or a digest finds what cannot be right; `reason` says what."""

    def __init__(self, path: str | Path, reason: str, way_out: str) -> None:
        super().__init__(f"{path}: the file is damaged ({reason}); {way_out}")
        self.reason = reason


@contextlib.contextmanager
def open_hdf5(path: str | Path, way_out: str) -> Iterator[h5py.File]:
    """Open a file to read, and check all that the block reads of it.

    No lock is taken, so that storage without locks serves, and a notebook that holds a result stops no run. A lock
    would guard nothing: a result is written under another name, takes its place whole, and never changes after; a file
    that another program opens for writing is marked by HDF5 in the file itself, and refused here. Who sets
    HDF5_USE_FILE_LOCKING to another value gets the locks: HDF5 puts it before this choice.

    Parameters
    ----------
    path
        The file.
    way_out
        What to do if it is damaged.

    Raises
    ------
    DamagedFileError
        If the content is at fault.
    UserError
        If the operating system refuses the file, or another program has it open for writing.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except _DAMAGE as error:
        if refused := refusal(path, error):
            raise refused from error
        reason = " ".join(str(error).split())
        if "already open for" in reason:
            raise UserError(
                f"{path}: cannot be read, another program has it open for writing, or was killed while it had; close "
                "the notebook or viewer that has it open or, if none has, take away the mark that it left (h5clear -s "
                f"{shlex.quote(str(path))}, from the HDF5 tools), then run the same command again"
            ) from error
        raise DamagedFileError(path, reason, way_out) from error
