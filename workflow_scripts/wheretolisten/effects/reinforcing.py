"""Reinforcement of answers about facts by rule rewards (ASRU, arXiv 2605.15687, stage 2), with TRL's GRPO.

Kept as published: the rewards (`effects.rewards`), the edited model as what is trained and as the reference, several
answers to a question drawn at a high temperature, each held against their mean, and the estimator of the divergence
from the reference. Ours: a few questions of a step, not 64, and no set of facts at the boundary by itself.
"""

import copy
import importlib.util
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from wheretolisten.config.unlearning import FORGET, Reinforcement
from wheretolisten.effects.pairs import Pair
from wheretolisten.effects.rewards import reward
from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Adapter

_log = logging.getLogger(__name__)


def check(settings: Reinforcement, facts: Sequence[Pair]) -> None:
    """Refuse what cannot be reinforced, before anything else is done.

    Raises
    ------
    UserError
        If TRL is not installed, or there are fewer facts than questions of a step.
    """
    if importlib.util.find_spec("trl") is None:
        raise UserError(
            "unlearning.reinforce: it takes the package trl, which is not installed here; install the group reinforce "
            "(uv sync --group reinforce), or set reinforce: null"
        )
    if settings.questions > len(facts):
        raise UserError(f"unlearning.reinforce.questions: {settings.questions} of {len(facts)} facts; lower it")


def reinforce(
    adapter: Adapter, facts: Sequence[Pair], settings: Reinforcement, max_new_tokens: int, seed: int
) -> list[dict[str, float]]:
    """Train all weights of the model as it is on rewards of its answers about facts.

    Parameters
    ----------
    adapter
        The model, which is trained and is the reference.
    facts
        What is asked; those of the axis `forget` are rewarded for being forgotten.
    settings
        How.
    max_new_tokens
        Tokens of an answer, at most.
    seed
        Of the order of questions and of what is drawn.

    Returns
    -------
    list of dict
        Of each step: reward, mean over its answers; and kl, from the reference, in nats per token. It is 0 of the first
        step, which starts there, and missing where `settings.kl` is 0.

    Raises
    ------
    UserError
        If TRL does not ask as the engine does.
    """
    # Only here: it takes long, and most runs do without.
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    asked = [_asked(adapter, fact) for fact in facts]
    rows = [
        {"prompt": prompt, "fact": fact.positive, "forget": fact.axis == FORGET}
        for prompt, fact in zip(asked, facts, strict=True)
    ]

    def rewards(completions: list[Any], fact: list[str], forget: list[bool], **_: Any) -> list[float]:
        texts = [each if isinstance(each, str) else each[0]["content"] for each in completions]
        return [reward(*each) for each in zip(texts, fact, forget, strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        # TRL reads the reference from where the model came from, which must be the edit and not the checkpoint.
        edited = Path(folder) / "edited"
        adapter.model.save_pretrained(edited)
        trainer = GRPOTrainer(
            model=str(edited),
            reward_funcs=rewards,
            train_dataset=Dataset.from_list(rows),
            processing_class=copy.deepcopy(adapter.tokenizer),
            args=GRPOConfig(
                output_dir=folder,
                max_steps=settings.steps,
                per_device_train_batch_size=settings.questions * settings.rollouts,
                num_generations=settings.rollouts,
                temperature=settings.temperature,
                max_completion_length=max_new_tokens,
                learning_rate=settings.learning_rate,
                lr_scheduler_type="constant",
                beta=settings.kl,
                loss_type="grpo",
                seed=seed,
                use_cpu=adapter.device.type == "cpu",
                bf16=False,
                gradient_checkpointing=False,
                model_init_kwargs={"dtype": "float32"},
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
        )
        trainer.remove_callback(PrinterCallback)  # what it prints is logged below
        trainer.train()
    steps = [
        {key: float(entry[key]) for key in ("reward", "kl") if key in entry}
        for entry in trainer.state.log_history
        if "reward" in entry
    ]
    with torch.no_grad():
        trained = dict(trainer.model.named_parameters())
        for name, weight in adapter.model.named_parameters():
            weight.copy_(trained[name])
    for number, step in enumerate(steps):
        _log.info("step %d of %d: %s", number + 1, len(steps), step)
    return steps


def _asked(adapter: Adapter, fact: Pair) -> str | list[dict[str, str]]:
    """A question as TRL takes it, whose tokens are those of the engine's prompts."""
    own = adapter.prepare([None], [fact.question]).input_ids[0].tolist()
    conversation = [{"role": "user", "content": fact.question}]
    if not adapter.tokenizer.chat_template:
        found, asked = adapter.tokenizer(fact.question)["input_ids"], fact.question
    else:
        found, asked = adapter.tokenizer.apply_chat_template(conversation, add_generation_prompt=True), conversation
        found = found if isinstance(found, list) else found["input_ids"]
    if found != own:
        raise UserError(
            f"{adapter.name}: TRL does not ask as the engine does, its prompts have other tokens; set reinforce: null"
        )
    return asked
