"""Reading an onset out of a model's answer in words.

The rule is: the first number of the answer, in seconds. It is kept even where a reader would take another one: "the
sound lasting 5.00 seconds starts at 7.10 seconds" reads as 5.00. Only these forms are more than a plain number:

* `0:05`, `00:05.25`, `0:00:05`: minutes and seconds, with or without hours;
* `5,5`: a comma between digits is a decimal comma;
* JSON, also in a ``` fence or inside a sentence: the value of a key that speaks of the start, else the first number.

Ordinals ("the 2nd sound") and digits inside words ("clip3") are no numbers. Numbers that are spelled out and negative
numbers count as no answer, because no onset can be derived from them.
"""

import json
import math
import re
from typing import Any

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_START_KEY = re.compile(r"start|onset|begin", re.IGNORECASE)
_NUMBER = re.compile(
    r"""
    (?<![A-Za-z0-9_])                                       # not inside a word; scripts without spaces are fine
    (?P<minus>[-\u2212])?                                   # after a word or a digit, a hyphen is no minus
    (?:
        (?P<clock>\d++(?::[0-5]\d){1,2}(?!\d)(?:[.,]\d++)?) # minutes:seconds, hours:minutes:seconds
      | (?P<plain>\d++(?:[.,]\d++)?+|(?<!\.)\.\d++)
    )
    (?!(?:st|nd|rd|th)\b)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def parse_onset(answer: str) -> float | None:
    """Onset that an answer states, in seconds; None if it states none.

    Parameters
    ----------
    answer
        The model's answer as it was generated.
    """
    document = _find_json(answer)
    value = _first_number_of(document) if document is not None else None
    if value is None:
        value = _first_number_in(answer)
    if value is None or not math.isfinite(value) or value < 0:
        return None
    return value


def _find_json(answer: str) -> Any:
    """The first object or list in an answer, or None."""
    fenced = _FENCE.search(answer)
    text = fenced.group(1) if fenced else answer
    decoder = json.JSONDecoder()
    for match in re.finditer(r"[{\[]", text):
        try:
            document, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        # A number before the bracket comes first in the answer; a bracketed label or timestamp is then a mere remark.
        return document if _first_number_in(text[: match.start()]) is None else None
    return None


def _first_number_of(document: Any) -> float | None:
    if isinstance(document, bool):
        return None
    if isinstance(document, int | float):
        # Above 1e300 an integer of JSON may not fit a float; no onset is anywhere near.
        return float(document) if abs(document) < 1e300 else math.nan
    if isinstance(document, str):
        return _first_number_in(document)
    if isinstance(document, dict):
        # sorted() is stable: keys that speak of the start come first, the others keep their order.
        children = [document[key] for key in sorted(document, key=lambda key: not _START_KEY.search(key))]
    else:
        children = document if isinstance(document, list) else []
    for child in children:
        value = _first_number_of(child)
        if value is not None:
            return value
    return None


def _first_number_in(text: str) -> float | None:
    match = _NUMBER.search(text)
    if match is None:
        return None
    if match["clock"]:
        value = 0.0
        for part in match["clock"].replace(",", ".").split(":"):
            value = 60 * value + float(part)
    else:
        value = float(match["plain"].replace(",", "."))
    return -value if match["minus"] else value
