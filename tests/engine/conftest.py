"""Models and recordings for the engine's tests."""

import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.engine.oracle import Oracle
from wheretolisten.config.models import Model
from wheretolisten.models.adapter import Adapter
from wheretolisten.models.registry import load

SHIPPED = ("tiny-qwen2-audio", "tiny-audio-flamingo-3")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_checkpoint(source: Path, folder: Path, window_seconds: int = 20, **text_settings: object) -> Path:
    """A model of the same family with other sizes and random weights that attend unevenly, saved with the processor."""
    shutil.copytree(source, folder)
    (folder / "model.safetensors").unlink()
    settings = json.loads((folder / "config.json").read_text())
    settings["text_config"].update(text_settings)
    n_layers = settings["text_config"]["num_hidden_layers"]
    settings["text_config"]["layer_types"] = ["full_attention"] * n_layers
    settings["audio_config"]["max_source_positions"] = window_seconds * 25 // 2
    (folder / "config.json").write_text(json.dumps(settings))
    processor = json.loads((folder / "processor_config.json").read_text())
    processor["feature_extractor"] |= {
        "chunk_length": window_seconds,
        "n_samples": window_seconds * 16_000,
        "nb_max_frames": window_seconds * 25,
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
    config = transformers.AutoConfig.from_pretrained(folder)
    torch.manual_seed(3)
    model = getattr(transformers, config.architectures[0])(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            # At their usual start, queries and keys are so short that attention is almost uniform.
            if "q_proj" in name or "k_proj" in name:
                weights.normal_(std=0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoints(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the shipped models, and of random ones with fewer blocks, key heads and seconds to a window.

    All heads of one of them together are narrower than its residual stream.
    """
    folder = tmp_path_factory.mktemp("models")
    shipped = {name: root / "resources" / name for name in SHIPPED}
    return shipped | {
        "random-qwen2-audio": random_checkpoint(
            shipped["tiny-qwen2-audio"], folder / "qwen", num_hidden_layers=3, num_key_value_heads=1, head_dim=24
        ),
        # As many blocks as the audio tower has; recordings longer than four seconds take several windows.
        "random-audio-flamingo-3": random_checkpoint(
            shipped["tiny-audio-flamingo-3"], folder / "flamingo", 4, num_hidden_layers=2, num_key_value_heads=2
        ),
    }


@pytest.fixture(scope="session", params=[*SHIPPED, "random-qwen2-audio", "random-audio-flamingo-3"])
def pair(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> tuple[Adapter, Oracle]:
    """A model behind its adapter, and the same model read naively."""
    return _pair(checkpoints[request.param])


@pytest.fixture(scope="session", params=SHIPPED)
def shipped_pair(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> tuple[Adapter, Oracle]:
    """As `pair`, shipped models only."""
    return _pair(checkpoints[request.param])


@pytest.fixture(scope="session")
def question_first(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The random models with a template that puts the question before the audio, and a word behind it."""
    folders = {}
    for family in ("qwen2-audio", "audio-flamingo-3"):
        folder = tmp_path_factory.mktemp("question_first") / family
        shutil.copytree(checkpoints[f"random-{family}"], folder)
        template = (folder / "chat_template.jinja").read_text()
        audio = re.search(
            r"\{%- for part in message\['content'\] if part\['type'\] == 'audio' -%\}.*?endfor -%\}", template
        )
        text = re.search(
            r"\{%- for part in message\['content'\] if part\['type'\] == 'text' -%\}.*?endfor -%\}", template
        )
        template = template.replace(text[0], "{{ '\\nDescribe' }}").replace(audio[0], text[0] + audio[0])
        (folder / "chat_template.jinja").write_text(template)
        folders[family] = folder
    return folders


@pytest.fixture(scope="session", params=["qwen2-audio", "audio-flamingo-3"])
def question_first_pair(request: pytest.FixtureRequest, question_first: dict[str, Path]) -> tuple[Adapter, Oracle]:
    """As `pair`, random models whose template puts the question first."""
    return _pair(question_first[request.param])


@functools.cache
def _pair(checkpoint: Path) -> tuple[Adapter, Oracle]:
    return load(Model(checkpoint=str(checkpoint), device="cpu", dtype="float32")), Oracle(checkpoint)


@pytest.fixture(scope="session")
def recordings() -> list[np.ndarray]:
    """Tones in noise of different lengths, one of them as long as the window, one of a fraction of a token more."""
    rng = np.random.default_rng(7)

    def recording(seconds: float) -> np.ndarray:
        time = np.arange(round(seconds * 16_000)) / 16_000
        wave = np.sin(2 * np.pi * rng.uniform(200, 2000) * time) * (np.sin(2 * np.pi * 0.3 * time) > 0)
        return (0.3 * wave + rng.normal(0, 0.05, len(time))).astype(np.float32)

    return [recording(seconds) for seconds in (17.23, 3.003, 20.0, 11.5)]
