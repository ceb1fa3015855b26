"""The whole workflow on a cluster, checked against what SLURM itself recorded."""

import re
import shutil

import pytest

from .conftest import Run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

GPU_RULES = ("extraction", "steering", "prompting", "map_attention")
CPU_RULES = ("prepare_clips", "compose_benchmark", "average_vectors")


def test_gpu_jobs_have_a_gpu_in_the_gpu_partition_and_others_have_none(finished):
    jobs = finished.records()
    assert {job["State"] for job in jobs} == {"COMPLETED"}
    for job in jobs:
        on_gpu = job["Comment"].startswith(tuple(f"rule_{rule}" for rule in GPU_RULES))
        assert job["Partition"] == ("graphics" if on_gpu else "processors"), job
        assert ("gres/gpu=1" in job["AllocTRES"]) == on_gpu, job


def test_gpu_jobs_ran_on_more_than_one_node(finished):
    nodes = {job["NodeList"] for job in finished.records() if job["Partition"] == "graphics"}
    assert len(nodes) > 1
