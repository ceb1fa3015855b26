"""Fixtures that all tests share."""

import builtins
import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

from wheretolisten.config import loading as configuration

ROOT = Path(__file__).resolve().parent.parent

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; torch and BLAS, here and in what tests start, would each take all of them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers, unless all that was asked for lies in one file: what it shares would be made by each of them."""
    files = {argument.partition("::")[0] for argument in config.args}
    return 0 if len(files) == 1 and files.pop().endswith(".py") else 2


FINISHED_RUN = tuple(f"tests/workflow/test_{name}.py" for name in ("report", "sweeps", "workflow"))
"""Files whose tests read one finished run, or change copies of it."""

BY_PARAMETER = ("tests/engine/test_families.py", "tests/unit/test_tiny.py")
"""Long files whose tests share what is made for their parameter and nothing else."""

LONGEST = ("cluster", "finished run", "tests/workflow/test_durability.py", "tests/workflow/", *BY_PARAMETER)
"""What the scopes that take longest begin with; the others follow in the order in which they were collected."""


class Scheduling(LoadScopeScheduling):
    """One worker runs all tests that share something dear to make, and what takes longest starts first."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        if file.startswith("tests/slurm/"):
            return "cluster"
        if file in FINISHED_RUN:
            return "finished run"
        if file == "tests/workflow/test_fresh.py":
            return nodeid
        if file in BY_PARAMETER:
            return file + re.sub(r"(-\d+)?\]$", "", test.partition("[")[2])
        return file

    def _assign_work_unit(self, node: Any) -> None:
        def place(scope: str) -> int:
            return next((place for place, start in enumerate(LONGEST) if scope.startswith(start)), len(LONGEST))

        self.workqueue.move_to_end(min(self.workqueue, key=place), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    config.option.loadscopereorder = False  # by number of tests, which says little
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[pytest.TestReport]:
    """What a test printed goes from process to process as text, also the name of a file that is no text."""
    report = yield
    report.sections = [(name, said.encode(errors="backslashreplace").decode()) for name, said in report.sections]
    return report


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
