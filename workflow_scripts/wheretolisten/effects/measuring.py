"""What an arm does to answers: how much likelier the wanted ones become, and what else becomes of the text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from wheretolisten.config.effects import COLUMNS, Axis, Effects
from wheretolisten.config.layers import Layers
from wheretolisten.config.probe import Steering
from wheretolisten.effects.checks import keeps, repeated, words_of
from wheretolisten.effects.pairs import Pair, read_table
from wheretolisten.effects.poles import Direction, behind
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.questions.choices import Wording

_OPTIONS = [Wording(letters, rows) for letters in ((0, 1), (1, 0)) for rows in ((0, 1), (1, 0))]
"""Each answer with each letter in each row, once."""

_ASKED = "Answer with the letter of your choice."

_NEUTRAL_TOKENS = 8
"""Tokens of the un-steered answer to a neutral prompt at which distributions are compared."""

_TELLING = 4.0
"""How much more frequent a token is in answers of its pole than in the others, to count as one of its own (FOXP2)."""


@dataclass(frozen=True, eq=False)
class Steered:
    """How the model is changed: a direction and how it is added, and an instruction before every question."""

    direction: Direction | None
    steering: Steering | None
    instruction: str | None = None

    def arguments(self, n_rows: int) -> dict[str, object]:
        """Those of the engine's calls about so many prompts."""
        if self.direction is None:
            return {}
        given: dict[str, object] = {"steering": self.steering}
        if self.steering.operator not in ("scale", "cap") or self.direction.support is None:
            vectors = self.direction.vectors
            given["vectors"] = np.broadcast_to(vectors, (n_rows, *vectors.shape))
        if self.direction.support is not None:
            given["support"] = self.direction.support
        return given

    def asked(self, questions: Iterable[str]) -> list[str]:
        """Questions as they are asked."""
        return [behind(self.instruction, question) for question in questions]

    def prompts(self, pairs: Sequence[Pair]) -> list[str]:
        """Questions of pairs as they are asked."""
        return self.asked(pair.question for pair in pairs)


@dataclass(frozen=True)
class Row:
    """One measured value: of which item, or prompt, and perhaps the text that it is of."""

    measure: str
    item: str
    source: str
    value: float
    axis: str = ""
    text: str = ""
    token: int = 0


NOBODY = Steered(None, None)


