"""Atomic writing, and what a script depends on."""

import ast
import errno
import json
import os
import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

from wheretolisten import arguments, log, provenance, sizing
from wheretolisten.config.sections import Section
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path, refusal, sha256_of_file, write_text


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


def test_a_file_that_the_system_refuses_ends_a_script_with_one_sentence(caplog, tmp_path, system_refuses):
    table = tmp_path / "events.csv"
    system_refuses(table, errno.EACCES)
    with pytest.raises(SystemExit) as caught:
        log.run(lambda: pd.read_csv(table))
    assert caught.value.code == 1
    (record,) = caplog.records
    assert re.match(r"\S+/events\.csv: cannot be used, you lack the permission .*; ask its owner", record.getMessage())
    assert not record.exc_info

    def main():
        raise OSError("a bug of ours, which names no file")

    with pytest.raises(OSError, match="a bug of ours"):
        log.run(main)


REFUSALS = {
    "there is no such file .*; check the path, and whether its storage is mounted": [errno.ENOENT],
    "it is a folder .*; correct the path": [errno.EISDIR],
    "its path leads through a file .*; correct the path": [errno.ENOTDIR],
    r"you lack the permission .*; ask its owner for it, or change it \(chmod, chown\)": [errno.EACCES, errno.EPERM],
    "its storage is mounted read-only .*; have it mounted for writing": [errno.EROFS],
    r"another program holds it .*; close the notebook .* \(fuser -v '/a b/0.h5' ": [errno.EAGAIN, errno.EBUSY],
    "its storage has no locks .*; unset HDF5_USE_FILE_LOCKING": [errno.ENOLCK],
    r"too many files are open .*; raise the limit \(ulimit -n 4096\)": [errno.EMFILE],
    r"too many files are open on this machine .*; end programs": [errno.ENFILE],
    "there is no memory left .*; end other programs": [errno.ENOMEM],
    "its name is too long .*; choose shorter names": [errno.ENAMETOOLONG],
    "links lead in a circle .*; correct them": [errno.ELOOP],
    "the disk is full .*; make room": [errno.ENOSPC, errno.EDQUOT],
    "the system or its storage fails .*; wait until it answers": [
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN, errno.EREMOTEIO, errno.ENXIO),
    ],
}


@pytest.mark.parametrize("expected", REFUSALS)
def test_what_the_system_refuses_is_named_with_its_own_way_out(expected):
    for number in REFUSALS[expected]:
        told = f"Unable to open object (file read failed, errno = {number}, error message = '...')"
        for error in (OSError(number, told), OSError(number, "x", "elsewhere"), KeyError(told), RuntimeError(told)):
            sentence = str(refusal("/a b/0.h5", error))
            assert re.fullmatch(rf"/a b/0\.h5: cannot be read, {expected}[^;\n]*", sentence)
            assert os.strerror(number) in sentence
            assert not re.search(r"damag|delet|\brm\b|remov|build|prepare|compute", sentence)


def test_storage_without_locks_is_named_whatever_number_it_gives():
    for number in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES, errno.EIO, errno.EINVAL):
        told = f"Unable to synchronously open file (unable to lock file, errno = {number}, error message = '...')"
        assert "its storage has no locks" in str(refusal("0.h5", OSError(number, told)))
    told = "Unable to synchronously open file (unable to lock file, errno = 11, error message = '...')"
    assert "another program holds it" in str(refusal("0.h5", OSError(errno.EAGAIN, told)))


def test_a_lack_of_memory_is_no_damage():
    told = "Can't synchronously read data (memory allocation failed for raw data chunk)"
    for error in (OSError(told), MemoryError("Unable to allocate 1.49 GiB for an array"), MemoryError()):
        assert "there is no memory left" in str(refusal("0.h5", error))


def test_what_is_in_a_file_is_not_taken_for_the_system():
    told = [OSError("Unable to open file (truncated file: eof = 96, stored_eof = 9000)"), ValueError("it changed")]
    told += [OSError(errno.EINVAL, "read at a nonsensical place"), KeyError("read failed: errno = 0, 'Success'")]
    for error in told:
        assert refusal("0.h5", error) is None


def test_a_file_that_cannot_be_written_is_named_and_what_the_block_reads_is_not_blamed_on_it(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"a\.csv: cannot be written, its path leads through a file .*; correct"):
        write_text(tmp_path / "file/folder/a.csv", "x")
    (tmp_path / "a.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    for folder in ("", f"{tmp_path}/"):
        with pytest.raises(UserError, match=rf"^{folder}a\.csv: cannot be written, it is a folder .*; correct"):
            write_text(f"{folder}a.csv", "x")
    with pytest.raises(FileNotFoundError, match="nowhere"), atomic_path(tmp_path / "b.csv"):
        Path("/nowhere/c.csv").read_text()

    def refuse(*args, dir, **keys):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), f"{dir}/.b.12345678.csv")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(UserError, match=r"/b\.csv: cannot be written, its storage is mounted read-only"):
        write_text(tmp_path / "b.csv", "x")


