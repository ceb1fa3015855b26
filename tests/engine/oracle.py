"""The obvious way to compute what the engine computes: one prompt at a time, eager attention, every map and state kept.

Shares no code with the engine or the adapters but the random numbers of symbols: the checkpoint's own processor, the
whole model with its head, and hooks that steer one token after the other.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers

from wheretolisten.clips.randomness import generator
from wheretolisten.models.adapter import Symbols


@dataclass
class OracleReading:
    """states [layer, width] at the last prompt token; attention [layer, audio_token], the sum of `rows` over text.

    `rows` is [layer, text_token, audio_token], of every text token; `heads` [layer, head, audio_token], of every head;
    `head_mass` [layer, head] what the last token gives to the audio;
    `audio_share` [layer] the part of the whole map, averaged over heads, that lies on the audio.
    """

    states: np.ndarray
    attention: np.ndarray
    rows: np.ndarray
    heads: np.ndarray
    head_mass: np.ndarray
    audio_share: np.ndarray


@torch.no_grad()
def embedded(
    model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerBase, symbols: Symbols
) -> torch.Tensor:
    """Embeddings of words in the place of audio, [audio_token, hidden], token by token."""
    table, heard = model.get_input_embeddings(), []
    spoken = [table(torch.tensor(tokenizer(f" {words}")["input_ids"])) for words, _, _ in symbols.spans]
    for token in range(symbols.n_tokens):
        sounding = [
            of_words[(token - first) % len(of_words)]
            for of_words, (_, first, after) in zip(spoken, symbols.spans, strict=True)
            if first <= token < after
        ]
        heard.append(sum(sounding, torch.zeros(table.weight.shape[1])))
    noise = generator(*symbols.stream).standard_normal((len(heard), len(heard[0])), dtype=np.float32)
    level = torch.cat(spoken).square().mean().sqrt() if spoken else 0
    return torch.stack(heard) + symbols.noise * level * torch.from_numpy(noise)


def changed(
    state: torch.Tensor,
    vector: torch.Tensor | None,
    strength: float,
    operator: str = "add",
    normalisation: str = "none",
    gate: str = "none",
    preserve_norm: bool = True,
) -> torch.Tensor:
    """New states of some tokens, [token, coordinate], all of whose coordinates may change."""
    length = state.norm(dim=-1, keepdim=True)
    if vector is None:
        moved = strength * state
    elif operator == "add":
        if normalisation != "none":
            vector = vector / vector.norm()
        if gate == "opposed":
            cosine = (state @ vector)[:, None] / (length * vector.norm())
            strength = strength * (1 + (-cosine).clamp(min=0))
        moved = state + strength * vector * (length if normalisation == "state" else 1)
    else:
        along = state @ (torch.outer(vector, vector) / vector.square().sum())
        replacement = {"ablate": (1 - strength) * along, "set": strength * vector, "scale": strength * along}
        moved = state - along + replacement[operator]
    return moved * length / moved.norm(dim=-1, keepdim=True) if preserve_norm else moved


@dataclass
class How:
    """How one prompt and its answer are steered: `vectors` [layer, width], `scale` of each steered layer.

    `of_steps` holds a factor of the strength for each decoded token, which is taken in; those beyond are not steered.
    """

    vectors: np.ndarray
    scale: dict[int, float]
    positions: str = "all"
    of_steps: tuple[float, ...] = (1.0,) * 64
    site: str = "block"
    form: dict = field(default_factory=dict)


class Oracle:
    """A checkpoint, read naively: in float32 on the CPU, or as a model that is loaded already, with eager attention.

    `one_by_one` steers token after token; otherwise all tokens at once, for a fair comparison of speed.
    """

    def __init__(
        self, checkpoint: Path, model: transformers.PreTrainedModel | None = None, one_by_one: bool = True
    ) -> None:
        self.processor = transformers.AutoProcessor.from_pretrained(checkpoint)
        self.one_by_one = one_by_one
        if model is None:
            config = transformers.AutoConfig.from_pretrained(checkpoint)
            model_class = getattr(transformers, config.architectures[0])
            model = model_class.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
        self.model = model
        self.blocks = self.model.model.language_model.layers

    def inputs(self, recording: np.ndarray | Symbols | None, prompt: str):
        """What the processor makes of one recording and one prompt, or the tokenizer of the prompt alone.

        In the place of symbols' audio tokens there are embeddings.
        """
        content = [{"type": "text", "text": prompt}]
        if recording is not None:
            content.insert(0, {"type": "audio", "audio": "the recording"})
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        if isinstance(recording, Symbols):
            text = text.replace(self.processor.audio_token, self.processor.audio_token * recording.n_tokens)
            inputs = self.processor.tokenizer([text], return_tensors="pt")
            embeddings = self.model.get_input_embeddings()(inputs["input_ids"]).detach()
            is_audio = inputs["input_ids"] == self.model.config.audio_token_id
            embeddings[is_audio] = embedded(self.model, self.processor.tokenizer, recording)
            inputs["inputs_embeds"] = embeddings
        elif recording is None:
            inputs = self.processor.tokenizer([text], return_tensors="pt")
        else:
            inputs = self.processor(text=[text], audio=[recording], sampling_rate=16_000, return_tensors="pt")
        device, dtype = self.model.device, self.model.dtype
        return {
            name: values.to(device, dtype if values.is_floating_point() else None) for name, values in inputs.items()
        }

    def read(
        self,
        recording: np.ndarray | None,
        prompt: str,
        text_rows: str = "all",
        vectors: np.ndarray | None = None,
        scale: float | dict[int, float] = 0.0,
        layers: tuple[int, ...] = (),
        positions: str = "all",
        normalisation: str = "none",
        gate: str = "none",
        preserve_norm: bool = True,
        site: str = "block",
        operator: str = "add",
        support: np.ndarray | None = None,
        read_site: str = "block",
        state_at: int = -1,
    ) -> OracleReading:
        """One forward pass; `vectors` is [layer, width], `layers` the steered blocks, `scale` one or one per block.

        `support`, bool [layer, width], names the coordinates that may change; states are taken at `read_site`, of the
        token `state_at`.
        """
        inputs = self.inputs(recording, prompt)
        is_audio = (inputs["input_ids"][0] == self.model.config.audio_token_id).nonzero().flatten()
        first, after = (int(is_audio[0]), int(is_audio[-1]) + 1) if len(is_audio) else (0, 0)
        n_tokens = inputs["input_ids"].shape[1]
        steered = {
            "all": range(n_tokens),
            "after_audio": range(after, n_tokens),
            "last": [n_tokens - 1],
        }[positions]
        states = []

        form = dict(operator=operator, normalisation=normalisation, gate=gate, preserve_norm=preserve_norm)

        def steer(layer: int, before: torch.Tensor) -> torch.Tensor:
            strength, output = scale[layer] if isinstance(scale, dict) else scale, before.clone()
            inside = slice(None) if support is None else torch.tensor(support[layer]).nonzero().flatten()
            vector = None
            if vectors is not None:
                vector = torch.tensor(vectors[layer], dtype=torch.float32, device=output.device)[inside]
            for tokens in [[token] for token in steered] if self.one_by_one else [list(steered)]:
                states_of = output[0, tokens].float()
                states_of[:, inside] = changed(states_of[:, inside], vector, strength, **form)
                output[0, tokens] = states_of.to(output.dtype)
            return output

        def keep(_: int, state: torch.Tensor) -> None:
            states.append(state[0, state_at])

        handles = self._attach(site, steer, layers) + self._attach(read_site, keep, range(len(self.blocks)))
        with torch.no_grad():
            outputs = self.model(**inputs, output_attentions=True, output_hidden_states=True)
        for handle in handles:
            handle.remove()
        if not layers and read_site == "block":
            # The library's own account of the same states; its last entry lies behind the final norm.
            for ours, theirs in zip(states[:-1], outputs.hidden_states[1:-1], strict=True):
                assert torch.equal(ours, theirs[0, state_at])
        queries = list(range(after, n_tokens)) if text_rows == "all" else [n_tokens - 1]

        def by_layer(of_map: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
            return torch.stack([of_map(layer[0].float()) for layer in outputs.attentions]).cpu().numpy()

        rows = by_layer(lambda heads: heads[:, queries, first:after].mean(dim=0))
        heads = by_layer(lambda heads: heads[:, queries, first:after].sum(dim=1))
        head_mass = by_layer(lambda heads: heads[:, -1, first:after].sum(dim=-1))
        audio_share = by_layer(lambda heads: heads.mean(dim=0)[:, first:after].sum() / heads.mean(dim=0).sum())
        states = torch.stack(states).float().cpu().numpy()
        return OracleReading(states, rows.sum(axis=1), rows, heads, head_mass, audio_share)

    def _attach(self, site: str, function: Callable, layers: Iterable[int]) -> list:
        """Show a function the layer and the state at a site of these blocks, and take what it returns instead."""
        handles = []
        for layer in layers:
            block = self.blocks[layer]
            if site in ("heads", "neurons"):
                module = block.self_attn.o_proj if site == "heads" else block.mlp.down_proj
                handles.append(module.register_forward_pre_hook(lambda _, args, layer=layer: function(layer, args[0])))
                continue

            def hook(_module, _args, output, layer=layer):
                if not isinstance(output, tuple):
                    return function(layer, output)
                changed = function(layer, output[0])
                return None if changed is None else (changed, *output[1:])

            norm = self.model.model.language_model.norm
            module = {
                **{"block": block, "attention": block.self_attn, "mlp": block.mlp, "final_norm": norm},
                "gates": block.mlp.act_fn,
            }[site]
            handles.append(module.register_forward_hook(hook))
        return handles

    def generate(self, recording: np.ndarray | None, prompt: str, max_new_tokens: int, how: How | None = None) -> str:
        """Greedy answer to one prompt, new tokens only."""
        inputs = self.inputs(recording, prompt)
        with torch.no_grad(), self._steered(inputs, how, True):
            tokens = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        return self.processor.tokenizer.decode(new, skip_special_tokens=True)

    def log_probs(
        self, recording: np.ndarray | None, prompt: str, tokens: list[int], how: How | None = None
    ) -> torch.Tensor:
        """Log-probabilities of what follows a prompt and some tokens, [token + 1, vocabulary], in one plain pass."""
        inputs = self.inputs(recording, prompt)
        n_prompt, more = inputs["input_ids"].shape[1], torch.tensor([tokens], dtype=torch.long)
        whole = inputs | {
            "input_ids": torch.cat([inputs["input_ids"], more], dim=1),
            "attention_mask": torch.cat([inputs["attention_mask"], torch.ones_like(more)], dim=1),
        }
        with torch.no_grad(), self._steered(inputs, how, False):
            return self.model(**whole).logits[0, n_prompt - 1 :].log_softmax(dim=-1)

    @contextlib.contextmanager
    def _steered(self, inputs: dict, how: How | None, cached: bool) -> Iterator[None]:
        """Hooks that steer one token after the other; `cached`: passes after the first take in one token each."""
        if how is None:
            yield
            return
        ids = inputs["input_ids"][0]
        n_prompt, is_audio = len(ids), (ids == self.model.config.audio_token_id).nonzero().flatten()
        after = int(is_audio[-1]) + 1 if len(is_audio) else 0
        first = {"all": 0, "after_audio": after, "last": n_prompt - 1}[how.positions]
        n_passes = dict.fromkeys(how.scale, 0)

        def steer(layer: int, before: torch.Tensor) -> torch.Tensor:
            start = n_prompt + n_passes[layer] - 1 if cached and n_passes[layer] else 0
            n_passes[layer] += 1
            output, vector = before.clone(), torch.tensor(how.vectors[layer])
            for token in range(before.shape[1]):
                step = start + token - n_prompt
                strength = float(start + token >= first) if step < 0 else dict(enumerate(how.of_steps)).get(step, 0)
                if strength:
                    here = before[0, token, None]
                    output[0, token] = changed(here, vector, strength * how.scale[layer], **how.form)[0]
            return output

        handles = self._attach(how.site, steer, how.scale)
        yield
        for handle in handles:
            handle.remove()
