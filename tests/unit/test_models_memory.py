"""Memory known before loading, full-size architectures without weights, and rehearsals of a small size."""

import dataclasses
import json
import shutil
from pathlib import Path

import accelerate
import numpy as np
import pytest
import torch
import transformers
from transformers import AutoConfig

from wheretolisten import provenance
from wheretolisten.config.models import Model
from wheretolisten.config.passes import PassSettings
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models import families, memory
from wheretolisten.models.registry import load
from wheretolisten.tiny import rehearsal

FAMILIES = {"qwen2_audio": "qwen2-audio", "audio_flamingo_3": "audio-flamingo-3"}
GB = 10**9


def estimate(folder, dtype=torch.bfloat16):
    config = AutoConfig.from_pretrained(folder)
    model_class = getattr(transformers, families.family_of(config.model_type).class_name)
    return memory.estimate(config, model_class, dtype)


@pytest.fixture
def small(root, tmp_path):
    """A folder as for a rehearsal, made small: the real processor and no weights."""

    def make(family: str) -> Path:
        folder = shutil.copytree(root / f"resources/rehearsal-{FAMILIES[family]}", tmp_path / family)
        config = json.loads((folder / "config.json").read_text())
        text = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
        config["text_config"] |= text | {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}
        audio = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
        audio |= {"encoder_layers": 1, "d_model": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
        config["audio_config"] |= {key: value for key, value in audio.items() if key in config["audio_config"]}
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.mark.parametrize(
    ("family", "n_parameters", "cache_bytes_per_token"),
    [("qwen2_audio", 8_397_094_912, 2 * 32 * 4096 * 2), ("audio_flamingo_3", 8_267_215_360, 2 * 28 * 512 * 2)],
)
def test_full_size_is_that_of_the_published_weights(root, family, n_parameters, cache_bytes_per_token):
    demand = estimate(root / f"resources/rehearsal-{FAMILIES[family]}")
    assert demand.weights == 2 * n_parameters
    # Five prompts of 750 audio and 128 text tokens: at least their keys and values, at most a few times that.
    assert 1 < demand.per_sample / (5 * 878 * cache_bytes_per_token) < 6
    assert demand.total(4) == demand.weights + 4 * demand.per_sample


@pytest.mark.parametrize("family", FAMILIES)
def test_rehearsal_folders_are_what_the_code_writes(root, tmp_path, family):
    rehearsal.write(family, root / f"resources/tiny-{FAMILIES[family]}", tmp_path)
    committed = root / f"resources/rehearsal-{FAMILIES[family]}"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in committed.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_text() == (committed / path.name).read_text()


def test_weights_are_counted_as_they_are_loaded(root):
    for name in ("tiny-qwen2-audio", "tiny-audio-flamingo-3"):
        demand = estimate(root / "resources" / name, torch.float32)
        network = load(Model(checkpoint=str(root / "resources" / name), device="cpu")).model
        assert demand.weights == sum(weights.nbytes for weights in network.parameters())


def test_too_little_memory_is_refused_with_numbers_and_ways_out(monkeypatch):
    demand = memory.Demand(weights=32 * GB, per_sample=2 * GB)
    free = {"bytes": 40 * GB}
    monkeypatch.setattr(memory, "free_memory", lambda device, spread=False: free["bytes"])

    def check(dtype=torch.float32, device="cpu", spread=False, batch=8):
        return memory.check(demand, "large", dtype, torch.device(device), spread, batch)

    assert check(batch=4) == 40 * GB
    numbers = r"large needs about 48\.0 GB \(32\.0 GB weights in float32, 2\.0 GB for each"
    with pytest.raises(UserError, match=numbers) as caught:
        check()
    assert "40.0 GB free; set batch_samples to 4, or set dtype: bfloat16 (weights 16.0 GB), or ask for" in str(
        caught.value
    )
    # On a card a large batch is halved later; one sample has to fit.
    assert check(device="cuda") == 40 * GB
    free["bytes"] = 20 * GB
    with pytest.raises(UserError, match=r"needs about 34\.0 GB .*or spread the model over several with device_map"):
        check(torch.bfloat16, device="cuda")
    with pytest.raises(UserError, match=r"all cards have 20\.0 GB free; take more or larger cards"):
        check(torch.bfloat16, device="cuda", spread=True)
    assert dataclasses.replace(demand, weights=30 * GB).samples_that_fit(35 * GB) == 2


def test_full_size_is_refused_at_once_where_memory_is_small(root, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device, spread=False: 10 * GB)
    for name in FAMILIES.values():
        model = Model(
            checkpoint=str(root / f"resources/rehearsal-{name}"), weights="random", dtype="bfloat16", device="cpu"
        )
        with pytest.raises(UserError, match=r"needs about .* GB weights in bfloat16, .*cpu has 10\.0 GB free"):
            load(model)


def test_the_limit_of_the_control_group_counts(tmp_path):
    (tmp_path / "cgroup").write_text("0::/slurm/job_1/step_0\n")
    job = tmp_path / "fs/slurm/job_1"
    (job / "step_0").mkdir(parents=True)
    for folder, limit in ((job, str(8 * GB)), (job / "step_0", "max")):
        (folder / "memory.max").write_text(limit + "\n")
        (folder / "memory.current").write_text(f"{3 * GB}\n")
        (folder / "memory.stat").write_text(f"anon {2 * GB}\ninactive_file {GB}\n")
    assert memory._control_group_rooms(tmp_path / "cgroup", tmp_path / "fs") == [6 * GB]
    assert memory._control_group_rooms(tmp_path / "none", tmp_path / "fs") == []


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_are_the_same_in_every_job_and_run_the_model(small, family):
    folder = small(family)
    model = Model(checkpoint=str(folder), weights="random", dtype="bfloat16", device="cpu")
    state = torch.random.get_rng_state()
    first, second = load(model), load(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert one.dtype == torch.bfloat16
        assert torch.equal(one, other)
    assert first.model.lm_head.weight.float().std() > 0.01
    assert first.tokens_per_second == 25
    recording = np.random.default_rng(0).normal(0, 0.1, 16_000 * 17).astype(np.float32)
    inputs = first.prepare([recording], ["Describe the audio."])
    assert inputs.n_audio_tokens.tolist() == [425]
    # The vocabulary of the weights is far larger than the tokenizer's; ids beyond it are left out of the answer.
    assert isinstance(Engine(first).answer([recording], ["Describe the audio."], max_new_tokens=3)[0], str)


def test_a_rehearsal_is_marked_in_the_provenance(small):
    folder = small("qwen2_audio")

    def attributes(weights):
        model = Model(checkpoint=str(folder), weights=weights)
        settings = PassSettings(model=model)
        return provenance.of_job("extract_activations", settings, {})

    random, pretrained = attributes("random"), attributes("pretrained")
    assert (random[1]["weights"], pretrained[1]["weights"]) == ("random", "pretrained")
    assert random[0] != pretrained[0]
    with pytest.raises(UserError, match="no weights file"):
        load(Model(checkpoint=str(folder), device="cpu"))


def test_device_map_places_the_same_model(root, tmp_path):
    path = str(root / "resources/tiny-qwen2-audio")
    recording = np.random.default_rng(0).normal(0, 0.1, 16_000 * 3).astype(np.float32)
    plain, mapped, split = (load(Model(checkpoint=path, device_map=kind)) for kind in (None, "auto", "balanced"))
    # There is one place here; with a second one, accelerate moves inputs and weights from block to block.
    places = {"model.audio_tower": "cpu", "model.multi_modal_projector": "cpu", "lm_head": "cpu"}
    places |= {f"model.language_model.{name}": "cpu" for name in ("embed_tokens", "norm", "rotary_emb")}
    places["model.language_model.layers"] = "disk"
    split.model = accelerate.dispatch_model(split.model, places, main_device="cpu", offload_dir=tmp_path)
    assert next(split.blocks.parameters()).is_meta
    models, prompts = (plain, mapped, split), ["Describe the audio."]
    answers = [Engine(model).answer([recording], prompts, max_new_tokens=8) for model in models]
    assert answers[0] == answers[1] == answers[2]


def test_a_model_that_device_map_finds_no_room_for_is_refused(root, monkeypatch):
    monkeypatch.setattr(memory, "check", lambda *_: 10**9)
    monkeypatch.setattr(memory, "free_memory", lambda device, spread=False: 3_000_000)
    with pytest.raises(UserError, match=r"device_map: auto leaves parts of the model without room"):
        load(Model(checkpoint=str(root / "resources/tiny-qwen2-audio"), device_map="auto"))
