"""How likely a model finds the choices of questions, pass by pass, steered or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wheretolisten.config.probe import Steering
from wheretolisten.config.studies import Choosing
from wheretolisten.engine.forward import Heard
from wheretolisten.engine.passes import Engine
from wheretolisten.questions.choices import Wording, wordings
from wheretolisten.questions.mmau import Item


@dataclass(frozen=True, eq=False)
class Asking:
    """One pass about some items.

    Attributes
    ----------
    prompt
        Template that names {question}.
    audio
        Index of the recording that each item is asked about, [item].
    vectors
        [item, layer, width]; None: nothing is steered. NaN: the pass is left out for that item.
    steering
        How they are added; None without vectors.
    """

    prompt: str
    audio: Sequence[int]
    vectors: np.ndarray | None = None
    steering: Steering | None = None


def wordings_of(item: Item, choosing: Choosing) -> list[Wording]:
    """How often, and with which letters and rows, an item is asked."""
    n = None if choosing.permute else 1
    return wordings(item.item_id, len(item.choices), choosing.permute or "letters", n, choosing.seed)


def ask(
    engine: Engine, heard: Heard, items: Sequence[Item], asked: Sequence[Asking], choosing: Choosing
) -> dict[str, np.ndarray]:
    """All passes about some items; those with the same steering go through together.

    Parameters
    ----------
    engine
        The model.
    heard
        What it hears, among it the recordings of the items.
    items
        The questions.
    asked
        The passes, in order.
    choosing
        How the choices are worded and scored.

    Returns
    -------
    dict
        `choices` and `letters` [item, pass, wording, choice], `words` [item, pass, wording] and `n_tokens`
        [item, choice], as `store.schema.choices` describes them.
    """
    worded = [wordings_of(item, choosing) for item in items]
    shape = (len(items), len(asked), max(map(len, worded)), max(len(item.choices) for item in items))
    found = {name: np.full(shape, np.nan, np.float32) for name in ("choices", "letters")}
    words, n_tokens = np.full(shape[:3], np.nan, np.float32), np.full((len(items), shape[3]), np.nan, np.float32)
    groups: dict[str, list[tuple[int, int, int]]] = {}
    for number, each in enumerate(asked):
        for row in range(len(items)):
            if each.vectors is None or np.isfinite(each.vectors[row]).all():
                key = each.steering.as_json() if each.steering else ""
                groups.setdefault(key, []).extend((row, number, wording) for wording in range(len(worded[row])))
    for members in groups.values():
        steering = asked[members[0][1]].steering
        prompts, answers = [], []
        for row, number, wording in members:
            item, words_of = items[row], worded[row][wording]
            fields = {"question": item.question, "choices": words_of.text(item.choices)}
            prompts.append(asked[number].prompt.format(**fields))
            said = [*words_of.answers(item.choices, "choice"), *words_of.answers(item.choices, "letter")]
            answers.append([choosing.answer.format(choice=text) for text in said])
        index = [asked[number].audio[row] for row, number, _ in members]
        steered = {}
        if steering is not None:
            steered = {"vectors": np.stack([asked[n].vectors[row] for row, n, _ in members]), "steering": steering}
        likely = engine.choose(heard, prompts, answers, index, **steered)
        texts: list[str] = []
        if choosing.max_new_tokens:
            texts = engine.answer(heard, prompts, index, choosing.max_new_tokens, **steered)
        for place, (row, number, wording) in enumerate(members):
            choices = items[row].choices
            n = len(choices)
            found["choices"][row, number, wording, :n] = likely.sums[place, :n]
            found["letters"][row, number, wording, :n] = likely.sums[place, n : 2 * n]
            n_tokens[row, :n] = likely.n_tokens[place, :n]
            if texts:
                named = worded[row][wording].chosen(texts[place], choices, "choice")
                words[row, number, wording] = -1 if named is None else named
    return found | {"words": words, "n_tokens": n_tokens}
