"""What holds for every pass: nothing leaks between rows, nothing stays behind, nothing is computed twice."""

import accelerate
import numpy as np
import pytest
import torch

from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine import attention, injection, sites
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.registry import load

PROMPTS = ["Describe the audio.", "Which part of the audio has the sound of rooster?", "Focus on the entire audio"]
INDEX = [0, 1, 2, 3, 0, 1, 2, 3]
QUESTIONS = [PROMPTS[row % 3] for row in range(len(INDEX))]
VISTA = {"site": "mlp", "normalisation": "state", "gate": "opposed"}


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
@pytest.mark.parametrize("form", [{}, VISTA], ids=["plain", "vista"])
def test_scale_zero_changes_no_bit(checkpoints, adapter, vectors, recordings, positions, dtype, form):
    if dtype == "bfloat16":
        adapter = load(Model(checkpoint=adapter.name, device="cpu", dtype=dtype))
    engine = Engine(adapter, share_prefix=positions != "all")
    steering = Steering(scale=0.0, positions=positions, **form)
    plain = engine.read(recordings, QUESTIONS, INDEX, want_states=True)
    assert_same(engine.read(recordings, QUESTIONS, INDEX, vectors, steering, want_states=True), plain)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [0.1, 3.0, -1.0])
def test_steering_keeps_the_length_of_every_token(dtype, scale):
    torch.manual_seed(0)
    hidden = (torch.randn(3, 11, 256) * torch.logspace(-1, 1.5, 11)[None, :, None]).to(dtype)
    tokens = torch.rand(3, 11) > 0.3
    steered = injection.steering_hooks(torch.randn(3, 1, 256), tokens, Steering(scale=scale))[0](hidden)
    assert steered.dtype == dtype
    assert torch.equal(steered[~tokens], hidden[~tokens])
    assert not torch.equal(steered[tokens], hidden[tokens])
    torch.testing.assert_close(steered.float().norm(dim=-1), hidden.float().norm(dim=-1), rtol=1e-3, atol=0)


def test_a_state_of_length_zero_stays_zero():
    states = torch.zeros(1, 2, 4)
    for steering in (Steering(), Steering(**VISTA)):
        assert torch.equal(injection.steer(states, torch.zeros(4), 1.0, steering), states)


def test_gate_doubles_the_strength_against_the_vector_and_leaves_it_along_the_vector():
    vector = torch.tensor([0.0, 1.0])
    states = torch.tensor([[0.0, -5.0], [0.0, 5.0], [5.0, 0.0], [3.0, -4.0]])
    steering = Steering(normalisation="state", gate="opposed", preserve_norm=False)
    moved = injection.steer(states, vector, 0.1, steering)
    # ‖h‖ = 5, so λ‖h‖ = 0.5; the gates are 1 + 1, 1, 1 and 1 + 4/5.
    torch.testing.assert_close(moved, states + torch.tensor([[0.0, 1.0], [0.0, 0.5], [0.0, 0.5], [0.0, 0.9]]))


def test_first_block_attends_as_before_under_steering(adapter, vectors, recordings):
    # Block outputs are steered, so its own attention cannot change, while the next block's must.
    engine = Engine(adapter, share_prefix=False)
    plain = engine.read(recordings, QUESTIONS, INDEX)
    steered = engine.read(recordings, QUESTIONS, INDEX, vectors, Steering(scale=0.5))
    np.testing.assert_array_equal(steered.attention[:, 0], plain.attention[:, 0])
    assert np.nanmax(np.abs(steered.attention[:, 1] - plain.attention[:, 1])) > 1e-3


def test_later_positions_leave_earlier_tokens_alone(adapter, vectors, recordings):
    inputs = adapter.prepare(recordings, QUESTIONS, INDEX)
    real = inputs.attention_mask.sum(dim=1)
    counts = {name: inputs.last - injection.first_steered(inputs, name) + 1 for name in ("all", "after_audio", "last")}
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
    encoded, projector = [], adapter.model.get_submodule("model.multi_modal_projector")
    monkeypatch.setattr(
        projector, "forward", lambda states, inner=projector.forward: encoded.append(len(states)) or inner(states)
    )
    monkeypatch.setattr(adapter.model.lm_head, "forward", lambda *_: pytest.fail("the head was run"))
    Engine(adapter).read(recordings, QUESTIONS, INDEX)
    assert sum(encoded) == len(recordings)


