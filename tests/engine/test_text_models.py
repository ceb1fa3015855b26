"""Language models without ears, behind the same engine: a passage of text, or symbols, stand where audio would."""

import contextlib
import itertools

import numpy as np
import pytest
import torch
import transformers

from tests.engine import families
from tests.engine.oracle import embedded
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.engine.traits import traits_of
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Symbols
from wheretolisten.models.registry import load

_PASSAGES = ("When does the dog bark, and is it before or after the rain?", "Focus on the entire audio of the rooster.")
# Of several tokens each, and with one word in the other.
_SYMBOLS = (
    Symbols((("rooster", 0, 7), ("sound of rain", 9, 20), ("dog", 12, 15)), 20, 0.5, ("symbols", 3, "00000")),
    Symbols((("dog", 2, 12),), 13, 2.0, ("symbols", 3, "00001")),
)
_PROMPTS = ("Describe the audio.", "Which part of the audio has the sound of rooster? Answer in seconds.")
ROWS = [(0, 0), (1, 1), (0, 1), (1, 0)]

_TEXT = dict(
    vocab_size=512,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    pad_token_id=0,
    bos_token_id=None,
    eos_token_id=2,
)
_HEADS, _WINDOW = {"head_dim": 16}, {"sliding_window": 16}
KINDS = {
    "llama": {},
    "qwen2": {},
    "qwen3": _HEADS,
    "qwen3_moe": {**_HEADS, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    "mistral": {**_WINDOW},
    "smollm3": {},
    "gemma": _HEADS,
    "gemma3_text": {**_HEADS, **_WINDOW, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "phi3": {},
    "olmo2": {},
    "granite": {},
    "gpt_neox": {},
    "gpt2": {"n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 512},
}
# Short convolutions carry one prompt into the next where they stand side by side.
MIXING = {"lfm2": {"layer_types": ["conv", "full_attention"] * 2}}


def checkpoint(name, settings, folder):
    tokens = families.tokenizer([])
    tokens.chat_template = families.TEXT_TEMPLATE
    config = transformers.AutoConfig.for_model(name, **_TEXT | settings)
    torch.manual_seed(3)
    families.save_random(transformers.AutoModelForCausalLM.from_config(config), folder)
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[*KINDS, *MIXING])
def text_model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text") / "checkpoint"
    checkpoint(request.param, (KINDS | MIXING)[request.param], folder)
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    return request.param, load(Model(checkpoint=str(folder), device="cpu", dtype="float32")), plain.eval(), tokens


@torch.no_grad()
def plain_inputs(plain, tokens, heard, prompt):
    """What a plain model takes, and the first token of what is heard with the one after its last."""
    said = heard if isinstance(heard, str) else "<there>"
    message = [{"role": "user", "content": f"{said}\n{prompt}"}]
    text = tokens.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    if isinstance(heard, str):
        encoded = tokens(text, return_offsets_mapping=True, return_tensors="pt")
        first, offsets = text.index(heard), encoded["offset_mapping"][0].tolist()
        inside = [n for n, (start, end) in enumerate(offsets) if start < first + len(heard) and end > first]
        return {"input_ids": encoded["input_ids"]}, (inside[0], inside[-1] + 1)
    before, after = (torch.tensor(tokens(part)["input_ids"]) for part in text.split(said))
    table, own = plain.get_input_embeddings(), embedded(plain, tokens, heard)
    return {"inputs_embeds": torch.cat([table(before), own, table(after)])[None]}, (len(before), len(before) + len(own))


@torch.no_grad()
def plain_reading(plain, tokens, heard, prompt, vectors=None, positions="all"):
    """States at the last token and attention from what follows what is heard to it, one prompt, eager."""
    inputs, (first, after) = plain_inputs(plain, tokens, heard, prompt)
    decoder, states, handles = plain.get_decoder(), [], []
    steered = slice(after if positions == "after_audio" else 0, None)

    def hook_of(layer):
        def hook(_module, _args, output):
            hidden = output[0] if isinstance(output, tuple) else output
            if vectors is not None:
                before = hidden[:, steered]
                moved = before + 0.5 * torch.tensor(vectors[layer])
                hidden = hidden.clone()
                hidden[:, steered] = moved * before.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True)
            states.append(hidden[0, -1])
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    for layer, block in enumerate(decoder.layers if hasattr(decoder, "layers") else decoder.h):
        handles.append(block.register_forward_hook(hook_of(layer)))
    outputs = plain(**inputs, output_attentions=True)
    for handle in handles:
        handle.remove()
    maps = [weights for weights in outputs.attentions if weights is not None]
    rows = [weights[0, :, after:, first:after].mean(dim=0).sum(dim=0).numpy() for weights in maps]
    return torch.stack(states).numpy(), np.stack(rows)


@pytest.mark.parametrize("about", [_PASSAGES, _SYMBOLS], ids=["passages", "symbols"])
def test_a_language_model_agrees_with_its_plain_self(text_model, about):
    name, adapter, plain, tokens = text_model
    vectors = np.random.default_rng(0).normal(size=(len(ROWS), adapter.n_layers, adapter.hidden_size))
    vectors = vectors.astype(np.float32)
    asked = (about, [_PROMPTS[prompt] for _, prompt in ROWS], [heard for heard, _ in ROWS])
    for positions in (None, "all", "after_audio"):
        settings = {"vectors": vectors, "steering": Steering(scale=0.5, positions=positions)} if positions else {}
        expected = [
            plain_reading(plain, tokens, about[heard], _PROMPTS[prompt], vectors[row] if settings else None, positions)
            for row, (heard, prompt) in enumerate(ROWS)
        ]
        for shared in (True, False):
            found = Engine(adapter, share_prefix=shared).read(*asked, want_states=True, **settings)
            for row, (states, attention) in enumerate(expected):
                assert found.n_audio_tokens[row] == attention.shape[1]
                attends = np.isfinite(found.attention[row]).any(axis=-1)
                own = found.attention[row][attends][:, : attention.shape[1]]
                np.testing.assert_allclose(own, attention, rtol=1e-5, atol=1e-5)
                np.testing.assert_allclose(found.states[row], states, rtol=0, atol=1e-5 * np.abs(states).max())
    assert traits_of(adapter).side_by_side == (name not in MIXING)


@pytest.mark.parametrize("about", [_PASSAGES, _SYMBOLS], ids=["passages", "symbols"])
def test_a_language_model_answers_like_its_plain_self(text_model, about):
    _, adapter, plain, tokens = text_model
    asked = (about, [_PROMPTS[prompt] for _, prompt in ROWS], [heard for heard, _ in ROWS])
    answers = Engine(adapter).answer(*asked, max_new_tokens=5)
    for answer, (heard, prompt) in zip(answers, ROWS, strict=True):
        inputs, _ = plain_inputs(plain, tokens, about[heard], _PROMPTS[prompt])
        (of_prompt,) = inputs.values()
        mask = torch.ones(of_prompt.shape[:2], dtype=torch.long)
        settings = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": 2, "pad_token_id": 0}
        with torch.no_grad():
            whole = plain.generate(**inputs, attention_mask=mask, **settings)[0]
        # Of embeddings, new tokens alone are returned.
        new = whole[of_prompt.shape[1] :] if "input_ids" in inputs else whole
        assert answer == tokens.decode(new, skip_special_tokens=True)


@contextlib.contextmanager
def steered_plain(plain, n_prompt, vectors, site):
    """Hooks that steer the last token of the prompt and the first decoded one, at every block or behind all of them."""
    decoder, n_passes, handles = plain.get_decoder(), {}, []

    def hook_of(layer):
        def hook(_module, _args, output):
            n_before = n_passes.get(layer, 0) and n_prompt + n_passes[layer] - 1
            n_passes[layer] = n_passes.get(layer, 0) + 1
            hidden = output.last_hidden_state if layer is None else output[0] if isinstance(output, tuple) else output
            changed = hidden.clone()
            here = slice(max(0, n_prompt - 1 - n_before), max(0, n_prompt + 1 - n_before))
            changed[:, here] += 0.5 * torch.tensor(vectors[-1 if layer is None else layer])
            if layer is None:
                output.last_hidden_state = changed
                return output
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    if site == "final_norm":
        handles.append(decoder.register_forward_hook(hook_of(None)))
    elif site == "block":
        for layer, block in enumerate(decoder.layers if hasattr(decoder, "layers") else decoder.h):
            handles.append(block.register_forward_hook(hook_of(layer)))
    with torch.no_grad():
        yield
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("site", ["nowhere", "block", "final_norm"])
def test_a_language_model_answers_and_chooses_under_steering_like_its_plain_self(text_model, site):
    _, adapter, plain, tokens = text_model
    rows, choices = ROWS[:2], ["dog", "rooster after rain"]
    vectors = 3 * np.random.default_rng(5).normal(size=(2, adapter.n_layers, adapter.hidden_size)).astype(np.float32)
    layers = {"final_norm": "last"}.get(site, "all")
    form = dict(scale=0.5, positions="last", decoding={"first": 1}, preserve_norm=False, layers=layers)
    given = {} if site == "nowhere" else dict(vectors=vectors, steering=Steering(site=site, **form))
    asked = dict(recordings=_PASSAGES, prompts=[_PROMPTS[prompt] for _, prompt in rows])
    answers = Engine(adapter).answer(**asked, max_new_tokens=4, **given)
    found = Engine(adapter).choose(**asked, choices=[choices] * 2, **given)
    for row, (heard, prompt) in enumerate(rows):
        ids = plain_inputs(plain, tokens, _PASSAGES[heard], _PROMPTS[prompt])[0]["input_ids"]
        settings = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": 2, "pad_token_id": 0}
        with steered_plain(plain, ids.shape[1], vectors[row], site):
            whole = plain.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)[0]
        assert answers[row] == tokens.decode(whole[ids.shape[1] :], skip_special_tokens=True)
        for choice, log_probability in zip(choices, found.sums[row], strict=True):
            further = tokens(choice, add_special_tokens=False)["input_ids"]
            with steered_plain(plain, ids.shape[1], vectors[row], site):
                longer = torch.cat([ids, torch.tensor([further[:-1]], dtype=torch.long)], dim=1)
                table = plain(longer).logits[0, ids.shape[1] - 1 :].double().log_softmax(dim=-1)
            expected = float(table[range(len(further)), further].sum())
            assert log_probability == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_choices_behind_a_shared_prompt_are_those_in_full(text_model):
    _, adapter, _, _ = text_model
    vectors = np.random.default_rng(6).normal(size=(len(ROWS), adapter.n_layers, adapter.hidden_size))
    prompts, index = [_PROMPTS[prompt] for _, prompt in ROWS], [heard for heard, _ in ROWS]
    choices = [["dog", "rooster after rain"], ["rain"], ["dog and rain", "rain"], ["dog"]]
    for about, positions in itertools.product((_PASSAGES, _SYMBOLS), ("all", "after_audio")):
        given = {"vectors": vectors.astype(np.float32), "steering": Steering(scale=0.5, positions=positions)}
        found = [
            Engine(adapter, share_prefix=shared).choose(about, prompts, choices, index, **given).sums
            for shared in (True, False)
        ]
        np.testing.assert_allclose(*found, rtol=1e-5)
        assert np.isnan(found[0]).sum() == 2
        answers = [
            Engine(adapter, share_prefix=shared).answer(about, prompts, index, 3, **given) for shared in (True, False)
        ]
        assert answers[0] == answers[1]


def test_the_self_check_passes_and_hears_no_recordings(text_model):
    _, adapter, _, _ = text_model
    agreement = selfcheck.compare(adapter)
    assert agreement.in_full
    assert agreement.shared
    assert agreement.scored
    with pytest.raises(UserError, match="reads text only, and recording 0 of the batch is a recording"):
        adapter.prepare([np.zeros(16_000, dtype=np.float32)], ["Describe the audio."])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gemma2", {**_HEADS, **_WINDOW, "attn_logit_softcapping": 50.0}),
        ("gpt_oss", {**_HEADS, "num_local_experts": 4}),
    ],
)
def test_attention_that_is_more_than_a_softmax_is_refused(tmp_path, name, settings):
    folder = checkpoint(name, settings, tmp_path / "checkpoint")
    adapter = load(Model(checkpoint=str(folder), device="cpu", dtype="float32"))
    with pytest.raises(UserError, match=r"its attention cannot be read \(.*\); choose another model"):
        Engine(adapter)
