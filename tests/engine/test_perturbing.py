"""Gradients from windows to the signal, through attention and scores of the readout, and noise that follows them."""

import json

import compose_sequences
import numpy as np
import pandas as pd
import perturb_sequences
import prepare_clips
import pytest
import torch

from wheretolisten.clips.randomness import generator
from wheretolisten.config.examples import Composition, Perturbation
from wheretolisten.config.layers import select_layers
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Localization
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.config.settings import PerturbingSettings
from wheretolisten.engine import perturbing
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.examples import load_audio, read_shard
from wheretolisten.localization.references import absent_reference
from wheretolisten.localization.windows import find_window, layer_weights, window_width
from wheretolisten.models.features import LOG_MEL_TOLERANCE, log_mel

SETTINGS = Localization(reference="absent")
CPU = torch.device("cpu")
ASKED = [PROMPTS["positive"].format(label=label) for label in ("rooster", "dog", "rain", "siren")]
SPANS = ((1.0, 5.0), (8.0, 12.0))
"""Where the first two sounds are said to be, in seconds; random models hear nothing anyway."""


def loss_of(engine, recording, settings=SETTINGS):
    rate = engine.adapter.tokens_per_second
    spans = [(onset * rate, offset * rate) for onset, offset in SPANS]
    widths = [window_width(offset - onset, rate) for onset, offset in SPANS]
    weights = layer_weights(len(select_layers(settings.layers, engine.adapter.n_layers)), settings.layer_weights)
    return perturbing.loss_of_windows(engine.attention_to(recording, ASKED), spans, widths, settings, weights)


def test_features_and_attention_are_those_of_the_readout(shipped_pair, recordings):
    adapter, _ = shipped_pair
    engine = Engine(adapter)
    for recording in recordings[:2]:
        expected = adapter.process(recording, "")["input_features"][0]
        own = log_mel(torch.from_numpy(recording), adapter._extractor)
        assert own.shape == expected.shape
        assert (own - expected).abs().max() < LOG_MEL_TOLERANCE
        signal = torch.from_numpy(recording).requires_grad_(True)
        attention = engine.attention_to(recording, ASKED)(signal)
        read = engine.read([recording], ASKED, [0] * len(ASKED)).attention
        np.testing.assert_allclose(attention.detach().numpy(), read, atol=2e-6)
        (gradient,) = torch.autograd.grad(attention[0, -1, 3], signal)
        assert gradient.isfinite().all()
        assert gradient.norm() > 0


@pytest.mark.parametrize("average", ["mean", "median"])
@pytest.mark.parametrize("kind", ["linear", "uniform"])
def test_scores_are_those_of_windows(average, kind):
    rng = np.random.default_rng(0)
    asked, absent = rng.gamma(2, size=(6, 50)), rng.gamma(2, size=(3, 6, 50))
    settings = Localization(reference="absent", absent_average=average, layer_weights=kind)
    expected = find_window(absent_reference(list(absent), [], 50, settings), asked, 2.0, 5.0, 50, settings)
    own = perturbing.window_scores(
        torch.as_tensor(asked), torch.as_tensor(absent), 10, settings, layer_weights(3, kind)
    )
    np.testing.assert_allclose(own.numpy(), expected.score, rtol=1e-9)


def test_the_margin_is_negative_where_the_best_window_lies_elsewhere():
    scores = torch.tensor([1.0, 1.0, 4.0, 1.0, 1.0, 2.0])
    assert perturbing.margin(scores, 2, onset=2.0, offset=4.0).item() == pytest.approx(np.log(2))
    # Windows 4 and 5 start behind the event, window 0 ends before it; window 1 touches it.
    assert perturbing.margin(scores, 2, onset=5.5, offset=6.5).item() == pytest.approx(np.log(2 / 4))
    assert perturbing.margin(scores, 2, onset=0.0, offset=7.0) is None


def test_the_gradient_is_that_of_finite_differences(shipped_pair, recordings):
    adapter, _ = shipped_pair
    loss, signal = loss_of(Engine(adapter), recordings[0]), torch.from_numpy(recordings[0]).requires_grad_(True)
    value = loss(signal)
    assert value > 0
    (gradient,) = torch.autograd.grad(value, signal)
    along, step = gradient / gradient.norm(), 2e-2
    with torch.no_grad():
        slope = (loss(signal + step * along) - loss(signal - step * along)) / (2 * step)
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=0.05)


