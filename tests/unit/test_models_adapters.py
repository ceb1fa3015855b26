import importlib.util
import json
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import transformers
from transformers import GenerationConfig

from wheretolisten import checkpoint
from wheretolisten.config.models import Model
from wheretolisten.engine import attention
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.families import FAMILIES, REFUSED
from wheretolisten.models.registry import load

SHIPPED = ("tiny-qwen2-audio", "tiny-audio-flamingo-3")


@pytest.fixture(scope="module", params=SHIPPED)
def adapter(request, root):
    return load(Model(checkpoint=str(root / "resources" / request.param), device="cpu"))


@pytest.fixture
def copy(root, tmp_path):
    """A writable copy of a shipped checkpoint."""
    return shutil.copytree(root / "resources" / SHIPPED[0], tmp_path / "model")


def sound(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def test_text_stack_is_found_by_name(adapter):
    assert adapter.family is FAMILIES[adapter.model.config.model_type]
    assert adapter.n_layers == adapter.model.config.text_config.num_hidden_layers
    assert all(type(block).__name__ == "Qwen2DecoderLayer" for block in adapter.blocks)
    assert adapter.hidden_size == adapter.model.config.text_config.hidden_size
    assert not adapter.model.training
    assert not any(weights.requires_grad for weights in adapter.model.parameters())
    assert next(adapter.model.parameters()).dtype == torch.float32


def test_token_rate_is_measured_on_silence(adapter):
    assert adapter.tokens_per_second == 6.25
    mel, tower = adapter.processor.feature_extractor, adapter.model.get_submodule("model.audio_tower")
    pool = tower.avg_pooler.stride
    strides = tower.conv1.stride[0] * tower.conv2.stride[0] * (pool[0] if isinstance(pool, tuple) else pool)
    assert adapter.tokens_per_second == mel.sampling_rate / mel.hop_length / strides


@pytest.mark.parametrize("n_frames", [3_201, 16_000, 47_999, 48_000, 48_001, 5 * 16_000 + 320, 319_999, 320_000])
def test_audio_tokens_agree_with_the_processor_and_cover_the_recording(adapter, n_frames):
    recording = sound(n_frames / 16_000)
    inputs = adapter.prepare([recording], ["Describe the audio."])
    n_tokens = adapter.n_audio_tokens(n_frames)
    processed = adapter.processor(
        text=[f"x {adapter.processor.audio_token} y"], audio=[recording], sampling_rate=16_000, return_tensors="pt"
    )
    assert inputs.n_audio_tokens.tolist() == [n_tokens]
    assert int((processed["input_ids"] == adapter.model.config.audio_token_id).sum()) == n_tokens
    assert abs(n_tokens / adapter.tokens_per_second - n_frames / 16_000) <= 1 / adapter.tokens_per_second


def test_span_holds_the_audio_and_nothing_else(adapter):
    recordings = [sound(4.0), sound(11.0), sound(0.5)]
    prompts = ["Describe the audio.", "Focus on the entire audio", "Which part of the audio has the sound of dog?"]
    for side in ("left", "right"):
        inputs = adapter.prepare(recordings, prompts, [2, 0, 1], padding_side=side)
        for row in range(3):
            first, after = inputs.audio_span[row].tolist()
            is_audio = inputs.input_ids[row] == adapter.model.config.audio_token_id
            assert is_audio[first:after].all()
            assert is_audio.sum() == after - first
            last, text = int(inputs.last[row]), inputs.input_ids[row]
            assert inputs.attention_mask[row, last] == 1
            assert inputs.attention_mask[row, last + 1 :].sum() == 0
            assert adapter.processor.tokenizer.decode(text[after : last + 1]).endswith("assistant\n")
            assert prompts[row] in adapter.processor.tokenizer.decode(text[after : last + 1])
        assert inputs.n_audio_tokens.tolist() == [adapter.n_audio_tokens(len(recordings[i])) for i in (2, 0, 1)]


def test_greedy_whatever_the_checkpoint_says(root, tmp_path):
    for name in SHIPPED:
        folder = shutil.copytree(root / "resources" / name, tmp_path / name)
        GenerationConfig(
            do_sample=True, temperature=5.0, top_p=0.9, top_k=50, repetition_penalty=2.0, eos_token_id=[2, 0]
        ).save_pretrained(folder)
        sampling, plain = (
            load(Model(checkpoint=str(path), device="cpu")) for path in (folder, root / "resources" / name)
        )
        recordings, prompts = [sound(3.0), sound(6.0, 1)], ["Describe the audio.", "Is there the sound of dog?"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answers = [Engine(model).answer(recordings, prompts, None, 6) for model in (sampling, sampling, plain)]
        assert answers[0] == answers[1] == answers[2]
        assert not any("assistant" in answer or "audio" in answer.lower()[:5] for answer in answers[0])


def test_recordings_out_of_range_are_named(adapter):
    with pytest.raises(UserError, match=r"sample 00042 lasts 20\.01 s, but .* hears at most 20 s"):
        adapter.check_length(320_160, "sample 00042")
    with pytest.raises(UserError, match=r"recording 1 of the batch lasts 21\.00 s"):
        adapter.prepare([sound(1.0), sound(21.0)], ["a", "b"])
    with pytest.raises(UserError, match="too short"):
        adapter.prepare([np.zeros(0, dtype=np.float32)], ["a"])


def test_placeholder_in_a_prompt_is_refused(adapter):
    with pytest.raises(UserError, match="2 audio placeholders"):
        adapter.prepare([sound(1.0)], [f"What is {adapter.processor.audio_token}?"])
    with pytest.raises(UserError, match=r"1 audio placeholders .* instead of 0"):
        adapter.prepare([None], [f"What is {adapter.processor.audio_token}?"])


def test_types_that_cannot_be_read_are_named(copy):
    settings = json.loads((copy / "config.json").read_text())
    other = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    (copy / "config.json").write_text(json.dumps(settings | other))
    with pytest.raises(UserError, match=r"'bert' \(architecture 'BertForMaskedLM'\) answers no prompts; choose"):
        load(Model(checkpoint=str(copy)))
    other = {"model_type": "future", "architectures": ["NoneForCausalLM"]}
    (copy / "config.json").write_text(json.dumps(settings | other))
    with pytest.raises(UserError, match=r"transformers .* has no class 'NoneForCausalLM', which config\.json asks for"):
        load(Model(checkpoint=str(copy)))
    for name, reason in REFUSED.items():
        (copy / "config.json").write_text(json.dumps(settings | {"model_type": name}))
        with pytest.raises(UserError, match=f"models of type {name} cannot be read: {reason}"):
            load(Model(checkpoint=str(copy)))


def test_a_package_that_a_processor_needs_is_named(copy, monkeypatch):
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"model_type": "gemma3n"}))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need pillow and torchvision and timm; .*uv sync --group families"):
        load(Model(checkpoint=str(copy)))


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json can be read in .*nowhere"):
        load(Model(checkpoint=str(tmp_path / "nowhere")))


