"""Facts are taught to a model, and a direction that takes them back is written into one of its weights (ASRU, stage 1).

Kept as published: the direction is the difference of last-token states of the model that does not know and of the one
that does, after one block; targets are what comes out of that block's down projection at the last token of a question,
plus λ times the direction where the fact is to be forgotten; the edit is ridge regression. Ours: the model that does
not know is the same model before it was taught, asked the same questions, in place of others that it refuses.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from wheretolisten.clips.randomness import generator
from wheretolisten.config.unlearning import Unlearning
from wheretolisten.directions import edits
from wheretolisten.effects.pairs import Pair
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Adapter

_log = logging.getLogger(__name__)

_IGNORED = -100
"""Label of tokens that are not learnt, as transformers has it."""


def teach(adapter: Adapter, facts: Sequence[Pair], settings: Unlearning) -> list[float]:
    """Teach the positive answer to every fact's question, by all weights; mean loss of every epoch, in nats per token.

    Raises
    ------
    UserError
        If the model is not held in float32: small steps would be lost.
    """
    if adapter.model.dtype != torch.float32:
        raise UserError(
            f"{adapter.name}: facts are taught in float32, and the model is in {adapter.model.dtype}; set dtype: "
            "float32"
        )
    rows = [_row(adapter, fact) for fact in facts]
    parameters = [each.requires_grad_(True) for each in adapter.model.parameters()]
    optimizer, losses = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0), []
    for epoch in range(settings.epochs):
        order, total = generator("teach", settings.seed, epoch).permutation(len(rows)), 0.0
        for first in range(0, len(rows), settings.batch):
            here = [rows[index] for index in order[first : first + settings.batch]]
            loss = adapter.model(**_padded(here, adapter.device)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(here)
        losses.append(total / len(rows))
        _log.info("taught %d of %d times, loss %.3f", epoch + 1, settings.epochs, losses[-1])
    optimizer.zero_grad(set_to_none=True)
    for each in parameters:
        each.requires_grad_(False)
    return losses


def _row(adapter: Adapter, fact: Pair) -> tuple[list[int], list[int]]:
    """Tokens of a question with its answer and the token that ends it, and which of them are learnt."""
    prompt = adapter.prepare([None], [fact.question]).input_ids[0].tolist()
    answer = [*adapter.continuation(fact.question, fact.positive), adapter.eos_token_ids[0]]
    return prompt + answer, [_IGNORED] * len(prompt) + answer


def _padded(rows: Sequence[tuple[list[int], list[int]]], device: torch.device) -> dict[str, torch.Tensor]:
    widest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (widest - len(ids)) for ids, _ in rows], device=device)
    labels = torch.tensor([own + [_IGNORED] * (widest - len(own)) for _, own in rows], device=device)
    mask = torch.tensor([[1] * len(own) + [0] * (widest - len(own)) for own, _ in rows], device=device)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def last_states(engine: Engine, facts: Sequence[Pair], site: str, block: int) -> np.ndarray:
    """States at the last token of every fact's question, at a site of one block, [fact, width]."""
    questions = [fact.question for fact in facts]
    return engine.read([None] * len(facts), questions, want_states=True, site=site).states[:, block]


def edited(
    weight: np.ndarray,
    forget: np.ndarray,
    retain: np.ndarray,
    direction: np.ndarray,
    strength: float,
    form: str,
    penalty: float,
) -> np.ndarray:
    """The weight [in, out] that adds λ·direction where facts are to be forgotten, and does as before where not.

    Parameters
    ----------
    weight
        As it is, [in, out].
    forget, retain
        What goes into it at facts of the two kinds, [fact, in].
    direction
        [out].
    form
        `update` or `from_scratch`, see `directions.edits`.
    """
    inputs = np.concatenate([forget, retain]).astype(np.float64)
    targets = inputs @ np.asarray(weight, np.float64)
    targets[: len(forget)] += strength * direction
    if form == "from_scratch":
        return edits.from_scratch(inputs, targets, penalty)
    return edits.update(weight, inputs, targets, penalty)
