"""The engine agrees with the naive computation to 1e-5 in float32, on both architectures."""

import numpy as np
import pytest

from wheretolisten import passes, store
from wheretolisten.config.directions import DIRECTIONS
from wheretolisten.config.layers import select_layers
from wheretolisten.config.models import Model
from wheretolisten.config.passes import Pass, PassSettings
from wheretolisten.config.probe import Localization, Steering
from wheretolisten.engine.passes import Engine
from wheretolisten.localization.windows import find_window
from wheretolisten.models.registry import load
from wheretolisten.passes import Example

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
        attention = np.abs(reading.attention[row, :, :n_tokens] - oracle.attention).max(initial=0)
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
        {"scale": 0.5, "site": "mlp", "emphasis": {"layers": [1], "beta": 0.5}},
        {"scale": 1.0, "site": "mlp", "layers": "1-1", "normalisation": "unit"},
        {"scale": 0.5, "site": "mlp", "normalisation": "state", "gate": "opposed"},
        {"scale": 0.5, "gate": "opposed", "normalisation": "state", "layers": [1], "preserve_norm": False},
    ],
    ids=["all-layers", "unit-second-half", "plain-first", "mlp-emphasis", "mlp-second", "vista", "gated-state"],
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
            steering.scales(adapter.n_layers),
            tuple(select_layers(steering.layers, adapter.n_layers)),
            positions,
            normalisation=steering.normalisation,
            gate=steering.gate,
            preserve_norm=steering.preserve_norm,
            site=steering.site,
        )
        for row, (recording, prompt) in enumerate(ROWS)
    ]
    assert_agrees(reading, expected)


@pytest.mark.parametrize("positions", [None, "all", "after_audio", "last"])
def test_a_template_with_the_question_first_agrees(question_first_pair, recordings, positions):
    adapter, oracle = question_first_pair
    engine, vectors = Engine(adapter), random_vectors(adapter) if positions else None
    steering = Steering(scale=0.5, positions=positions) if positions else None
    reading = engine.read(**batch(recordings), vectors=vectors, steering=steering, want_states=True)
    layers = tuple(range(adapter.n_layers))
    expected = [
        oracle.read(
            recordings[r],
            PROMPTS[p],
            **(dict(vectors=vectors[row], scale=0.5, layers=layers, positions=positions) if positions else {}),
        )
        for row, (r, p) in enumerate(ROWS)
    ]
    assert_agrees(reading, expected)
    if positions is None:
        answers = engine.answer(**batch(recordings), max_new_tokens=5)
        assert answers == [oracle.generate(recordings[r], PROMPTS[p], 5) for r, p in ROWS]


@pytest.mark.parametrize("positions", [None, "all", "after_audio", "last"])
def test_prompts_without_audio_agree(pair, recordings, positions):
    # Rows with and without audio in one call; two of the prompts without audio share a prefix.
    adapter, oracle = pair
    mixed = [None, *recordings[1:], None]
    rows = [(0, 0), (1, 2), (4, 1), (0, 3), (3, 3), (4, 2), (0, 1), (1, 0)]
    batch = dict(recordings=mixed, prompts=[PROMPTS[p] for _, p in rows], audio_index=[r for r, _ in rows])
    engine, vectors = Engine(adapter), random_vectors(adapter) if positions else None
    steering = Steering(scale=0.5, positions=positions) if positions else None
    reading = engine.read(**batch, vectors=vectors, steering=steering, want_states=True, want_head_mass=True)
    layers = tuple(range(adapter.n_layers))
    expected = [
        oracle.read(
            mixed[r],
            PROMPTS[p],
            **(dict(vectors=vectors[row], scale=0.5, layers=layers, positions=positions) if positions else {}),
        )
        for row, (r, p) in enumerate(rows)
    ]
    assert_agrees(reading, expected)
    assert reading.n_audio_tokens[[0, 2, 3, 5, 6]].tolist() == [0] * 5
    masses = np.stack([naive.head_mass for naive in expected])
    np.testing.assert_allclose(reading.head_mass, masses, rtol=0, atol=1e-5)
    assert not reading.head_mass[[0, 2, 3, 5, 6]].any()
    if positions is None:
        answers = engine.answer(**batch, max_new_tokens=5)
        assert answers == [oracle.generate(mixed[r], PROMPTS[p], 5) for r, p in rows]


