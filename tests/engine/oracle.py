"""The obvious way to compute what the engine computes: one prompt at a time, eager attention, every map and state kept.

Shares no code with the engine or the adapters: the checkpoint's own processor, the whole model with its head, and hooks
that steer one token after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers


@dataclass
class OracleReading:
    """states [layer, hidden] at the last prompt token; attention [layer, audio_token], the sum of `rows` over text.

    `rows` is [layer, text_token, audio_token], of every text token; `heads` [layer, head, audio_token], of every head;
    `head_mass` [layer, head] what the last token gives to the audio;
    `audio_share` [layer] the part of the whole map, averaged over heads, that lies on the audio.
    `lengths` holds, per steered block, the pair (before, after) of every token's length, [token].
    """

    states: np.ndarray
    attention: np.ndarray
    rows: np.ndarray
    heads: np.ndarray
    head_mass: np.ndarray
    audio_share: np.ndarray
    lengths: list[tuple[torch.Tensor, torch.Tensor]]


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

    def inputs(self, recording: np.ndarray | None, prompt: str):
        """What the processor makes of one recording and one prompt, or the tokenizer of the prompt alone."""
        content = [{"type": "text", "text": prompt}]
        if recording is not None:
            content.insert(0, {"type": "audio", "audio": "the recording"})
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        if recording is None:
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
    ) -> OracleReading:
        """One forward pass; `vectors` is [layer, hidden], `layers` the steered blocks, `scale` one or one per block."""
        inputs = self.inputs(recording, prompt)
        is_audio = (inputs["input_ids"][0] == self.model.config.audio_token_id).nonzero().flatten()
        first, after = (int(is_audio[0]), int(is_audio[-1]) + 1) if len(is_audio) else (0, 0)
        n_tokens = inputs["input_ids"].shape[1]
        steered = {
            "all": range(n_tokens),
            "after_audio": range(after, n_tokens),
            "last": [n_tokens - 1],
        }[positions]
        states, lengths = [], []

        def steer(layer: int):
            def hook(module, arguments, output):
                strength = scale[layer] if isinstance(scale, dict) else scale
                vector = torch.tensor(vectors[layer], dtype=torch.float32, device=output.device)
                if normalisation != "none":
                    vector = vector / vector.norm()
                before, output = output, output.clone()
                for tokens in [[token] for token in steered] if self.one_by_one else [list(steered)]:
                    state, gated = output[0, tokens].float(), strength
                    length = state.norm(dim=-1, keepdim=True)
                    if gate == "opposed":
                        cosine = (state @ vector)[:, None] / (length * vector.norm())
                        gated = strength * (1 + (-cosine).clamp(min=0))
                    if normalisation == "state":
                        moved = (state / length + gated * vector) * length
                    else:
                        moved = state + gated * vector
                    if preserve_norm:
                        moved = moved * length / moved.norm(dim=-1, keepdim=True)
                    output[0, tokens] = moved.to(output.dtype)
                lengths.append((before[0].norm(dim=-1), output[0].norm(dim=-1)))
                return output

            return hook

        def keep(module, arguments, output):
            states.append(output[0, -1])

        sites = self.blocks if site == "block" else [block.mlp for block in self.blocks]
        handles = [sites[layer].register_forward_hook(steer(layer)) for layer in layers]
        handles += [block.register_forward_hook(keep) for block in self.blocks]
        with torch.no_grad():
            outputs = self.model(**inputs, output_attentions=True, output_hidden_states=True)
        for handle in handles:
            handle.remove()
        if not layers:
            # The library's own account of the same states; its last entry lies behind the final norm.
            for ours, theirs in zip(states[:-1], outputs.hidden_states[1:-1], strict=True):
                assert torch.equal(ours, theirs[0, -1])
        queries = list(range(after, n_tokens)) if text_rows == "all" else [n_tokens - 1]

        def by_layer(of_map: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
            return torch.stack([of_map(layer[0].float()) for layer in outputs.attentions]).cpu().numpy()

        rows = by_layer(lambda heads: heads[:, queries, first:after].mean(dim=0))
        heads = by_layer(lambda heads: heads[:, queries, first:after].sum(dim=1))
        head_mass = by_layer(lambda heads: heads[:, -1, first:after].sum(dim=-1))
        audio_share = by_layer(lambda heads: heads.mean(dim=0)[:, first:after].sum() / heads.mean(dim=0).sum())
        states = torch.stack(states).float().cpu().numpy()
        return OracleReading(states, rows.sum(axis=1), rows, heads, head_mass, audio_share, lengths)

    def generate(self, recording: np.ndarray | None, prompt: str, max_new_tokens: int) -> str:
        """Greedy answer to one prompt, new tokens only."""
        inputs = self.inputs(recording, prompt)
        with torch.no_grad():
            tokens = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        return self.processor.tokenizer.decode(new, skip_special_tokens=True)
