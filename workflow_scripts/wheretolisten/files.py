"""Writing files so that a reader never sees half of one, and naming what keeps a file from being read or written."""

import contextlib
import errno
import glob
import hashlib
import os
import re
import shlex
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
        If the disk is full, or the operating system refuses the file for another reason (`refusal`).
    """
    target = Path(target)
    with refusals_named(target, "written"):
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


_AGAIN = "then run the same command again"

_REFUSALS = {
    (errno.ENOENT,): (
        "there is no such file",
        f"check the path, and whether its storage is mounted, {_AGAIN}",
    ),
    (errno.EISDIR,): ("it is a folder", f"correct the path, or move the folder away, {_AGAIN}"),
    (errno.ENOTDIR,): ("its path leads through a file", f"correct the path, or move that file away, {_AGAIN}"),
    (errno.EACCES, errno.EPERM): (
        "you lack the permission",
        f"ask its owner for it, or change it (chmod, chown) there and on the folders above, {_AGAIN}",
    ),
    (errno.EROFS,): ("its storage is mounted read-only", f"have it mounted for writing, or work elsewhere, {_AGAIN}"),
    (errno.EAGAIN, errno.EBUSY, errno.EDEADLK, errno.ETXTBSY): (
        "another program holds it",
        f"close the notebook or viewer that has it open (fuser -v {{path}} names it), {_AGAIN}",
    ),
    (errno.ENOLCK,): (
        "its storage has no locks",
        f"unset HDF5_USE_FILE_LOCKING, which asks for them and need not, {_AGAIN}",
    ),
    (errno.EMFILE,): ("too many files are open", f"raise the limit (ulimit -n 4096), {_AGAIN}"),
    (errno.ENFILE,): ("too many files are open on this machine", f"end programs that hold many, {_AGAIN}"),
    (errno.ENOMEM,): ("there is no memory left", f"end other programs or ask for more memory, {_AGAIN}"),
    (errno.ENAMETOOLONG,): ("its name is too long", f"choose shorter names, {_AGAIN}"),
    (errno.ELOOP,): ("links lead in a circle", f"correct them, {_AGAIN}"),
    (errno.ENOSPC, errno.EDQUOT): (
        "the disk is full",
        "make room and start the run again, which goes on after what is finished",
    ),
}
"""Numbers of the operating system → what it refuses, and the way out."""

_OTHERWISE = ("the system or its storage fails", f"wait until it answers, or ask who runs it, {_AGAIN}")
"""The same for every other number: ESTALE and EIO, and what network storage says of its connection."""

_NO_MEMORY = re.compile("allocation failed|allocate memory|unable to allocate", re.IGNORECASE)
"""How HDF5 and numpy say that they got no memory, without a number."""

_OF_CONTENT = {0, errno.EINVAL, errno.EFAULT, errno.EOVERFLOW}
"""Numbers that come from a nonsensical position or length, so from what stands in a file."""


def refusal(path: str | Path, error: BaseException, done: str = "read") -> UserError | None:
    """The error as what the operating system refuses about a file; None where it is about the file's content.

    Locks, permissions and storage come and go, and tell nothing of what is in a file: no way out touches that.

    Parameters
    ----------
    path
        The file, as the sentence names it.
    error
        What was raised on opening, reading or writing it.
    done
        What cannot be done: `read`, `written`, or `used` where either may have been tried.
    """
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"\berrno = (\d+)", str(error))):
        number = int(found[1])  # of h5py, which keeps the number in the text where it raises no OSError
    if isinstance(error, MemoryError) or (number is None and _NO_MEMORY.search(str(error))):
        number = errno.ENOMEM
    # Storage says in many ways that it has no locks; one that somebody else has is refused as EAGAIN.
    no_locks = "unable to lock" in str(error) and number != errno.EAGAIN
    if number is None or (number in _OF_CONTENT and not no_locks):
        return None
    kind = errno.ENOLCK if no_locks else number
    what, way_out = next((refused for numbers, refused in _REFUSALS.items() if kind in numbers), _OTHERWISE)
    way_out = way_out.format(path=shlex.quote(str(path)))
    return UserError(f"{path}: cannot be {done}, {what} ({os.strerror(number)}); {way_out}")


@contextlib.contextmanager
def refusals_named(path: str | Path, done: str = "read") -> Iterator[None]:
    """Turn what the operating system refuses in the block into a `UserError` that names `path` (`refusal`).

    An error that names a file elsewhere is not about `path`, and left as it is.
    """
    try:
        yield
    except OSError as error:
        refused = None if _lies_elsewhere(error.filename, path) else refusal(path, error, done)
        if refused is None:
            raise
        raise refused from error


def _lies_elsewhere(named: object, path: str | Path) -> bool:
    if not isinstance(named, str):
        return False
    found, own = (Path(os.path.abspath(each)) for each in (named, path))
    return found not in (own, *own.parents) and own.parent not in found.parents


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
