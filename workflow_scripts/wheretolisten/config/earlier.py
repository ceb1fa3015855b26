"""Configurations of earlier versions: one sentence says what moved where."""

from collections.abc import Mapping
from typing import Any

_MOVED = {
    "libraries": "libraries is called sounds",
    "benchmarks": "benchmarks are examples of type sequences, their library is called sounds, and their methods belong "
    "to a study about them (studies)",
    "questions": "questions are examples of type questions (about: in place of benchmark:) or mmau, and a study with "
    "readout: share reads them",
    "audio_share": "the wording of audio_share is in prompts (question, focus, whole), and its vectors are methods",
    "sweeps": "sweeps are studies (of: a study, in place of benchmark:; first: in place of n_samples:)",
}
_MOVED_FROM_PROBE = {
    "prompts": "probe.prompts is prompts, where paraphrases have names of their own (positive_1, ...), and wording",
    "methods": "probe.methods is methods, with direction: in place of vector:",
}
_MOVED_FROM_PROMPTS = {
    "paraphrases": "paraphrases have names of their own (prompts: {positive_1: ..., negative_1: ...})",
    "label_wording": "label_wording is wording.labels",
    "domain_wording": "domain_wording is wording.domains",
    "query": "query is written at the end of each prompt",
}


def refuse(raw: Mapping[str, Any]) -> None:
    """Refuse a configuration that names sections of an earlier version.

    Raises
    ------
    ValueError
        Starting with the first of them, and saying where each is now.
    """
    found = {key: text for key, text in _MOVED.items() if key in raw}
    probe = raw.get("probe")
    if "probe" in raw:
        keys = probe if isinstance(probe, Mapping) else {}
        found |= {f"probe.{key}": _MOVED_FROM_PROBE.get(key, f"probe.{key} is {key}") for key in keys} or {
            "probe": "the keys of probe are sections of their own"
        }
    elif isinstance(raw.get("prompts"), Mapping):
        found |= {f"prompts.{key}": text for key, text in _MOVED_FROM_PROMPTS.items() if key in raw["prompts"]}
    figures = raw.get("figures")
    if isinstance(figures, Mapping) and "reading_vector" in figures:
        found["figures.reading_vector"] = "figures.reading_vector is figures.reading_method"
    if found:
        raise ValueError(
            f"{next(iter(found))}: this is a configuration of an earlier version; {'; '.join(found.values())}; "
            "docs/configuration.md lists all keys, and CHANGELOG.md what moved where"
        )
