"""The engine agrees with the naive computation to 1e-5 in float32, on both architectures."""

import numpy as np
import pytest

from wheretolisten.config import Localization, Steering, select_layers
from wheretolisten.engine.passes import Engine
from wheretolisten.localization.windows import find_window

PROMPTS = (
    "Describe the audio.",
    "Focus on the entire audio",
    "Which part of the audio has the sound of rooster?",
    "When does the dog bark, and is it before or after the rain? Answer in seconds.",
)
# Rows mix lengths of audio and of text; most recordings are asked about several times, not always in a row.
ROWS = [(0, 0), (1, 2), (2, 1), (0, 2), (3, 3), (2, 0), (0, 1), (1, 0)]


def batch(recordings):
    return dict(recordings=recordings, prompts=[PROMPTS[p] for _, p in ROWS], audio_index=[r for r, _ in ROWS])


def random_vectors(adapter, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(ROWS), adapter.n_layers, adapter.hidden_size)).astype(np.float32)


def assert_agrees(reading, expected):
    """Attention to 1e-5; states to 1e-5 of their largest entry where the weights make it larger than 1."""
    worst = {"attention": 0.0, "states": 0.0, "states, relative": 0.0}
    for row, oracle in enumerate(expected):
        n_tokens = oracle.attention.shape[1]
        assert reading.n_audio_tokens[row] == n_tokens
        assert np.isnan(reading.attention[row, :, n_tokens:]).all()
        largest = float(np.abs(oracle.states).max())
        attention = np.abs(reading.attention[row, :, :n_tokens] - oracle.attention).max()
        states = np.abs(reading.states[row] - oracle.states).max()
        assert attention <= 1e-5
        assert states <= 1e-5 * max(1.0, largest)
        figures = {"attention": attention, "states": states, "states, relative": states / largest}
        worst = {name: max(worst[name], float(figure)) for name, figure in figures.items()}
    print("largest differences:", ", ".join(f"{name} {figure:.1e}" for name, figure in worst.items()))


@pytest.mark.parametrize("text_rows", ["all", "last"])
def test_base_and_prompted_passes_agree(pair, recordings, text_rows):
    adapter, oracle = pair
    reading = Engine(adapter, text_rows).read(**batch(recordings), want_states=True)
    expected = [oracle.read(recordings[r], PROMPTS[p], text_rows) for r, p in ROWS]
    assert_agrees(reading, expected)


@pytest.mark.parametrize("positions", ["all", "after_audio", "last"])
@pytest.mark.parametrize(
    "settings",
    [
        {"scale": 0.5},
        {"scale": 5.0, "normalisation": "unit", "layers": "second_half"},
        {"scale": 0.2, "layers": [0], "preserve_norm": False},
    ],
    ids=["all-layers", "unit-second-half", "plain-first"],
)
def test_steered_passes_agree(pair, recordings, positions, settings):
    adapter, oracle = pair
    steering = Steering(positions=positions, **settings)
    vectors = random_vectors(adapter)
    text_rows = "last" if positions == "last" else "all"
    reading = Engine(adapter, text_rows).read(**batch(recordings), vectors=vectors, steering=steering, want_states=True)
    expected = [
        oracle.read(
            recordings[recording],
            PROMPTS[prompt],
            text_rows,
            vectors[row],
            steering.scale,
            tuple(select_layers(steering.layers, adapter.n_layers)),
            positions,
            unit=steering.normalisation == "unit",
            preserve_norm=steering.preserve_norm,
        )
        for row, (recording, prompt) in enumerate(ROWS)
    ]
    assert_agrees(reading, expected)


@pytest.mark.parametrize("steered", [False, True], ids=["base", "steered"])
def test_kept_text_agrees_and_sums_to_the_reading(pair, recordings, steered):
    adapter, oracle = pair
    engine, vectors = Engine(adapter), random_vectors(adapter) if steered else None
    steering = Steering(scale=0.5) if steered else None
    kept = engine.read(**batch(recordings), vectors=vectors, steering=steering, keep_text=True)
    summed = engine.read(**batch(recordings), vectors=vectors, steering=steering)
    layers = tuple(range(adapter.n_layers))
    for row, (recording, prompt) in enumerate(ROWS):
        naive = oracle.read(
            recordings[recording],
            PROMPTS[prompt],
            **(dict(vectors=vectors[row], scale=0.5, layers=layers) if steered else {}),
        )
        _, n_text, n_audio = naive.rows.shape
        np.testing.assert_allclose(kept.attention[row, :, :n_text, :n_audio], naive.rows, rtol=0, atol=1e-5)
        assert np.isnan(kept.attention[row, :, n_text:]).all()
        assert np.isnan(kept.attention[row, ..., n_audio:]).all()
        total = kept.attention[row, :, :n_text].sum(axis=1)
        np.testing.assert_allclose(total, summed.attention[row], rtol=0, atol=1e-5)


def test_predicted_windows_agree(shipped_pair, recordings):
    adapter, oracle = shipped_pair
    engine, steering = Engine(adapter), Steering(scale=0.5)
    vectors = random_vectors(adapter, seed=5)
    inference = dict(recordings=recordings, prompts=[PROMPTS[0]] * len(ROWS), audio_index=[r for r, _ in ROWS])
    base = engine.read(**inference)
    steered = engine.read(**inference, vectors=vectors, steering=steering)
    for row, (recording, _) in enumerate(ROWS):
        expected_base = oracle.read(recordings[recording], PROMPTS[0])
        expected = oracle.read(
            recordings[recording], PROMPTS[0], "all", vectors[row], 0.5, tuple(range(adapter.n_layers))
        )
        duration, n_tokens = len(recordings[recording]) / 16_000 / 3.5, int(base.n_audio_tokens[row])
        found, naive = (
            find_window(b, s, duration, adapter.tokens_per_second, n_tokens, Localization())
            for b, s in (
                (base.attention[row], steered.attention[row]),
                (expected_base.attention, expected.attention),
            )
        )
        assert not found.failure
        assert found.width == naive.width
        assert found.tied_starts.tolist() == naive.tied_starts.tolist()
        np.testing.assert_allclose(found.score, naive.score, rtol=1e-4)


def test_answers_agree(shipped_pair, recordings):
    adapter, oracle = shipped_pair
    answers = adapter.generate(adapter.prepare(**batch(recordings)), max_new_tokens=12)
    assert answers == [oracle.generate(recordings[r], PROMPTS[p], 12) for r, p in ROWS]