def modules(script):
    return {str(path.relative_to(provenance.SCRIPTS)) for path in provenance.local_modules(script)}


def test_plots_depend_on_no_model_code_and_models_on_no_plot_code():
    for script in (
        "plot_overlap",
        "plot_attention_change",
        "plot_attention_map",
        "plot_reading",
        "tabulate_scores",
        "localize_events",
    ):
        assert not any(name.startswith(("wheretolisten/models", "wheretolisten/engine")) for name in modules(script))
    for script in ("extract_activations", "steer_attention", "analyze_attention"):
        assert not any(name.startswith("wheretolisten/figures") for name in modules(script))
        assert "wheretolisten/models/adapter.py" in modules(script)
        assert not any("tiny" in name for name in modules(script))
    # Un-steered passes know nothing of directions, and nobody but the analysis reads question files.
    assert not any("directions/" in name for name in modules("extract_activations"))
    for script in ("extract_activations", "steer_attention"):
        assert not any("questions/" in name for name in modules(script)), script


def test_plots_import_matplotlib_after_what_frees_it_of_the_user_s_settings():
    scripts = sorted(provenance.SCRIPTS.glob("plot_*.py"))
    assert scripts
    for path in scripts:
        imported = [
            name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
        ]
        own = next(place for place, name in enumerate(imported) if name.startswith("wheretolisten.figures"))
        others = [place for place, name in enumerate(imported) if name.startswith(("matplotlib", "seaborn"))]
        assert own < min(others), path


def test_arguments_are_read_by_kind_and_none_is_left_out(capsys):
    kinds = {"settings": json.loads, "pdf": [Path], "shard_of": [int]}
    read = arguments.parse("What it does.", ["--pdf", "a", "b", "--settings", '{"a": 1}', "--shard-of"], **kinds)
    assert (read.settings, read.pdf, read.shard_of) == ({"a": 1}, [Path("a"), Path("b")], [])
    for words in (["--pdf", "a", "--shard-of"], ["--pdf", "a", "--settings", "{", "--shard-of"]):
        with pytest.raises(SystemExit):
            arguments.parse("What it does.", words, **kinds)
        assert "--settings" in capsys.readouterr().err
    parts = arguments.by_model(["m", "n"], [1, 2, 3, 4], [], ["a", "b"])
    assert list(parts) == [("m", [1, 2], [], ["a"]), ("n", [3, 4], [], ["b"])]
    with pytest.raises(ValueError, match="3 files of 2 models: 1, 2, 3"):
        list(arguments.by_model(["m", "n"], [1, 2, 3]))


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
    "examples",
    "localization",
    "store",
    "statistics",
    "report",
    "figures",
    "directions",
    "arguments",
)


def test_only_what_runs_models_may_import_torch():
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


def test_code_is_what_it_does_and_not_how_it_is_described(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "SCRIPTS", tmp_path)
    kept = tmp_path / "__pycache__" / "modules.json"
    monkeypatch.setattr(provenance, "_KEPT", kept)
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    cached = [value for value in vars(provenance).values() if hasattr(value, "cache_clear")]

    def digest(text, helper="def twice(x):\n    return 2 * x\n"):
        for function in cached:
            function.cache_clear()  # as in another process, which finds the modules that are kept
        (tmp_path / "script.py").write_text(text)
        (tmp_path / "helper.py").write_text(helper)
        return provenance.code_digest("script")

    plain = "import helper\n\n\nclass A:\n    x = 1\n\n    def f(self):\n        return helper.twice(self.x)\n"
    described = plain.replace("x = 1", 'x = 1  # one\n    """The number."""').replace(
        "class A:", 'class A:\n    """A."""'
    )
    assert digest(plain) == digest('"""Script."""\n' + described.replace("return", '"""Twice."""\n        return'))
    assert digest(plain) == digest(plain, '"""Helps."""\ndef twice(x):\n    return (2 * x)\n')
    changes = [("x = 1", "x = 1.0"), ("x = 1", 'x = "1"'), ("self.x", "self.x + 1"), ("helper.twice", "A")]
    digests = {digest(plain), *(digest(plain.replace(*change)) for change in changes)}
    digests.add(digest(plain, "def twice(x):\n    return x + x\n"))
    assert len(digests) == 6
    expected = digest(plain)
    with monkeypatch.context() as unread:
        unread.setattr("ast.parse", lambda *_: pytest.fail("a module that is kept is read again"))
        assert digest(plain) == expected
    for damaged in ("", "[]", '{"script.py": 1}', '{"script.py": ["", [], ""]}'):
        kept.write_text(damaged)
        assert digest(plain) == expected
    kept.unlink()
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    assert digest(plain) == expected
    assert not kept.exists()
    for function in cached:
        function.cache_clear()


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
