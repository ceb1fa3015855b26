"""A copy of the repository in which Snakemake may run, and a finished small run to change one thing in."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

MODEL = "tiny-qwen2-audio"
"""The model of the small run."""

SMALL = {
    "sounds": {"synthetic": {"clips_per_label": 3}},
    "examples": {
        "sequences": {"n_samples": 6},
        "sequences-exact": {"n_samples": 2},
        "questions": {"n_items": 6},
    },
    # One model, because most of a job's time goes into starting it; the other family goes through the whole workflow
    # with real recordings. One sample to a part, so that a kill in the middle of a shard leaves finished parts.
    "models": {MODEL: {"batch_samples": 1}, "tiny-audio-flamingo-3": None},
    # Of the sweeps one with passes and one without.
    "studies": {"strength": {"values": [0, 0.1]}, "steered-layers": None, "layer-weights": None},
    "random_draws": 5,
    "direct_prompt": {"max_new_tokens": 8},
    "shard_seconds": 60,  # three samples of at most 18.5 s: two shards
}
"""The default run, made small: every rule runs, one of the examples has two shards."""

ONE_STUDY = {
    # Of equal events, so that one study serves all figures.
    "examples": {
        "sequences": {"n_samples": 4, "composition": {"clip_seconds": [5.0, 5.0]}},
        "sequences-exact": None,
        "questions": {"n_items": 4},
    },
    "studies": {
        "localization": {"methods": ["sample", "label_mean", "random_direction"]},
        "localization-exact": None,
        "answers": None,
    },
    "figures": {"attention_change": "localization"},
    "models": {"tiny-audio-flamingo-3": None},
    "shard_seconds": 40,  # two samples of 17 s: two shards
}
"""One model and one study that reads windows, about examples of two shards, for an overlay."""

NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", ".snakemake", "results", ".*_cache", "uv.lock", "*.pyc.*", ".modules.*")
)
"""Byte code comes along, but for what another worker is writing: it goes by time and size of its source, which a copy
keeps."""


@dataclass(frozen=True)
class Copy:
    """A copy of the repository."""

    folder: Path

    def start(self, *arguments: str, overlay: dict | None = None) -> subprocess.Popen:
        """Start Snakemake in a process group of its own, with an overlay over the small configuration."""
        (self.folder / "small.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
        files = ["small.yaml"]
        if overlay is not None:
            (self.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))
            files.append("overlay.yaml")
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments, "--configfile", *files],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, overlay: dict | None = None, fails: bool = False) -> str:
        """Run Snakemake to its end and return what it printed."""
        process = self.start(*arguments, overlay=overlay)
        output, _ = process.communicate()
        logs = "" if fails else self.failed_logs(output)
        assert (process.returncode != 0) == fails, output[-5000:] + logs
        return output

    def planned(self, *arguments: str, overlay: dict | None = None) -> dict[str, int]:
        """Rules that a dry-run would run, with the number of their jobs; named targets left out."""
        return self.jobs_in(self.run("--dry-run", *arguments, overlay=overlay))

    def jobs_in(self, output: str) -> dict[str, int]:
        """The same, from what a dry-run printed."""
        if "Nothing to be done" in output:
            return {}
        table = output[output.index("Job stats:") :]
        jobs = dict(re.findall(r"^(\w+) +(\d+)$", table, flags=re.MULTILINE))
        targets = {*re.findall(r"^rule (\w+):", (self.folder / "Snakefile").read_text(), re.MULTILINE), "total"}
        return {rule: int(n) for rule, n in jobs.items() if rule not in targets}

    def tables(self) -> dict[str, bytes]:
        """Content of every table, by name."""
        folder = self.folder / "results" / "tables"
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
        assert {"overlap.csv", "comparisons.csv", "metrics.csv", "specificity.csv"} <= set(found)
        return found

    def failed_logs(self, output: str) -> str:
        """Tails of the job logs that Snakemake's output names."""
        names = re.findall(r"(results/logs/\S+\.log)", output)
        return "".join(
            f"\n--- {name}\n{(self.folder / name).read_text()[-2000:]}"
            for name in dict.fromkeys(names)
            if (self.folder / name).exists() and "ERROR" in (self.folder / name).read_text()
        )


def contents(folder: Path) -> dict[str, bytes]:
    """Every finished file that a run computes, by name: no logs and timings, nothing that a job left half done."""
    results = folder / "results"
    return {
        str(name): (results / name).read_bytes()
        for name in (path.relative_to(results) for path in results.rglob("*") if path.is_file())
        if name.parts[0] not in ("logs", "performance") and not any(p[0] == "." or ".parts" in p for p in name.parts)
    }


def kill(process: subprocess.Popen) -> None:
    """SIGKILL a process and all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def clean_copy(root: Path, tmp_path: Path) -> Copy:
    """A copy of the repository in which nothing ran yet."""
    shutil.copytree(root, tmp_path / "clone", ignore=NOT_COPIED)
    return Copy(tmp_path / "clone")


@pytest.fixture(scope="session")
def finished_run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy of the repository in which the small run is finished. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("finished") / "clone"
    shutil.copytree(root, folder, ignore=NOT_COPIED)
    copy = Copy(folder)
    copy.run()
    return copy


@pytest.fixture
def changed_copy(finished_run: Copy, tmp_path: Path) -> Copy:
    """A copy of the finished run, to be changed."""
    shutil.copytree(finished_run.folder, tmp_path / "changed", symlinks=True)
    return Copy(tmp_path / "changed")
