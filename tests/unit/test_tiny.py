"""The tiny LALMs in resources/: they load like large checkpoints, keep their promises, and can be trained again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AudioFlamingo3ForConditionalGeneration, AutoProcessor, Qwen2AudioForConditionalGeneration

from wheretolisten.clips.procedural import LABELS
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.models.tiny import TinyTrainingSettings, train
from wheretolisten.models.tiny_architecture import TOKENS_PER_SECOND, build_model, build_processor
from wheretolisten.models.tiny_evaluation import answer, evaluate, is_right
from wheretolisten.models.tiny_language import Event, ask_caption, ask_direct, ask_part
from wheretolisten.models.tiny_recordings import ClipPool
from wheretolisten.models.tiny_training import Trainer

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
CHECKPOINTS = {
    "tiny-qwen2-audio": Qwen2AudioForConditionalGeneration,
    "tiny-audio-flamingo-3": AudioFlamingo3ForConditionalGeneration,
}
# Differs from the entropies of training and of the shipped scores.
TEST_CLIPS = 0x1234


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=CHECKPOINTS)
def checkpoint(request):
    folder = RESOURCES / request.param
    model = CHECKPOINTS[request.param].from_pretrained(folder).eval()
    return folder, AutoProcessor.from_pretrained(folder), model


def test_labels_are_single_tokens_and_any_text_survives(checkpoint):
    _, processor, _ = checkpoint
    tokenizer = processor.tokenizer
    for label in LABELS:
        assert len(tokenizer.encode(f" {label}")) == len(tokenizer.encode(label)) == 1
    for text in ("What is the 12th sound?", "  spaces\n\tand tabs ", "Französisch, 日本語, 🎧 \u0000"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("2026")) == 4


@pytest.mark.parametrize("n_frames", [4_481, 48_000, 72_001, 261_920, 296_000, 320_000])
def test_every_placeholder_has_an_embedding(checkpoint, n_frames):
    _, processor, model = checkpoint
    sound = np.random.default_rng(0).normal(0, 0.1, n_frames).astype(np.float32)
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "audio", "audio": ""}]}],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert prompt.index(processor.audio_token) < prompt.index("What?"), "audio comes before text"
    inputs = processor(text=[prompt], audio=[sound], sampling_rate=16_000, return_tensors="pt")
    placeholders = int((inputs["input_ids"] == model.config.audio_token_id).sum())
    assert abs(placeholders - n_frames / 16_000 * TOKENS_PER_SECOND) <= 1
    with torch.inference_mode():
        assert torch.isfinite(model(**inputs).logits).all()  # raises when placeholders and embeddings differ in number


def test_generation_is_greedy_and_ends(checkpoint):
    _, processor, model = checkpoint
    assert not model.generation_config.do_sample
    assert model.generation_config.eos_token_id == processor.tokenizer.eos_token_id
    text = model.config.text_config
    grouped = text.num_key_value_heads < text.num_attention_heads
    assert grouped == (model.config.model_type == "audioflamingo3")


def test_card_and_scores_belong_to_the_weights(checkpoint):
    folder, _, model = checkpoint
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["digest"] == sha256_of_file(folder / "model.safetensors")
    assert scores["digest"] in (folder / "README.md").read_text()
    assert scores["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert scores["tasks"]["existence"] >= 0.9
    assert scores["tasks"]["second"] >= 0.9
    assert TinyTrainingSettings(**scores["settings"]) == TinyTrainingSettings(), "the target trains the shipped models"


def test_resources_are_small():
    assert sum(path.stat().st_size for path in RESOURCES.rglob("*") if path.is_file()) < 20e6


@pytest.mark.slow
def test_hears_what_and_in_which_order(checkpoint):
    _, processor, model = checkpoint
    pool = ClipPool(list(LABELS), clips_per_label=6, entropy=TEST_CLIPS, seed=0)
    scores = evaluate(model, processor, pool, n_recordings=60, seed=0)
    assert scores["existence"] >= 0.9
    assert scores["second"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_audio", "audio_flamingo_3"])
def test_curriculum_runs_and_repeats_itself(family, tmp_path):
    settings = TinyTrainingSettings(
        bare_steps=3,
        short_steps=2,
        long_steps=2,
        ears_steps=2,
        audio_steps=2,
        batch_size=2,
        questions=3,
        clips_per_label=1,
        evaluation_clips_per_label=1,
        evaluation_recordings=1,
        log_every=1,
    )
    digests = {train(family, tmp_path / name, settings)["digest"] for name in ("first", "second")}
    assert len(digests) == 1
    processor = AutoProcessor.from_pretrained(tmp_path / "first")
    model = CHECKPOINTS["tiny-" + family.replace("_", "-")].from_pretrained(tmp_path / "first")
    assert torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)
    assert len(answer(model, processor, np.zeros(48_000, np.float32), ["Describe the audio.", "Hi"])) == 2
    assert not (tmp_path / "first" / "training.pt").exists()


def test_training_goes_on_after_complete_stages_of_the_same_settings_only(tmp_path, caplog):
    caplog.set_level("INFO")
    settings = TinyTrainingSettings(
        bare_steps=1, short_steps=1, long_steps=0, ears_steps=0, audio_steps=0, batch_size=1, questions=1
    )

    def trainer(settings):
        processor = build_processor("qwen2_audio", list(LABELS))
        model = build_model("qwen2_audio", processor, settings.seed)
        return Trainer(model, processor, list(LABELS), settings, tmp_path / "training.pt")

    trainer(settings).run(lambda: None)
    caplog.clear()
    trainer(settings).run(lambda: None)
    assert "continue after stage 5" in caplog.text
    assert "bare 1" not in caplog.text
    caplog.clear()
    trainer(settings.model_copy(update={"seed": 1})).run(lambda: None)
    assert "other settings" in caplog.text
    assert "bare 1" in caplog.text


def test_unknown_family_is_a_user_error():
    with pytest.raises(UserError, match="qwen2_audio"):
        build_processor("whisper", ["dog"])


def test_answers_are_judged_by_what_they_say():
    events = [Event("dog", 0.0, 5.0), Event("cat", 6.0, 11.0), Event("hen", 12.0, 17.0)]
    assert is_right(ask_caption(events), " First dog, then cat, then hen.")
    assert not is_right(ask_caption(events), " First dog, then hen, then cat.")
    assert is_right(ask_direct(events, 1), " 6.4 seconds")
    assert not is_right(ask_direct(events, 1), " 6.6 seconds")
    assert not is_right(ask_direct(events, 1), " first")
    assert is_right(ask_part(events, 2), " hen, third part, from 11.0 to 12.0 seconds")
