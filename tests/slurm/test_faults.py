"""What goes wrong on a cluster, made to go wrong on a real one: nothing finished is lost, the end says what is missing.

The faults hit `compose_sequences`, which is quick; what SLURM and Snakemake do about them is the same for every rule.
"""

import os
import re
import signal
from pathlib import Path

import pandas as pd
import pytest

from .conftest import Run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SIX = {"examples": {"sequences": {"n_samples": 6}}}
"""Six samples: three shards."""

HOLD = """
import pathlib, sys, time
shard = pathlib.Path(sys.argv[sys.argv.index("--shard") + 1]).stem
with open(f"started-{shard}", "a") as file:
    file.write("x")
while pathlib.Path(f"hold-{shard}").exists():
    time.sleep(0.1)
"""
"""Put before a script: it notes that it started, and waits while there is a file hold-<shard>."""


def tamper(run: Run, code: str, **replaced: str) -> None:
    """Put code before compose_sequences.py, and replace resources of its rule."""
    script = run.folder / "workflow_scripts/compose_sequences.py"
    script.write_text(code + script.read_text())
    rules = run.folder / "rules/examples.smk"
    text = rules.read_text()
    for key, value in replaced.items():
        text, n = re.subn(rf"\b{key}=doubled\(\d+\)", f"{key}={value}", text)
        assert n == 1
    rules.write_text(text)


def hold(run: Run, *shards: int) -> None:
    for shard in shards:
        (run.folder / f"hold-{shard}").touch()


def release(run: Run, *shards: int) -> None:
    for shard in shards:
        (run.folder / f"hold-{shard}").unlink()


def starts(run: Run, shard: int) -> int:
    """How often the job of a shard started."""
    path = run.folder / f"started-{shard}"
    return len(path.read_text()) if path.exists() else 0


def jobs(run: Run, shard: int) -> list[dict[str, str]]:
    """SLURM's records of the jobs of a shard, oldest first."""
    return [job for job in run.records("compose_sequences") if job["Comment"].endswith(f"_{shard}")]


def states(run: Run, shard: int) -> list[str]:
    """How the jobs of a shard ended, oldest first; "CANCELLED by 0" becomes "CANCELLED"."""
    return [job["State"].split()[0] for job in jobs(run, shard)]


def running(run: Run, shard: int) -> list[dict[str, str]]:
    """The running jobs of a shard, as `Cluster.jobs` lists them."""
    return [job for job in run.cluster.jobs(run.folder, "RUNNING") if job["Comment"].endswith(f"_{shard}")]


def slurm_log(run: Run, shard: int) -> str:
    """What SLURM wrote about the first job of a shard."""
    folder = run.folder / f".snakemake/slurm_logs/rule_compose_sequences/sequences_{shard}"
    return (folder / f"{jobs(run, shard)[0]['JobID']}.log").read_text()


def samples(run: Run) -> list[str]:
    return pd.read_csv(run.folder / "results/examples/sequences/samples.csv")["sample_id"].tolist()


def shard_file(run: Run, shard: int) -> Path:
    return run.folder / f"results/examples/sequences/shards/{shard}.csv"


def test_a_cancelled_job_is_retried(run):
    tamper(run, HOLD)
    hold(run, 1)
    process = run.start("examples")
    run.wait_for(process, lambda: starts(run, 1))
    run.cluster.run("scancel", *(job["JobID"] for job in running(run, 1)))
    run.wait_for(process, lambda: starts(run, 1) == 2)
    release(run, 1)
    run.finish(process)
    assert states(run, 0)[-1] == "COMPLETED"
    assert states(run, 1) == ["CANCELLED", "COMPLETED"]
    assert len(set(samples(run))) == len(samples(run)) == 4


def test_the_job_of_a_node_that_dies_is_finished_on_another(run):
    tamper(run, HOLD)
    hold(run, 0)
    process = run.start("examples")
    run.wait_for(process, lambda: starts(run, 0))
    ((job_id, node, _),) = (job.values() for job in running(run, 0))
    run.cluster.kill_node(node)
    try:
        run.wait_for(process, lambda: starts(run, 0) == 2)
        release(run, 0)
        run.finish(process)
    finally:
        run.cluster.revive_node(node)
    # One job with two records: SLURM put it back into the queue, so it cost no retry.
    before, after = jobs(run, 0)
    assert before["JobID"] == after["JobID"] == job_id
    assert (before["State"], after["State"]) == ("NODE_FAIL", "COMPLETED")
    assert before["NodeList"] == node != after["NodeList"]
    assert starts(run, 0) == 2
    assert len(set(samples(run))) == len(samples(run)) == 4


