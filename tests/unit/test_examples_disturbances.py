"""Rooms and codecs: what is asked for comes out, and events stay where they were."""

import numpy as np
import pytest
import soundfile

from tests.unit.test_examples_rendering import CLIPS, PLAN
from wheretolisten.clips.randomness import generator
from wheretolisten.config.examples import Codec, Composition, Reverberation, Symbolic
from wheretolisten.errors import UserError
from wheretolisten.examples.disturbances import coded, impulse_response, reverberated
from wheretolisten.examples.rendering import render

RATE = 16_000
FORMATS = ("mp3", "vorbis", "opus")


def decay_seconds(response: np.ndarray) -> float:
    """RT60 by Schroeder's backward integration: the slope between -5 and -35 dB, carried on to -60 dB."""
    left = np.cumsum(np.square(response)[::-1])[::-1]
    levels = 10 * np.log10(left / left[0])
    chosen = (levels <= -5) & (levels >= -35)
    slope = np.polyfit(np.flatnonzero(chosen) / RATE, levels[chosen], 1)[0]
    return -60 / slope


@pytest.mark.parametrize("rt60", [0.2, 0.5, 1.5])
def test_echoes_decay_in_the_time_that_is_asked_for(rt60):
    response = impulse_response(Reverberation(rt60=rt60, direct_db=3.0), generator("room", 1))
    assert decay_seconds(response) == pytest.approx(rt60, rel=0.05)
    assert 10 * np.log10(response[0] ** 2 / np.square(response[1:]).sum()) == pytest.approx(3, abs=1e-9)


def test_the_direct_path_comes_first_so_that_onsets_stay():
    signal = np.zeros(2 * RATE)
    signal[RATE] = 0.5
    heard = reverberated(signal, Reverberation(rt60=0.4), generator("room", 2))
    assert len(heard) == len(signal)
    assert np.abs(heard[:RATE]).max() < 1e-12
    assert heard[RATE] == pytest.approx(0.5)
    assert np.abs(heard[RATE + 1 : RATE + 4_000]).max() > 1e-3


def test_a_room_is_the_sample_s_own_and_noise_lies_above_it_as_without_it():
    room = {"reverberation": {"rt60": 0.3}}
    dry, wet = (render(PLAN, CLIPS, Composition(**given)) for given in ({}, room))
    np.testing.assert_array_equal(wet, render(PLAN, CLIPS, Composition(**room)))
    assert np.abs(wet.astype(int) - dry).max() > 100
    noise, noise_in_room = (
        render(PLAN, CLIPS, Composition(snr_db=10.0, **given)).astype(int) - without
        for given, without in (({}, dry), (room, wet))
    )
    np.testing.assert_allclose(noise, noise_in_room, atol=1)


@pytest.mark.parametrize("compression", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("codec", FORMATS)
def test_codecs_keep_length_and_alignment(codec, compression):
    times = np.arange(3 * RATE + 37) / RATE
    signal = 0.2 * np.sin(2 * np.pi * (200 * times + 150 * times**2))
    signal[:RATE] = 0
    heard = coded(signal, Codec(format=codec, compression=compression))
    assert len(heard) == len(signal)
    correlation = np.correlate(heard, signal[40:-40], "valid")
    assert abs(int(np.argmax(correlation)) - 40) <= 8  # half a millisecond
    error = np.square(heard - signal).sum() / np.square(signal).sum()
    assert 0 < error < 0.3


@pytest.mark.parametrize("codec", FORMATS)
def test_more_compression_costs_more(codec):
    signal = 0.1 * generator("music", 3).standard_normal(2 * RATE)
    errors = [np.square(coded(signal, Codec(format=codec, compression=c)) - signal).sum() for c in (0.0, 0.9)]
    assert errors[0] < errors[1]


def test_a_coded_sample_has_the_events_of_the_others(monkeypatch):
    plain, heard = (render(PLAN, CLIPS, Composition(codec=codec)) for codec in (None, {"format": "vorbis"}))
    assert len(plain) == len(heard)
    assert 0.5 < np.corrcoef(plain, heard)[0, 1] < 1
    monkeypatch.setattr(soundfile, "available_subtypes", lambda container: {})
    with pytest.raises(UserError, match="was built without opus; install soundfile from its wheel"):
        coded(np.zeros(RATE), Codec(format="opus"))


def test_disturbances_need_something_to_disturb():
    for key, value in {"codec": {"format": "mp3"}, "reverberation": {"rt60": 0.5}, "snr_db": 3.0}.items():
        with pytest.raises(ValueError, match=f"{key}: heard: silence leaves nothing that it could disturb"):
            Composition(heard="silence", **{key: value})
        with pytest.raises(ValueError, match=f"composition.{key}: symbolic examples have no audio"):
            Symbolic(type="symbolic", sounds="synthetic", composition={key: value})
    with pytest.raises(ValueError, match="perturbation: symbolic examples have no audio"):
        Symbolic(type="symbolic", sounds="synthetic", perturbation={"against": None, "snr_db": 30})
