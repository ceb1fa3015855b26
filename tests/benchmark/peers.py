"""The same readings by other libraries, as one who knows them well would write them.

Both hear a recording once, take its prompts through together, padded on the right where a causal model does not see it,
and leave the head out. They share no code with the engine. What they lack is what the engine is for: rows of attention
without the map (transformers), and prompts that share their prefix (both).
"""

import abc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.benchmark.work import Found, Work

try:
    import nnsight
except ImportError:
    nnsight = None  # in a group of its own, `peers`


class _EnoughError(Exception):
    """Ends a pass once the text stack's input is known."""


class Peer(abc.ABC):
    """Reads last-token states and attention of text to audio, steered or not, with one other library.

    Parameters
    ----------
    checkpoint
        A Qwen2-Audio with as many key heads as heads; it is run in float32 on the CPU.
    max_rows
        Prompts that go through together, at most.
    """

    name: str
    kernel: str

    def __init__(self, checkpoint: Path, max_rows: int) -> None:
        self.processor = transformers.AutoProcessor.from_pretrained(checkpoint)
        self.model = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(
            checkpoint, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        # Of the text stack alone: nobody asks for the attention of the audio tower.
        self.model.model.language_model.set_attn_implementation(self.kernel)
        self.max_rows = max_rows

    @abc.abstractmethod
    def attend(
        self,
        embeddings: torch.Tensor,
        rows: slice,
        audio: slice,
        last: torch.Tensor,
        vectors: torch.Tensor | None,
        scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One pass: attention averaged over heads, and states, which are wanted where nothing is steered.

        Parameters
        ----------
        embeddings
            [row, token, hidden].
        rows, audio
            Columns of the tokens that attend, and of those that are attended to.
        last
            Column of the last prompt token, [row].
        vectors
            Added to the output of every block at every token, [row, layer, hidden]; None: nothing is steered.
        scale
            λ.

        Returns
        -------
        tuple
            [row, layer, text_token, audio_token] and, if wanted, [row, layer, hidden].
        """

    def find(self, work: Work, recordings: Sequence[np.ndarray]) -> Found:
        """What `Work.readings` finds with the engine."""
        found = Found([], [], [], {"un-steered": 0.0, "steered": 0.0})
        vectors = torch.as_tensor(work.vectors)
        for recording in recordings:
            started = work.clock()
            audio = self.hear(recording, work.inference)
            attention, states = self.read(audio, work.prompts)
            between = work.clock()
            steered, _ = self.read(audio, [work.inference] * len(vectors), vectors, work.steering.scale)
            found.seconds["un-steered"] += between - started
            found.seconds["steered"] += work.clock() - between
            found.attention.extend([attention, steered])
            found.states.append(states)
        return found

    @torch.inference_mode()
    def hear(self, recording: np.ndarray, prompt: str) -> torch.Tensor:
        """Embeddings of a recording's audio tokens, [audio_token, hidden], taken at the door of the text stack."""
        inputs = self.processor(
            text=[self._render(prompt)], audio=[recording], sampling_rate=16_000, return_tensors="pt"
        )
        found = {}

        def take(module: torch.nn.Module, arguments: tuple, keywords: dict) -> None:
            found.update(keywords)
            raise _EnoughError

        handle = self.model.model.language_model.register_forward_pre_hook(take, with_kwargs=True)
        try:
            self.model(**inputs)
        except _EnoughError:
            pass
        finally:
            handle.remove()
        return found["inputs_embeds"][inputs["input_ids"] == self.model.config.audio_token_id]

    @torch.inference_mode()
    def read(
        self, audio: torch.Tensor, prompts: Sequence[str], vectors: torch.Tensor | None = None, scale: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Attention to the audio, summed over text rows, [row, layer, audio_token]; states [row, layer, hidden]."""
        placeholder, tokenizer = self.processor.audio_token, self.processor.tokenizer
        texts = [self._render(prompt).replace(placeholder, placeholder * len(audio)) for prompt in prompts]
        ids = [tokenizer(text, return_tensors="pt")["input_ids"][0] for text in texts]
        masses, states = [], []
        for start in range(0, len(ids), self.max_rows):
            here = ids[start : start + self.max_rows]
            lengths = torch.tensor([len(row) for row in here])
            padded = torch.nn.utils.rnn.pad_sequence(here, batch_first=True, padding_value=tokenizer.pad_token_id)
            is_audio = padded == self.model.config.audio_token_id
            first = int(is_audio[0].int().argmax())
            after = first + len(audio)
            embeddings = self.model.get_input_embeddings()(padded)
            embeddings[is_audio] = audio.repeat(len(here), 1)
            own = None if vectors is None else vectors[start : start + len(here)]
            weights, of_last = self.attend(embeddings, slice(after, None), slice(first, after), lengths - 1, own, scale)
            is_text = torch.arange(after, padded.shape[1]) < lengths[:, None]
            masses.append((weights * is_text[:, None, :, None]).sum(dim=2))
            states += [] if of_last is None else [of_last]
        return torch.cat(masses).numpy(), torch.cat(states).numpy() if states else None

    def _render(self, prompt: str) -> str:
        content = [{"type": "audio", "audio": "the recording"}, {"type": "text", "text": prompt}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )


class Transformers(Peer):
    """transformers: `output_attentions`, and hooks that steer all tokens of all rows at once."""

    name, kernel = "transformers", "eager"

    def attend(
        self,
        embeddings: torch.Tensor,
        rows: slice,
        audio: slice,
        last: torch.Tensor,
        vectors: torch.Tensor | None,
        scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        stack, states = self.model.model.language_model, []

        def hook_for(layer: int):
            def hook(module: torch.nn.Module, arguments: tuple, output: torch.Tensor) -> torch.Tensor | None:
                if vectors is None:
                    states.append(output[torch.arange(len(last)), last])
                    return None
                return _steer(output, vectors[:, layer, None], scale)

            return hook

        handles = [block.register_forward_hook(hook_for(layer)) for layer, block in enumerate(stack.layers)]
        try:
            outputs = stack(inputs_embeds=embeddings, use_cache=False, output_attentions=True)
        finally:
            for handle in handles:
                handle.remove()
        weights = [maps[:, :, rows, audio].mean(dim=1) for maps in outputs.attentions]
        return torch.stack(weights, dim=1), torch.stack(states, dim=1) if states else None


class NNsight(Peer):
    """nnsight: the fast kernel stays, rows come from queries and keys; a pass ends with the last attention needed."""

    name, kernel = "nnsight", "sdpa"

    def __init__(self, checkpoint: Path, max_rows: int) -> None:
        super().__init__(checkpoint, max_rows)
        self._stack = nnsight.NNsight(self.model.model.language_model)

    def attend(
        self,
        embeddings: torch.Tensor,
        rows: slice,
        audio: slice,
        last: torch.Tensor,
        vectors: torch.Tensor | None,
        scale: float,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        n_layers = len(self.model.model.language_model.layers)
        with self._stack.trace(inputs_embeds=embeddings, use_cache=False) as tracer:
            weights, states = nnsight.save([]), nnsight.save([])
            for layer in range(n_layers):
                block = self._stack.layers[layer]
                query, key = block.self_attn.source.apply_rotary_pos_emb_0.output
                weights.append(_rows_of(query, key, block.self_attn.scaling, rows)[:, :, :, audio].mean(dim=1))
                if vectors is None:
                    states.append(block.output[torch.arange(len(last)), last])
                elif layer + 1 < n_layers:
                    block.output = _steer(block.output, vectors[:, layer, None], scale)
                else:
                    tracer.stop()
        return torch.stack(weights, dim=1), torch.stack(states, dim=1) if states else None


def _rows_of(query: torch.Tensor, key: torch.Tensor, scaling: float, rows: slice) -> torch.Tensor:
    """Softmax of some rows of causal attention, [row, head, text_token, key]."""
    columns = torch.arange(query.shape[2])
    scores = query[:, :, rows] @ key.transpose(2, 3) * scaling
    return scores.masked_fill(columns > columns[rows, None], -torch.inf).softmax(dim=-1)


def _steer(hidden: torch.Tensor, vectors: torch.Tensor, scale: float) -> torch.Tensor:
    """h' = Norm(h + λ v), all tokens at once (SWL §3.1)."""
    moved = hidden + scale * vectors
    return moved * (hidden.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True))


PEERS: tuple[type[Peer], ...] = (Transformers, NNsight)


def installed() -> tuple[type[Peer], ...]:
    """The peers whose package is there; transformers always is."""
    return PEERS if nnsight else PEERS[:1]
