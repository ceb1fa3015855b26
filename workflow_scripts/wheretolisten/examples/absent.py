"""Sounds that a recording does not hold: what it is asked about to see what asking does by itself."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wheretolisten.clips.records import read_clips
from wheretolisten.config.positions import absent_positions


def read_vocabulary(path: str | Path) -> dict[str, str]:
    """Label → domain, of all labels of a table of clips.

    Raises
    ------
    UserError
        As `clips.records.read_clips`.
    """
    return {clip.label: clip.domain for clip in read_clips(path)}


def absent_sounds(
    sample_id: str, events: Sequence[Mapping[str, Any]], domain_of: Mapping[str, str], n_sounds: int
) -> list[dict[str, str]]:
    """Sounds that a sample does not hold, in the order in which they are taken: fewer are the first of more.

    Those of its own domains come first, because a prompt about another kind of sound may do something else. The order
    follows from the sample's id.

    Parameters
    ----------
    events
        Of the sample: label, domain.
    domain_of
        Label → domain, of all labels that there are.
    n_sounds
        How many are drawn; fewer, where there are no more.

    Returns
    -------
    list of dict
        position (`absent-1`, …), label and domain of each; none where the sample holds every label.
    """
    digest = hashlib.sha256(f"absent/{sample_id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    own, held = {event["domain"] for event in events}, {event["label"] for event in events}
    absent = sorted(label for label in domain_of if label not in held)
    drawn = sorted(rng.permutation(absent).tolist(), key=lambda label: domain_of[label] not in own)[:n_sounds]
    return [
        {"position": position, "label": label, "domain": domain_of[label]}
        for position, label in zip(absent_positions(len(drawn)), drawn, strict=True)
    ]
