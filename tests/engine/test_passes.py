"""What holds for every pass: nothing leaks between rows, nothing stays behind, nothing is computed twice."""

import numpy as np
import pytest
import torch

from wheretolisten.config import Model, Steering
from wheretolisten.engine import injection
from wheretolisten.engine.passes import Engine
from wheretolisten.models.registry import load

PROMPTS = ["Describe the audio.", "Which part of the audio has the sound of rooster?", "Focus on the entire audio"]
INDEX = [0, 1, 2, 3, 0, 1, 2, 3]
QUESTIONS = [PROMPTS[row % 3] for row in range(len(INDEX))]


@pytest.fixture
def adapter(shipped_pair):
    return shipped_pair[0]


@pytest.fixture
def vectors(adapter):
    rng = np.random.default_rng(1)
    return rng.normal(size=(len(INDEX), adapter.n_layers, adapter.hidden_size)).astype(np.float32)


def n_hooks(adapter):
    return sum(len(module._forward_hooks) for module in adapter.blocks)


def assert_same(first, second, atol=0.0):
    np.testing.assert_allclose(first.states, second.states, rtol=0, atol=atol * max(1, np.abs(second.states).max()))
    np.testing.assert_allclose(first.attention, second.attention, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("positions", ["all", "after_audio", "last"])
def test_scale_zero_changes_no_bit(checkpoints, adapter, vectors, recordings, positions, dtype):
    if dtype == "bfloat16":
        adapter = load(Model(checkpoint=adapter.name, device="cpu", dtype=dtype))
    engine = Engine(adapter)
    steering = Steering(scale=0.0, positions=positions)
    plain = engine.read(recordings, QUESTIONS, INDEX, want_states=True)
    assert_same(engine.read(recordings, QUESTIONS, INDEX, vectors, steering, want_states=True), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [0.1, 3.0, -1.0])
def test_steering_keeps_the_length_of_every_token(dtype, scale):
    torch.manual_seed(0)
    hidden = (torch.randn(3, 11, 256) * torch.logspace(-1, 1.5, 11)[None, :, None]).to(dtype)
    tokens = torch.rand(3, 11) > 0.3
    steered = injection.steer(hidden, torch.randn(3, 256), tokens, scale, preserve_norm=True)
    assert steered.dtype == dtype
    assert torch.equal(steered[~tokens], hidden[~tokens])
    assert not torch.equal(steered[tokens], hidden[tokens])
    torch.testing.assert_close(steered.float().norm(dim=-1), hidden.float().norm(dim=-1), rtol=1e-3, atol=0)


def test_a_state_of_length_zero_stays_zero():
    steered = injection.steer(torch.zeros(1, 2, 4), torch.zeros(1, 4), torch.ones(1, 2, dtype=torch.bool), 1.0, True)
    assert torch.equal(steered, torch.zeros(1, 2, 4))


def test_first_block_attends_as_before_under_steering(adapter, vectors, recordings):
    # Block outputs are steered, so its own attention cannot change, while the next block's must.
    engine = Engine(adapter)
    plain = engine.read(recordings, QUESTIONS, INDEX)
    steered = engine.read(recordings, QUESTIONS, INDEX, vectors, Steering(scale=0.5))
    np.testing.assert_array_equal(steered.attention[:, 0], plain.attention[:, 0])
    assert np.nanmax(np.abs(steered.attention[:, 1] - plain.attention[:, 1])) > 1e-3


def test_later_positions_leave_earlier_tokens_alone(adapter, vectors, recordings):
    inputs = adapter.prepare(recordings, QUESTIONS, INDEX)
    real = inputs.attention_mask.sum(dim=1)
    counts = {name: injection.steered_tokens(inputs, name).sum(dim=1) for name in ("all", "after_audio", "last")}
    assert torch.equal(counts["all"], real)
    assert torch.equal(counts["last"], torch.ones_like(real))
    assert torch.equal(counts["after_audio"], inputs.last - inputs.text_start + 1)


@pytest.mark.parametrize("steered", [False, True], ids=["base", "steered"])
def test_results_do_not_depend_on_the_batch(adapter, vectors, recordings, steered):
    engine = Engine(adapter)
    steering = Steering(scale=0.5) if steered else None
    together = engine.read(recordings, QUESTIONS, INDEX, vectors if steered else None, steering, want_states=True)
    for row, (prompt, index) in enumerate(zip(QUESTIONS, INDEX, strict=True)):
        own = vectors[row : row + 1] if steered else None
        alone = engine.read([recordings[index]], [prompt], None, own, steering, want_states=True)
        n_tokens = alone.attention.shape[2]
        np.testing.assert_allclose(together.attention[row, :, :n_tokens], alone.attention[0], rtol=0, atol=1e-5)
        limit = 1e-5 * max(1, np.abs(alone.states).max())
        np.testing.assert_allclose(together.states[row], alone.states[0], rtol=0, atol=limit)


@pytest.mark.parametrize("text_rows", ["all", "last"])
def test_padding_side_does_not_matter(adapter, vectors, recordings, text_rows):
    engine = Engine(adapter, text_rows)
    left, right = (
        engine.read_inputs(
            adapter.prepare(recordings, QUESTIONS, INDEX, padding_side=side), vectors, Steering(scale=0.5), True
        )
        for side in ("left", "right")
    )
    assert_same(right, left, atol=1e-5)


def test_a_vector_of_nan_stays_in_its_row(adapter, vectors, recordings):
    engine, steering = Engine(adapter), Steering(scale=0.5)
    whole = engine.read(recordings, QUESTIONS, INDEX, vectors, steering)
    vectors[2] = np.nan
    holed = engine.read(recordings, QUESTIONS, INDEX, vectors, steering)
    others = [row for row in range(len(INDEX)) if row != 2]
    np.testing.assert_array_equal(holed.attention[others], whole.attention[others])
    assert np.isnan(holed.attention[2, 1:]).all()


def test_hooks_are_gone_afterwards_and_after_an_exception(adapter, vectors, recordings, monkeypatch):
    engine, steering = Engine(adapter), Steering(scale=0.5)
    before = n_hooks(adapter)
    plain = engine.read(recordings, QUESTIONS, INDEX, want_states=True)
    assert n_hooks(adapter) == before

    def fail(*_args, **_kwargs):
        assert n_hooks(adapter) == before + 2 * adapter.n_layers
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(adapter.blocks[-1].mlp, "forward", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.read(recordings, QUESTIONS, INDEX, vectors, steering, want_states=True)
    assert n_hooks(adapter) == before
    assert_same(engine.read(recordings, QUESTIONS, INDEX, want_states=True), plain)


def test_a_pass_encodes_each_recording_once_and_skips_the_head(adapter, recordings, monkeypatch):
    encoded = []
    monkeypatch.setattr(
        adapter, "_project_audio", lambda f, m, inner=adapter._project_audio: encoded.append(len(f)) or inner(f, m)
    )
    monkeypatch.setattr(adapter.model.lm_head, "forward", lambda *_: pytest.fail("the head was run"))
    Engine(adapter).read(recordings, QUESTIONS, INDEX)
    assert encoded == [len(recordings)]


def test_only_the_text_stack_reports_attention(adapter):
    Engine(adapter)
    assert adapter._tower.config._attn_implementation == "sdpa"
    assert adapter.text_stack.config._attn_implementation != "sdpa"


def test_vectors_of_zeros_read_as_no_steering(adapter, vectors, recordings):
    engine = Engine(adapter)
    plain = engine.read(recordings, QUESTIONS, INDEX, keep_text=True)
    vectors[:-1] = 0
    mixed = engine.read(recordings, QUESTIONS, INDEX, vectors, Steering(scale=0.5), keep_text=True)
    np.testing.assert_array_equal(mixed.attention[:-1], plain.attention[:-1])
    assert np.nanmax(np.abs(mixed.attention[-1] - plain.attention[-1])) > 1e-3


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_text_tokens_are_those_from_the_audio_to_the_end_of_the_prompt(adapter, recordings, padding_side):
    inputs = adapter.prepare(recordings, QUESTIONS, INDEX, padding_side)
    for prompt, tokens in zip(QUESTIONS, Engine(adapter).text_tokens(inputs), strict=True):
        assert prompt in "".join(tokens)
        assert not set("".join(tokens).split()) & {adapter.processor.audio_token, "system", "user"}
    assert {tuple(tokens) for tokens in Engine(adapter, "last").text_tokens(inputs)} == {("\n",)}


def test_wrong_vectors_are_refused(adapter, vectors, recordings):
    engine = Engine(adapter)
    with pytest.raises(ValueError, match="belong together"):
        engine.read(recordings, QUESTIONS, INDEX, vectors)
    with pytest.raises(ValueError, match="shape"):
        engine.read(recordings, QUESTIONS, INDEX, vectors[:, :-1], Steering())


def test_description_names_blocks_and_tokens(adapter, recordings):
    steering = Steering(scale=0.1, layers=[0, 1, 3], positions="last", normalisation="unit")
    text = Engine(adapter, "all").describe(steering, recordings[0], PROMPTS[0])
    n_tokens = adapter.prepare(recordings[:1], PROMPTS[:1]).input_ids.shape[1]
    assert "0.1 times the vector (brought to length 1)" in text
    assert f"3 of {adapter.n_layers} decoder blocks (0-1, 3)" in text
    assert f"{n_tokens - 1} of 0-{n_tokens - 1}" in text
    assert PROMPTS[0] in text.splitlines()[-1]
    assert "6.25 audio tokens per second" in text
    assert "steering" not in Engine(adapter).describe(None, recordings[0], PROMPTS[0])