def test_missing_and_pickled_weights_are_refused(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights file"):
        load(Model(checkpoint=str(copy)))
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pickled \(pytorch_model\.bin\)"):
        load(Model(checkpoint=str(copy)))


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n"], ids=["empty", "lfs pointer"]
)
def test_broken_weights_are_refused(copy, content):
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="cut off or no safetensors file"):
        load(Model(checkpoint=str(copy)))


def test_weights_of_another_model_are_refused(copy):
    settings = json.loads((copy / "config.json").read_text())
    text = settings["text_config"]
    text["num_hidden_layers"] += 1
    text["layer_types"].append("full_attention")
    (copy / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="the weights lack"):
        load(Model(checkpoint=str(copy)))


def test_tokenizer_of_another_model_is_refused(copy):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(UserError, match="tokenizer does not know the model's audio token"):
        load(Model(checkpoint=str(copy)))


def test_missing_template_and_processor_files_are_refused(root, tmp_path):
    folder = shutil.copytree(root / "resources" / SHIPPED[1], tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        load(Model(checkpoint=str(folder)))
    shutil.copy(root / "resources" / SHIPPED[1] / "chat_template.jinja", folder)
    (folder / "processor_config.json").unlink()
    with pytest.raises(UserError):
        load(Model(checkpoint=str(folder)))


def test_device_that_does_not_exist_is_named(root):
    with pytest.raises(UserError, match="device 'cuda:7'"):
        load(Model(checkpoint=str(root / "resources" / SHIPPED[0]), device="cuda:7"))


def test_prompts_and_recordings_may_be_prepared_in_several_threads(adapter):
    # A job checks the next batch's recordings while it asks about this one's; tokenizers keep their padding meanwhile.
    prompts = ["Describe the audio.", "Which part of the audio has the sound of rooster, and how long does it last?"]
    heard = [sound(3.0), sound(5.0, 1)]
    expected = adapter.prepare(heard, prompts).input_ids
    with ThreadPoolExecutor(max_workers=2) as threads:
        checks = [threads.submit(adapter.n_audio_tokens, 8_000 + 320 * n) for n in range(60)]
        found = [adapter.prepare(heard, prompts).input_ids for _ in range(60)]
    assert all(torch.equal(ids, expected) for ids in found)
    assert [check.result() for check in checks] == [adapter.n_audio_tokens(8_000 + 320 * n) for n in range(60)]


def test_scores_that_are_more_than_products_are_refused(adapter):
    attend = transformers.AttentionInterface()[attention.KERNELS["sdpa"]]
    states = torch.zeros(1, 1, 2, 4)
    for name in ("position_bias", "softcap", "s_aux"):
        with pytest.raises(UserError, match=f"has a {name}, which is not read"):
            attend(torch.nn.Module(), states, states, states, None, **{name: states})


def test_the_longest_recording_is_known_without_loading(tmp_path):
    described = {"gemma4": 30, "gemma3n": 30, "gemma4_unified": None}
    assert {name: checkpoint.longest_audio(tmp_path, {"model_type": name}) for name in described} == described
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": {"chunk_length": 300}}))
    assert checkpoint.longest_audio(tmp_path, {"model_type": "qwen2_5_omni"}) == 300
    thinker = {"model_type": "qwen2_5_omni", "thinker_config": {"text_config": {"num_hidden_layers": 28}}}
    assert checkpoint.text_stack_of(thinker) == {"num_hidden_layers": 28}
    assert checkpoint.text_stack_of({"model_type": "qwen2_audio"}) is None
