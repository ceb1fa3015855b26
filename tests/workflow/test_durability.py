"""What may happen to a run - a kill at any moment, a full disk, a damaged file, a second run - costs no result."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from .conftest import NOT_COPIED, ONE_STUDY, Copy, contents, kill

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

N_KILLS, N_STOPS = 8, 2
"""Kills that a run goes on after, and how often each run is stopped and looked at before: what is on the disk while all
its processes stand still is what a kill would leave, and costs no start of everything."""

ONE = ONE_STUDY | {
    "sounds": {"synthetic": {"clips_per_label": 2}},
    "studies": ONE_STUDY["studies"] | {"strength": {"first": 2}, "scored-layers": None},
    "shard_seconds": 80,  # all four samples
}
"""One model, and examples of one shard: as few jobs as pass through every rule up to the tables."""


@pytest.fixture(scope="module")
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A copy of the repository in which the tables were made without disturbance. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("undisturbed") / "clone"
    shutil.copytree(root, folder, ignore=NOT_COPIED)
    copy = Copy(folder)
    copy.run("tables", overlay=ONE)
    return copy


@contextlib.contextmanager
def stopped(process: subprocess.Popen) -> Iterator[None]:
    """A process and all that it started stand still."""
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def wait_for_lock(process: subprocess.Popen, copy: Copy) -> None:
    """Wait until a run has locked its folder, which it does before the first job; or until it ends."""
    while process.poll() is None and not any((copy.folder / ".snakemake/locks").glob("*")):
        time.sleep(0.02)


def test_kills_at_random_moments_cost_nothing_but_time(undisturbed, clean_copy):
    expected = contents(undisturbed.folder)
    times = [path.stat().st_mtime for path in (undisturbed.folder / "results").rglob("*.*")]
    length = max(times) - min(times)
    moments = random.Random(20)
    states, finished = [], 0

    def n_results() -> int:
        found = contents(clean_copy.folder)
        assert {name for name in found if found[name] != expected[name]} == set(), "a file is there in part"
        return sum(not name.endswith(".flac") for name in found)

    while len(states) < N_KILLS:
        process = clean_copy.start("tables", overlay=ONE)
        wait_for_lock(process, clean_copy)
        # Long enough for some jobs to end, short enough for the kills to be spread over the whole run.
        *stops, end = sorted(moments.uniform(0, length / 3) for _ in range(N_STOPS + 1))
        output = None
        for wait in np.diff([0, *stops, end]):
            try:
                output, _ = process.communicate(timeout=wait)
                break
            except subprocess.TimeoutExpired:
                with stopped(process):
                    n_results()
        if output is None:
            kill(process)
            states.append(n_results())
            if states[-2:-1] == states[-1:]:
                length *= 1.1  # nothing ended: the machine may be busier than when the length was measured
            # What --unlock does, without the start of Snakemake that would take as long as the run between two kills.
            shutil.rmtree(clean_copy.folder / ".snakemake/locks", ignore_errors=True)
        else:
            assert process.returncode == 0, output[-5000:] + clean_copy.failed_logs(output)
            assert contents(clean_copy.folder) == expected
            shutil.rmtree(clean_copy.folder / "results")
            finished += 1
    clean_copy.run("tables", overlay=ONE)
    assert contents(clean_copy.folder) == expected
    left_over = {path.name for pattern in (".*", "*.parts") for path in (clean_copy.folder / "results").rglob(pattern)}
    assert left_over <= {".snakemake_timestamp"}  # of Snakemake itself, in folders
    n_expected = sum(not name.endswith(".flac") for name in expected)
    assert finished or max(states) - min(states) > n_expected / 3, f"the kills were not spread: {states}"


def test_a_full_disk_is_named_and_the_run_goes_on_after_room_is_made(undisturbed, clean_copy, small_disk):
    def resize(n_bytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={n_bytes}", small_disk], check=True)

    resize(64_000_000)
    (clean_copy.folder / "results").symlink_to(small_disk)
    clean_copy.run("examples", overlay=ONE)
    before, expected = contents(clean_copy.folder), contents(undisturbed.folder)
    resize(shutil.disk_usage(small_disk).used + 40_000)  # one batch of one job
    output = clean_copy.run("states", "--cores", "1", overlay=ONE, fails=True)
    assert re.search(r"Disk: +results/ is full \(0 MB free\); make room first", output)
    logs = [path.read_text() for path in small_disk.glob("logs/extract_activations/*/*/*.log")]
    sentence = r"ERROR results/(?:states|unsteered|frames)/\S+\.h5: cannot be written, the disk is full .*; make room"
    assert any(re.search(sentence, log) for log in logs), logs
    assert not any("Traceback" in log for log in logs), logs
    after = contents(clean_copy.folder)
    assert {name: after.get(name) for name in before} == before
    assert {name for name in after if after[name] != expected[name]} == set(), "a file is there in part"

    resize(64_000_000)
    clean_copy.run("directions", overlay=ONE)
    after = contents(clean_copy.folder)
    assert "directions/sequences/tiny-qwen2-audio.h5" in after
    assert {name for name in after if after[name] != expected[name]} == set()


def test_a_damaged_result_is_refused_with_the_command_that_rebuilds_it(undisturbed, tmp_path):
    shutil.copytree(undisturbed.folder, tmp_path / "changed", symlinks=True)
    copy = Copy(tmp_path / "changed")
    directions = copy.folder / "results/directions/sequences/tiny-qwen2-audio.h5"
    before = directions.read_bytes()
    damaged = copy.folder / "results/states/sequences/tiny-qwen2-audio/0.h5"
    with h5py.File(damaged) as file:
        chunk = file["states/positive"].id.get_chunk_info(0)
    content = bytearray(damaged.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    damaged.write_bytes(content)

    copy.run("directions", overlay=ONE, fails=True)
    log = (copy.folder / "results/logs/average_vectors/sequences/tiny-qwen2-audio.log").read_text()
    (way_out,) = re.findall(r"0\.h5: the file is damaged .*; delete it \((rm .*)\) and run the same command again", log)
    subprocess.run(way_out, shell=True, cwd=copy.folder, check=True)
    copy.run("directions", overlay=ONE)
    assert directions.read_bytes() == before
    assert damaged.exists()


def test_a_second_run_on_the_same_results_is_refused_and_the_first_goes_on(clean_copy):
    first = clean_copy.start("examples", overlay=ONE)
    wait_for_lock(first, clean_copy)
    with stopped(first):
        refusal = clean_copy.run("examples", overlay=ONE, fails=True)
    assert "Directory cannot be locked" in refusal
    assert "no other Snakemake process" in refusal
    assert "--unlock" in refusal
    output, _ = first.communicate()
    assert first.returncode == 0, output[-5000:]
    assert (clean_copy.folder / "results/examples/sequences/events.csv").exists()