def test_a_call_without_any_audio_agrees(pair):
    adapter, oracle = pair
    reading = Engine(adapter).read([None], PROMPTS, [0] * len(PROMPTS), want_states=True)
    assert reading.attention.shape == (len(PROMPTS), adapter.n_layers, 0)
    assert_agrees(reading, [oracle.read(None, prompt) for prompt in PROMPTS])
    steering, vectors = Steering(scale=0.5, positions="after_audio"), random_vectors(adapter)[: len(PROMPTS)]
    reading = Engine(adapter).read([None], PROMPTS, [0] * len(PROMPTS), vectors, steering, want_states=True)
    layers = tuple(range(adapter.n_layers))
    expected = [
        oracle.read(None, prompt, "all", vector, 0.5, layers) for prompt, vector in zip(PROMPTS, vectors, strict=True)
    ]
    assert_agrees(reading, expected)


@pytest.mark.parametrize("site", ["block", "mlp"])
def test_one_prompt_under_many_vectors_agrees(pair, recordings, site):
    # As in the workflow: rows that differ in nothing but their vectors, which share what lies before the first of them.
    adapter, oracle = pair
    last = adapter.n_layers - 1
    vectors = random_vectors(adapter, seed=2)[:6]
    steering = Steering(scale=0.5, layers=[last - 1, last], site=site)
    index = [0, 0, 1, 0, 1, 1]
    reading = Engine(adapter).read(
        recordings, [PROMPTS[0]] * 6, index, vectors, steering, want_states=True, want_head_mass=True
    )
    expected = [
        oracle.read(recordings[r], PROMPTS[0], "all", vectors[row], 0.5, (last - 1, last), site=site)
        for row, r in enumerate(index)
    ]
    assert_agrees(reading, expected)
    masses = np.stack([naive.head_mass for naive in expected])
    np.testing.assert_allclose(reading.head_mass, masses, rtol=0, atol=1e-5)


@pytest.mark.parametrize("text_rows", ["all", "last"])
def test_head_masses_agree(pair, recordings, text_rows):
    adapter, oracle = pair
    reading = Engine(adapter, text_rows).read(**batch(recordings), want_head_mass=True)
    masses = np.stack([oracle.read(recordings[r], PROMPTS[p]).head_mass for r, p in ROWS])
    assert masses.shape == (len(ROWS), adapter.n_layers, adapter.model.config.text_config.num_attention_heads)
    np.testing.assert_allclose(reading.head_mass, masses, rtol=0, atol=1e-5)


def test_passes_keep_head_masses(shipped_pair, recordings):
    adapter, oracle = shipped_pair
    steering, vector = Steering(scale=0.5, positions="after_audio"), random_vectors(adapter)[0]
    asked = [
        Pass(name="base", prompt=PROMPTS[0]),
        Pass(name="own", prompt=PROMPTS[0], direction=DIRECTIONS["silence"], steering=steering),
    ]
    settings = PassSettings(model=Model(checkpoint=adapter.name), passes=asked, readout="head_mass")
    engine = Engine(adapter)
    found, _ = passes.read(
        *(engine, engine.hear(recordings[:2]), [Example("0", "a.flac"), Example("1", "b.flac")]),
        *(passes.columns_of(asked, []), settings, lambda *_: np.stack([vector[None]] * 2)),
    )
    layers = tuple(range(adapter.n_layers))
    for row, recording in enumerate(recordings[:2]):
        expected = [oracle.read(recording, PROMPTS[0]).head_mass]
        expected.append(oracle.read(recording, PROMPTS[0], "all", vector, 0.5, layers, "after_audio").head_mass)
        np.testing.assert_allclose(found[row], np.stack(expected), rtol=0, atol=1e-5)
    column = store.schema.passes("head_mass", "steer_attention").columns[-1]
    assert (column.name, len(column.axes)) == ("head_mass", found.ndim)


