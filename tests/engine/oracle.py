"""The obvious way to compute what the engine computes: one prompt at a time, eager attention, every map and state kept.

Shares no code with the engine or the adapters: the checkpoint's own processor, the whole model with its head, and hooks
that steer one token after the other.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers


@dataclass
class OracleReading:
    """states [layer, hidden] at the last prompt token; attention [layer, audio_token], the sum of `rows` over text.

    `rows` is [layer, text_token, audio_token].
    `lengths` holds, per steered block, the pair (before, after) of every token's length, [token].
    """

    states: np.ndarray
    attention: np.ndarray
    rows: np.ndarray
    lengths: list[tuple[torch.Tensor, torch.Tensor]]


class Oracle:
    """A checkpoint, read naively in float32 on the CPU."""

    def __init__(self, checkpoint: Path) -> None:
        config = transformers.AutoConfig.from_pretrained(checkpoint)
        model_class = getattr(transformers, config.architectures[0])
        self.processor = transformers.AutoProcessor.from_pretrained(checkpoint)
        self.model = model_class.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
        self.blocks = self.model.model.language_model.layers

    def inputs(self, recording: np.ndarray, prompt: str):
        """What the processor makes of one recording and one prompt."""
        content = [{"type": "audio", "audio": "the recording"}, {"type": "text", "text": prompt}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return self.processor(text=[text], audio=[recording], sampling_rate=16_000, return_tensors="pt")

    def read(
        self,
        recording: np.ndarray,
        prompt: str,
        text_rows: str = "all",
        vectors: np.ndarray | None = None,
        scale: float = 0.0,
        layers: tuple[int, ...] = (),
        positions: str = "all",
        unit: bool = False,
        preserve_norm: bool = True,
    ) -> OracleReading:
        """One forward pass; `vectors` is [layer, hidden], `layers` the steered blocks."""
        inputs = self.inputs(recording, prompt)
        is_audio = (inputs["input_ids"][0] == self.model.config.audio_token_id).nonzero().flatten()
        first, after, n_tokens = int(is_audio[0]), int(is_audio[-1]) + 1, inputs["input_ids"].shape[1]
        steered = {
            "all": range(n_tokens),
            "after_audio": range(after, n_tokens),
            "last": [n_tokens - 1],
        }[positions]
        states, lengths = [], []

        def after_block(layer: int):
            def hook(module, arguments, output):
                if layer in layers:
                    vector = torch.tensor(vectors[layer], dtype=torch.float32)
                    if unit:
                        vector = vector / vector.norm()
                    before, output = output, output.clone()
                    for token in steered:
                        moved = output[0, token] + scale * vector
                        if preserve_norm:
                            moved = moved * output[0, token].norm() / moved.norm()
                        output[0, token] = moved
                    lengths.append((before[0].norm(dim=-1), output[0].norm(dim=-1)))
                states.append(output[0, -1])
                return output

            return hook

        handles = [block.register_forward_hook(after_block(layer)) for layer, block in enumerate(self.blocks)]
        with torch.no_grad():
            outputs = self.model(**inputs, output_attentions=True, output_hidden_states=True)
        for handle in handles:
            handle.remove()
        if not layers:
            # The library's own account of the same states; its last entry lies behind the final norm.
            for ours, theirs in zip(states[:-1], outputs.hidden_states[1:-1], strict=True):
                assert torch.equal(ours, theirs[0, -1])
        queries = range(after, n_tokens) if text_rows == "all" else [n_tokens - 1]
        rows = np.stack(
            [[layer[0, :, query, first:after].mean(dim=0) for query in queries] for layer in outputs.attentions]
        )
        return OracleReading(torch.stack(states).numpy(), rows.sum(axis=1), rows, lengths)

    def generate(self, recording: np.ndarray, prompt: str, max_new_tokens: int) -> str:
        """Greedy answer to one prompt, new tokens only."""
        inputs = self.inputs(recording, prompt)
        with torch.no_grad():
            tokens = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        return self.processor.tokenizer.decode(new, skip_special_tokens=True)
