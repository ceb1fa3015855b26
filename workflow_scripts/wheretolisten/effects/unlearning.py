"""Facts are taught to a model, and a direction that takes them back is written into one of its weights (ASRU, stage 1).

Kept as published: the direction is the difference of last-token states of the model that does not know and of the one
that does, after one block; targets are what comes out of that block's down projection at the last token of a question,
plus λ times the direction where the fact is to be forgotten; the edit is ridge regression. Ours: the model that does
not know is the same model before it was taught, asked the same questions, in place of others that it refuses.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from wheretolisten.clips.randomness import generator
from wheretolisten.config.effects import UNSTEERED, Effects
from wheretolisten.config.unlearning import FORGET, RETAIN, Unlearning
from wheretolisten.directions import edits
from wheretolisten.effects import reinforcing
from wheretolisten.effects.measuring import NOBODY, Meter, Row, rows_of, tabulated, words
from wheretolisten.effects.pairs import CHOOSE, REPORT, Pair
from wheretolisten.effects.rewards import holds, refuses, reward
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Adapter

_log = logging.getLogger(__name__)

ORIGINAL, RANDOM, REINFORCED = "original", "random", "reinforced"
"""Arms: the model before it was taught, the first form of the edit with a random direction of the same length, and that
form, reinforced. The un-steered one is that which was taught and not edited."""

Facts = Mapping[str, Sequence[Pair]]
"""Axis → facts, or questions about them, as `read_facts` has them."""

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


class UnlearningStudy:
    """A model before it is taught facts, as it is taught them, and with every edit that shall take some back.

    Parameters
    ----------
    engine
        On the model, which has learnt the facts afterwards.
    settings
        The study.
    facts
        What is taught, and further questions about it.

    Raises
    ------
    UserError
        If there is no such block, or as `teach`.
    """

    def __init__(self, engine: Engine, settings: Unlearning, facts: Facts) -> None:
        self._engine, self._settings, self._facts = engine, settings, facts
        adapter = engine.adapter
        self._block = adapter.n_layers // 2 if settings.block is None else settings.block
        if self._block >= adapter.n_layers:
            raise UserError(f"block: {self._block} does not exist; the text stack has {adapter.n_layers} blocks")
        about = ("neutral", "n_neutral", "guardrail", "n_guardrail", "max_new_tokens")
        effects = Effects(**{name: getattr(settings, name) for name in about}, per_token=False)

        knew = last_states(engine, facts[FORGET], "block", self._block)
        # A meter of its own: neutral prompts are held against the taught model.
        self._meter = Meter(engine, effects)
        self._before, self._said_before = self._measure()
        teach(adapter, self._taught, settings)
        self._meter = Meter(engine, effects)
        self._unedited, said = self._measure()
        self._unedited += [*self._meter.moved(NOBODY), *self._surprise(said)]
        knows = last_states(engine, facts[FORGET], "block", self._block)
        self._direction = (knew - knows).mean(axis=0).astype(np.float64)
        length = np.linalg.norm(self._direction)
        self._relative = length / np.linalg.norm(knows, axis=1).mean()
        drawn = generator("unlearn", settings.seed).standard_normal(len(self._direction))
        self._drawn = drawn * (length / np.linalg.norm(drawn))
        self._inputs = {kind: last_states(engine, facts[kind], "neurons", self._block) for kind in (FORGET, RETAIN)}

    @property
    def _taught(self) -> list[Pair]:
        return [*self._facts[FORGET], *self._facts[RETAIN]]

    @property
    def _projection(self) -> nn.Module:
        return self._engine.adapter.blocks[self._block].mlp.down_proj

    def measure(self) -> Iterator[pd.DataFrame]:
        """Arm by arm what is measured, one value per row, with the columns `config.effects.COLUMNS`."""
        asked = self._settings
        yield tabulated("", UNSTEERED, [(REPORT, "", 0.0, self._unedited)])
        before = [*self._before, *self._surprise(self._said_before)]
        yield tabulated(FORGET, ORIGINAL, [(REPORT, "", 0.0, before)])
        chosen = (CHOOSE, [self._block], asked.strength, [Row("chosen", "", "", asked.strength)])
        arms = {form: (form, self._direction) for form in asked.forms} | {RANDOM: (asked.forms[0], self._drawn)}
        for arm, (form, direction) in arms.items():
            of_arm = [chosen]
            for strength in asked.strengths:
                of_arm.append((REPORT, [self._block], strength, self._edited(form, direction, strength)))
                _log.info("%s, strength %g", arm, strength)
            yield tabulated(FORGET, arm, of_arm)
        if asked.reinforce:
            steps, found = self._reinforced()
            of_arm = [(CHOOSE, [self._block], asked.strength, steps), (REPORT, [self._block], asked.strength, found)]
            yield tabulated(FORGET, REINFORCED, [chosen, *of_arm])

    def _edited(self, form: str, direction: np.ndarray, strength: float) -> list[Row]:
        # What takes longest is measured where it counts.
        whole = strength == self._settings.strength
        with _weights_kept(self._projection):
            self._edit(form, direction, strength)
            found, said = self._measure_edit(strength, whole)
        return found + (self._surprise(said) if whole else [])

    def _reinforced(self) -> tuple[list[Row], list[Row]]:
        """What rewards were on the way, and what the model does afterwards."""
        asked = self._settings
        with _weights_kept(self._engine.adapter.model):
            self._edit(asked.forms[0], self._direction, asked.strength)
            steps = reinforcing.reinforce(
                self._engine.adapter, self._taught, asked.reinforce, asked.max_new_tokens, asked.seed
            )
            found, said = self._measure_edit(asked.strength)
        drawn = [
            Row(f"rollout_{measure}", f"step-{number}", f"step-{number}", value)
            for number, step in enumerate(steps)
            for measure, value in step.items()
        ]
        return drawn, found + self._surprise(said)

    def _edit(self, form: str, direction: np.ndarray, strength: float) -> None:
        weight = self._projection.weight
        into = weight.detach().T.double().cpu().numpy()
        changed = edited(into, *self._inputs.values(), direction, strength, form, self._settings.penalty)
        with torch.no_grad():
            weight.copy_(torch.as_tensor(changed.T.copy()))

    def _measure_edit(self, strength: float, whole: bool = True) -> tuple[list[Row], dict[str, list[str]]]:
        found, said = self._measure(whole)
        return [*found, *self._meter.moved(NOBODY), Row("relative_length", "", "", strength * self._relative)], said

    def _measure(self, whole: bool = True) -> tuple[list[Row], dict[str, list[str]]]:
        """What the model, as it is now, makes of facts, and its answers, axis by axis.

        Margins of taught answers to taught questions; answers in words to these and to others about the same facts, and
        of them whether they hold the taught one (kept), whether they refuse, and their reward; and the guardrail. If it
        is not to be the whole, that of taught questions.
        """
        rows, said = self._meter.guardrail(NOBODY) if whole else [], {}
        for axis, of_axis in self._facts.items():
            if axis not in (FORGET, RETAIN) and not whole:
                continue
            if axis in (FORGET, RETAIN):
                rows += self._meter.margins(of_axis, NOBODY)
            said[axis] = self._meter.answers(of_axis, NOBODY)
            rows += words(of_axis, said[axis])
            both, forget = list(zip(of_axis, said[axis], strict=True)), axis.startswith(FORGET)
            rows += rows_of("kept", of_axis, [float(holds(text, fact.positive)) for fact, text in both])
            rows += rows_of("refused", of_axis, [float(refuses(text)) for _, text in both])
            rows += rows_of("reward", of_axis, [reward(text, fact.positive, forget) for fact, text in both])
        return rows, said

    def _surprise(self, said: Mapping[str, Sequence[str]]) -> list[Row]:
        """How surprising answers to taught questions are to the model as it is, the taught one, whoever gave them."""
        return [row for axis in (FORGET, RETAIN) for row in self._meter.surprise(self._facts[axis], said[axis])]


@contextlib.contextmanager
def _weights_kept(module: nn.Module) -> Iterator[None]:
    """Undo, after the context, whatever changed weights of a module in it."""
    kept = [weight.clone() for weight in module.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(module.parameters(), kept, strict=True):
                weight.copy_(before)