def test_only_the_text_stack_reports_attention(adapter):
    Engine(adapter)
    assert adapter.model.get_submodule("model.audio_tower").config._attn_implementation == "sdpa"
    assert adapter.text_stack.config._attn_implementation != "sdpa"


@pytest.mark.parametrize("form", [{}, VISTA], ids=["plain", "vista"])
def test_vectors_of_zeros_read_as_no_steering(adapter, vectors, recordings, form):
    engine = Engine(adapter, share_prefix=False)
    plain = engine.read(recordings, QUESTIONS, INDEX, keep_text=True)
    vectors[:-1] = 0
    mixed = engine.read(recordings, QUESTIONS, INDEX, vectors, Steering(scale=0.5, **form), keep_text=True)
    np.testing.assert_array_equal(mixed.attention[:-1], plain.attention[:-1])
    assert np.nanmax(np.abs(mixed.attention[-1] - plain.attention[-1])) > 1e-3


@pytest.mark.parametrize("padding_side", ["left", "right"])
def test_text_tokens_are_those_from_the_audio_to_the_end_of_the_prompt(adapter, recordings, padding_side):
    inputs = adapter.prepare(recordings, QUESTIONS, INDEX, padding_side)
    for prompt, tokens in zip(QUESTIONS, Engine(adapter).text_tokens(inputs), strict=True):
        assert prompt in "".join(tokens)
        assert not set("".join(tokens).split()) & {adapter.processor.audio_token, "system", "user"}
    assert {tuple(tokens) for tokens in Engine(adapter, "last").text_tokens(inputs)} == {("\n",)}


def test_what_does_not_fit_together_is_refused(adapter, vectors, recordings):
    engine = Engine(adapter)
    with pytest.raises(ValueError, match="belong together"):
        engine.read(recordings, QUESTIONS, INDEX, vectors)
    with pytest.raises(ValueError, match="shape"):
        engine.read(recordings, QUESTIONS, INDEX, vectors[:, :-1], Steering())
    with pytest.raises(ValueError, match="exclude each other"):
        engine.read(recordings, QUESTIONS, INDEX, keep_text=True, keep_heads=True)


def test_description_names_blocks_and_tokens(adapter, recordings):
    steering = Steering(scale=0.1, layers=[0, 1, 3], positions="last", normalisation="unit")
    text = Engine(adapter, "all").describe(steering, recordings[0], PROMPTS[0])
    n_tokens = adapter.prepare(recordings[:1], PROMPTS[:1]).input_ids.shape[1]
    assert "0.1 times the vector (brought to length 1)" in text
    assert f"3 of {adapter.n_layers} decoder blocks (0-1, 3)" in text
    assert f"{n_tokens - 1} of 0-{n_tokens - 1}" in text
    assert PROMPTS[0] in text.splitlines()[-1]
    assert "6.25 audio tokens per second" in text
    vista = injection.describe(Steering(**VISTA), adapter.n_layers)
    assert "brought to the length of the state" in vista
    assert "up to twice the strength where a state points away from the vector" in vista
    assert "steering" not in Engine(adapter).describe(None, recordings[0], PROMPTS[0])


STEERINGS = {"base": None, "all": Steering(scale=0.5), "last": Steering(scale=0.5, positions="last")}


@pytest.mark.parametrize("name", STEERINGS)
def test_one_row_at_a_time_reads_the_same_as_all_together(adapter, vectors, recordings, name):
    steering = STEERINGS[name]
    own = None if steering is None else vectors
    wanted = dict(vectors=own, steering=steering, want_states=True, want_head_mass=True)
    together = Engine(adapter).read(recordings, QUESTIONS, INDEX, **wanted)
    one_by_one = Engine(adapter, max_rows=1).read(recordings, QUESTIONS, INDEX, **wanted)
    assert_same(one_by_one, together, atol=1e-5)
    np.testing.assert_allclose(one_by_one.head_mass, together.head_mass, rtol=0, atol=1e-5)


def test_limit_counts_prompts_and_parts_none_that_share_a_prefix(adapter, vectors, recordings, monkeypatch):
    shapes = []
    inner = adapter.text_stack.forward
    monkeypatch.setattr(
        adapter.text_stack, "forward", lambda **given: shapes.append(given["inputs_embeds"].shape) or inner(**given)
    )
    # No more than the limit, and all of one size.
    for limit, together in ((1, [1] * 4), (4, [2] * 2), (5, [2] * 2), (6, [2] * 2), (8, [4])):
        shapes.clear()
        Engine(adapter, max_rows=limit).read(recordings, QUESTIONS, INDEX)
        assert [shape[0] for shape in shapes] == together
    shapes.clear()
    Engine(adapter, max_rows=3).read(recordings, QUESTIONS, INDEX, vectors, Steering())
    assert [shape[0] for shape in shapes] == [3, 3, 2]


