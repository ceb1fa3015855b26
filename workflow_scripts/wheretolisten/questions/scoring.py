"""Whether an answer in words is right, by MMAU's own rules."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from wheretolisten.errors import UserError
from wheretolisten.questions.mmau import answer_of

_log = logging.getLogger(__name__)

_BARE_LETTER = re.compile(r"[\W_]*([A-Za-z])[\W_]*")


def is_correct(prediction: str, answer: str, choices: Sequence[str]) -> bool:
    """Whether a prediction holds every token of the answer and none of another choice (MMAU's evaluation).

    Tokens are words in lower case, each counted once. Those that another choice shares with the answer do not count
    against the prediction. An empty prediction is wrong. A bare letter stands for its choice (see `spell_out`), which
    the official rules leave to whoever prompts with letters.

    Raises
    ------
    UserError
        If the answer is empty: nothing is right or wrong then.
    """
    if not answer.strip():
        raise UserError(f"there is no right answer to score {prediction!r} against; leave out items that withhold it")
    predicted, right = _tokens(spell_out(prediction, choices)), _tokens(answer)
    wrong = set().union(*map(_tokens, choices)) - right
    return bool(predicted) and right <= predicted and not predicted & wrong


def spell_out(prediction: str, choices: Sequence[str]) -> str:
    """The choice that a bare letter names ("B", "(b)", "B."); any other prediction as it is.

    A letter that is itself a choice, such as the name of a note, stands for itself.
    """
    letter = _BARE_LETTER.fullmatch(prediction)
    if letter is None or letter[1].lower() in [choice.strip().lower() for choice in choices]:
        return prediction
    number = ascii_uppercase.index(letter[1].upper())
    return choices[number] if number < len(choices) else prediction


def accuracy(entries: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """How many answers are right, and of how many.

    Parameters
    ----------
    entries
        Items in MMAU's format with the model's answer under the key `model_output`. Items without the key do not count,
        nor do those whose right answer is withheld; the log says how many these are.
    """
    answered = [entry for entry in entries if "model_output" in entry]
    scores = [
        is_correct(entry["model_output"], answer, entry["choices"])
        for entry in answered
        if (answer := answer_of(entry)) is not None
    ]
    if withheld := len(answered) - len(scores):
        _log.warning(
            "%d of %d answers are not scored, because the question set withholds the right ones; score these where "
            "they are known, such as on MMAU's own site",
            withheld,
            len(answered),
        )
    return sum(scores), len(scores)


def _tokens(text: str) -> set[str]:
    return set(re.findall(r"\b\w+\b", text.lower()))
