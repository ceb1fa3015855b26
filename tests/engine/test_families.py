"""Every family of audio-language models through the same engine as the shipped ones, against its own plain model."""

import contextlib
import importlib.util
import inspect
import shutil

import numpy as np
import pytest
import soundfile
import soxr
import torch
import transformers

from tests.engine import families
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine import answering
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Symbols
from wheretolisten.models.families import FAMILIES
from wheretolisten.models.registry import load

PROMPTS = ("Describe the audio.", "Focus on the entire audio", "Which part of the audio has the sound of rooster?")
# Recordings and prompts; some ask the same recording twice, not in a row, and one asks the same thing twice.
ROWS = [(0, 0), (1, 2), (0, 2), (0, 1), (1, 1), (0, 0)]
TOLERANCE = {"gemma4": (1e-4, 2e-5), "gemma4 (experts)": (1e-4, 5e-5), "gemma4_unified": (1e-4, 2e-5)}
"""Of attention and, relative, of states where it is not 1e-5: queries and keys of length 1 at scale 1 make a softmax so
sharp that rounding shows."""


def recordings():
    rng = np.random.default_rng(1)
    return [(0.3 * rng.normal(size=round(seconds * 16_000))).astype(np.float32) for seconds in (3.0, 4.37)]


class Plain:
    """The whole model, eager, one prompt at a time, on what its own processor makes of recording and prompt."""

    def __init__(self, folder, class_name, arguments):
        self.processor = transformers.AutoProcessor.from_pretrained(folder)
        loaded = families.class_of(class_name).from_pretrained(folder, dtype=torch.float32)
        loaded.set_attn_implementation("eager")
        self.model, self.arguments = loaded.eval(), arguments
        decoder = loaded.get_decoder()
        self.blocks = (decoder if hasattr(decoder, "layers") else decoder.model).layers
        self.tokenizer = self.processor.tokenizer
        self.folder = folder
        self.template = self.processor.chat_template or getattr(self.tokenizer, "chat_template", None)
        self.audio_id = getattr(self.processor, "audio_token_id", None) or self.tokenizer.convert_tokens_to_ids(
            self.processor.audio_token
        )

    def inputs(self, recording, prompt):
        if not self.template:
            soundfile.write(self.folder / "x.wav", recording, 16_000, subtype="FLOAT")
            content = [{"type": "audio", "path": str(self.folder / "x.wav")}, {"type": "text", "text": prompt}]
            return dict(self.processor.apply_chat_template([{"role": "user", "content": content}]))
        content = [{"type": "audio"}, {"type": "text", "text": prompt}]
        keeper = self.processor if self.processor.chat_template else self.tokenizer
        text = keeper.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        rate = self.processor._audio_processor.sampling_rate
        if rate != 16_000:
            recording = soxr.resample(recording, 16_000, rate)
        found = self.processor(text=[text], audio=[recording], return_tensors="pt")
        names = inspect.signature(self.model.forward).parameters
        return {name: values for name, values in found.items() if name in names and torch.is_tensor(values)}

    def read(self, recording, prompt, n_heard=None, vectors=None, layers=(), scale=0.5):
        """States [layer, width], attention [attending layer, audio_token], which layers attend, the next token."""
        inputs = self.inputs(recording, prompt)
        is_audio = ((inputs["input_ids"][0] == self.audio_id) & (inputs["attention_mask"][0] > 0)).nonzero().flatten()
        first, after = int(is_audio[0]), int(is_audio[-1]) + 1
        states, handles = [], []

        def steer(layer):
            def hook(_module, _args, output):
                output = output.clone()
                stream = output[0] if output.ndim == 3 else output[0, 0]  # Gemma 3n has several
                moved = stream + scale * torch.tensor(vectors[layer])
                stream.copy_(moved * stream.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True))
                return output

            return hook

        for layer, block in enumerate(self.blocks):
            if layer in layers:
                handles.append(block.register_forward_hook(steer(layer)))
            handles.append(
                block.register_forward_hook(
                    lambda _module, _args, output: states.append((output if output.ndim == 3 else output[0])[0, -1])
                )
            )
        with torch.no_grad():
            outputs = self.model(**inputs, output_attentions=True, **self.arguments)
        for handle in handles:
            handle.remove()
        stop = after if n_heard is None else first + n_heard
        maps = [layer for layer in outputs.attentions if layer is not None]
        attention = np.stack([layer[0, :, after:, first:stop].mean(dim=0).sum(dim=0).numpy() for layer in maps])
        return torch.stack(states).numpy(), attention, int(outputs.logits[0, -1].argmax())

    @contextlib.contextmanager
    def steered(self, vectors, n_prompt, scale=0.5):
        """Hooks that add the vectors to every block's output, of all tokens of the prompt and of the first decoded."""
        passes, handles = [0] * len(self.blocks), []

        def steer(layer):
            def hook(_module, _args, output):
                first, passes[layer] = passes[layer] and n_prompt + passes[layer] - 1, passes[layer] + 1
                output = output.clone()
                stream = (output if output.ndim == 3 else output[0])[:, : max(0, n_prompt + 1 - first)]
                moved = stream + scale * torch.tensor(vectors[layer])
                stream.copy_(moved * stream.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True))
                return output

            return hook

        if vectors is not None:
            handles = [block.register_forward_hook(steer(layer)) for layer, block in enumerate(self.blocks)]
        yield
        for handle in handles:
            handle.remove()

    def log_probability(self, recording, prompt, tokens, vectors=None):
        inputs = self.inputs(recording, prompt)
        n_prompt, more = inputs["input_ids"].shape[1], torch.tensor([tokens[:-1]], dtype=torch.long)
        # Masks and types of tokens go on as they end.
        longer = {
            name: torch.cat([values, more if name == "input_ids" else values[:, -1:].expand_as(more)], dim=1)
            for name, values in inputs.items()
            if torch.is_tensor(values) and values.shape[:2] == (1, n_prompt)
        }
        with torch.no_grad(), self.steered(vectors, n_prompt):
            logits = self.model(**inputs | longer, **self.arguments).logits[0, n_prompt - 1 :].double()
        return float(logits.log_softmax(dim=-1)[range(len(tokens)), tokens].sum())

    def generate(self, recording, prompt, n, vectors=None):
        inputs = self.inputs(recording, prompt)
        with torch.no_grad(), self.steered(vectors, inputs["input_ids"].shape[1]):
            found = self.model.generate(
                **inputs, **self.arguments, max_new_tokens=n, do_sample=False, eos_token_id=2, pad_token_id=0
            )
        return self.tokenizer.decode(found[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.fixture(scope="module", params=families.BUILT)
def family(request, tmp_path_factory):
    name = request.param
    facts = FAMILIES[name.partition(" ")[0]]
    with pytest.MonkeyPatch.context() as monkeypatch:
        if "torchaudio" in facts.packages:
            families.stand_in_for_torchaudio(monkeypatch)
        for package in facts.packages:
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"the processor needs {package} (docs/models.md)")
        folder = families.save(name, tmp_path_factory.mktemp("family") / "checkpoint")
        adapter = load(Model(checkpoint=str(folder), device="cpu", dtype="float32"))
        yield name, adapter, Plain(folder, families.BUILT[name][1], dict(facts.model_arguments))


def test_a_family_agrees_with_its_plain_model(family):
    name, adapter, plain = family
    heard, tolerance = recordings(), TOLERANCE.get(name, (1e-5, 1e-5))
    asked = dict(
        recordings=heard, prompts=[PROMPTS[prompt] for _, prompt in ROWS], audio_index=[index for index, _ in ROWS]
    )
    vectors = np.random.default_rng(2).normal(size=(len(ROWS), adapter.n_layers, adapter.hidden_size))
    vectors = vectors.astype(np.float32)
    n_heard = [adapter.n_audio_tokens(len(heard[index])) for index, _ in ROWS]
    worst = {}
    for case, settings in (
        ("base", {}),
        ("steered", {"vectors": vectors, "steering": Steering(scale=0.5)}),
        ("steered late", {"vectors": vectors, "steering": Steering(scale=0.5, layers="second_half")}),
    ):
        layers = list(settings["steering"].scales(adapter.n_layers)) if settings else ()
        expected = [
            plain.read(heard[index], PROMPTS[prompt], n_heard[row], vectors[row], layers)
            for row, (index, prompt) in enumerate(ROWS)
        ]
        for shared in (True, False):
            found = Engine(adapter, share_prefix=shared).read(**asked, want_states=True, **settings)
            assert found.n_audio_tokens.tolist() == n_heard
            attends = np.isfinite(found.attention[0]).any(axis=-1)
            assert attends.sum() == len(expected[0][1])
            differences = [
                np.abs(found.attention[row][attends][:, : n_heard[row]] - attention).max()
                for row, (_, attention, _) in enumerate(expected)
            ]
            relative = [
                np.abs(found.states[row] - states).max() / np.abs(states).max()
                for row, (states, _, _) in enumerate(expected)
            ]
            worst[case, shared] = (max(differences), max(relative))
    print(name, {key: tuple(f"{value:.1e}" for value in values) for key, values in worst.items()})
    for attention, states in worst.values():
        assert attention <= tolerance[0]
        assert states <= tolerance[1]


def test_a_family_answers_like_its_plain_model(family):
    _, adapter, plain = family
    heard = recordings()
    answers = Engine(adapter).answer(
        heard, [PROMPTS[prompt] for _, prompt in ROWS], [index for index, _ in ROWS], max_new_tokens=5
    )
    assert answers == [plain.generate(heard[index], PROMPTS[prompt], 5) for index, prompt in ROWS]
    vectors = np.random.default_rng(3).normal(size=(1, adapter.n_layers, adapter.hidden_size)).astype(np.float32)
    asked, given = (
        (heard[:1], PROMPTS[:1]),
        {"vectors": vectors, "steering": Steering(scale=0.5, decoding={"first": 1})},
    )
    steered = Engine(adapter).answer(*asked, max_new_tokens=4, **given)
    assert steered == [plain.generate(heard[0], PROMPTS[0], 4, vectors[0])]
    choices = ["dog", "rooster after dog"]
    for settings in ({}, given):
        (found,) = Engine(adapter).choose(*asked, [choices], **settings).sums
        expected = [
            plain.log_probability(
                heard[0], PROMPTS[0], list(adapter.continuation(PROMPTS[0], choice)), vectors[0] if settings else None
            )
            for choice in choices
        ]
        print("largest difference of log-probabilities:", np.abs(found - expected).max())
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_family_reads_words_in_the_place_of_audio(family):
    _, adapter, _ = family
    spans = (("rooster", 0, 7), ("dog", 9, 15))
    symbols = [Symbols(spans, 16, 0.5, ("symbols", 0)), Symbols(spans[:1], 10, 0.5, ("symbols", 1))]
    engine, asked = Engine(adapter), list(PROMPTS[:2])
    if adapter.family.converses:
        with pytest.raises(UserError, match="symbols are not read by models of this type; give recordings"):
            engine.read(symbols, asked)
        return
    found = engine.read(symbols, asked)
    assert found.n_audio_tokens.tolist() == [16, 10]
    for attention, n_tokens in zip(found.attention, (16, 10), strict=True):
        attends = np.isfinite(attention[:, :n_tokens])
        assert attends.any()
        assert (attends.all(axis=1) | ~attends.any(axis=1)).all()  # some blocks have no attention
    # Embeddings that go into the engine's passes, and into the whole model where transformers runs it.
    answers = engine.answer(symbols, asked, max_new_tokens=4)
    with torch.inference_mode():
        tokens = answering.generate_one_by_one(
            adapter, engine.meter, engine.hear(symbols), list(enumerate(asked)), max_new_tokens=4
        )
    assert answers == adapter.tokenizer.batch_decode(tokens, skip_special_tokens=True)


def test_what_a_family_would_cut_off_is_refused(family):
    name, adapter, _ = family
    longest = {
        "qwen2_audio": 30,
        "small_qwen2_audio": 30,
        "gemma3n": 30,
        "gemma4": 30,
        "qwen2_5_omni_thinker": 300,
        "audioflamingo3": 600,
    }
    if name in longest:
        assert adapter.max_seconds == longest[name]
        with pytest.raises(UserError, match=f"hears at most {longest[name]} s"):
            adapter.check_length(longest[name] * 16_000 + 160, "it")
    if adapter.family.padded_span:
        inputs = adapter.prepare(recordings(), PROMPTS[:2])
        # What follows the recording between the markers is padding, and is neither audio nor text.
        assert (inputs.text_start > inputs.audio_span[:, 1]).all()
        assert inputs.n_audio_tokens.tolist() == [
            -(-len(each) * adapter.tokens_per_second // 16_000) for each in recordings()
        ]


def test_a_family_is_rehearsed_with_random_weights(family, tmp_path):
    _, adapter, plain = family
    folder = shutil.copytree(plain.folder, tmp_path / "checkpoint", ignore=shutil.ignore_patterns("*.safetensors"))
    models = [load(Model(checkpoint=str(folder), device="cpu", weights="random")) for _ in range(2)]
    assert models[0].n_layers == adapter.n_layers
    found = [Engine(model).read(recordings()[:1], PROMPTS[:1], want_states=True).states for model in models]
    assert np.isfinite(found[0]).all()
    np.testing.assert_array_equal(*found)  # every job meets the same model
