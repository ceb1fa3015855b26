"""The whole workflow on a cluster, checked against what SLURM itself recorded."""

import re
from pathlib import Path

import pytest

from tests.workflow.conftest import contents
from wheretolisten import sizing

from .cluster import PACKAGES

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

# How often SLURM is asked for a job: a group holds up to three shards, of 2 to extract, 6 to steer, 2 to
# prompt and 2 of questions.
SUBMISSIONS = {
    "prepare_clips": 1,
    "compose_sequences": 2,
    "extract_activations": 1,
    "average_vectors": 1,
    "steer_attention": 2,
    "prompt_directly": 1,
    "map_attention": 1,
    "sweep_attention": 1,
    "analyze_attention": 1,
}
ON_GPU = {rule for rule in SUBMISSIONS if rule.endswith(("_activations", "_attention", "_directly"))}


def rule_of(job: dict[str, str]) -> str:
    """The rule of a job, or of the shards that a group packs into it; of a job that nobody expected, its comment."""
    match = re.fullmatch(rf"rule_(?:\w+_)?({'|'.join(SUBMISSIONS)})(_wildcards_.*)?", job["Comment"])
    return match[1] if match else job["Comment"]


def test_what_was_submitted_and_what_ran_on_this_machine(finished):
    rules = [rule_of(job) for job in finished.records()]
    assert {rule: rules.count(rule) for rule in rules} == SUBMISSIONS
    assert {job["State"] for job in finished.records()} == {"COMPLETED"}
    assert (finished.folder / "results/tables/overlap.csv").exists()


def test_jobs_of_a_model_have_one_gpu_in_the_gpu_partition_and_others_have_none(finished):
    for job in finished.records():
        resources = dict(entry.split("=") for entry in job["AllocTRES"].split(","))
        if rule_of(job) in ON_GPU:
            assert (job["Partition"], resources["gres/gpu"]) == ("graphics", "1"), job
        else:
            assert job["Partition"] == "processors", job
            assert "gres/gpu" not in resources, job
        assert resources["cpu"] == "1", job


def test_packed_shards_get_the_sum_of_their_time_limits_and_the_memory_of_one(finished):
    size = sizing.weight_bytes(finished.folder / "resources/tiny-qwen2-audio", "auto", "auto")
    memory = f"mem={sizing.memory_mb(size, attempt=1)}M"
    # A quarter hour to start and less than a minute of work for each shard; two or three share a job.
    limits = {"extract_activations": "32", "steer_attention": "48", "prompt_directly": "32", "map_attention": "16"}
    limits |= {"sweep_attention": "16", "analyze_attention": "32"}
    for job in finished.records():
        if rule_of(job) in ON_GPU:
            assert job["TimelimitRaw"] == limits[rule_of(job)], job
            assert memory in job["ReqTRES"].split(","), job


def test_jobs_of_models_ran_on_more_than_one_node(finished):
    assert len({job["NodeList"] for job in finished.records() if rule_of(job) in ON_GPU}) > 1


def test_results_are_those_of_a_local_run_to_the_byte(finished, run):
    run.run("tables", local=True)
    local, submitted = contents(run.folder), contents(finished.folder)
    assert {name for name in local if submitted.get(name) != local[name]} == set()
    # What tables do not need.
    more = {name.split("/")[0] for name in submitted.keys() - local.keys()}
    assert more == {"figures", "maps", "report"}


def test_ci_and_documentation_install_the_packages_that_the_cluster_needs(root: Path):
    for name in (".ci/run", "docs/cluster.md"):
        assert " ".join(PACKAGES) in (root / name).read_text(), name
