"""A SLURM cluster for the session, and copies of the repository that run on it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import NOT_COPIED, ONE_STUDY, kill

from .cluster import CPUS_PER_NODE, GPUS_PER_NODE, NODE_MB, PACKAGES, Cluster, missing_programs

# SLURM sees no difference between models, and most of a job's time goes into starting it.
SMALL = ONE_STUDY | {
    "sounds": {"synthetic": {"clips_per_label": 3}},
    # One sweep with passes, in one shard.
    "studies": {
        **ONE_STUDY["studies"],
        "strength": {"values": [0, 0.1], "first": 2},
        **dict.fromkeys(("steered-layers", "scored-layers", "layer-weights")),
    },
    "random_draws": 5,
    "direct_prompt": {"max_new_tokens": 4},
}
"""The default run, made small: every rule runs, and there are six shards to steer."""

# Not the names that profiles/slurm/partitions.yaml comes with: a name that hides elsewhere would be noticed.
PARTITIONS = {
    "partitions": {
        "processors": {"max_runtime": "24h", "max_mem_mb": NODE_MB, "max_threads": CPUS_PER_NODE},
        "graphics": {
            "max_runtime": "24h",
            "max_mem_mb": NODE_MB,
            "max_threads": CPUS_PER_NODE,
            "max_gpu": GPUS_PER_NODE,
        },
    }
}


@dataclass(frozen=True)
class Run:
    """A copy of the repository whose runs go to the cluster."""

    folder: Path
    cluster: Cluster
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *arguments: str, overlay: dict[str, Any] | None = None, local: bool = False) -> subprocess.Popen:
        """Start Snakemake in a process group of its own, with an overlay over the small configuration.

        Its output goes to output.txt: a pipe that nobody reads would stop it.
        """
        (self.folder / "small.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
        (self.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay or {}, sort_keys=False))
        # What a user of the cluster edits.
        (self.folder / "profiles/slurm/partitions.yaml").write_text(yaml.safe_dump(PARTITIONS, sort_keys=False))
        command = [str(Path(__file__).parent / "fast_polling.py"), "--latency-wait", "10"]
        if local:
            command += ["--cores", "2"]
        else:
            command += ["--workflow-profile", "profiles/slurm"]
            command += ["--slurm-init-seconds-before-status-checks", "1", "--max-status-checks-per-second", "1"]
        with open(self.folder / "output.txt", "w") as output:
            process = subprocess.Popen(
                [sys.executable, *command, *arguments, "--configfile", "small.yaml", "overlay.yaml"],
                cwd=self.folder,
                env=self.environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def recover(self) -> None:
        """Run the command that clears up after a killed Snakemake."""
        subprocess.run(["profiles/slurm/recover.sh"], cwd=self.folder, env=self.environment(), check=True, timeout=200)

    def environment(self) -> dict[str, str]:
        """The cluster's, with this Python's programs in front."""
        environment = self.cluster.environment() | {"OMP_NUM_THREADS": "1"}
        environment["PATH"] = os.pathsep.join(
            [str(self.cluster.folder / "bin"), str(Path(sys.executable).parent), environment["PATH"]]
        )
        # A job starts Python three times; cached byte code makes that several times faster.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment

    def run(self, *arguments: str, fails: bool = False, seconds: float = 1800, **options: Any) -> str:
        """Run Snakemake to its end and return what it printed."""
        return self.finish(self.start(*arguments, **options), fails=fails, seconds=seconds)

    def finish(self, process: subprocess.Popen, fails: bool = False, seconds: float = 1800) -> str:
        """Wait for the end of a run and return what it printed."""
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after {seconds} s:\n{self.output()[-5000:]}") from None
        finally:
            # Too slow, or the tests were interrupted, which a process group of its own does not hear of.
            if process.poll() is None:
                kill(process)
        assert (process.returncode != 0) == fails, self.output()[-5000:] + self.logs_of_jobs()
        return self.output()

    def output(self) -> str:
        """What the last run printed."""
        return (self.folder / "output.txt").read_text()

    def logs_of_jobs(self) -> str:
        """Ends of the logs that SLURM wrote."""
        logs = sorted(self.folder.glob(".snakemake/slurm_logs/**/*.log"))
        return "".join(f"\n--- {path}\n{path.read_text(errors='replace')[-1500:]}" for path in logs[-5:])

    def wait_for(self, process: subprocess.Popen, condition: Callable[[], Any], seconds: float = 600) -> Any:
        """Wait until a condition holds while Snakemake runs, and return its value."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert process.poll() is None, f"the run ended too early:\n{self.output()[-5000:]}"
            assert time.monotonic() < deadline, f"not within {seconds} s:\n{self.output()[-5000:]}"
            time.sleep(0.2)
        return value

    def records(self, rule: str = "") -> list[dict[str, str]]:
        """SLURM's own records of this folder's jobs, of one rule or group where it is given; all jobs have ended."""
        deadline = time.monotonic() + 60
        while True:
            jobs = self.cluster.records(self.folder)
            if all(job["End"] != "Unknown" for job in jobs):
                return [job for job in jobs if job["Comment"].startswith(f"rule_{rule}")]
            # The accounting database hears of an end a moment later than Snakemake.
            assert time.monotonic() < deadline, jobs
            time.sleep(0.2)


@contextlib.contextmanager
def handling(handler: Any, *signals: int) -> Iterator[None]:
    """Handle signals in another way for a while, those excepted that are ignored (nohup)."""
    heard = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real SLURM cluster of three nodes on this machine."""
    missing = missing_programs()
    if missing:
        reason = f"SLURM is not installed ({', '.join(missing)}): apt-get install {' '.join(PACKAGES)}"
        # Where it must run, a cluster that is missing is a failure and not a reason to skip.
        pytest.fail(reason) if os.environ.get("REQUIRE_SLURM") else pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = Cluster(folder)
    # pytest ends in good order after Ctrl-C; told to terminate (by CI, by timeout), it would leave the cluster behind.
    with handling(lambda *_: pytest.exit("terminated"), signal.SIGTERM, signal.SIGHUP):
        try:
            cluster.start()
            yield cluster
        finally:
            with handling(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                cluster.stop()
                shutil.rmtree(folder)


@pytest.fixture(scope="session")
def clips(cluster: Cluster, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the repository in which the clips are made. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("clips") / "clone"
    shutil.copytree(root, folder, ignore=NOT_COPIED)
    run = Run(folder, cluster)
    run.run("results/sounds/synthetic/clips.csv", local=True)
    return run


@pytest.fixture
def run(clips: Run, tmp_path: Path) -> Iterator[Run]:
    """A copy of the repository in which the clips are made, to run in."""
    shutil.copytree(clips.folder, tmp_path / "clone", symlinks=True)
    run = Run(tmp_path / "clone", clips.cluster)
    yield run
    for process in run.started:
        if process.poll() is None:
            kill(process)


@pytest.fixture(scope="session")
def finished(cluster: Cluster, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole workflow, run on the cluster. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("finished") / "clone"
    shutil.copytree(root, folder, ignore=NOT_COPIED)
    run = Run(folder, cluster)
    run.run()
    return run