def test_a_job_over_a_limit_gets_more_and_the_end_says_which_one_never_had_enough(run):
    # Shard 0 fits into the second limit of memory, shard 1 into none, shard 3 into the first; shard 2 takes too long.
    hungry = """
import pathlib, sys, time
shard = pathlib.Path(sys.argv[sys.argv.index("--shard") + 1]).stem
if shard in "01":
    filled = b"x" * {"0": 700_000_000, "1": 2_200_000_000}[shard]
    time.sleep(10)
    del filled
"""
    # One minute is the shortest limit that SLURM knows.
    minutes = "lambda wildcards, attempt: sizing.doubled(1 if wildcards.shard == '2' else 30, attempt)"
    tamper(run, hungry + HOLD, mem_mb="doubled(500)", runtime=minutes)
    hold(run, 2)
    process = run.start("examples", overlay={"examples": {"sequences": {"n_samples": 8}}})
    run.wait_for(process, lambda: run.cluster.jobs(run.folder, "TIMEOUT"))
    release(run, 2)
    output = run.finish(process, fails=True)

    assert states(run, 0) == ["FAILED", "COMPLETED"]
    assert states(run, 1) == ["FAILED", "FAILED", "FAILED"]
    assert states(run, 3) == ["COMPLETED"]
    # The second limit is enough, unless this machine is very busy.
    assert states(run, 2)[0] == "TIMEOUT"
    assert states(run, 2)[-1] == "COMPLETED"
    limits = [job["TimelimitRaw"] for job in jobs(run, 2)]
    assert limits == ["1", "2", "4"][: len(limits)]
    assert [shard_file(run, shard).exists() for shard in range(4)] == [True, False, True, True]
    missing = output[output.index("Missing:") :]
    assert "Missing:  1 results" in missing
    assert "compose_sequences results/examples/sequences/shards/1.csv" in missing
    assert "(120 min, 2000 MB, attempt 3; log: results/logs/compose_sequences/sequences/1.log)" in missing
    assert ".snakemake/slurm_logs/<rule or group>/" in missing
    # What the table of docs/cluster.md tells to look for there.
    assert "exceeded memory limit" in slurm_log(run, 1)
    assert "DUE TO TIME LIMIT" in slurm_log(run, 2)


def test_a_shard_that_always_fails_stops_no_other_not_even_those_packed_with_it(run):
    tamper(run, "import sys\nif '1.csv' in str(sys.argv): sys.exit('shard 1 fails')\n")
    packed = ("--groups", "compose_sequences=composing", "--group-components", "composing=3")
    output = run.run("examples", "--retries", "0", *packed, overlay=SIX, fails=True)
    assert [job["Comment"] for job in run.records()] == ["rule_composing_compose_sequences"]
    assert [shard_file(run, shard).exists() for shard in range(3)] == [True, False, True]
    missing = output[output.index("Missing:") :]
    assert "Missing:  1 results" in missing
    assert "compose_sequences results/examples/sequences/shards/1.csv" in missing
    assert "shard 1 fails" in (run.folder / "results/logs/compose_sequences/sequences/1.log").read_text()


def test_after_sigkill_nothing_is_redone_lost_or_doubled(run):
    tamper(run, HOLD)
    hold(run, 1, 2)
    process = run.start("examples", overlay=SIX)
    # Snakemake has seen the end of shard 0, of five steps.
    run.wait_for(process, lambda: starts(run, 1) and starts(run, 2) and "1 of 5 steps" in run.output())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    orphans = [job["JobID"] for job in run.cluster.jobs(run.folder, "RUNNING")]
    assert len(orphans) == 2
    before = shard_file(run, 0).stat().st_mtime_ns

    # Started again at once, the jobs would run twice; it is refused, by name.
    refusal = run.run("examples", "--nolock", overlay=SIX, fails=True)
    assert "2 jobs of an earlier run still work in this folder" in refusal
    assert all(job in refusal for job in orphans)
    assert len(run.cluster.records(run.folder)) == 3

    run.recover()
    assert run.cluster.jobs(run.folder, "RUNNING") == []
    release(run, 1, 2)
    run.run("examples", overlay=SIX)
    assert [starts(run, shard) for shard in range(3)] == [1, 2, 2]
    assert shard_file(run, 0).stat().st_mtime_ns == before
    assert states(run, 1) == ["CANCELLED", "COMPLETED"]
    assert len(set(samples(run))) == len(samples(run)) == 6
