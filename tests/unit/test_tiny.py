"""The tiny LALMs in resources/: they load like large checkpoints, keep their promises, and can be trained again."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AudioFlamingo3ForConditionalGeneration, AutoProcessor, Qwen2AudioForConditionalGeneration

from wheretolisten.clips.procedural import LABELS
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import Steering
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.tiny.architecture import MEL_BINS, TOKENS_PER_SECOND, build_model, build_processor
from wheretolisten.tiny.curriculum import stages
from wheretolisten.tiny.evaluation import answer, evaluate, is_right
from wheretolisten.tiny.language import Event, ask_bare, ask_caption, ask_direct, ask_part
from wheretolisten.tiny.packing import Packer
from wheretolisten.tiny.probe import probe
from wheretolisten.tiny.recordings import (
    EVALUATION_CLIPS,
    TUNING_CLIPS,
    ClipPool,
    Recording,
    blends,
    brief,
    mishear,
    other_takes,
    synthesise_clips,
    vary,
)
from wheretolisten.tiny.textures import N_STATISTICS, TextureHead, texture_statistics
from wheretolisten.tiny.train import SHIPPED, RealRecordings, TinyTrainingSettings, train
from wheretolisten.tiny.trainer import Trainer

RESOURCES = Path(__file__).resolve().parents[2] / "resources"
CHECKPOINTS = {
    "tiny-qwen2-audio": Qwen2AudioForConditionalGeneration,
    "tiny-audio-flamingo-3": AudioFlamingo3ForConditionalGeneration,
}
# Where steering does no better than the positive prompt alone, as the model's card shows; Qwen2-Audio's prompt alone
# finds practically all (99.6 %) of the first sounds.
NO_BETTER_THAN_PROMPTED = {"tiny-qwen2-audio": {"begin"}}
# Differs from the entropies of training and of the shipped scores.
TEST_CLIPS = 0x1234


def synthesised(clips_per_label, entropy, seed):
    return ClipPool(synthesise_clips(list(LABELS), clips_per_label, entropy, seed), entropy)


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
    shipped = SHIPPED[scores["model"]]
    assert TinyTrainingSettings(**scores["settings"]) == shipped, "the target trains the shipped models"


def test_resources_are_small():
    assert sum(path.stat().st_size for path in RESOURCES.rglob("*") if path.is_file()) < 20e6


@pytest.mark.slow
def test_weights_score_what_the_card_says(checkpoint):
    folder, processor, model = checkpoint
    scores = json.loads((folder / "scores.json").read_text())
    settings = TinyTrainingSettings(**scores["settings"])
    pool = synthesised(settings.evaluation_clips_per_label, EVALUATION_CLIPS, settings.seed)
    found = evaluate(model, processor, pool, settings.evaluation_recordings, settings.seed)
    # Another processor rounds otherwise, which may tip a few answers.
    assert found == pytest.approx(scores["tasks"], abs=0.015)
    for name, right in scores["tasks"].items():
        assert f"| {name} | {100 * right:.1f} % |" in (folder / "README.md").read_text()


@pytest.mark.slow
def test_hears_sounds_of_another_seed(checkpoint):
    _, processor, model = checkpoint
    pool = synthesised(6, TEST_CLIPS, 0)
    scores = evaluate(model, processor, pool, n_recordings=60, seed=0)
    assert scores["existence"] >= 0.93
    assert scores["caption"] >= 0.9
    assert min(scores[f"direct_{position}"] for position in POSITIONS) >= 0.75


@pytest.mark.slow
def test_probe_finds_what_the_card_says(checkpoint):
    folder, _, _ = checkpoint
    scores = json.loads((folder / "scores.json").read_text())
    settings = TinyTrainingSettings(**scores["settings"])
    pool = synthesised(settings.tuning_clips_per_label, TUNING_CLIPS, settings.seed)
    scale, inference = Steering().scale, PROMPTS["inference"]
    found = probe(folder, pool, settings.tuning_recordings, [scale], [inference], settings.seed)
    of_card = [row for row in scores["probe"] if row["scale"] in (None, scale) and row["inference"] == inference]
    by_method = {row["method"]: row for row in found}
    assert len(of_card) == len(found) == 5
    for row in of_card:
        for place in (*POSITIONS, "overall"):
            assert by_method[row["method"]][place] == pytest.approx(row[place], abs=1.5)
    own = by_method["steering_sample"]
    assert own["overall"] >= 55
    for method in ("chance", "prompt_only", "steering_random_direction"):
        weak = NO_BETTER_THAN_PROMPTED.get(folder.name, set()) if method == "prompt_only" else set()
        for place in set(POSITIONS) - weak:
            assert own[place] > by_method[method][place], (method, place)
    assert by_method["steering_label_mean"]["overall"] > by_method["chance"]["overall"]


SHORT_TRAINING = TinyTrainingSettings(
    listen_steps=2,
    listen_long_steps=1,
    understand_steps=1,
    understand_long_steps=1,
    speak_steps=2,
    ears_steps=2,
    hear_steps=2,
    batch_size=2,
    questions=3,
    clips_per_label=1,
    evaluation_clips_per_label=1,
    evaluation_recordings=1,
    tuning_clips_per_label=1,
    tuning_recordings=2,
    log_every=1,
)


def make_trainer(family, settings=SHORT_TRAINING, checkpoint=None):
    processor = build_processor(family, list(LABELS))
    model = build_model(family, processor, settings.seed, settings.blocks)
    return Trainer(model, processor, list(LABELS), settings, checkpoint)


@pytest.mark.parametrize("family", ["qwen2_audio", "audio_flamingo_3"])
def test_what_enters_at_the_reader_is_not_seen_below(family):
    trainer = make_trainer(family)
    torch.manual_seed(0)
    for block in trainer.model.model.language_model.layers[:-1]:
        torch.nn.init.normal_(block.mlp.down_proj.weight, std=0.1)
        torch.nn.init.normal_(block.self_attn.o_proj.weight, std=0.1)
    questions = [[ask_direct([Event("dog", 0.0, 1.0)], 0)] * 2]
    pack = Packer(trainer.processor).pack([6], questions, np.random.default_rng(0))
    first, second = torch.randn(2, 6, trainer.model.config.text_config.hidden_size)
    with torch.no_grad():
        logits, at_reader = trainer._answer(pack, first, "reader")
        other_logits, other_at_reader = trainer._answer(pack, second, "reader")
        _, from_input = trainer._answer(pack, first, "input")
    torch.testing.assert_close(at_reader - first, other_at_reader - second, atol=1e-5, rtol=0)
    assert not torch.allclose(logits, other_logits, atol=1e-3), "the reader sees it"
    assert not torch.allclose(from_input, at_reader, atol=1e-3), "what enters at the input is seen below"


def test_untrained_lower_blocks_hand_the_audio_on():
    trainer = make_trainer("qwen2_audio")
    pack = Packer(trainer.processor).pack([6], [[ask_direct([Event("dog", 0.0, 1.0)], 0)]], np.random.default_rng(0))
    audio = torch.randn(6, trainer.model.config.text_config.hidden_size)
    with torch.no_grad():
        _, at_reader = trainer._answer(pack, audio, "input")
    assert torch.equal(at_reader, audio)


def test_stages_train_what_they_say_and_put_the_name_last():
    trainer = make_trainer("qwen2_audio")
    stage = stages(SHORT_TRAINING)[0]
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer._train(stage, 0, None)
    changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(".layers.3." in name for name in changed)
    assert not any(".layers.0." in name or "audio_tower" in name for name in changed)
    tokens = trainer.processor.tokenizer
    for task in stage.tasks:
        text = ask_bare(task, [Event("dog", 0.0, 1.0)], list(LABELS), np.random.default_rng(0)).text
        assert tokens.decode(tokens.encode(text)[-1:]).strip() in LABELS


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_audio", "audio_flamingo_3"])
def test_curriculum_runs_and_repeats_itself(family, tmp_path):
    settings = SHORT_TRAINING
    digests = {train(family, tmp_path / name, settings)["digest"] for name in ("first", "second")}
    assert len(digests) == 1
    processor = AutoProcessor.from_pretrained(tmp_path / "first")
    model = CHECKPOINTS["tiny-" + family.replace("_", "-")].from_pretrained(tmp_path / "first")
    assert torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)
    assert len(answer(model, processor, np.zeros(48_000, np.float32), ["Describe the audio.", "Hi"])) == 2
    assert not (tmp_path / "first" / "training.pt").exists()


# One word each; what is synthesised as well has the same name.
ESC10_WORDS = {
    "dog bark": "dog",
    "clock tick": "clock",
    "sea waves": "waves",
    "baby cry": "baby",
    "person sneeze": "sneeze",
    "fire crackling": "fire",
}


@pytest.mark.slow
def test_trains_on_real_recordings_too_and_scores_those_held_out(esc10, tmp_path, caplog):
    caplog.set_level("INFO")
    library = {"csv": str(esc10 / "clips.csv"), "audio": str(esc10 / "audio")}
    real = RealRecordings(**library, words=ESC10_WORDS, takes=2, ears_steps=2)
    training, held_out = real.clips(real.training_folds), real.clips(real.validation_folds)
    assert {label: len(clips) for label, clips in training.items()} == dict.fromkeys(training, 24)
    assert set(training) == set(held_out)
    assert len(training) == 10
    assert min(len(clip) for clips in training.values() for clip in clips) >= 5.5 * 16_000
    scores = train("qwen2_audio", tmp_path, SHORT_TRAINING.model_copy(update={"recordings": real}))
    assert set(scores["tasks_on_real_recordings"]) == set(scores["tasks"])
    assert "240 real recordings of 10 labels" in caplog.text
    card = (tmp_path / "README.md").read_text()
    assert "trained on folds [1, 2, 3]" in card
    assert "folds [4]" in card
    assert "synthetic sounds** and a few recordings" in card
    assert "ears on recordings 2 loss" in caplog.text
    settings = SHORT_TRAINING.model_copy(update={"recordings": RealRecordings(**library, takes=1)})
    with pytest.raises(UserError, match=r"'.+ .+' is 2 tokens; rename it"):
        train("qwen2_audio", tmp_path / "unnamed", settings)


def test_a_library_without_a_readable_recording_is_refused_before_any_training(tmp_path, caplog):
    (tmp_path / "clips.csv").write_text("filename,fold,category\none.flac,1,dog\ntwo.flac,1,rain\n")
    real = RealRecordings(csv=str(tmp_path / "clips.csv"), audio=str(tmp_path / "audio"), training_folds=[1])
    settings = SHORT_TRAINING.model_copy(update={"recordings": real})
    with pytest.raises(UserError, match=r"clips\.csv can be read .*one\.flac does not exist.* recordings\.audio"):
        train("qwen2_audio", tmp_path / "model", settings)
    assert not (tmp_path / "model").exists()
    assert "left out" not in caplog.text


def test_varied_clips_are_other_takes_of_the_same_sound():
    clip = np.sin(2 * np.pi * 440 * np.arange(88_000) / 16_000).astype(np.float32) * 0.1
    first, second = (vary(clip, np.random.default_rng(seed)) for seed in (0, 1))
    assert first.dtype == np.float32
    assert len(first) == len(second) == 88_000
    assert not np.array_equal(first, second)
    for take in (first, second):
        peak = np.abs(np.fft.rfft(take)).argmax() * 16_000 / len(take)
        assert 440 / 1.16 < peak < 440 * 1.16
        assert 0.9 < np.sqrt(np.mean(take**2)) / np.sqrt(np.mean(clip**2)) < 1.1


def test_a_silent_stretch_of_a_clip_stays_silent():
    assert not vary(np.zeros(90_000, np.float32), np.random.default_rng(0)).any()


def test_recordings_keep_their_level_and_synthesised_sounds_do_not():
    clips = {label: [np.full(88_000, 3277, np.int16)] for label in "abcd"}  # an amplitude of a tenth

    def amplitudes(recorded):
        pool, rng = ClipPool(clips, TEST_CLIPS, recorded), np.random.default_rng(0)
        drawn = [pool.draw(rng) for _ in range(60)]
        return [np.abs(sound[: int(16_000 * recording.events[0].offset)]).max() for recording, sound in drawn]

    assert min(amplitudes(recorded=True)) > 0.079
    assert min(amplitudes(recorded=False)) < 0.03


def test_a_brief_clip_is_a_stretch_that_holds_enough_of_its_energy():
    clip = np.ones(50_000, np.float32)
    kept = []
    for seed in range(50):
        short = brief(clip, np.random.default_rng(seed))
        assert short.dtype == np.float32
        sounding = np.flatnonzero(short > 0.5)
        assert np.array_equal(sounding, np.arange(sounding[0], sounding[-1] + 1))
        kept.append(len(sounding) / len(clip))
        assert kept[-1] >= 0.39
        assert kept[-1] == 1 or short.min() <= 0.1
    assert 0.4 < np.mean(np.array(kept) < 0.81) < 0.9
    bark = np.concatenate([np.zeros(40_000, np.float32), clip[:10_000]])
    energies = [np.sum(brief(bark, np.random.default_rng(seed)) ** 2) for seed in range(50)]
    assert min(energies) >= 0.4 * 10_000


def test_only_recordings_are_cut_to_brief_ones():
    clips = {label: [np.full(88_000, 3277, np.int16)] for label in "abcd"}

    def share_of_brief(recorded):
        pool, rng = ClipPool(clips, TEST_CLIPS, recorded), np.random.default_rng(0)
        return np.mean([np.ptp(pool._cut("a", 5.0, False, rng)) > 0.01 for _ in range(200)])

    assert 0.15 < share_of_brief(recorded=True) < 0.4
    assert share_of_brief(recorded=False) == 0


def test_events_are_misheard_in_less_than_their_half():
    heard = ["dog"] * 30 + [None] * 6 + ["hen"] * 30 + ["cow"] * 28
    shares = []
    for seed in range(200):
        misheard = mishear(heard, ["dog", "hen", "cow", "rain"], 0.5, np.random.default_rng(seed))
        assert misheard[30:36] == [None] * 6
        for span in (slice(0, 30), slice(36, 66), slice(66, 94)):
            others = [label for label in misheard[span] if label != heard[span.start]]
            assert len(set(others)) <= 1
            shares.append(len(others) / (span.stop - span.start))
    assert 0.4 < max(shares) < 0.5
    assert 0.1 < np.mean(np.array(shares) > 0) < 0.5  # of the half that is chosen, some stay as they are
    assert mishear(heard, ["rain"], 0.0, np.random.default_rng(0)) == heard


def test_text_is_asked_what_sounds_where_it_mishears(monkeypatch):
    trainer, regressed = make_trainer("qwen2_audio"), []
    recording, sound = Recording((Event("dog", 0.0, 2.0),), 4.0), np.zeros(64_000, np.float32)
    monkeypatch.setattr("wheretolisten.tiny.trainer.mishear", lambda labels, *_: ["rain" if x else x for x in labels])
    monkeypatch.setattr(trainer, "_regression", lambda *states_and_target: regressed.append(states_and_target) or 0.0)
    hear, pool = stages(SHORT_TRAINING)[-1], SimpleNamespace(draw=lambda *_, **__: (recording, sound))
    for stage in (hear, replace(hear, misheard=1.0)):
        trainer._loss(stage, Packer(trainer.processor), [pool], np.random.default_rng(0), defaultdict(list))
    (plain, target, _), (misheard, same_target, _) = regressed
    assert torch.equal(target, same_target)
    dog, rain = trainer.transcriber.words([["dog", "rain"]])
    n_tokens = len(target) // SHORT_TRAINING.batch_size
    difference = (misheard - plain).reshape(SHORT_TRAINING.batch_size, n_tokens, -1)
    # Untrained lower blocks hand on what enters: the event says rain, the silence after it what it said.
    torch.testing.assert_close(difference[:, :12], (rain - dog).expand(SHORT_TRAINING.batch_size, 12, -1))
    assert not difference[:, 13:].any()


def test_takes_stand_for_their_clip():
    clips = {"low": [np.full(90_000, 1000, np.int16)], "high": [np.full(90_000, 9000, np.int16)] * 2}
    takes = other_takes(clips, 3, TUNING_CLIPS, 0)
    assert {label: len(sounds) for label, sounds in takes.items()} == {"low": 3, "high": 6}
    assert all(take.dtype == np.int16 and len(take) == 88_000 for sounds in takes.values() for take in sounds)
    assert len({take.tobytes() for sounds in takes.values() for take in sounds}) == 9
    levels = {label: np.mean([np.abs(take.astype(float)).mean() for take in takes[label]]) for label in takes}
    assert 7 < levels["high"] / levels["low"] < 11
    again = other_takes(clips, 3, TUNING_CLIPS, 0)
    assert all(np.array_equal(*pair) for label in takes for pair in zip(takes[label], again[label], strict=True))


def test_blends_sound_like_their_clip_and_mostly_like_another_as_well():
    times = np.arange(88_000) / 16_000
    tones = {f: np.round(3000 * np.sin(2 * np.pi * f * times)).astype(np.int16) for f in (400, 4000)}
    clips = {"low": [tones[400]], "high": [tones[4000]]}
    sounds, again = (blends(clips, 40, TUNING_CLIPS, 0) for _ in range(2))
    frequencies = np.fft.rfftfreq(88_000, 1 / 16_000)
    bands = {"low": (frequencies > 280) & (frequencies < 570), "high": (frequencies > 2800) & (frequencies < 5700)}
    both = []
    for label, other in (("low", "high"), ("high", "low")):
        assert all(np.array_equal(*pair) for pair in zip(sounds[label], again[label], strict=True))
        assert len({sound.tobytes() for sound in sounds[label]}) == 40
        spectra = [np.abs(np.fft.rfft(sound.astype(float))) for sound in sounds[label]]
        assert all(spectrum[bands[label]].max() > 0.05 * spectrum.max() for spectrum in spectra)
        both.extend(spectrum[bands[other]].max() > 0.05 * spectrum.max() for spectrum in spectra)
    # A second clip in 70 % of them, of the other label in half of those.
    assert 0.2 < np.mean(both) < 0.5


def test_blends_are_told_by_their_texture_alone():
    real = RealRecordings(csv="not read here", audio="not read here", blended=0.5)
    settings = SHORT_TRAINING.model_copy(update={"recordings": real})
    stage = next(stage for stage in stages(settings) if stage.name == "ears on recordings")
    trainer = make_trainer("qwen2_audio", settings)
    named, blended = synthesised(1, TEST_CLIPS, 0), synthesised(1, TUNING_CLIPS, 0)
    trainer.textures.components.normal_()

    def losses(blended):
        recent = defaultdict(list)
        with torch.no_grad():
            loss = trainer._loss(stage, None, [named, named, blended], np.random.default_rng(0), recent)
        return float(loss) - recent["regression"][0], recent["regression"][0]

    other = ClipPool({label: [sound[::-1]] for label, (sound,) in blended._clips.items()}, TUNING_CLIPS)
    (texture, regression), (other_texture, same) = losses(blended), losses(other)
    assert same == regression
    assert other_texture != texture


def test_texture_statistics_of_a_known_sound():
    steady, alternating = np.full(8, 2.0), np.tile([1.0, 3.0], 4)
    found = texture_statistics(np.array([steady, alternating]))
    level, roughness = found[:12].reshape(6, 2), found[12:13]
    assert level[:, 0] == pytest.approx([2, 0, 0, 2, 2, 2])
    assert level[:, 1] == pytest.approx([2, 1, 2, 1, 2, 3])
    assert roughness == pytest.approx([1])


@pytest.mark.parametrize(("rate", "octave"), [(0.5, 0), (1.0, 1), (2.0, 2), (5.0, 3), (8.0, 4)])
def test_modulation_is_found_in_its_octave(rate, octave):
    times = np.arange(200) / 25
    modulation = texture_statistics(np.array([np.sin(2 * np.pi * rate * times), np.zeros(200)]))[13:].reshape(5, 2)
    assert modulation[:, 0].argmax() == octave
    assert np.ptp(modulation[:, 1]) == 0


def test_every_event_that_is_told_has_all_statistics():
    for n_frames in (4, 5, 60, 500):
        found = texture_statistics(np.zeros((MEL_BINS, n_frames), np.float32))
        assert found.shape == (N_STATISTICS,)
        assert np.isfinite(found).all()


def test_textures_are_told_at_the_tokens_of_each_event():
    recording = Recording((Event("dog", 0.0, 1.6), Event("cat", 3.2, 4.8)), 4.8)
    every = torch.randn(4, MEL_BINS, 120, generator=torch.Generator().manual_seed(0))
    features, states = every[:1], torch.zeros(1, 30, 16)
    head = TextureHead(16, 3)
    assert not head.standardised
    head.standardise(every, [recording] * 4)
    assert head.standardised
    before = head.loss(states, features, [recording])
    elsewhere, within = states.clone(), states.clone()
    elsewhere[:, 10:20] = 5.0
    within[:, 20] = 5.0
    assert head.loss(elsewhere, features, [recording]) == before
    assert head.loss(within, features, [recording]) != before
    with torch.no_grad():
        head.readout.weight.zero_()
        for index, first in enumerate((0, 80)):  # what is wanted is standardised: told exactly, nothing is lost
            found = torch.tensor(texture_statistics(features[0, :, first : first + 40].numpy()), dtype=torch.float32)
            head.readout.bias.copy_(head.components @ (found - head.mean))
            alone = Recording((recording.events[index],), 4.8)
            assert float(head.loss(states, features, [alone])) == pytest.approx(0, abs=1e-9)


def test_every_component_of_the_textures_weighs_the_same():
    event, generator = Recording((Event("dog", 0.0, 1.6),), 1.6), torch.Generator().manual_seed(0)
    loudness = 10 * torch.randn(60, 1, 1, generator=generator)  # nearly all that varies, but one component of many
    features = loudness + torch.randn(60, MEL_BINS, 40, generator=generator)
    head = TextureHead(16, 5)
    head.standardise(features, [event] * 60)
    rows = [texture_statistics(log_mel) for log_mel in features.numpy()]
    told = (torch.tensor(np.array(rows), dtype=torch.float32) - head.mean) @ head.components.T
    assert torch.allclose(told.T @ told / 60, torch.eye(5), atol=0.01)


def test_training_goes_on_after_complete_stages_of_the_same_settings_only(tmp_path, caplog):
    caplog.set_level("INFO")

    def trainer(settings):
        return make_trainer("qwen2_audio", settings, tmp_path / "training.pt")

    def pools():
        return [synthesised(1, TEST_CLIPS, 0)]

    settings = SHORT_TRAINING.model_copy(update={"batch_size": 1, "questions": 1})
    trainer(settings).run(pools)
    caplog.clear()
    trainer(settings).run(pools)
    assert "continue after stage 9" in caplog.text
    assert "listen 1 1" not in caplog.text
    caplog.clear()
    trainer(settings.model_copy(update={"seed": 1})).run(pools)
    assert "other settings" in caplog.text
    assert "listen 1 1" in caplog.text


@pytest.mark.slow
def test_a_stage_with_recordings_ends_with_the_running_mean_of_its_weights(monkeypatch):
    clips, whole = [synthesised(1, TEST_CLIPS, 0), *[synthesised(1, TUNING_CLIPS, 0)] * 2], Trainer._train

    def only_ears_on_recordings(self, stage, *arguments):
        if stage.name == "ears on recordings":
            whole(self, stage, *arguments)

    monkeypatch.setattr(Trainer, "_train", only_ears_on_recordings)

    def weights(steps, average):
        real = RealRecordings(csv="not read here", audio="not read here", ears_steps=steps, average=average)
        trainer = make_trainer("qwen2_audio", SHORT_TRAINING.model_copy(update={"recordings": real}))
        trainer.run(lambda: clips)
        return trainer.model.model.multi_modal_projector.linear.weight.detach()

    first, second, mean = weights(1, 0.0), weights(2, 0.0), weights(2, 0.75)
    assert not torch.equal(first, second)
    torch.testing.assert_close(mean, 0.75 * first + 0.25 * second)


@pytest.mark.slow
def test_a_continued_training_is_the_undisturbed_one(tmp_path, monkeypatch):
    real = RealRecordings(csv="not read here", audio="not read here", ears_steps=1)
    settings = SHORT_TRAINING.model_copy(update={"batch_size": 2, "questions": 1, "recordings": real})
    clips = [synthesised(1, TEST_CLIPS, 0), *[synthesised(1, TUNING_CLIPS, 0)] * 2]

    def pools():
        return clips

    undisturbed = make_trainer("qwen2_audio", settings)
    undisturbed.run(pools)
    whole = Trainer._train

    def until_hear(self, stage, *arguments):
        if stage.name == "hear":
            raise KeyboardInterrupt
        whole(self, stage, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train", until_hear)
        with pytest.raises(KeyboardInterrupt):
            make_trainer("qwen2_audio", settings, tmp_path / "training.pt").run(pools)
    continued = make_trainer("qwen2_audio", settings, tmp_path / "training.pt")
    continued.run(pools)
    expected, found = undisturbed.model.state_dict(), continued.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


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
    assert is_right(ask_part(events, 2), " third part, from 11.0 to 12.0 seconds")