def test_no_map_is_whole_where_all_attention_counts(adapter, recordings, monkeypatch):
    sizes = []
    inner = attention._softmax
    monkeypatch.setattr(attention, "_softmax", lambda query, *rest: sizes.append(query.shape[2]) or inner(query, *rest))
    reading = Engine(adapter, "last").read(recordings, QUESTIONS, INDEX, want_audio_share=True)
    n_tokens = int(adapter.prepare(recordings, QUESTIONS, INDEX).attention_mask.sum(dim=1).max())
    assert max(sizes) == attention._CHUNK < n_tokens
    assert sum(sizes) == adapter.n_layers * (n_tokens + 1)
    assert ((reading.audio_share > 0) & (reading.audio_share < 1)).all()


def test_one_row_at_a_time_answers_the_same_as_all_together(adapter, recordings):
    answers = Engine(adapter).answer(recordings, QUESTIONS, INDEX, 6)
    assert Engine(adapter, max_rows=1).answer(recordings, QUESTIONS, INDEX, 6) == answers


@pytest.fixture
def small_memory(adapter, monkeypatch):
    """A device that holds two rows, and the numbers of rows that were tried on it."""
    tried = []

    def forward(inner):
        def limited(*args, **kwargs):
            n_rows = len(args[0] if args else kwargs["inputs_embeds"])
            tried.append(n_rows)
            if n_rows > 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 GiB.")
            return inner(*args, **kwargs)

        return limited

    for module in (adapter.text_stack, adapter.model.get_submodule("model.audio_tower")):
        monkeypatch.setattr(module, "forward", forward(module.forward))
    return tried


@pytest.mark.parametrize("name", STEERINGS)
def test_running_out_of_memory_halves_the_batch_and_goes_on(
    adapter, vectors, recordings, monkeypatch, request, caplog, name
):
    steering = STEERINGS[name]
    own = None if steering is None else vectors
    expected = Engine(adapter).read(recordings, QUESTIONS, INDEX, own, steering, want_states=True)
    tried = request.getfixturevalue("small_memory")
    engine, before = Engine(adapter), n_hooks(adapter)
    found = engine.read(recordings, QUESTIONS, INDEX, own, steering, want_states=True)
    assert_same(found, expected, atol=1e-5)
    assert max(tried) > 2
    assert "out of memory with 8 prompts in a pass, going on with 4" in caplog.text
    tried.clear()
    engine.read(recordings, QUESTIONS, INDEX, own, steering)
    assert max(tried) == 2, "the size that fits is kept"
    assert n_hooks(adapter) == before


