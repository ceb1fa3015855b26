"""Models that listen and speak at once: one time step after another, steered from a step on, each step kept in a cache.

A time step takes in one token of the user and what the model itself said a step before, and its state decides what the
model says now. Silence is a token like others, in both streams.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, MoshiForConditionalGeneration

from wheretolisten.engine import sites
from wheretolisten.engine.injection import Hook, Injection, hooked
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Adapter
from wheretolisten.models.families import Family

USER, MODEL = "user:", "model:"
"""How the names of tokens of a two-stream model begin, by whose stream they belong to."""

SILENCE, ONSET, END = "<silence>", "<onset>", "<end>"
"""Nobody speaks, in either stream; the user begins, as a detector of energy hears it; the user has ended."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Tokens of the two streams: word → id of each."""

    user: Mapping[str, int]
    model: Mapping[str, int]

    @classmethod
    def of(cls, name: str, tokens: Mapping[str, int]) -> "Vocabulary":
        """From all tokens of a tokenizer.

        Raises
        ------
        UserError
            If it has not the tokens of two streams.
        """
        user, model = (
            {token.removeprefix(whose): number for token, number in tokens.items() if token.startswith(whose)}
            for whose in (USER, MODEL)
        )
        for whose, known, needed in ((USER, user, (SILENCE, ONSET, END)), (MODEL, model, (SILENCE,))):
            lacking = [each for each in needed if each not in known]
            if lacking:
                raise UserError(
                    f"{name}: it has no token {whose + lacking[0]!r}, so that it is no model of two streams of tokens; "
                    "name one that the target train_tiny_duplex makes (docs/studies/interruption.md)"
                )
        return cls(user, model)

    def heard(self, words: Sequence[str], where: str) -> list[int]:
        """Tokens of the user who says words.

        Raises
        ------
        UserError
            If the model does not know one of them, in either stream; `where` names the text.
        """
        return [_known(self.user, word, where) for word in words]

    def said(self, words: Sequence[str], where: str) -> list[int]:
        """Tokens of the model that says words."""
        return [_known(self.model, word, where) for word in words]


def _known(tokens: Mapping[str, int], word: str, where: str) -> int:
    if word not in tokens:
        raise UserError(f"{where}: the model does not know the word {word!r}; take another, or the row out")
    return tokens[word]


@dataclass(frozen=True, eq=False)
class Stack:
    """The blocks of a model that has no adapter, as `engine.sites` needs them; `text_stack` holds them as `layers`."""

    name: str
    text_stack: nn.Module
    family: Family

    @property
    def blocks(self) -> nn.ModuleList:
        """Decoder blocks."""
        return self.text_stack.layers

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return len(self.blocks)


@dataclass(frozen=True, eq=False)
class Step:
    """What a time step leaves: states behind the final norm [row, hidden], and after every block [row, layer, hidden].

    Both are as they are after steering.
    """

    final: torch.Tensor
    states: torch.Tensor


class Stepper:
    """A text stack on its way through conversations, one time step per call; keys and values stay as they were written.

    Parameters
    ----------
    stack
        The model, or its blocks.
    injected
        How its states are changed: `steering.decoding` says at which steps from the onset on, `positions` nothing.
    onsets
        First step at which each row is steered, from 0, [row], on the CPU; negative: none.
    """

    def __init__(
        self, stack: Adapter | Stack, injected: Injection | None = None, onsets: torch.Tensor | None = None
    ) -> None:
        self._stack, self._injected, self._onsets = stack, injected, onsets
        self._places = sites.places(stack, "block")
        self._cache = DynamicCache()
        self.n_steps = 0

    @torch.inference_mode()
    def step(self, embeddings: torch.Tensor) -> Step:
        """Take in one time step of every row, [row, hidden]."""
        found: list[torch.Tensor] = []
        hooks: list[tuple[sites.Place, Hook]] = []
        if self._injected is not None:
            since = (self.n_steps - self._onsets)[:, None]
            steered = (since >= 0) & (self._onsets[:, None] >= 0)
            hooks = self._injected.hooks(self._stack, steered, torch.arange(len(since))[:, None], since)
        recorders = [(place, lambda hidden: found.append(hidden[:, -1])) for place in self._places]
        with hooked([*hooks, *recorders]):
            outputs = self._stack.text_stack(
                inputs_embeds=embeddings[:, None], past_key_values=self._cache, use_cache=True
            )
        self.n_steps += 1
        return Step(outputs.last_hidden_state[:, -1], torch.stack(found, dim=1))


