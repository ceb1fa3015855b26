"""Names of labels and domains: one rule for folders, tables and the keys of the configuration."""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator

# The blanks of Unicode, the no-break space among them; line breaks are no part of a label.
_BLANKS = re.compile(r"[ _\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
# Soft hyphen, blank of no width, word joiner, byte order mark: left behind by copying, they mean nothing in a name.
_NOTHING = re.compile(r"[\u00ad\u200b\u2060\ufeff]")

_DASHES = re.compile(r"[\u2010-\u2015\u2212]")


def clean_label(text: str) -> str:
    """A name as people write it: letters composed (NFC), underscores and blanks of any kind and number as one blank."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFC", _NOTHING.sub("", text))).strip()


def refuse_alike(names: Iterable[str], what: str) -> None:
    """Refuse clean names that are different only to a computer.

    Raises
    ------
    ValueError
        Naming two of them that differ in upper and lower case or in letters that nobody sees.
    """
    seen: dict[str, str] = {}
    for name in sorted(set(names)):
        folded = _DASHES.sub("-", unicodedata.normalize("NFKC", name).casefold())
        visible = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf" and letter != "\ufe0f")
        other = seen.setdefault(visible, name)
        if other != name:
            raise ValueError(
                f"the {what}s {other!r} and {name!r} differ only in upper and lower case or in letters that nobody "
                "sees; give them one spelling"
            )


def known_instead(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, or all of them if none is near."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"did you mean {by_lower[near[0]]!r}?" if near else f"choose from {', '.join(by_lower.values()) or 'none'}"


def _clean_name(name: Any) -> str:
    if not isinstance(name, str):
        shown = "null" if name is None else str(name).lower()
        raise ValueError(
            f"YAML reads a name here as {shown}, not as text, as it does with yes, no, on, off, null, numbers and "
            'dates; put the name in quotes, such as "no"'
        )
    clean = clean_label(name)
    if not clean:
        raise ValueError(f"the name {name!r} is empty; write one")
    return clean


def _clean_names(names: Any) -> Any:
    return [_clean_name(name) for name in names] if isinstance(names, list) else names


def _clean_keys(section: Any) -> Any:
    if not isinstance(section, dict):
        return section
    written: dict[str, str] = {}
    for name in section:
        other = written.setdefault(_clean_name(name), name)
        if other != name:
            raise ValueError(f"{other!r} and {name!r} are one name; keep one of them")
    refuse_alike(written, "name")
    return {name: section[key] for name, key in written.items()}


Names = Annotated[list[str], BeforeValidator(_clean_names)]
"""Labels, cleaned."""

Named = BeforeValidator(_clean_keys)
"""Of a dictionary: its keys are labels or domains, and are cleaned."""
