"""What a run on a cluster would do, seen without a cluster."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

pytestmark = pytest.mark.workflow


def test_the_estimate_counts_jobs_submissions_and_gpu_hours_without_slurm(clean_copy, tmp_path):
    # A laptop: of the system's programs there is only the one by which the executor finds out that SLURM is missing.
    (tmp_path / "which").symlink_to(shutil.which("which"))

    def estimated(*arguments: str) -> dict[str, list[str]]:
        estimate = subprocess.run(
            [sys.executable, "profiles/slurm/estimate.py", *arguments],
            cwd=clean_copy.folder,
            env=os.environ | {"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return {line.split()[0]: line.split()[1:] for line in estimate.stdout.splitlines()}

    # A target, behind the separator that options with several values need.
    of_target = estimated("--configfile", "profiles/studies/listening-tiny.yaml", "--", "listening")
    assert of_target["choose_answers"][:2] == of_target["steer_by_heads"][:2] == ["12", "4"]
    assert "steer_attention" not in of_target
    table = estimated()
    # 500 samples: two shards, and one of the others, for two models; three shards share a job.
    assert table["extract_activations"][:2] == ["6", "2"]
    assert table["steer_attention"][:2] == ["24", "8"]
    assert table["compose_sequences"][:2] == ["3", "3"]
    assert table["localize_events"][:2] == ["4", "-"]
    assert table["sweep_attention"][:2] == ["4", "4"]
    # Minutes of the jobs of one model: shards of 254, 246 and 48 samples (three positions and absent sounds), and two
    # sweeps of 7 and 5.
    minutes = (24 + 24 + 18) + 4 * (31 + 31 + 23) + (26 + 26 + 18) + (21 + 19)
    # One recording drawn in detail, and one set of questions, for shares, for answers, and for answers under heads.
    minutes += 16 + 20 + 19 + 19
    assert table["total"] == ["87", "29", f"{2 * minutes / 60:.1f}", "6.5"]


def test_names_of_partitions_are_in_one_file(root):
    partitions = yaml.safe_load((root / "profiles/slurm/partitions.yaml").read_text())["partitions"]
    assert set(partitions) == {"cpu", "gpu"}
    for path in (root / "Snakefile", root / "profiles/slurm/profile.yaml", *(root / "rules").glob("*.smk")):
        assert "partition:" not in path.read_text()
        assert "slurm_account" not in path.read_text()