def test_a_single_row_that_does_not_fit_ends_in_one_sentence(adapter, recordings, monkeypatch):
    def forward(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.00 GiB.\nMore advice.")

    monkeypatch.setattr(adapter.text_stack, "forward", forward)
    with pytest.raises(
        UserError, match=r"even with 2 of the prompts at a time \(CUDA out of memory.*GiB\.\); use a device"
    ) as error:
        Engine(adapter).read(recordings, QUESTIONS, INDEX)
    assert "\n" not in str(error.value)


def test_the_shared_prefix_goes_through_once(adapter, recordings):
    engine = Engine(adapter)
    prompts = ["Focus on the dog", "Focus on the cat", "Which part?"]
    inputs = adapter.prepare(recordings[:1], prompts, [0, 0, 0])
    lengths = inputs.attention_mask.sum(dim=1)
    engine.read(recordings[:1], prompts, [0, 0, 0])
    audio_end = int(inputs.audio_span[0, 1] - inputs.first[0])
    # What is read cannot be shared, so the prefix ends with the audio, whatever the prompts begin with.
    assert engine.meter.tokens["prefill"] == audio_end
    assert engine.meter.tokens["suffix"] == int(lengths.sum()) - 3 * audio_end
    engine = Engine(adapter)
    engine.answer(recordings[:1], prompts[:2], [0, 0], max_new_tokens=1)
    # Answers read nothing: these share "Focus on the", too.
    n_same = int(
        (
            inputs.input_ids[0, inputs.first[0] :][: audio_end + 9]
            == inputs.input_ids[1, inputs.first[1] :][: audio_end + 9]
        )
        .cumprod(0)
        .sum()
    )
    assert audio_end < n_same < int(lengths[0])
    assert engine.meter.tokens["prefill"] == n_same
    assert engine.meter.tokens["answer"] == int(lengths[:2].sum()) - 2 * n_same + 2


def test_prompts_without_audio_share_all_but_their_ends(adapter):
    engine = Engine(adapter)
    prompts = ["Focus on the dog", "Focus on the cat"]
    ids = adapter.prepare([None], prompts, [0, 0]).input_ids
    assert not (ids == adapter.model.config.audio_token_id).any()
    engine.read([None], prompts, [0, 0], want_states=True)
    n_same = int((ids[0] == ids[1]).cumprod(0).sum())
    assert n_same > 0
    assert engine.meter.tokens["prefill"] == n_same
    assert engine.meter.tokens["suffix"] == 2 * (ids.shape[1] - n_same)
    assert "no audio tokens" in engine.describe(None, None, prompts[0])


def test_what_was_heard_is_not_encoded_again(adapter, vectors, recordings, monkeypatch):
    engine = Engine(adapter)
    expected = engine.read(recordings, QUESTIONS, INDEX, want_states=True)
    heard = engine.hear(recordings)
    monkeypatch.setattr(adapter, "encode", lambda _: pytest.fail("encoded again"))
    assert_same(engine.read(heard, QUESTIONS, INDEX, want_states=True), expected)
    assert len(engine.answer(heard, QUESTIONS, INDEX, 2)) == len(QUESTIONS)


def test_prefixes_are_read_once_for_several_ways_to_steer_behind_them(adapter, vectors, recordings):
    engine, inputs = Engine(adapter), adapter.prepare(recordings, QUESTIONS[:4], INDEX[:4])
    heard = engine.hear(recordings)
    ways = (
        Steering(positions="after_audio", scale=0.5),
        Steering(positions="after_audio", scale=2.0, layers="second_half", **VISTA),
        Steering(positions="last", operator="ablate", preserve_norm=False),
    )
    for way in ways:
        for n_rows in (8, 4):
            asked = QUESTIONS[:n_rows], INDEX[:n_rows], vectors[:n_rows], way
            # Whoever passes recordings has them heard, and their prefixes read, for one call.
            alone = Engine(adapter).read(recordings, *asked, want_states=True, keep_heads=True)
            assert_same(engine.read(heard, *asked, want_states=True, keep_heads=True), alone, atol=1e-5)
    # What is read, as what is steered, begins behind the audio.
    assert engine.meter.tokens["prefill"] == int((inputs.text_start - inputs.first).sum())
    assert len(heard.prefixes) == 1
    # An edit of weights makes another model, which does not see what this one kept.
    weight, before = adapter.blocks[0].self_attn.k_proj.weight, adapter.blocks[0].self_attn.k_proj.weight.clone()
    try:
        with torch.no_grad():
            weight.mul_(1.5)
        edited = engine.read(heard, *asked, want_states=True, keep_heads=True)
        assert np.nanmax(np.abs(edited.attention - alone.attention)) > 1e-4
        assert_same(edited, Engine(adapter).read(recordings, *asked, want_states=True, keep_heads=True), atol=1e-5)
    finally:
        with torch.no_grad():
            weight.copy_(before)


def test_prefixes_that_do_not_fit_are_read_in_smaller_batches(adapter, vectors, recordings, request):
    steering = Steering(positions="after_audio", scale=0.5)
    expected = Engine(adapter).read(recordings, QUESTIONS, INDEX, vectors, steering)
    engine = Engine(adapter)
    heard = engine.hear(recordings)
    tried = request.getfixturevalue("small_memory")
    found = engine.read(heard, QUESTIONS, INDEX, vectors, steering)
    np.testing.assert_allclose(found.attention, expected.attention, rtol=0, atol=1e-5)
    assert tried == [4, 2, 2, 2, 2], "prefixes of four recordings, then twice those of two and what follows them"
    assert len(heard.prefixes) == 2


@pytest.mark.parametrize("name", STEERINGS)
def test_nothing_is_computed_that_nobody_reads(adapter, vectors, recordings, monkeypatch, name):
    steering = STEERINGS[name]
    for module in (adapter.blocks[-1].mlp, adapter.text_stack.norm):
        monkeypatch.setattr(module, "forward", lambda *_: pytest.fail("computed for nobody"))
    own = None if steering is None else vectors
    reading = Engine(adapter).read(recordings, QUESTIONS, INDEX, own, steering)
    assert np.isfinite(reading.attention[:, :, 0]).all()


def test_blocks_before_the_first_vector_see_every_prompt_once(adapter, recordings):
    rows = []
    handles = [block.register_forward_pre_hook(lambda _, args: rows.append(len(args[0]))) for block in adapter.blocks]
    steering = Steering(layers="second_half")
    vectors = np.ones((6, adapter.n_layers, adapter.hidden_size), dtype=np.float32)
    Engine(adapter).read(recordings[:2], QUESTIONS[:1] * 6, [0, 0, 0, 1, 1, 1], vectors, steering)
    for handle in handles:
        handle.remove()
    first = adapter.n_layers // 2
    assert rows == [2] * (first + 1) + [6] * (adapter.n_layers - first - 1)


@pytest.mark.parametrize("site", [name for name, site in sites.SITES.items() if site.in_block])
@pytest.mark.parametrize("positions", ["all", "last"])
def test_no_hook_outlives_an_exception_wherever_it_sits(adapter, recordings, monkeypatch, site, positions):
    def hooks():
        modules = adapter.model.modules()
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)

    before = hooks()
    seen = []

    def fail(*_args, **_kwargs):
        seen.append(hooks())
        raise RuntimeError("broken")

    monkeypatch.setattr(adapter.blocks[-1].self_attn.o_proj, "forward", fail)
    vectors = np.ones((len(INDEX), adapter.n_layers, sites.width(adapter, site)), dtype=np.float32)
    steering = Steering(positions=positions, site=site)
    with pytest.raises(RuntimeError, match="broken"):
        Engine(adapter).read(recordings, QUESTIONS, INDEX, vectors, steering, want_states=True)
    assert seen == [before + 2 * adapter.n_layers]
    assert hooks() == before


