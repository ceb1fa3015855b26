"""Items in MMAU's format: a json list of questions with choices, each about one recording.

Nothing is decoded here, and nothing heavy is imported: the workflow counts items whenever it is parsed.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from wheretolisten.errors import UserError
from wheretolisten.files import refusal

_log = logging.getLogger(__name__)

KEYS = (
    *("id", "audio_id", "question", "choices", "answer", "dataset", "task", "split", "category", "sub-category"),
    "difficulty",
)
"""Keys of an item as MMAU writes them; what is not needed here may be missing from a set of one's own."""

_LONGEST = {"id": 64, "audio_id": 256}
"""Bytes that results have room for, in UTF-8; see `store.schema.AUDIO_SHARE`."""


@dataclass(frozen=True)
class Item:
    """A question about a recording."""

    item_id: str
    audio_id: str
    """Audio file, relative to the folder of the question set."""
    question: str
    choices: tuple[str, ...]
    """MMAU has 2, 4, 5 or 8 of them."""
    answer: str | None
    """One of the choices; None where the set withholds it, as MMAU does for its test split."""
    categories: tuple[str, ...]
    """MMAU gives one, none or a list."""
    groups: tuple[str, ...] = ()
    """What accuracy is also reported by: categories, task, sub-category, difficulty, each behind its key's name."""

    @property
    def lettered(self) -> str:
        """The choices in one line: (A) dog (B) cat."""
        return " ".join(f"({letter}) {choice}" for letter, choice in zip(ascii_uppercase, self.choices, strict=False))


def read_entries(path: str | Path, splits: Sequence[str] | None = None) -> list[Any]:
    """Read a question set as it is written, good items or bad, in order; with `splits` those of these splits only.

    Raises
    ------
    UserError
        If the file is no json list, or no item is of the splits.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise refusal(path, error) or UserError(
            f"{path} cannot be read as a question set ({' '.join(str(error).split())}); it must be a json list in "
            "MMAU's format"
        ) from error
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} holds no list of items; it must be a json list in MMAU's format")
    if splits is None:
        return entries
    found = [entry.get("split") if isinstance(entry, dict) else None for entry in entries]
    chosen = [entry for entry, split in zip(entries, found, strict=True) if split in splits]
    if not chosen:
        known = ", ".join(sorted({str(split) for split in found if split is not None})) or "none"
        raise UserError(f"{path} has no item of the splits {', '.join(splits)}; its splits are {known}: correct splits")
    return chosen


def read_items(
    path: str | Path, first: int, stop: int, splits: Sequence[str] | None = None, on_bad_item: str = "refuse"
) -> list[Item]:
    """Items `first` … `stop` - 1 of a question set, counted before bad ones are left out, so that none moves another.

    Parameters
    ----------
    path
        The json file.
    first, stop
        Counted from 0, among the items of `splits`.
    splits
        As for `read_entries`.
    on_bad_item
        `skip`: name a broken item in the log and leave it out.

    Raises
    ------
    UserError
        As `read_entries`; if an item is broken and `on_bad_item` is "refuse".
    """
    entries = read_entries(path, splits)
    owner: dict[str, int] = {}
    for number, entry in enumerate(entries):
        if isinstance(entry, dict):
            owner.setdefault(str(entry.get("id")), number)
    items = []
    for number, entry in list(enumerate(entries))[first:stop]:
        problem = _problem(entry)
        if problem is None and owner[entry["id"]] != number:
            problem = f"has the id of item {owner[entry['id']]}"
        if problem is None:
            items.append(_item(entry))
            continue
        name = f" ({entry['id']})" if isinstance(entry, dict) and "id" in entry else ""
        leave_out(f"{path}: item {number}{name} {problem}", on_bad_item)
    return items


def leave_out(what: str, on_bad_item: str) -> None:
    """Name an item that cannot be used, and why, in the log.

    Raises
    ------
    UserError
        If `on_bad_item` is "refuse".
    """
    if on_bad_item == "refuse":
        raise UserError(f"{what}; repair or remove the item, or set on_bad_item: skip")
    _log.warning("skipped: %s", what)


def answer_of(entry: Mapping[str, Any]) -> str | None:
    """The right answer of an entry; None where the set withholds it: the key is missing, null or empty."""
    answer = entry.get("answer")
    return (answer.strip() or None) if isinstance(answer, str) else None


def _problem(entry: Any) -> str | None:
    """Why an entry cannot serve as an item, to follow its name; None if it can."""
    if not isinstance(entry, dict):
        return "holds no keys"
    for key in ("id", "audio_id", "question"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            return f"has no text under the key {key!r}"
    for key, longest in _LONGEST.items():
        if len(entry[key].encode(errors="replace")) > longest:
            return f"has more than {longest} bytes under the key {key!r}"
    choices = entry.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        return "has no list of texts under the key 'choices'"
    if not 2 <= len(choices) <= len(ascii_uppercase):
        return f"has {len(choices)} choice(s), not 2 to {len(ascii_uppercase)}"
    answer = entry.get("answer")
    if answer is not None and not isinstance(answer, str):
        return "has no text under the key 'answer'"
    if (answer := answer_of(entry)) is not None and answer not in [choice.strip() for choice in choices]:
        return f"has the answer {entry['answer']!r}, which is not among its choices ({', '.join(choices)})"
    return None


def _item(entry: Mapping[str, Any]) -> Item:
    category = entry.get("category") or ()
    categories = (category,) if isinstance(category, str) else tuple(map(str, category))
    by_key = {"category": categories} | {key: [entry.get(key)] for key in ("task", "sub-category", "difficulty")}
    by_key = {key: [value for value in values if isinstance(value, str) and value] for key, values in by_key.items()}
    return Item(
        entry["id"],
        entry["audio_id"].strip(),
        entry["question"].strip(),
        tuple(choice.strip() for choice in entry["choices"]),
        answer_of(entry),
        categories,
        tuple(f"{key}: {value}" for key, values in by_key.items() for value in values),
    )
