"""Replacing a folder of results as a whole."""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wheretolisten.files import refusals_named


@contextlib.contextmanager
def replaced_folder(target: str | Path) -> Iterator[Path]:
    """Yield a new folder beside `target` that takes the place of `target` when the block succeeds.

    So nothing of an earlier run stays in it. On an exception the new folder is removed and `target` stays as it was.

    Raises
    ------
    UserError
        If the disk is full, or the operating system refuses the folder for another reason (`files.refusal`).
    """
    target = Path(target)
    with refusals_named(target, "written"):
        target.parent.mkdir(parents=True, exist_ok=True)
        for left_over in target.parent.glob(f".{glob.escape(target.name)}.????????"):
            shutil.rmtree(left_over, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            yield temporary
            # mkdtemp makes folders that only the owner can enter; results are shared within a group.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o777 & ~umask)
            if target.exists():
                shutil.rmtree(target)
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