def naive_rows(query, key, scaling, n_seen):
    """softmax(q·Kᵀ) of one row's queries, query number n seeing the first n_seen[n] keys; [head, token, key]."""
    key = key.repeat_interleave(query.shape[0] // key.shape[0], dim=0)
    weights = torch.zeros(query.shape[0], query.shape[1], key.shape[1])
    for head in range(query.shape[0]):
        for token, n in enumerate(n_seen):
            weights[head, token, :n] = (key[head, :n] @ query[head, token] * scaling).softmax(dim=0)
    return weights


@pytest.mark.parametrize("n_cached", [0, 5])
@pytest.mark.parametrize("n_key_heads", [1, 2, 4])
@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_rows_are_those_of_the_softmax(n_cached, n_key_heads, padding):
    torch.manual_seed(n_cached + n_key_heads)
    n_tokens, n_pad = 7, 2 if padding != "none" else 0
    query, key = torch.randn(2, 4, n_tokens, 8), torch.randn(2, n_key_heads, n_cached + n_tokens, 8)
    # Both rows read two tokens about the keys 1-3; padding concerns the second row.
    shift = n_pad if padding == "left" else 0
    columns = torch.tensor([[5, 6], [3 + shift, 4 + shift]])
    spans = torch.tensor([[1, 4], [1 + shift, 4 + shift]])
    rows = attention.Rows(columns, torch.tensor([[0, 1], [2, 3]]), spans, 3)
    mask = None
    if padding != "none":
        real = torch.ones(2, n_cached + n_tokens, dtype=torch.bool)
        real[1, :n_pad] = padding != "left"
        real[1, n_cached + n_tokens - n_pad :] = padding != "right"
        causal = torch.arange(n_cached + n_tokens) <= torch.arange(n_tokens)[:, None] + n_cached
        mask = (causal & real[:, None, :])[:, None]
    reader = attention.AttentionReader(rows, attention.Wanted(head_mass=True))
    found = reader.read(query, key, 0.3, mask)
    for row in range(2):
        skip = shift if row else 0
        seen = [n_cached + int(column) + 1 - skip for column in columns[row]]
        weights = naive_rows(query[row][:, columns[row]], key[row][:, skip:], 0.3, seen)
        masses = weights[..., spans[row, 0] - skip : spans[row, 1] - skip]
        torch.testing.assert_close(found["attention"][row], masses.mean(dim=0).sum(dim=0), rtol=0, atol=1e-6)
        torch.testing.assert_close(found["head_mass"][row], masses[:, -1].sum(dim=-1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_of_half_precision_are_float32_without_a_copy_of_the_keys(dtype):
    torch.manual_seed(0)
    query, key = torch.randn(2, 3, 6, 8).to(dtype), torch.randn(2, 3, 9, 8).to(dtype)
    expected = torch.einsum("rhqc,rhkc->rhqk", query.double(), key.double())
    torch.testing.assert_close(attention._products(query, key).double(), expected, rtol=0, atol=1e-5)
    # What a card does, as far as it can be seen without one: the shape and the type.
    found = attention._products(query.to("meta"), key.to("meta"))
    assert (found.shape, found.dtype) == (expected.shape, torch.float32)


def test_flash_attention_is_refused_where_it_cannot_run(adapter, monkeypatch):
    with pytest.raises(UserError, match="kernel: flash needs the package flash-attn"):
        Engine(adapter, kernel="flash")
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: True)
    with pytest.raises(UserError, match=r"not in torch\.float32 on cpu; set kernel: sdpa"):
        Engine(adapter, kernel="flash")


def test_flash_attention_takes_the_causal_passes_and_reads_the_same(adapter, vectors, recordings, monkeypatch):
    calls = []

    def flash(query, key, value, mask, query_length, is_causal, softmax_scale, attn_implementation):
        assert mask is None
        assert is_causal
        assert query_length == query.shape[1]
        calls.append(attn_implementation)
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
        output = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=softmax_scale, enable_gqa=True
        )
        return output.transpose(1, 2)

    expected = [Engine(adapter).read(recordings, QUESTIONS, INDEX, want_states=True)]
    expected.append(Engine(adapter).read(recordings, QUESTIONS, INDEX, vectors, Steering(), want_states=True))
    monkeypatch.setattr(attention, "check_kernel", lambda *_: None)
    monkeypatch.setattr(attention, "_flash_attention_forward", flash)
    engine = Engine(adapter, kernel="flash")
    found = [engine.read(recordings, QUESTIONS, INDEX, want_states=True)]
    found.append(engine.read(recordings, QUESTIONS, INDEX, vectors, Steering(), want_states=True))
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, atol=1e-5)
    # The prefixes of the one pass, the whole of the other.
    assert calls == ["flash_attention_2"] * 2 * adapter.n_layers


