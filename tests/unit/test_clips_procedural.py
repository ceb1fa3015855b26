"""Synthesised sounds: the vocabulary, variety, level, and bytes that are the same everywhere."""

import numpy as np
import pytest

from wheretolisten.clips.library import prepare
from wheretolisten.clips.pcm import digest_of, quantise
from wheretolisten.clips.procedural import LABELS, synthesize
from wheretolisten.clips.randomness import generator
from wheretolisten.config.sounds import ProceduralLibrary

GOLDEN_DOG = "a758bd2be9980da9dfbc296a4e3002e05ee6b7e5e73f0d0b65de169c8285e5d6"


def test_the_vocabulary():
    assert [label for label, domain in LABELS.items() if domain == "animals"] == [
        *("dog", "cat", "cow", "sheep", "frog", "pig", "hen", "rooster", "crow")
    ]
    assert [label for label, domain in LABELS.items() if domain == "everyday"] == [
        *("siren", "bell", "horn", "telephone", "whistle", "drum", "engine", "rain", "clock")
    ]


@pytest.mark.parametrize("label", LABELS)
def test_a_sound_is_audible_all_along_and_never_clipped(label):
    for number in range(4):
        sound = synthesize(label, 5.0, generator("test", label, number))
        assert sound.dtype == np.float32
        assert sound.shape == (80_000,)
        assert np.abs(sound).max() < 1
        level = np.sqrt(np.mean(np.square(sound)))
        assert 0.02 < level < 0.16
        seconds = np.sqrt(np.mean(np.square(sound.reshape(5, 16_000)), axis=1))
        assert seconds.min() > 0.1 * level


@pytest.mark.parametrize("seconds", [0.05, 0.5, 12.3])
def test_any_duration_works(seconds):
    for label in LABELS:
        assert len(synthesize(label, seconds, generator("test", label))) == round(seconds * 16_000)


def test_a_clip_is_the_same_everywhere():
    first, second = (quantise(synthesize("dog", 5.0, generator("golden"))) for _ in range(2))
    assert digest_of(first) == digest_of(second) == GOLDEN_DOG


def test_clips_of_one_label_differ_in_sound_and_level():
    clips = [synthesize("cat", 5.0, generator("test", number)) for number in range(6)]
    levels = [float(np.sqrt(np.mean(np.square(clip)))) for clip in clips]
    assert max(levels) > 1.5 * min(levels)
    spectra = [np.abs(np.fft.rfft(clip)) for clip in clips]
    assert max(np.corrcoef(spectra)[np.triu_indices(6, 1)]) < 0.9


def test_labels_can_be_told_apart():
    """A linear classifier on a coarse description of each clip is right nine times out of ten on unseen clips."""
    described, labels = [], []
    for number, label in enumerate(LABELS):
        for clip in range(12):
            described.append(_describe(synthesize(label, 2.0, generator("apart", label, clip))))
            labels.append(number)
    features, targets = np.array(described), np.array(labels)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features = np.c_[features, np.ones(len(features))]
    train = np.arange(len(targets)) % 12 < 9
    gram = features[train].T @ features[train] + 30 * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, features[train].T @ np.eye(len(LABELS))[targets[train]])
    right = (features[~train] @ weights).argmax(axis=1) == targets[~train]
    assert right.mean() > 0.9


def _describe(sound: np.ndarray) -> np.ndarray:
    """Mean, spread and change of a log spectrum in 32 bands at 40 ms, and the spectrum of its loudness."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, 1_024)[::640] * np.hanning(1_024)
    power = np.abs(np.fft.rfft(windows)) ** 2
    edges = np.unique(np.geomspace(4, 512, 33).astype(int))
    bands = np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-4)
    rhythm = np.abs(np.fft.rfft(bands.mean(axis=1) - bands.mean(), 128))[:40]
    bands = bands - bands.max()
    return np.r_[bands.mean(axis=0), bands.std(axis=0), np.diff(bands, axis=0).std(axis=0), rhythm / len(bands)]


def test_a_library_grows_without_changing_its_clips(tmp_path):
    small = ProceduralLibrary(type="procedural", labels=["cow", "rain", "bell"], clips_per_label=1)
    large = ProceduralLibrary(type="procedural", labels=["rain", "dog", "bell", "cow"], clips_per_label=2)
    few = prepare(small, tmp_path / "few")
    many = {clip.clip_id: clip for clip in prepare(large, tmp_path / "many", "few")}
    assert len(few) == 3
    assert len(many) == 8
    for clip in few:
        assert many[clip.clip_id] == clip
        assert 72_000 <= clip.n_frames <= 88_000


def test_another_seed_gives_other_clips(tmp_path):
    digests = {
        clip.digest
        for seed in (1, 2)
        for clip in prepare(
            ProceduralLibrary(type="procedural", labels=["cow", "rain", "bell"], clips_per_label=1, seed=seed), tmp_path
        )
    }
    assert len(digests) == 6
