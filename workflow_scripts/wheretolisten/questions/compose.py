"""Questions made from the events of sequences, whose answers are known, as items in MMAU's format."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from wheretolisten.clips.randomness import generator
from wheretolisten.config.examples import QUESTION_KINDS, Questions
from wheretolisten.config.prompts import Wording
from wheretolisten.errors import UserError

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def compose(events: pd.DataFrame, settings: Questions, wording: Wording) -> list[dict[str, Any]]:
    """Items about the samples of sequences: one about each sample in turn, then another one about each, and so on.

    An item depends on the seed, its number and the examples' labels only. Its audio is the sample's file, by its path
    in the examples' folder. The words are those that the tiny models were trained with where those have any.

    Parameters
    ----------
    events
        Table of events of all of them, see `examples.shards.COLUMNS`.
    settings
        How many items, and the seed.
    wording
        The words that stand for labels.

    Returns
    -------
    list of dict
        With MMAU's keys (`mmau.KEYS`).

    Raises
    ------
    UserError
        If events of a sample overlap, or something false is to be suggested of one that holds all labels.
    """
    samples = [table.sort_values("onset", kind="stable") for _, table in events.groupby("sample_id", sort=False)]
    for sample in samples:
        if (sample["onset"] < sample["offset"].cummax().shift()).any():
            raise UserError(
                f"sounds of sample {sample['sample_id'].iloc[0]} overlap, and questions ask which one comes next; make "
                "them about sequences without overlap"
            )
    words = {
        domain: sorted({wording.of(label, domain) for label in labels})
        for domain, labels in events.groupby("domain")["label"]
    }
    items = []
    for number in range(settings.n_items_about(len(samples))):
        lap, index = divmod(number, len(samples))
        sample = samples[index]
        heard = [wording.of(*event) for event in zip(sample["label"], sample["domain"], strict=True)]
        candidates = {word for domain in sample["domain"].unique() for word in words[domain]} - set(heard)
        candidates = candidates or {word for of_domain in words.values() for word in of_domain} - set(heard)
        kind = QUESTION_KINDS[(number + lap) % len(QUESTION_KINDS)]
        if not candidates:
            kind = "order"  # all labels there are can be heard, so nothing else has a wrong answer
        rng = generator("question", settings.seed, number)
        question, choices, answer, difficulty = _ASK[kind](heard, sorted(candidates), rng)
        if settings.suggestion is not None:
            question = f"{_suggest(settings, number, question, choices, candidates)} {question}"
        items.append(
            {
                "id": f"{number:05d}",
                "audio_id": sample["path"].iloc[0],
                "question": question,
                "choices": choices,
                "answer": answer,
                "dataset": settings.about,
                "task": "sound",
                "split": "procedural",
                "category": "Reasoning" if difficulty == "hard" else "Information Extraction",
                "sub-category": kind,
                "difficulty": difficulty,
            }
        )
    return items


def _suggest(settings: Questions, number: int, question: str, choices: Sequence[str], absent: set[str]) -> str:
    """That a sound is there which is not: one that the question names, if it names any."""
    if not absent:
        raise UserError(
            f"recordings of {settings.about!r} hold all labels there are, so that nothing false can be said of them; "
            "take suggestion out, or give the sounds more labels"
        )
    named = [word for word in sorted(absent) if word in choices or re.search(rf"\b{re.escape(word)}\b", question)]
    rng = generator("suggestion", settings.seed, number)  # the question is the one that is asked without it
    return settings.suggestion.format(label=_some(named or sorted(absent), 1, rng)[0])


_Asked = tuple[str, list[str], str, str]
"""Question, choices, answer, difficulty."""


def _order(heard: Sequence[str], absent: Sequence[str], rng: np.random.Generator) -> _Asked:
    index = int(rng.integers(len(heard)))
    choices = _shuffled([*heard, *_some(absent, 1, rng)], rng)
    return f"Which sound comes {_ORDINALS[index]}?", choices, heard[index], "medium"


def _existence(heard: Sequence[str], absent: Sequence[str], rng: np.random.Generator) -> _Asked:
    there = bool(rng.integers(2))
    word = _some(heard if there else absent, 1, rng)[0]
    return f"Is there the sound of {word} in the audio?", ["yes", "no"], "yes" if there else "no", "easy"


def _absence(heard: Sequence[str], absent: Sequence[str], rng: np.random.Generator) -> _Asked:
    answer = _some(absent, 1, rng)[0]
    return "Which of these sounds is not heard?", _shuffled([*heard, answer], rng), answer, "hard"


def _neighbour(words: str, step: int) -> Callable[..., _Asked]:
    def ask(heard: Sequence[str], absent: Sequence[str], rng: np.random.Generator) -> _Asked:
        # An event that has a neighbour on that side.
        index = int(rng.integers(len(heard) - 1)) + (step < 0)
        named, answer = heard[index], heard[index + step]
        others = [word for word in heard if word != named]
        choices = _shuffled([*others, *_some(absent, 2, rng)], rng)
        return f"Which sound comes {words} the {named}?", choices, answer, "hard"

    return ask


def _some(words: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    return [words[index] for index in rng.permutation(len(words))[:n]]


def _shuffled(words: list[str], rng: np.random.Generator) -> list[str]:
    return _some(words, len(words), rng)


_ASK: Mapping[str, Callable[..., _Asked]] = {
    "order": _order,
    "existence": _existence,
    "next": _neighbour("after", 1),
    "absence": _absence,
    "previous": _neighbour("before", -1),
}
