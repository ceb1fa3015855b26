"""Passes through the text stack: what a batch of prompts leaves behind at its last tokens and in its attention."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from wheretolisten.config import Steering
from wheretolisten.engine import attention, injection
from wheretolisten.models.base import Adapter, Inputs


@dataclass(frozen=True, eq=False)
class Reading:
    """What one call of `Engine.read` found; rows are prompts.

    Attributes
    ----------
    states
        Output of every block at the last prompt token, float32 [row, layer, hidden]; the last block's is taken before
        the final norm, a steered block's after steering. None unless asked for.
    attention
        a^l_t: attention from the text rows to each audio token, averaged over heads and summed over rows, float32
        [row, layer, audio_token]; with `keep_text` not summed, [row, layer, text_token, audio_token]. NaN beyond a
        row's own text and audio tokens.
    n_audio_tokens
        Audio tokens of each row, [row].
    """

    states: np.ndarray | None
    attention: np.ndarray
    n_audio_tokens: np.ndarray


class Engine:
    """Reads states and attention of many prompts in one pass, steered or not.

    The text stack of the adapter's model is switched to an attention function that can report rows; without a request
    it is the sdpa kernel and nothing else, so that generating is not affected.

    Parameters
    ----------
    adapter
        The model.
    text_rows
        Text queries whose attention is summed: `all` tokens after the audio up to the last prompt token, or the `last`.
    """

    def __init__(self, adapter: Adapter, text_rows: Literal["all", "last"] = "all") -> None:
        self.adapter = adapter
        self.text_rows = text_rows
        adapter.text_stack.set_attn_implementation(attention.IMPLEMENTATION)

    @torch.inference_mode()
    def read(
        self,
        recordings: Sequence[np.ndarray],
        prompts: Sequence[str],
        audio_index: Sequence[int] | None = None,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        want_states: bool = False,
        keep_text: bool = False,
    ) -> Reading:
        """Run prompts about recordings through the text stack, all in one batch, every recording encoded once.

        Parameters
        ----------
        recordings
            float32 [frame] each, 16 kHz mono.
        prompts
            One per row.
        audio_index
            Which recording each prompt is about; by default the one of the same index.
        vectors
            Steering vector of every row and block, [row, layer, hidden]; rows with NaN yield NaN, other rows do not
            notice. None: no steering.
        steering
            How the vectors are added; needed exactly if there are vectors.
        want_states
            Whether to return the last-token states.
        keep_text
            Whether to return the attention of every text token instead of their sum; `text_tokens` names them.

        Raises
        ------
        UserError
            If a recording does not fit the model (see `Adapter.prepare`).
        ValueError
            If the vectors have the wrong shape, or come without a steering or the reverse.
        """
        inputs = self.adapter.prepare(recordings, prompts, audio_index)
        return self.read_inputs(inputs, vectors, steering, want_states, keep_text)

    @torch.inference_mode()
    def read_inputs(
        self,
        inputs: Inputs,
        vectors: np.ndarray | None = None,
        steering: Steering | None = None,
        want_states: bool = False,
        keep_text: bool = False,
    ) -> Reading:
        """As `read`, from a prepared batch, padded on either side."""
        if (vectors is None) != (steering is None):
            raise ValueError("vectors and steering belong together")
        reader = attention.AttentionReader(self._first_text(inputs), inputs.last, self.adapter.n_layers, keep_text)
        states: list[torch.Tensor] = []
        with contextlib.ExitStack() as stack:
            if vectors is not None:
                stack.enter_context(self._steered(inputs, vectors, steering))
            if want_states:
                # Attached after the steering hooks, hence called after them: states are what the next block sees.
                stack.enter_context(self._recorded(inputs, states))
            self.adapter.text_stack(
                inputs_embeds=self.adapter.embed(inputs),
                attention_mask=inputs.attention_mask,
                position_ids=inputs.position_ids,
                use_cache=False,
                attention_reader=reader,
            )
        return Reading(
            states=torch.stack(states, dim=1).numpy() if want_states else None,
            attention=reader.audio_columns(inputs.audio_span).numpy(),
            n_audio_tokens=inputs.n_audio_tokens.cpu().numpy(),
        )

    def text_tokens(self, inputs: Inputs) -> list[list[str]]:
        """The text tokens whose attention is read, each decoded by itself, by row of a prepared batch."""
        spans = zip(inputs.input_ids, self._first_text(inputs).tolist(), inputs.last.tolist(), strict=True)
        decode = self.adapter.processor.tokenizer.decode
        return [[decode(token) for token in ids[first : last + 1].tolist()] for ids, first, last in spans]

    def describe(self, steering: Steering | None, recording: np.ndarray, prompt: str) -> str:
        """What is steered and read, in words for a log, with the tokens of one prompt as the example."""
        inputs = self.adapter.prepare([recording], [prompt])
        (first, after), last = inputs.audio_span[0].tolist(), int(inputs.last[0])
        start = int(self._first_text(inputs)[0])
        read = self.adapter.processor.tokenizer.decode(inputs.input_ids[0, start : last + 1])
        lines = []
        if steering is not None:
            tokens = injection.steered_tokens(inputs, steering.positions)[0].nonzero().flatten().tolist()
            lines += [
                injection.describe(steering, self.adapter.n_layers),
                f"steered tokens of the prompt {prompt!r}: {injection.ranges(tokens)} of 0-{last}",
            ]
        lines.append(
            f"attention is read from tokens {injection.ranges(range(start, last + 1))} ({read!r}) "
            f"to the audio tokens {first}-{after - 1}, at {self.adapter.tokens_per_second:g} audio tokens per second"
        )
        return "\n".join(lines)

    def _first_text(self, inputs: Inputs) -> torch.Tensor:
        return inputs.text_start if self.text_rows == "all" else inputs.last

    def _steered(
        self, inputs: Inputs, vectors: np.ndarray, steering: Steering
    ) -> contextlib.AbstractContextManager[None]:
        expected = (len(inputs.input_ids), self.adapter.n_layers, self.adapter.hidden_size)
        if vectors.shape != expected:
            raise ValueError(f"vectors of shape {vectors.shape} for {expected} (row, layer, hidden)")
        tokens = injection.steered_tokens(inputs, steering.positions)
        on_device = torch.as_tensor(vectors, dtype=torch.float32, device=self.adapter.device)
        return injection.hooked(self.adapter.blocks, injection.steering_hooks(on_device, tokens, steering))

    def _recorded(self, inputs: Inputs, states: list[torch.Tensor]) -> contextlib.AbstractContextManager[None]:
        def record(hidden: torch.Tensor) -> None:
            rows = torch.arange(len(hidden), device=hidden.device)
            states.append(hidden[rows, inputs.last.to(hidden.device)].float().cpu())

        return injection.hooked(self.adapter.blocks, dict.fromkeys(range(self.adapter.n_layers), record))