class Streams:
    """A language model of two streams of tokens, whose input at a step is the sum of both tokens' embeddings.

    Parameters
    ----------
    adapter
        The model; its tokenizer names the tokens of both streams (`Vocabulary`).

    Raises
    ------
    UserError
        If it has not the tokens of two streams.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.vocabulary = Vocabulary.of(adapter.name, adapter.tokenizer.get_vocab())
        self._own = torch.tensor(sorted(self.vocabulary.model.values()), device=adapter.device)

    def embed(self, user: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
        """Input of a step, from tokens of the user and what the model said before, [row] → [row, hidden]."""
        table = self.adapter.model.get_input_embeddings()
        return table(user.to(self.adapter.device)) + table(said.to(self.adapter.device))

    @torch.inference_mode()
    def log_probabilities(self, final: torch.Tensor) -> torch.Tensor:
        """Of what the model says now, from states behind the final norm; -inf beyond its own stream."""
        logits = self.adapter.logits(final)
        own = torch.full_like(logits, -torch.inf)
        own[..., self._own] = torch.log_softmax(logits[..., self._own], dim=-1)
        return own

    @torch.inference_mode()
    def lens(self, states: torch.Tensor) -> torch.Tensor:
        """Logit lens: probabilities of the whole vocabulary from states after blocks, [..., hidden]."""
        norm = sites.places(self.adapter, "final_norm")[0].module
        return torch.softmax(self.adapter.logits(norm(states)), dim=-1)


class MoshiStreams:
    """The same steps for Moshi, whose streams are text and codes of audio; for programs, with weights of one's own.

    It holds the model's own stack, so that what is read and added is what transformers runs. Codes are what stands at
    the model's door: those of all codebooks but the first come a step later, as `build_delay_pattern_mask` has them.

    Parameters
    ----------
    model
        Moshi, or a model that shares its class.
    injected, onsets
        As of `Stepper`.
    """

    def __init__(
        self,
        model: MoshiForConditionalGeneration,
        injected: Injection | None = None,
        onsets: torch.Tensor | None = None,
    ) -> None:
        self.model = model.eval()
        self._stepper = Stepper(moshi_stack(model), injected, onsets)

    @torch.inference_mode()
    def step(self, text: torch.Tensor, own: torch.Tensor, user: torch.Tensor) -> tuple[torch.Tensor, Step]:
        """Take in the text token [row] and codes of the model's own and the user's audio [row, codebook].

        Returns
        -------
        tuple
            Logits of the next text token, [row, vocabulary], and what the step leaves. The model's next codes are made
            of the latter's `final` by its `depth_decoder`.
        """
        codes = torch.cat([own, user], dim=1)
        embeddings: Any = self.model.decoder.model.embed_tokens(text)
        for codebook, table in enumerate(self.model.embed_tokens):
            embeddings = embeddings + table(codes[:, codebook])
        found = self._stepper.step(embeddings)
        return self.model.decoder.lm_head(found.final), found


def moshi_stack(model: MoshiForConditionalGeneration) -> Stack:
    """The blocks of Moshi that hear and speak; its depth decoder, which makes codes of their states, has others."""
    return Stack(model.config.name_or_path or "moshi", model.decoder.model, Family("moshi"))
