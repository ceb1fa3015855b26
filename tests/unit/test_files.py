"""Atomic writing, and what a script depends on."""

import ast
import os
import tomllib
from pathlib import Path

import pytest
import yaml

from wheretolisten import log, provenance, sizing
from wheretolisten.config.sections import Section
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path, sha256_of_file, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")

    def fail():
        with atomic_path(target) as path:
            path.write_text("half of the n")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_written_files_are_as_readable_as_the_umask_allows(tmp_path):
    write_text(tmp_path / "a.csv", "x")
    (tmp_path / "b.csv").touch()
    assert (tmp_path / "a.csv").stat().st_mode == (tmp_path / "b.csv").stat().st_mode


def test_a_user_error_ends_a_script_with_one_sentence(caplog):
    def main():
        raise UserError("clips.csv: no clips; add some")

    with pytest.raises(SystemExit) as caught:
        log.run(main)
    assert caught.value.code == 1
    assert [record.getMessage() for record in caplog.records] == ["clips.csv: no clips; add some"]
    assert not caplog.records[0].exc_info


def modules(script):
    return {str(path.relative_to(provenance.SCRIPTS)) for path in provenance.local_modules(script)}


def test_plots_depend_on_no_model_code_and_models_on_no_plot_code():
    for script in (
        "plot_overlap",
        "plot_attention_change",
        "plot_attention_map",
        "plot_reading",
        "tabulate_overlap",
        "localize_events",
    ):
        assert not any(name.startswith(("wheretolisten/models", "wheretolisten/engine")) for name in modules(script))
    for script in ("extract_activations", "steer_attention", "map_attention", "prompt_directly"):
        assert not any(name.startswith("wheretolisten/figures") for name in modules(script))
        assert "wheretolisten/models/qwen2_audio.py" in modules(script)
        assert not any("tiny" in name for name in modules(script))


def test_every_local_import_is_found():
    script = "extract_activations"
    found = modules(script)
    assert f"{script}.py" in found
    for name in found:
        for node in ast.walk(ast.parse((provenance.SCRIPTS / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wheretolisten."):
                path = node.module.replace(".", "/")
                assert {f"{path}.py", f"{path}/__init__.py"} & found


LIGHT = (
    "cache",
    "config",
    "errors",
    "files",
    "log",
    "provenance",
    "sizing",
    "benchmark",
    "localization",
    "store",
    "statistics",
    "figures",
)


def test_only_models_engine_and_steering_may_import_torch():
    package = provenance.SCRIPTS / "wheretolisten"
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0].removesuffix(".py") not in LIGHT:
            continue
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        }
        assert not imported & {"torch", "transformers"}, path


def test_provenance_follows_content(tmp_path):
    path = tmp_path / "shard.csv"
    path.write_text("one")
    identity, attributes = provenance.of_job("localize_events", Section(), {"shard": path})
    assert attributes["shard_digest"] == sha256_of_file(path)
    os.utime(path, (0, 0))
    assert provenance.of_job("localize_events", Section(), {"shard": path})[0] == identity
    path.write_text("two")
    assert provenance.of_job("localize_events", Section(), {"shard": path})[0] != identity
    assert provenance.of_job("average_vectors", Section(), {"shard": path})[0] != identity
    assert attributes["versions"]["numpy"]


def test_checkpoints_are_identified_by_their_files_or_their_revision(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = provenance.checkpoint_digest(str(tmp_path), None)
    (tmp_path / "README.md").write_text("not part of the model")
    assert provenance.checkpoint_digest(str(tmp_path), None) == before
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert provenance.checkpoint_digest(str(tmp_path), None) != before
    assert provenance.checkpoint_digest("someone/model", "abc") == "someone/model@abc"


def test_retries_ask_for_more():
    assert sizing.memory_mb(2_000_000_000, 1) == 4500
    assert sizing.memory_mb(2_000_000_000, 3) == 9000
    # 100 recordings of 20 s under six vectors each: 100 · 6 · (500 + 64) tokens, and a quarter hour to start.
    work = sizing.Work(samples=100, seconds=20, passes=6, prompts=6)
    assert work.tokens == 338_400
    assert [sizing.runtime_minutes(work, 2000, attempt) for attempt in (1, 2, 3)] == [21, 42, 83]
    assert sizing.runtime_minutes(work, 20_000, 1) == 16
    assert sizing.Work(100, 20, 1, 3, new_tokens=64).tokens == 100 * (500 + 3 * (64 + 640))
    assert [sizing.doubled(30, attempt) for attempt in (1, 2, 3)] == [30, 60, 120]


def test_only_a_model_that_may_use_a_gpu_asks_for_one():
    assert {device: sizing.gpus(device) for device in ("auto", "cpu", "cuda", "cuda:1")} == (
        {"auto": 1, "cpu": 0, "cuda": 1, "cuda:1": 1}
    )


@pytest.mark.parametrize("name", ["models", "figures"])
def test_conda_environments_hold_the_pinned_versions(root: Path, name):
    pinned = set(tomllib.loads((root / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"])
    environment = yaml.safe_load((root / "envs" / f"{name}.yaml").read_text())["dependencies"]
    packages = next(entry["pip"] for entry in environment if isinstance(entry, dict))
    assert packages
    assert set(packages) <= pinned


def test_no_committed_file_names_a_registry(root: Path):
    assert "uv.lock" in (root / ".gitignore").read_text().splitlines()
    for path in (root / "pyproject.toml", *(root / "envs").glob("*.yaml")):
        assert "://" not in path.read_text()