def test_noise_has_the_length_that_is_asked_for_and_descends_further_than_random_noise(shipped_pair, recordings):
    adapter, _ = shipped_pair
    recording = recordings[0]
    loss = loss_of(Engine(adapter), recording)
    noise, losses = perturbing.adversarial_noise(loss, recording, 30.0, 4, CPU)
    allowed = perturbing.noise_length(recording, 30.0)
    assert 20 * np.log10(np.linalg.norm(recording) / allowed) == pytest.approx(30, abs=1e-4)
    assert 0 < np.linalg.norm(noise) <= allowed * (1 + 1e-5)
    assert min(losses) < losses[0]
    chance = perturbing.random_noise(recording, 30.0, generator("control"))
    assert np.linalg.norm(chance) == pytest.approx(allowed, rel=1e-5)
    with torch.no_grad():
        moved, beside = (loss(torch.from_numpy(recording + each)).item() for each in (noise, chance))
    assert moved == pytest.approx(min(losses), rel=1e-3)
    assert losses[0] - moved > 3 * abs(losses[0] - beside)


def test_descent_finds_the_nearest_point_of_a_known_loss_and_stops_where_there_is_none():
    recording = np.ones(4, dtype=np.float32)
    # Down along one coordinate: all that is allowed goes there.
    noise, losses = perturbing.adversarial_noise(lambda signal: 10 + signal[0], recording, 20.0, 5, CPU)
    np.testing.assert_allclose(noise, [-0.2, 0, 0, 0], atol=1e-6)
    assert losses[-1] == pytest.approx(10.8)
    # What is won already, or goes nowhere, is left as it is.
    for still in (lambda signal: (signal * 0).sum(), lambda signal: 1 + (signal * 0).sum()):
        noise, losses = perturbing.adversarial_noise(still, recording, 20.0, 5, CPU)
        assert not noise.any()
        assert len(losses) == 1


def test_other_features_are_refused(shipped_pair, recordings, monkeypatch):
    adapter, _ = shipped_pair
    monkeypatch.setattr(adapter._extractor, "mel_filters", 2 * adapter._extractor.mel_filters)
    whole = adapter._process

    def halved(some):
        processed = whole(some)
        processed["input_features"] = processed["input_features"] / 2
        return processed

    monkeypatch.setattr(adapter, "_process", halved)
    with pytest.raises(UserError, match="gradients are taken through Whisper's log-mel features of one window"):
        Engine(adapter).attention_to(recordings[0], ASKED)


def test_perturbed_recordings_are_the_same_ones_with_a_little_noise(root, tmp_path):
    clips = tmp_path / "sounds/clips.csv"
    library = {"type": "procedural", "clips_per_label": 2, "clip_seconds": [1.0, 1.2]}
    where = ["--clips", str(clips), "--audio", str(clips.parent / "audio")]
    prepare_clips.main(["--settings", json.dumps(library), *where])
    composition = Composition(clip_seconds=(1.0, 1.0), gap_seconds=0.5)
    model = Model(checkpoint=str(root / "resources/tiny-qwen2-audio"), device="cpu", dtype="float32")
    asked = {"model": model, "prompt": PROMPTS["positive"], "localization": SETTINGS}
    settings = {
        "clean": composition,
        "made": PerturbingSettings(
            composition=composition,
            perturbation=Perturbation(against="tiny-qwen2-audio", snr_db=30, steps=3),
            **asked,
        ),
        "random": PerturbingSettings(composition=composition, perturbation=Perturbation(against=None, snr_db=30)),
    }
    found = {}
    for name, each in settings.items():
        shard = tmp_path / name / "shards/0.csv"
        arguments = ["--settings", each.as_json(), "--clips", str(clips), "--first", "0", "--stop", "2"]
        arguments += ["--shard", str(shard), "--audio", str(tmp_path / name / "audio/0")]
        if name == "clean":
            compose_sequences.main(arguments)
        else:
            perturb_sequences.main([*arguments, "--threads", "1"])
        found[name] = read_shard(shard)
    columns = [column for column in found["clean"] if column != "digest"]
    for name in ("made", "random"):
        pd.testing.assert_frame_equal(found[name][columns], found["clean"][columns])
        for row, clean in zip(found[name].to_dict("records"), found["clean"].to_dict("records"), strict=True):
            heard, before = load_audio(row, tmp_path / name), load_audio(clean, tmp_path / "clean")
            ratio = 20 * np.log10(np.linalg.norm(before) / np.linalg.norm(heard - before))
            assert ratio == pytest.approx(30, abs=0.2) if name == "random" else 29.8 < ratio < 60
