"""Several questions about one recording behind one audio prefix, so that the audio is encoded once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import ProcessorMixin

from wheretolisten.tiny.architecture import END, START
from wheretolisten.tiny.language import Question

# What stands around a bare question, "{}", and its audio, "{audio}": nothing after it, a question mark, or the turn of
# the assistant as in the chat template.
BARE_TEMPLATES = {
    "name_last": f"{START}{{audio}}{{}}",
    "asked": f"{START}{{audio}}{{}}?",
    "answered": f"{START}{{audio}}{{}}?{END}\n{START}assistant\n",
}
# In whole prompts a question's last token is this far from the audio.
_FARTHEST = 40


@dataclass
class Pack:
    """A padded batch of recordings with their questions.

    Attributes
    ----------
    ids
        Token ids [recording, token].
    positions
        Rotary positions [recording, token]; every question starts right after the audio.
    mask
        Additive attention mask [recording, 1, query, key]; a question sees the prefix and itself.
    is_audio
        Places of audio embeddings [recording, token].
    places
        (recording, token) of every state that predicts an answer token [2, answer_token].
    targets
        The predicted ids [answer_token].
    weights
        Loss weights that sum to 1, equal per question [answer_token].
    keys
        Index into the answer tokens of each question's first informative token [question].
    tasks
        Task of each question [question].
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    is_audio: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    keys: torch.Tensor
    tasks: list[str]


class Packer:
    """Turns questions into `Pack`s with the processor's own tokenizer.

    Parameters
    ----------
    processor
        Of the model that is trained.
    form
        `chat`: the processor's chat template; else one of `BARE_TEMPLATES`. The positions of questions whose last token
        is the name are moved away from the audio by up to as much as a whole prompt would, so that what is learned does
        not depend on the distance.
    """

    def __init__(self, processor: ProcessorMixin, form: str = "chat") -> None:
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._audio_id = processor.audio_token_id
        self._cache: dict[str, list[int]] = {}
        self._farthest = _FARTHEST if form == "name_last" else 0
        if form == "chat":
            turn = [{"role": "user", "content": [{"type": "audio", "audio": ""}, {"type": "text", "text": "\0"}]}]
            self._template = processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        else:
            self._template = BARE_TEMPLATES[form].format("\0", audio=processor.audio_token)
        self._prefix = self._encode(self._template.split("\0")[0])
        self._prefix = self._prefix[: self._prefix.index(self._audio_id)]

    def pack(
        self, n_audio_tokens: Sequence[int], questions: Sequence[Sequence[Question]], rng: np.random.Generator
    ) -> Pack:
        """Pack questions [recording][question] behind prefixes with `n_audio_tokens` [recording]."""
        rows, places, targets, weights, keys, tasks = [], [], [], [], [], []
        n_questions = sum(len(row) for row in questions)
        for row_index, (n_audio, row) in enumerate(zip(n_audio_tokens, questions, strict=True)):
            ids = self._prefix + [self._audio_id] * n_audio
            start = len(ids)
            positions, groups = list(range(start)), [0] * start
            for group, question in enumerate(row, start=1):
                prompt, answer = self._prompt(question.text), self._encode(question.answer + "<|im_end|>")
                keys.append(len(targets) + len(self._encode(question.lead) if question.lead else []))
                tasks.append(question.task)
                first = len(ids) + len(prompt) - 1
                places.extend((row_index, first + step) for step in range(len(answer)))
                targets.extend(answer)
                weights.extend([1 / (n_questions * len(answer))] * len(answer))
                span = prompt + answer[:-1]
                ids = ids + span
                first_position = start + int(rng.integers(self._farthest + 1))
                positions.extend(range(first_position, first_position + len(span)))
                groups.extend([group] * len(span))
            rows.append((ids, positions, groups))
        length = max(len(ids) for ids, _, _ in rows)
        ids, positions, groups = (
            torch.tensor([row[part] + [pad] * (length - len(row[part])) for row in rows])
            for part, pad in ((0, self._tokenizer.pad_token_id), (1, 0), (2, -1))
        )
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        seen = (groups[:, None, :] == 0) | (groups[:, None, :] == groups[:, :, None])
        mask = torch.zeros(seen.shape).masked_fill_(~(seen & causal), torch.finfo(torch.float32).min)
        return Pack(
            ids, positions, mask[:, None], ids == self._audio_id, torch.tensor(places).T, torch.tensor(targets),
            torch.tensor(weights), torch.tensor(keys), tasks,
        )  # fmt: skip

    def _prompt(self, text: str) -> list[int]:
        """Token ids of a question's turn after the audio placeholder, up to the assistant's first token."""
        ids = self._encode(self._template.replace("\0", text))
        return ids[ids.index(self._audio_id) + 1 :]

    def _encode(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self._tokenizer.encode(text, add_special_tokens=False)
        return self._cache[text]
