"""Reading an onset out of a model's answer in words.

The rule is: the first number of the answer, in seconds, that is no part of a name and not said to be a duration or an
end; where there is none such, the first number. These forms are more than a plain number:

* `0:05`, `00:05.25`, `0:00:05`: minutes and seconds, with or without hours;
* `5,5`: a comma between digits is a decimal comma;
* JSON, also in a ``` fence or inside a sentence: the value of a key that speaks of the start, else as in words.

Part of a name is a number in the label that was asked about, and a whole number beside a word that is not about time
("the 808 kick starts at 3.2", "track 2 begins at 0:07", "the 747 at 12 s"); a unit, or a word of the start before it
("starts at 5"), makes it a time all the same. A decimal before such a word ("the 7.1 surround test begins at 3.2 s") is
a time only where no other number is one. What counts lines or stands before another unit ("1) 6.5", "440.5 Hz") is
none. "Lasts 5 s", "for 5 s" and "5 s long" are durations, "ends at 9 s", "until 9 s" and the second number of a range
are ends. A duration that only describes the sound counts as any number does: "the sound lasting 5.00 seconds starts at
7.10 seconds" reads as 5.00.

Ordinals ("the 2nd sound") and digits inside words ("clip3") are no numbers. Numbers that are spelled out and negative
numbers count as no answer, because no onset can be derived from them.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_START_KEY = re.compile(r"start|onset|begin", re.IGNORECASE)
_OTHER_KEY = re.compile(r"duration|length|end|offset|stop", re.IGNORECASE)
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


# What stands before a number, and what stands behind it.
_GAP = r"[\s:=*\"'(]"
_AFTER_START = re.compile(
    rf"\b(?:start|begin|began|onset)\w*(?:{_GAP}+(?:about|approximately|around|at|from|is|roughly|time|was))*{_GAP}*$",
    re.IGNORECASE,
)
_AFTER_OTHER = re.compile(
    r"\b(?:lasts?|lasted|for|duration|length|end(?:s|ed|ing)?|stop(?:s|ped|ping)?|offset|until|till)"
    rf"(?:{_GAP}+(?:a|about|approximately|around|at|is|of|only|roughly|time|was))*{_GAP}*$",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\s*(?:s|sec|seconds)?\s*(?:[-\u2013\u2014~]|to|through)\s*", re.IGNORECASE)
_UNIT = re.compile(
    r"\**\s*-?\s*(?:s|secs?|seconds?|mins?|minutes?)\b(?P<long>\s+(?:long|in (?:length|duration))\b)?", re.IGNORECASE
)
_QUOTES = r"[\"'\u2018-\u201d*]*"
_WORD_BEFORE = re.compile(rf"(?:([^\W\d_]+){_QUOTES}(?:\s+\(?{_QUOTES}|-)|#)$")
_WORD_BEHIND = re.compile(rf"{_QUOTES}(?:\s+|-){_QUOTES}([^\W\d_]+)|[A-Za-z]|['\u2019]s\b")
_BEFORE_TIMES = re.compile(
    r"about|after|approximately|around|at|be|between|by|from|is|it|near|roughly|s|seconds?|time|timestamp|was",
    re.IGNORECASE,
)
_BEHIND_TIMES = re.compile(r"and|ending|for|from|in|into|lasting|mark|or|till|to|until", re.IGNORECASE)
_NO_TIME_BEHIND = re.compile(r"\s*(?:%|k?hz\b|kilohertz\b|db\b|bpm\b)", re.IGNORECASE)
_MARKER_BEHIND = re.compile(r"[.)]\s+\S")
_REACH = 80
"""Characters before a number that are looked at."""


def parse_onset(answer: str, label: str = "") -> float | None:
    """Onset that an answer states, in seconds; None if it states none.

    Parameters
    ----------
    answer
        The model's answer as it was generated.
    label
        The label that was asked about, whose digits are no times.
    """
    numbers = [*_numbers_of(_find_json(answer, label), label), *_numbers_in(answer, label)]
    # max() keeps the first of equals.
    value, _ = max(numbers, key=lambda number: number[1], default=(None, 0))
    if value is None or not math.isfinite(value) or value < 0:
        return None
    return value


def _find_json(answer: str, label: str) -> Any:
    """The first object or list in an answer, or None."""
    fenced = _FENCE.search(answer)
    text = fenced.group(1) if fenced else answer
    decoder = json.JSONDecoder()
    for match in re.finditer(r"[{\[]", text):
        try:
            document, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        # A time before the bracket comes first in the answer; a bracketed label or timestamp is then a mere remark.
        earlier = any(likelihood for _, likelihood in _numbers_in(text[: match.start()], label))
        return None if earlier else document
    return None


def _numbers_of(document: Any, label: str) -> Iterator[tuple[float, int]]:
    """Numbers of a JSON document in the order in which they are considered, each with its likelihood."""
    if isinstance(document, bool):
        return
    if isinstance(document, int | float):
        # Above 1e300 an integer of JSON may not fit a float; no onset is anywhere near.
        yield (float(document) if abs(document) < 1e300 else math.nan), 2
    elif isinstance(document, str):
        yield from _numbers_in(document, label)
    elif isinstance(document, dict):
        # sorted() is stable: keys that speak of the start come first, the others keep their order.
        for key in sorted(document, key=lambda key: not _START_KEY.search(key)):
            is_other = bool(_OTHER_KEY.search(key)) and not _START_KEY.search(key)
            for value, likelihood in _numbers_of(document[key], label):
                yield value, 0 if is_other else likelihood
    elif isinstance(document, list):
        for child in document:
            yield from _numbers_of(child, label)


def _numbers_in(text: str, label: str) -> Iterator[tuple[float, int]]:
    """Numbers of a text in order, each with its likelihood."""
    names = [match.span() for match in re.finditer(re.escape(label), text, re.IGNORECASE)] if label else []
    end_of_last = None
    for match in _NUMBER.finditer(text):
        if match["clock"]:
            value = 0.0
            for part in match["clock"].replace(",", ".").split(":"):
                value = 60 * value + float(part)
        else:
            value = float(match["plain"].replace(",", "."))
        in_label = any(start <= match.start() and match.end() <= stop for start, stop in names)
        ends_range = end_of_last is not None and _RANGE.fullmatch(text, end_of_last, match.start())
        yield -value if match["minus"] else value, 0 if ends_range else _likelihood(text, match, in_label)
        end_of_last = match.end()


def _likelihood(text: str, number: re.Match[str], in_label: bool) -> int:
    """2 for a number that may be an onset, 1 for one that may belong to a name, 0 for part of a name, duration, end."""
    before = text[max(0, number.start() - _REACH) : number.start()]
    unit = _UNIT.match(text, number.end())
    if _AFTER_OTHER.search(before) or (unit and unit["long"]):
        return 0
    if unit or in_label:
        return 2 if unit else 0
    if number["clock"] or _AFTER_START.search(before):
        return 2
    if _NO_TIME_BEHIND.match(text, number.end()) or _is_list_marker(text, number):
        return 0
    word_before, word_behind = _WORD_BEFORE.search(before), _WORD_BEHIND.match(text, number.end())
    if re.search("[.,]", number["plain"]):
        # Most names hold whole numbers, but for "7.1kHz" and "7.1 surround".
        if word_behind is None or _BEHIND_TIMES.fullmatch(word_behind[1] or ""):
            return 2
        return int(word_behind[1] is not None)
    fits = (word_before is None or _BEFORE_TIMES.fullmatch(word_before[1] or "")) and (
        word_behind is None or _BEHIND_TIMES.fullmatch(word_behind[1] or "")
    )
    return 2 if fits else 0


def _is_list_marker(text: str, number: re.Match[str]) -> bool:
    """Whether a number counts the lines of an answer: "1) 6.5"."""
    return not text[: number.start()].rpartition("\n")[2].strip() and bool(_MARKER_BEHIND.match(text, number.end()))
