"""The projector, fitted in closed form: ridge regression from the encoder's states onto the words of what is heard."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path
from wheretolisten.models.small import (
    SmallQwen2AudioForConditionalGeneration,
    SmallQwen2AudioProcessor,
    WordProjector,
)
from wheretolisten.tiny.language import Event
from wheretolisten.tiny.recordings import ClipPool

PROJECTOR, HELD_OUT = "projector.safetensors", "held_out.safetensors"
"""Files of what is shipped: the projector, and one that does not know the fold of recordings that is scored."""

_RIDGE = 100.0
"""On squared weights, beside squared errors summed over tokens; states are standardised."""
_SHARPNESS = 16.0
"""Factor on regressed indicators, of which the true one is about 1, before the softmax."""

Example = tuple[tuple[Event, ...], torch.Tensor]
"""A recording: its events, and the encoder's state of every audio token, [audio_token, channel]."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Projector:
    """Which words are known, and how to tell them.

    Attributes
    ----------
    words
        The words, in the order of scores; behind the last is the score of none of them.
    weight, bias
        From a state to scores, float32 [score, channel] and [score].
    """

    words: tuple[str, ...]
    weight: torch.Tensor
    bias: torch.Tensor

    def save(self, path: Path) -> None:
        """Write it as safetensors, the words as metadata."""
        with atomic_path(path) as temporary:
            save_file({"weight": self.weight, "bias": self.bias}, temporary, {"words": json.dumps(self.words)})

    @classmethod
    def load(cls, path: Path) -> "Projector":
        """What `save` wrote.

        Raises
        ------
        UserError
            If there is no such file.
        """
        if not path.is_file():
            raise UserError(f"there is no projector {path}; fit one with fit_small_projector.py (docs/small_model.md)")
        with safe_open(path, "pt") as file:
            words = tuple(json.loads(file.metadata()["words"]))
            return cls(words, file.get_tensor("weight"), file.get_tensor("bias"))

    def put_into(self, model: SmallQwen2AudioForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make it the projector of a model."""
        model.config.n_words = len(self.words)
        module = WordProjector(model.config)
        none = torch.zeros(1, model.config.text_config.hidden_size)
        embedded = torch.cat([embeddings(self.words, model, tokenizer), none])
        with torch.no_grad():
            module.tell.weight.copy_(self.weight)
            module.tell.bias.copy_(self.bias)
            module.words.weight.copy_(embedded.T)
        model.model.multi_modal_projector = module.eval().requires_grad_(False)


def embeddings(
    words: Sequence[str], model: SmallQwen2AudioForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> torch.Tensor:
    """The language model's own embeddings of words within a sentence, the mean over a word's tokens, [word, hidden]."""
    matrix = model.get_input_embeddings().weight.detach().float()
    tokens = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    return torch.stack([matrix[ids].mean(dim=0) for ids in tokens])


@torch.inference_mode()
def hear(
    model: SmallQwen2AudioForConditionalGeneration,
    processor: SmallQwen2AudioProcessor,
    pool: ClipPool,
    n_recordings: int,
    seed: int,
    benchmark_like: bool = False,
) -> list[Example]:
    """Draw recordings from a pool (`ClipPool.draw`), and take the encoder's states of them."""
    rng = np.random.default_rng(np.random.SeedSequence([pool.entropy, seed, benchmark_like]))
    return [
        (recording.events, states(model, processor, sound))
        for recording, sound in (pool.draw(rng, benchmark_like) for _ in range(n_recordings))
    ]


def states(
    model: SmallQwen2AudioForConditionalGeneration, processor: SmallQwen2AudioProcessor, sound: np.ndarray
) -> torch.Tensor:
    """The encoder's state of every audio token of a sound, [audio_token, channel], in float32."""
    inputs = processor(text=[processor.audio_token], audio=[sound], sampling_rate=SAMPLING_RATE, return_tensors="pt")
    n_tokens = int((inputs["input_ids"] == processor.audio_token_id).sum())
    return model.model.audio_tower(inputs["input_features"]).last_hidden_state[0, :n_tokens]


def labels_at(events: Sequence[Event], n_tokens: int, rate: float) -> list[str | None]:
    """Label at the centre of each audio token, of which there are `rate` per second; None in gaps: [audio_token]."""
    centres = (np.arange(n_tokens) + 0.5) / rate
    labels: list[str | None] = [None] * n_tokens
    for event in events:
        for index in np.flatnonzero((centres >= event.onset) & (centres < event.offset)):
            labels[index] = event.label
    return labels


def fit(heard: Iterable[Example], rate: float, spoken: Mapping[str, str]) -> Projector:
    """The projector that tells the events of recordings.

    One indicator per word, and one for none of them, is regressed onto standardised states, with one and the same ridge
    for all. This has a closed form, and nothing in it is drawn.

    Parameters
    ----------
    heard
        The recordings.
    rate
        Audio tokens per second.
    spoken
        Label → the word that is said for it, where it is not the label itself.
    """
    heard = list(heard)
    labels = [label for events, of_tokens in heard for label in labels_at(events, len(of_tokens), rate)]
    said = [label and spoken.get(label, label) for label in labels]
    words = sorted({word for word in said if word is not None})
    every = torch.cat([of_tokens for _, of_tokens in heard]).double()
    mean, deviation = every.mean(dim=0), every.std(dim=0)
    inputs = functional.pad((every - mean) / deviation, (0, 1), value=1.0)
    which = torch.tensor([len(words) if word is None else words.index(word) for word in said])
    targets = functional.one_hot(which, len(words) + 1).double()
    products = inputs.T @ inputs + _RIDGE * torch.eye(inputs.shape[1], dtype=torch.float64)
    solution = _SHARPNESS * torch.linalg.solve(products, inputs.T @ targets).T
    # Standardised states are not seen again: mean and deviation become part of the weights.
    weight = solution[:, :-1] / deviation
    bias = solution[:, -1] - weight @ mean
    logger.info("%d words from %d audio tokens of %d recordings", len(words), len(said), len(heard))
    return Projector(tuple(words), weight.float().contiguous(), bias.float())
