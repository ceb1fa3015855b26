"""Fixtures that all tests share."""

import builtins
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from wheretolisten.config import workflow as configuration

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture
def raw_config() -> dict:
    """A fresh copy of the default configuration with every key that it leaves out, to be changed by tests."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text())
    full = configuration.load(raw, None).model_dump(mode="json")
    # Methods hold what differs from the section steering only.
    full["methods"] = raw["methods"]
    return full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of 128 kB; `mount -o remount,size=...` makes it larger or smaller."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, text=True
    )
    if not mounted or mounted.returncode:
        pytest.skip(f"a disk to fill needs root and mount: {mounted and mounted.stderr.strip()}")
    yield folder
    # Lazily: a process that a failed test left behind may still hold a file in it.
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def system_refuses(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Call it with a path and an errno: opening that file fails so from then on, for root, too."""
    really_open, numbers = io.open, {}

    def refusing_open(file, *args, **keys):
        if not isinstance(file, int) and (number := numbers.get(os.path.abspath(file))):
            raise OSError(number, os.strerror(number), os.fspath(file))
        return really_open(file, *args, **keys)

    for module in (io, builtins):
        monkeypatch.setattr(module, "open", refusing_open)
    return lambda path, number: numbers.update({os.path.abspath(path): number})


@pytest.fixture(scope="session")
def esc10() -> Path:
    """Folder of real recordings, laid out as ESC-50; not part of a clone."""
    folder = ROOT.parent / "shared" / "data" / "esc10"
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder}; they are not part of the repository")
    return folder
