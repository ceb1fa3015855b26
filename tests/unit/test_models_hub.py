"""Fetching checkpoints from a hub that the test serves itself, on this machine."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.numpy import save

from wheretolisten import cache, provenance, sizing
from wheretolisten.config.models import Model
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Adapter
from wheretolisten.models.registry import load

REPOSITORY, REVISION = "someone/some-model", "0123456789abcdef" * 2 + "01234567"


class Hub(ThreadingHTTPServer):
    """What huggingface_hub needs of a hub: the tree of one repository at one commit, and its files by byte ranges."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.requests: list[tuple[str, str, str | None]] = []
        self.breaks_after: int | None = None
        """Bytes of a weights file after which the connection breaks, once."""
        self.corrupts = False
        """Whether weights arrive with one bit changed."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self) -> list[tuple[str, str | None]]:
        """Files that were downloaded, with the range that was asked for."""
        gets = [(path, wanted) for verb, path, wanted in self.requests if verb == "GET"]
        return [(path.rsplit("/", 1)[1], wanted) for path, wanted in gets if "/resolve/" in path]


def is_large(path: Path) -> bool:
    return path.suffix in {".safetensors", ".bin"}


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = self.path.split("?")[0]
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if not path.removeprefix("/api/models").startswith(f"/{REPOSITORY}/"):
            return self.refuse("RepoNotFound")
        if REVISION not in path:
            return self.refuse("RevisionNotFound")
        if path.startswith("/api/"):
            return self.send(json.dumps(self.tree()).encode(), {"Content-Type": "application/json"})
        file = self.server.folder / path.split(f"/resolve/{REVISION}/")[1]
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest() if is_large(file) else git_sha1(content)
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        if is_large(file):
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
            if self.server.corrupts:
                content = bytes([content[0] ^ 1]) + content[1:]
        return self.send(content, headers, may_break=is_large(file))

    def tree(self) -> list[dict]:
        entries = []
        for file in sorted(path for path in self.server.folder.rglob("*") if path.is_file()):
            content = file.read_bytes()
            entry = {"type": "file", "path": file.relative_to(self.server.folder).as_posix(), "size": len(content)}
            if is_large(file):
                digest = hashlib.sha256(content).hexdigest()
                entry |= {"oid": git_sha1(b"pointer"), "lfs": {"oid": digest, "size": len(content), "pointerSize": 130}}
            else:
                entry["oid"] = git_sha1(content)
            entries.append(entry)
        return entries

    def refuse(self, code: str) -> None:
        self.send(b"", {"X-Error-Code": code}, status=404)

    def send(self, content: bytes, headers: dict[str, str], status: int = 200, may_break: bool = False) -> None:
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            status, headers["Content-Range"] = 206, f"bytes {wanted[1]}-{len(content) - 1}/{len(content)}"
            content = content[int(wanted[1]) :]
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if may_break and self.server.breaks_after is not None:
            content, self.server.breaks_after = content[: self.server.breaks_after], None
            self.close_connection = True
        self.wfile.write(content)


@pytest.fixture
def published(root: Path, tmp_path: Path) -> Path:
    """Files of the served repository: a tiny model, and things beside it that nobody should fetch."""
    folder = shutil.copytree(root / "resources/tiny-qwen2-audio", tmp_path / "published")
    (folder / "modeling_evil.py").write_text("open('evil', 'w')\n")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "think").mkdir()
    (folder / "think/model.safetensors").write_bytes(b"another model")
    return folder


@pytest.fixture
def hub(published: Path) -> Iterator[Hub]:
    server = Hub(published)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Fetcher:
    """The script in a process of its own, because huggingface_hub reads its settings once."""

    def __init__(self, hub: Hub, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self.stamp = folder / "stamp.json"
        self.environment = os.environ | {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_CACHE": str(folder / "cache"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def run(self, repository: str = REPOSITORY, revision: str = REVISION) -> subprocess.CompletedProcess:
        command = [sys.executable, str(self.root / "workflow_scripts/fetch_models.py")]
        command += ["--checkpoint", repository, "--revision", revision, "--output", str(self.stamp)]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def refuses(self, *arguments: str) -> str:
        """Run, and return the one sentence that it ends with."""
        done = self.run(*arguments)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert not self.stamp.exists()
        return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def fetcher(hub: Hub, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    # This process has read its settings already; jobs read them from the environment that rules/common.smk sets.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return Fetcher(hub, root, tmp_path)


def load_fetched() -> Adapter:
    """Load the fetched model as a job does."""
    return load(Model(checkpoint=REPOSITORY, revision=REVISION, device="cpu"))


def test_fetched_models_are_complete_checked_and_load_offline(hub, fetcher, published):
    message = rf"^{REPOSITORY} at revision {REVISION} is not, or not completely, in the cache .*; fetch it .*: uv run"
    with pytest.raises(UserError, match=message):
        load_fetched()
    assert not hub.requests

    assert fetcher.run().returncode == 0
    stamp = json.loads(fetcher.stamp.read_text())
    folder = Path(stamp["folder"])
    names = {path.name for path in provenance.checkpoint_files(published)} | {"scores.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert [file["name"] for file in stamp["files"]] == sorted(names)
    for file in stamp["files"]:
        content = (folder / file["name"]).read_bytes()
        assert content == (published / file["name"]).read_bytes()
        assert file["size"] == len(content)
        large = file["name"] == "model.safetensors"
        assert file["algorithm"] == ("sha256" if large else "git-sha1")
        assert file["digest"] == (hashlib.sha256(content).hexdigest() if large else git_sha1(content))

    hub.requests.clear()
    assert type(load_fetched().model).__name__ == "Qwen2AudioForConditionalGeneration"
    assert not hub.requests

    # A second time nothing is downloaded, and everything is checked again.
    assert fetcher.run().returncode == 0
    assert not hub.downloads()
    for name in ("config.json", "model.safetensors"):
        (folder / name).resolve().write_bytes(b"rotten")
    fetcher.stamp.unlink()
    assert "config.json, model.safetensors arrived with another digest" in fetcher.refuses()


def test_a_broken_connection_is_taken_up_where_it_broke(hub, fetcher, published):
    noise = np.random.default_rng(0).integers(256, size=int(1.5 * constants.DOWNLOAD_CHUNK_SIZE), dtype=np.uint8)
    content = save({"noise": noise})
    (published / "model.safetensors").write_bytes(content)
    hub.breaks_after = len(content) - 1000
    assert fetcher.run().returncode == 0
    weights = [wanted for name, wanted in hub.downloads() if name == "model.safetensors"]
    # The library writes in large pieces; the whole ones are kept.
    assert weights == [None, f"bytes={constants.DOWNLOAD_CHUNK_SIZE}-"]
    folder = Path(json.loads(fetcher.stamp.read_text())["folder"])
    assert (folder / "model.safetensors").read_bytes() == content


def test_an_interrupted_fetch_goes_on_after_the_files_that_are_complete(hub, fetcher, published):
    weights = published / "model.safetensors"
    content = weights.read_bytes()
    fetcher.run()
    snapshot = cache.snapshot_folder(REPOSITORY, REVISION)
    (snapshot / weights.name).resolve().unlink()
    (snapshot / weights.name).unlink()
    with pytest.raises(UserError, match="not completely, in the cache"):
        load_fetched()
    hub.requests.clear()
    assert fetcher.run().returncode == 0
    assert hub.downloads() == [(weights.name, None)]
    assert (snapshot / weights.name).read_bytes() == content


def test_files_that_arrive_damaged_are_refused_and_not_kept(hub, fetcher):
    hub.corrupts = True
    assert "model.safetensors arrived with another digest than the hub states" in fetcher.refuses()
    with pytest.raises(UserError, match="not completely, in the cache"):
        load_fetched()
    hub.corrupts = False
    assert fetcher.run().returncode == 0


def test_pickled_weights_are_refused_before_anything_is_downloaded(hub, fetcher, published):
    (published / "model.safetensors").unlink()
    assert "the weights are pickled (pytorch_model.bin)" in fetcher.refuses()
    (published / "pytorch_model.bin").unlink()
    assert "there is no weights file (*.safetensors)" in fetcher.refuses()
    assert not hub.downloads()


def test_adapters_and_quantised_weights_are_refused_before_the_weights_are_downloaded(hub, fetcher, published):
    config = json.loads((published / "config.json").read_text())
    quantised = config | {"quantization_config": {"quant_method": "awq"}}
    (published / "config.json").write_text(json.dumps(quantised))
    assert "config.json: the weights are quantised (quantization_config: awq); only unquantised" in fetcher.refuses()
    assert "model.safetensors" not in [name for name, _ in hub.downloads()]
    hub.requests.clear()
    (published / "adapter_config.json").write_text("{}")
    assert "there is an adapter (adapter_config.json), which would be left out" in fetcher.refuses()
    (published / "adapter_config.json").unlink()
    (published / "model.safetensors").rename(published / "model-Q8_0.gguf")
    assert "the weights are in llama.cpp's format (model-Q8_0.gguf); only unquantised" in fetcher.refuses()
    assert not hub.downloads()


def test_shards_that_the_index_names_must_be_there(fetcher, published):
    index = {"metadata": {}, "weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (published / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names model-00002-of-00002.safetensors, which is not in that folder" in fetcher.refuses()


def test_wrong_names_are_named(fetcher):
    assert "someone/else: there is no such repository on http://127.0.0.1" in fetcher.refuses("someone/else")
    assert "there is no such commit" in fetcher.refuses(REPOSITORY, "f" * 40)


def test_a_cache_that_the_system_refuses_is_not_called_a_failure_of_the_hub(fetcher, tmp_path):
    (tmp_path / "cache").touch()
    assert re.search(r"cache/\S+: cannot be used, its path leads through a file", fetcher.refuses())


@pytest.mark.slow  # the library asks again for half a minute
def test_a_hub_out_of_reach_is_named(fetcher):
    fetcher.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert "could not be fetched from http://127.0.0.1:9" in fetcher.refuses()


@pytest.mark.parametrize("model_type", ["qwen2_audio", "evil"])
def test_code_that_comes_with_a_checkpoint_is_never_run(fetcher, published, model_type):
    evil = f"import pathlib; pathlib.Path({str(published.parent / 'evil')!r}).touch()\nclass Evil: pass\n"
    (published / "modeling_evil.py").write_text(evil)
    for name, keys in (
        ("config.json", ("AutoConfig", "AutoModel", "AutoModelForCausalLM")),
        ("processor_config.json", ("AutoProcessor", "AutoFeatureExtractor")),
        ("tokenizer_config.json", ("AutoTokenizer",)),
    ):
        content = json.loads((published / name).read_text())
        evil_class = "modeling_evil.Evil"
        content["auto_map"] = {key: [evil_class, None] if key == "AutoTokenizer" else evil_class for key in keys}
        if name == "config.json":
            content["model_type"] = model_type
        (published / name).write_text(json.dumps(content))
    assert "config.json asks for code that comes with the checkpoint" in fetcher.refuses()
    folder = cache.snapshot_folder(REPOSITORY, REVISION)
    # Neither code nor weights are fetched once the descriptions have shown that.
    assert not list(folder.glob("*.py")) + list(folder.glob("*.safetensors"))
    # Even where the code lies beside the weights.
    for name in ("modeling_evil.py", "model.safetensors"):
        shutil.copy(published / name, folder)
    with pytest.raises(UserError, match="which is never run; choose a checkpoint that transformers loads without"):
        load_fetched()
    assert not (published.parent / "evil").exists()


def test_jobs_ask_for_the_memory_of_the_fetched_weights(fetcher):
    folder = cache.snapshot_folder(REPOSITORY, REVISION)
    assert sizing.weight_bytes(folder, "bfloat16", "auto") == 2 * 8_400_000_000
    assert fetcher.run().returncode == 0
    model = load_fetched().model
    n_parameters = sum(weights.numel() for weights in model.parameters())
    assert sizing.weight_bytes(folder, "bfloat16", "auto") == 2 * n_parameters
    assert sizing.weight_bytes(folder, "auto", "cpu") == 4 * n_parameters
    assert next(model.parameters()).dtype == torch.float32


def test_offline_and_cache_are_passed_on(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_HOME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    cache.use_offline(None)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert cache.snapshot_folder("a/b", "c") == tmp_path / "home/hub/models--a--b/snapshots/c"
    cache.use_offline(str(tmp_path / "shared"))
    assert cache.snapshot_folder("a/b", "c") == tmp_path / "shared/models--a--b/snapshots/c"
