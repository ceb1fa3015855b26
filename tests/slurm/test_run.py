"""The whole workflow on a cluster, checked against what SLURM itself recorded."""

import re
import shutil
from pathlib import Path

import pytest

from wheretolisten import sizing

from .cluster import PACKAGES
from .conftest import Run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

# How often SLURM is asked for a job: groups hold up to three of 4, 12 and 4 shards.
SUBMISSIONS = {
    "prepare_clips": 1,
    "compose_benchmark": 2,
    "extract_activations": 2,
    "average_vectors": 2,
    "steer_attention": 4,
    "prompt_directly": 2,
    "map_attention": 2,
}
ON_GPU = {"extract_activations", "steer_attention", "prompt_directly", "map_attention"}


def rule_of(job: dict[str, str]) -> str:
    """The rule of a job, or of the shards that a group packs into it."""
    return re.fullmatch(rf"rule_(?:\w+_)?({'|'.join(SUBMISSIONS)})(_wildcards_.*)?", job["Comment"])[1]


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
    sizes = [
        sizing.weight_bytes(finished.folder / "resources" / model, "auto", "auto")
        for model in ("tiny-qwen2-audio", "tiny-audio-flamingo-3")
    ]
    memory = {f"mem={sizing.memory_mb(size, attempt=1)}M" for size in sizes}
    limits = {}
    for job in finished.records():
        if rule_of(job) == "steer_attention":
            assert job["TimelimitRaw"] == "45", job
            assert memory & set(job["ReqTRES"].split(",")), job
        limits.setdefault(rule_of(job), set()).add(job["TimelimitRaw"])
    assert limits["map_attention"] == {"15"}
    assert limits["extract_activations"] == {"15", "45"}


def test_jobs_of_models_ran_on_more_than_one_node(finished):
    assert len({job["NodeList"] for job in finished.records() if rule_of(job) in ON_GPU}) > 1


def test_results_are_those_of_a_local_run_to_the_byte(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "clone", ignore=shutil.ignore_patterns("results", ".snakemake"))
    local = Run(tmp_path / "clone", finished.cluster)
    local.run("tables", local=True)
    compared = 0
    for suffix in ("csv", "md", "tex"):
        for path in sorted(local.folder.glob(f"results/**/*.{suffix}")):
            name = path.relative_to(local.folder)
            assert path.read_bytes() == (finished.folder / name).read_bytes(), name
            compared += 1
    # Tables, localization of two models and of random windows, answers, benchmark, clips.
    assert compared == 4 + 3 + 5 + 4 + 1


def test_documentation_installs_the_packages_that_the_cluster_needs(root: Path):
    assert " ".join(PACKAGES) in (root / "docs/cluster.md").read_text()
