"""The share of attention to audio under every condition, measured by the script."""

import json
from pathlib import Path

import analyze_attention
import h5py
import numpy as np
import pytest
import soundfile
import yaml

from wheretolisten import store
from wheretolisten.config import loading as configuration
from wheretolisten.config.models import Model
from wheretolisten.config.passes import ItemSettings
from wheretolisten.config.probe import Steering
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.engine.passes import Engine
from wheretolisten.models.registry import load
from wheretolisten.questions.mmau import read_items

from .conftest import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
CONDITIONS = ["original", "prompt_only", "audio_none", "audio_silence", "instruction"]
STEERED = [CONDITIONS.index(name) for name in ("audio_silence", "audio_none", "instruction")]


@pytest.fixture(scope="module")
def question_set(recordings, tmp_path_factory) -> Path:
    """Folder with three items about three recordings, and a fourth whose audio is missing."""
    folder = tmp_path_factory.mktemp("questions")
    for number, recording in enumerate(recordings[1:]):
        soundfile.write(folder / f"{number}.wav", recording[: 8 * 16_000], 16_000)
    items = [
        {
            "id": f"id-{number}",
            "audio_id": f"./{number}.wav",
            "question": ("Which sound comes second?", "Is there the sound of dog?")[number % 2],
            "choices": (["dog", "cat", "cow", "hen"], ["yes", "no"])[number % 2],
            "answer": ("cat", "yes")[number % 2],
        }
        for number in range(4)
    ]
    (folder / "questions.json").write_text(json.dumps(items))
    return folder


def settings_for(checkpoint: Path, **steering: object) -> ItemSettings:
    """Those of the default run's study, with another model and perhaps another steering."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text())
    raw["steering"] |= steering
    settings = configuration.load(raw, None).share_settings("tiny-qwen2-audio", "listening")
    model = Model(checkpoint=str(checkpoint), device="cpu", dtype="float32", batch_samples=2)
    return settings.model_copy(update={"model": model, "max_seconds": 8.0, "on_bad_item": "skip"})


def analyze(question_set: Path, target: Path, settings: ItemSettings, first: int = 0, stop: int = 4) -> np.ndarray:
    options = ["--questions", str(question_set / "questions.json"), "--audio", str(question_set)]
    options += ["--first", str(first), "--stop", str(stop), "--output", str(target)]
    analyze_attention.main(
        ["--settings", settings.as_json(), *options, "--performance", str(target.with_suffix(".json"))]
    )
    return store.read_passes([target], None, settings.model.identity).values


@pytest.mark.parametrize("model", SHIPPED)
def test_steering_changes_the_share_from_the_second_block_on(question_set, checkpoints, tmp_path, model):
    share = analyze(question_set, tmp_path / "0.h5", settings_for(checkpoints[model]))
    n_layers = share.shape[2]
    assert share.shape == (3, len(CONDITIONS), n_layers)
    assert ((share > 0) & (share < 1)).all()
    # Vectors are added to the outputs of blocks, so block 0 attends as it does to the question alone.
    np.testing.assert_allclose(share[:, STEERED, 0], share[:, [0], 0].repeat(3, axis=1), rtol=0, atol=1e-6)
    assert (np.abs(share[:, STEERED, 1:] - share[:, :1, 1:]).max(axis=2) > 1e-5).all()
    # Another prompt, with more text to attend to.
    assert (np.abs(share[:, 1, 0] - share[:, 0, 0]) > 1e-4).all()


def test_vectors_without_strength_change_nothing(question_set, checkpoints, tmp_path):
    share = analyze(question_set, tmp_path / "0.h5", settings_for(checkpoints[SHIPPED[0]], scale=0.0))
    np.testing.assert_allclose(share[:, STEERED], share[:, [0]].repeat(3, axis=1), rtol=0, atol=1e-6)


def test_vectors_are_the_contrasts_that_are_described(question_set, checkpoints, tmp_path):
    settings = settings_for(checkpoints[SHIPPED[0]])
    share = analyze(question_set, tmp_path / "0.h5", settings, 0, 1)
    (item,) = read_items(question_set / "questions.json", 0, 1)
    pcm, _ = soundfile.read(question_set / "0.wav", dtype="float32")
    engine = Engine(load(settings.model))
    query = "Which sound comes second? Choose one of: (A) dog (B) cat (C) cow (D) hen"
    assert PROMPTS["question"].format(question=item.question, choices=item.lettered) == query

    def state(recording: np.ndarray | None, prompt: str) -> np.ndarray:
        return engine.read([recording], [prompt], want_states=True).states

    vectors = {
        "audio_silence": state(pcm, query) - state(np.zeros_like(pcm), query),
        "audio_none": state(pcm, query) - state(None, query),
        "instruction": state(pcm, f"Focus on the meaningful part of the audio {query}")
        - state(pcm, f"Focus on the entire audio {query}"),
    }
    for name, vector in vectors.items():
        steered = engine.read([pcm], [query], vectors=vector, steering=Steering(), want_audio_share=True)
        np.testing.assert_allclose(share[:, CONDITIONS.index(name)], steered.audio_share, rtol=0, atol=1e-5)
    prompted = engine.read([pcm], [f"Focus on the meaningful part of the audio {query}"], want_audio_share=True)
    np.testing.assert_allclose(share[:, 1], prompted.audio_share, rtol=0, atol=1e-5)


def test_shards_name_their_items_and_go_on_after_finished_batches(
    question_set, checkpoints, tmp_path, monkeypatch, caplog
):
    settings = settings_for(checkpoints[SHIPPED[0]])
    whole = analyze(question_set, tmp_path / "whole.h5", settings)
    measured = []

    def measure_once(job, batch, heard, measure=analyze_attention.measure):
        if measured:
            raise KeyboardInterrupt
        measured.append(batch)
        return measure(job, batch, heard)

    monkeypatch.setattr(analyze_attention, "measure", measure_once)
    with pytest.raises(KeyboardInterrupt):
        analyze(question_set, tmp_path / "0.h5", settings)
    monkeypatch.undo()
    with caplog.at_level("INFO"):
        share = analyze(question_set, tmp_path / "0.h5", settings)
    assert "1 of 2 batches are there already" in caplog.text
    assert "id-3" in caplog.text
    np.testing.assert_array_equal(share, whole)
    assert store.read_passes([tmp_path / "0.h5"]).recording.tolist() == ["0.wav", "1.wav", "2.wav"]
    with h5py.File(tmp_path / "0.h5") as file:
        assert json.loads(file.attrs["passes"]) == [[name, ""] for name in CONDITIONS]
        assert len(file.attrs["audio_digest"]) == len(file.attrs["questions_digest"]) == 64
    assert analyze(question_set, tmp_path / "2.h5", settings, 3, 4).shape == (0, *whole.shape[1:])
    second = analyze(question_set, tmp_path / "1.h5", settings, 1, 3)
    assert store.read_passes([tmp_path / "1.h5"]).sample_id.tolist() == ["id-1", "id-2"]
    np.testing.assert_allclose(second, whole[1:], rtol=0, atol=1e-5)