@dataclass(eq=False)
class Meter:
    """Measures arms on one model; what the un-steered model makes of neutral prompts is found once.

    Parameters
    ----------
    engine
        The model.
    effects
        What is measured.
    """

    engine: Engine
    effects: Effects
    _neutral: tuple[list[str], list[str], list[np.ndarray]] | None = field(default=None, repr=False)
    _long: tuple[list[str], list[str], list[np.ndarray]] | None = field(default=None, repr=False)

    def margins(self, pairs: Sequence[Pair], steered: Steered) -> list[Row]:
        """log P(positive) − log P(negative) of each pair, in nats, by token or whole (`per_token`)."""
        prompts = steered.prompts(pairs)
        found = self.engine.choose(
            [None] * len(pairs), prompts, [pair.answers for pair in pairs], **steered.arguments(len(pairs))
        )
        likely = found.means if self.effects.per_token else found.sums
        margins = likely[:, 0] - likely[:, 1]
        return rows_of("margin", pairs, margins)

    def options(self, pairs: Sequence[Pair], steered: Steered) -> list[Row]:
        """Margins of the letters that answers have, over all their letters and rows, and those of letter A and row 1.

        meaning: of the positive answer, whatever its letter and row; letter: of A, whatever it stands for; row: of what
        stands first. A gain of the latter two is none of meaning.
        """
        asked = [(pair, wording) for pair in pairs for wording in _OPTIONS]
        prompts = [
            f"{prompt} {wording.text(pair.answers)} {_ASKED}"
            for prompt, (pair, wording) in zip(steered.prompts([pair for pair, _ in asked]), asked, strict=True)
        ]
        found = self.engine.choose(
            [None] * len(asked), prompts, [["A", "B"]] * len(asked), **steered.arguments(len(asked))
        )
        of_a = (found.sums[:, 0] - found.sums[:, 1]).reshape(len(pairs), len(_OPTIONS))
        meaning = np.array([1 if wording.letters[0] == 0 else -1 for wording in _OPTIONS])
        # Row 1 has the letter A where letters and rows go together.
        row = np.array([1 if wording.letters == wording.rows else -1 for wording in _OPTIONS])
        return [
            *rows_of("option_margin", pairs, (of_a * meaning).mean(axis=1)),
            *rows_of("letter_margin", pairs, of_a.mean(axis=1)),
            *rows_of("row_margin", pairs, (of_a * row).mean(axis=1)),
        ]

    def divergence(self, steered: Steered) -> list[Row]:
        """KL(un-steered ‖ steered) of the next token, in nats, mean over an un-steered answer to each neutral prompt.

        An instruction is not given here, so that of an arm that only instructs there is nothing to measure.
        """
        return [] if steered.direction is None else self.moved(steered)

    def moved(self, steered: Steered) -> list[Row]:
        """The same, whatever was changed since the model was first asked: its weights, perhaps."""
        prompts, answers, before = self._of_neutral()
        if not prompts:
            return []
        after = self.engine.predict([None] * len(prompts), prompts, answers, **steered.arguments(len(prompts)))
        values = [float(divergence(base, now).mean()) for base, now in zip(before, after, strict=True)]
        names = [f"neutral-{number}" for number, _ in enumerate(prompts)]
        return [
            Row("divergence", name, name, max(value, 0.0))  # rounding must not make it negative
            for name, value in zip(names, values, strict=True)
        ]

    def _of_neutral(self) -> tuple[list[str], list[str], list[np.ndarray]]:
        if self._neutral is None:
            if self.effects.neutral is None:
                self._neutral = [], [], []
            else:
                prompts, answers = self._answered(self.effects.neutral, self.effects.n_neutral, _NEUTRAL_TOKENS)
                self._neutral = prompts, answers, self.engine.predict([None] * len(prompts), prompts, answers)
        return self._neutral

    def guardrail(self, steered: Steered) -> list[Row]:
        """Whether each question with choices is answered rightly: the likeliest answer, by the mean over its tokens."""
        if self.effects.guardrail is None:
            return []
        table = read_table(self.effects.guardrail, ("id", "source", "question", "answer", "wrong_1"))
        table = table[: self.effects.n_guardrail]
        wrong = [column for column in table if column.startswith("wrong_")]
        choices = [
            [row["answer"], *(row[column] for column in wrong if row[column])] for row in table.to_dict("records")
        ]
        prompts = steered.asked(table["question"])
        found = self.engine.choose([None] * len(prompts), prompts, choices, **steered.arguments(len(prompts)))
        right = np.nanargmax(found.means, axis=1) == 0
        return [
            Row("guardrail", item, source, float(value))
            for item, source, value in zip(table["id"], table["source"], right, strict=True)
        ]

    def generated(self, pairs: Sequence[Pair], axis: Axis, steered: Steered) -> list[Row]:
        """Answers in words: whether they keep the axis's rules, how many words they have, and how surprising they are.

        surprise: nats per token of the answer under the un-steered model, without an instruction; what breaks the text
        raises it, unless it ends in loops. repeated: how much of the answer is such. An empty answer has neither.
        """
        pairs = pairs[: self.effects.n_generated]
        if not pairs:
            return []
        texts = self.answers(pairs, steered)
        rows = words(pairs, texts)
        if axis.check is not None:
            rows += rows_of("kept", pairs, [float(keeps(text, axis.check)) for text in texts])
        said = [(pair, text) for pair, text in zip(pairs, texts, strict=True) if text]
        rows += rows_of("repeated", [pair for pair, _ in said], [repeated(_in_one_line(text)) for _, text in said])
        return rows + self.surprise(pairs, texts)

    def answers(self, pairs: Sequence[Pair], steered: Steered) -> list[str]:
        """Answers in words, one per pair."""
        prompts, arguments = steered.prompts(pairs), steered.arguments(len(pairs))
        return self.engine.answer([None] * len(pairs), prompts, max_new_tokens=self.effects.max_new_tokens, **arguments)

    def surprise(self, pairs: Sequence[Pair], texts: Sequence[str]) -> list[Row]:
        """Nats per token of answers under the model as it is now, without an instruction; an empty answer has none."""
        said = [(pair, text) for pair, text in zip(pairs, texts, strict=True) if text]
        if not said:
            return []
        questions, answers = [pair.question for pair, _ in said], [[text] for _, text in said]
        likely = self.engine.choose([None] * len(said), questions, answers)
        return rows_of("surprise", [pair for pair, _ in said], -likely.means[:, 0])

    def token_mass(self, pairs: Sequence[Pair], steered: Steered, own: tuple[np.ndarray, np.ndarray]) -> list[Row]:
        """ΔM = P(tokens of the positive pole) − P(of the negative pole), −1 … 1, mean over the first steps (FOXP2)."""
        nothing, prompts = [None] * len(pairs), steered.prompts(pairs)
        arguments = steered.arguments(len(pairs))
        answers = self.engine.answer(nothing, prompts, max_new_tokens=self.effects.token_mass, **arguments)
        # An answer that ends at once has no step at which mass could lie anywhere.
        said = [number for number, answer in enumerate(answers) if answer]
        if not said:
            return []
        arguments = steered.arguments(len(said))
        found = self.engine.predict(
            [None] * len(said), [prompts[number] for number in said], [answers[number] for number in said], **arguments
        )
        values = []
        for predicted in found:
            mass = np.exp(predicted.astype(np.float64))
            values.append(float((mass[:, own[0]].sum(axis=1) - mass[:, own[1]].sum(axis=1)).mean()))
        return rows_of("token_mass", [pairs[number] for number in said], np.array(values))

    def decay(self, axis: str, steered: Steered, own: tuple[np.ndarray, np.ndarray]) -> list[Row]:
        """How far steering moves the model, bin by bin of an answer's tokens, along given texts (teacher-forced).

        drift: KL(un-steered ‖ steered) of the next token, nats. lean: log of the ratio of the probabilities of the two
        poles' own words, steered minus un-steered, nats. Both along the answer that the un-steered model gives and
        along the one that the steered model gives, each model reading the same tokens; mean over the tokens of each
        bin that the text fills. decoded: the answers themselves, and their number of tokens.
        """
        settings = self.effects.decay
        prompts, unsteered, predicted = self._of_long()
        names = [f"long-{number}" for number, _ in enumerate(prompts)]
        nothing = [None] * len(prompts)
        if steered is NOBODY:
            texts = unsteered
        else:
            texts = self.engine.answer(
                nothing,
                steered.asked(prompts),
                max_new_tokens=settings.max_new_tokens,
                **steered.arguments(len(prompts)),
            )
        tokens = [
            len(self.engine.adapter.continuation(prompt, text)) if text else 0
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        rows = [
            Row("decoded", name, name, float(n), axis, _in_one_line(text))
            for name, n, text in zip(names, tokens, texts, strict=True)
        ]
        if steered is NOBODY:
            return rows
        for where, answers in (("unsteered_text", unsteered), ("own_text", texts)):
            # One after the other: a distribution over the vocabulary at every token takes much memory.
            for row, (name, prompt, answer) in enumerate(zip(names, prompts, answers, strict=True)):
                if not answer:
                    continue
                known = where == "unsteered_text"
                before = predicted[row] if known else self.engine.predict([None], [prompt], [answer])[0]
                (after,) = self.engine.predict([None], steered.asked([prompt]), [answer], **steered.arguments(1))
                moved = {
                    "drift": divergence(before, after),
                    "lean": _log_ratio(after, own) - _log_ratio(before, own),
                }
                for measure, values in moved.items():
                    n_bins = min(len(values), settings.max_new_tokens) // settings.bin
                    means = values[: n_bins * settings.bin].reshape(n_bins, settings.bin).mean(axis=1)
                    rows += [
                        Row(f"{measure}_{where}", name, name, float(mean), axis, token=number * settings.bin)
                        for number, mean in enumerate(means)
                    ]
        return rows

    def _of_long(self) -> tuple[list[str], list[str], list[np.ndarray]]:
        """Prompts that are answered at length, what the un-steered model answers, and predicts along that."""
        if self._long is None:
            settings = self.effects.decay
            prompts, answers = self._answered(settings.prompts, settings.n_prompts, settings.max_new_tokens)
            predicted = [
                self.engine.predict([None], [prompt], [answer])[0]
                for prompt, answer in zip(prompts, answers, strict=True)
            ]
            self._long = prompts, answers, predicted
        return self._long

    def _answered(self, path: str, n_prompts: int, max_new_tokens: int) -> tuple[list[str], list[str]]:
        """The first prompts of a table and the un-steered model's answers, without those that it does not answer."""
        prompts = read_table(path, ("prompt",))["prompt"].tolist()[:n_prompts]
        answers = self.engine.answer([None] * len(prompts), prompts, max_new_tokens=max_new_tokens)
        kept = [number for number, answer in enumerate(answers) if answer]
        return [prompts[number] for number in kept], [answers[number] for number in kept]

    def own_tokens(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of each pole: at least four times as frequent in its answers as in the others' (FOXP2, one vs rest).

        Raises
        ------
        UserError
            If a pole has none.
        """
        tokens = [
            np.concatenate([self.engine.adapter.continuation(pair.question, pair.answers[side]) for pair in pairs])
            for side in (0, 1)
        ]
        size = 1 + max(map(max, tokens))
        shares = [np.bincount(each.astype(int), minlength=size) / len(each) for each in tokens]
        own = tuple(
            ((mine > 0) & (mine >= _TELLING * other)).nonzero()[0]
            for mine, other in ((shares[0], shares[1]), (shares[1], shares[0]))
        )
        if not all(map(len, own)):
            raise UserError(
                "token_mass, decay: the answers of the two poles have the same tokens, and none is of one pole alone; "
                "take both keys out"
            )
        return own


def divergence(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """KL(before ‖ after), in nats, [...], from log-probabilities [..., vocabulary]."""
    before = before.astype(np.float64)
    return (np.exp(before) * (before - after.astype(np.float64))).sum(axis=-1)


def _log_ratio(predicted: np.ndarray, own: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """log P(tokens of the positive pole) − log P(of the negative one), [token], from log-probabilities."""
    predicted = predicted.astype(np.float64)
    return logsumexp(predicted[:, own[0]], axis=1) - logsumexp(predicted[:, own[1]], axis=1)


def words(pairs: Sequence[Pair], texts: Sequence[str]) -> list[Row]:
    """How many words answers have, with the answers."""
    return [
        Row("words", pair.pair_id, pair.source, float(len(words_of(text))), pair.axis, _in_one_line(text))
        for pair, text in zip(pairs, texts, strict=True)
    ]


def rows_of(measure: str, pairs: Sequence[Pair], values: Iterable[float]) -> list[Row]:
    """A value of each pair."""
    return [
        Row(measure, pair.pair_id, pair.source, float(value), pair.axis)
        for pair, value in zip(pairs, values, strict=True)
    ]


def _in_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def tabulated(axis: str, arm: str, settings: Iterable[tuple[str, Layers, float, Sequence[Row]]]) -> pd.DataFrame:
    """What was measured of an arm, in the columns of `config.effects`; a setting is split, layers, strength, rows."""
    return pd.DataFrame(
        [
            [
                *(axis, arm, split, str(layers), strength),
                *(row.measure, row.axis, row.item, row.source, row.value, row.text, row.token),
            ]
            for split, layers, strength, rows in settings
            for row in rows
        ],
        columns=list(COLUMNS),
    )