@pytest.mark.parametrize(
    "settings",
    [None, {}, {"layers": "second_half"}, {"positions": "after_audio"}],
    ids=["base", "steered", "second-half", "after-audio"],
)
def test_audio_shares_agree(pair, recordings, settings):
    # Ragged rows, longer than a chunk of queries; two rows are one prompt, and one has no audio.
    adapter, oracle = pair
    mixed = [*recordings, None]
    rows = [(0, 0), (1, 2), (0, 0), (2, 1), (4, 3), (3, 3)]
    batch = dict(recordings=mixed, prompts=[PROMPTS[p] for _, p in rows], audio_index=[r for r, _ in rows])
    vectors = random_vectors(adapter)[: len(rows)] if settings is not None else None
    steering = Steering(scale=0.5, **settings) if settings is not None else None
    reading = Engine(adapter).read(**batch, vectors=vectors, steering=steering, want_states=True, want_audio_share=True)
    steered = {}
    if steering is not None:
        layers = tuple(steering.scales(adapter.n_layers))
        steered = dict(scale=0.5, layers=layers, positions=steering.positions)
    expected = [
        oracle.read(mixed[r], PROMPTS[p], vectors=None if vectors is None else vectors[row], **steered)
        for row, (r, p) in enumerate(rows)
    ]
    assert_agrees(reading, expected)
    shares = np.stack([naive.audio_share for naive in expected])
    assert (shares[[0, 1, 2, 3, 5]] > 0.05).all()
    np.testing.assert_allclose(reading.audio_share, shares, rtol=0, atol=1e-5)
    assert not reading.audio_share[4].any()


@pytest.mark.parametrize("positions", [None, "all", "last"])
def test_bfloat16_stays_near(shipped_pair, recordings, positions):
    # Eight bits of mantissa: masses to 2 % of a row's whole attention, states to 5 % of their length.
    _, oracle = shipped_pair
    adapter = load(Model(checkpoint=shipped_pair[0].name, device="cpu", dtype="bfloat16"))
    vectors = random_vectors(adapter) if positions else None
    steering = Steering(scale=0.1, positions=positions) if positions else None
    reading = Engine(adapter).read(**batch(recordings), vectors=vectors, steering=steering, want_states=True)
    layers = tuple(range(adapter.n_layers))
    worst_mass = worst_state = 0.0
    for row, (recording, prompt) in enumerate(ROWS):
        steered = dict(vectors=vectors[row], scale=0.1, layers=layers, positions=positions) if positions else {}
        naive = oracle.read(recordings[recording], PROMPTS[prompt], **steered)
        n_text, n_audio = naive.rows.shape[1:]
        mass = np.abs(reading.attention[row, :, :n_audio] - naive.attention).sum(axis=1).max() / n_text
        difference = np.linalg.norm(reading.states[row] - naive.states, axis=1)
        state = (difference / np.linalg.norm(naive.states, axis=1)).max()
        worst_mass, worst_state = max(worst_mass, mass), max(worst_state, state)
    print(f"largest differences: attention {worst_mass:.4f}, states {worst_state:.4f}")
    assert worst_mass <= 0.02
    assert worst_state <= 0.05


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


@pytest.mark.parametrize("text_rows", ["all", "last"])
@pytest.mark.parametrize("steered", [False, True], ids=["base", "steered"])
def test_kept_heads_agree(pair, recordings, steered, text_rows):
    adapter, oracle = pair
    vectors, steering = (random_vectors(adapter), Steering(scale=0.5)) if steered else (None, None)
    kept = Engine(adapter, text_rows).read(**batch(recordings), vectors=vectors, steering=steering, keep_heads=True)
    layers = tuple(range(adapter.n_layers)) if steered else ()
    for row, (recording, prompt) in enumerate(ROWS):
        own = vectors[row] if steered else None
        naive = oracle.read(recordings[recording], PROMPTS[prompt], text_rows, own, 0.5, layers)
        n_audio = naive.heads.shape[2]
        np.testing.assert_allclose(kept.attention[row, ..., :n_audio], naive.heads, rtol=0, atol=1e-5)
        assert np.isnan(kept.attention[row, ..., n_audio:]).all()


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
    answers = Engine(adapter).answer(**batch(recordings), max_new_tokens=12)
    assert answers == [oracle.generate(recordings[r], PROMPTS[p], 12) for r, p in ROWS]
