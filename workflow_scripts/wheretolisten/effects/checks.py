"""Rules that a generated answer keeps or not."""

import functools
import re
from pathlib import Path

from wheretolisten.config.effects import Check
from wheretolisten.effects.pairs import read_table
from wheretolisten.errors import UserError

_RUN = 5

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """Words of a text, lower-case: letters, with apostrophes inside of them."""
    return [word.lower() for word in _WORD.findall(text)]


def keeps(text: str, check: Check) -> bool:
    """Whether an answer keeps all rules of a check; one without any word keeps none.

    Raises
    ------
    UserError
        If a language is to be told and the detector is not installed; if a table of words cannot be read.
    """
    words = words_of(text)
    kept = [bool(words)]
    if check.words_at_most is not None:
        kept.append(len(words) <= check.words_at_most)
    if check.language is not None:
        kept.append(bool(words) and language_of(text) == check.language)
    if check.words is not None:
        poles = _lexicon(check.words)
        kept.append(sum(word in poles["positive"] for word in words) > sum(word in poles["negative"] for word in words))
    return all(kept)


def repeated(text: str) -> float:
    """Share of a text's runs of five characters that stand in it before, 0 … 1: near 1 in loops, which surprise nobody.

    Of characters, because broken text need not have words.
    """
    runs = [text[first : first + _RUN] for first in range(len(text) - _RUN + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def language_of(text: str) -> str:
    """Two-letter code of the language that a text is most likely in (langid's model, 97 languages).

    Raises
    ------
    UserError
        If the detector is not installed.
    """
    try:
        import py3langid
    except ImportError:
        raise UserError(
            "telling languages apart takes the package py3langid; install the group text (uv sync --group text)"
        ) from None
    return py3langid.classify(text)[0]


@functools.cache
def _lexicon(path: str) -> dict[str, frozenset[str]]:
    table = read_table(Path(path), ("pole", "word"))
    return {pole: frozenset(table.loc[table["pole"] == pole, "word"].str.lower()) for pole in ("positive", "negative")}
