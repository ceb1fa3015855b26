"""Writing files so that a reader never sees half of one."""

import contextlib
import errno
import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wheretolisten.errors import UserError


@contextlib.contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` and move it there when the block succeeds.

    The suffix is kept, because writers choose their format by it. On an exception the temporary file is removed and
    an existing target stays as it was.

    Raises
    ------
    UserError
        If the disk is full.
    """
    target = Path(target)
    with full_disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # What a killed job was writing is as large as a result and of no use to anyone.
        for left_over in target.parent.glob(f".{glob.escape(target.stem)}.????????{target.suffix}"):
            left_over.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp creates files readable by the owner only; results are shared within a group.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_named(target: str | Path) -> Iterator[None]:
    """Turn the error of a full disk, or of a used-up quota, into a `UserError` that names `target`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{target}: cannot be written, the disk is full ({os.strerror(error.errno)}); make room and start the run "
            "again, which goes on after what is finished"
        ) from error


def write_text(target: str | Path, text: str) -> None:
    """Write `text` (UTF-8, newline "\\n") to `target` atomically."""
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8", newline="\n")


def sha256_of_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