def test_blocks_behind_dispatch_hooks_read_the_same(checkpoints, adapter, vectors, recordings):
    # As transformers spreads a model over devices (device_map): every block is wrapped to move its inputs.
    spread = load(Model(checkpoint=adapter.name, device="cpu", dtype="float32"))
    names = [
        name for name, module in spread.model.named_modules() if name.endswith("norm") or not list(module.children())
    ]
    blocks = [f"model.language_model.layers.{layer}" for layer in range(spread.n_layers)]
    names = [name for name in names if not name.startswith("model.language_model.layers.")]
    accelerate.dispatch_model(spread.model, dict.fromkeys(names + blocks, "cpu"), force_hooks=True)
    assert all(hasattr(block, "_hf_hook") for block in spread.blocks)
    for own, steering in ((None, None), (vectors, Steering(scale=0.5))):
        expected = Engine(adapter).read(recordings, QUESTIONS, INDEX, own, steering, want_states=True)
        assert_same(Engine(spread).read(recordings, QUESTIONS, INDEX, own, steering, want_states=True), expected)
    assert Engine(spread).answer(recordings, QUESTIONS, INDEX, 4) == Engine(adapter).answer(
        recordings, QUESTIONS, INDEX, 4
    )


def test_the_meter_counts_every_stage(adapter, vectors, recordings):
    engine = Engine(adapter)
    engine.read(recordings, QUESTIONS, INDEX)
    engine.read(recordings, QUESTIONS, INDEX, vectors, Steering())
    engine.answer(recordings, QUESTIONS, INDEX, 2)
    with engine.meter.stage("store"):
        engine.meter.n_samples += len(recordings)
    summary = engine.meter.summary()
    assert list(summary["seconds"]) == ["encode", "prefill", "suffix", "steer", "answer", "store"]
    assert all(seconds > 0 for name, seconds in summary["seconds"].items() if name != "store")
    assert sum(summary["seconds"].values()) <= summary["wall_s"]
    n_tokens = int(adapter.prepare(recordings, QUESTIONS, INDEX).attention_mask.sum())
    assert summary["tokens"]["steer"] == n_tokens
    assert summary["tokens_per_s"] > 0
    assert summary["samples_per_s"] == pytest.approx(4 / summary["wall_s"], rel=0.01)
    assert summary["peak_memory_mb"]["host"] > 100
