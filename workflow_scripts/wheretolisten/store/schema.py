"""The datasets of each kind of file: names, axes, units."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLE_ID_BYTES = 64
"""Length of a stored sample id. Fixed, because checksums do not cover HDF5's variable-length strings."""

LABEL_BYTES = 256
"""Length of a stored label or domain; none is longer than the name of a folder."""


@dataclass(frozen=True)
class Column:
    """One dataset. The first axis is the row; `text_token`, `audio_token` and `frame` are ragged and padded with NaN.

    Columns of a file with the same first axis have the same rows.
    """

    name: str
    axes: tuple[str, ...]
    dtype: str
    unit: str
    about: str


@dataclass(frozen=True)
class Schema:
    """A kind of file: its name with version, and its columns."""

    name: str
    columns: tuple[Column, ...]
    rebuilt_by: str

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of all datasets."""
        return tuple(column.name for column in self.columns)


def texts(values: Any) -> np.ndarray:
    """Texts, of any axes, as these files hold them: UTF-8 of a fixed length."""
    return np.char.encode(np.array(values, dtype=str), "utf-8")


def digest_of_attributes(attributes: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a file's attributes but for this digest. HDF5's checksums do not cover their text."""
    values = {key: str(value) for key, value in attributes.items() if key != "attributes_digest"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


_SAMPLE_ID = Column("sample_id", ("sample",), f"S{SAMPLE_ID_BYTES}", "", "sample or item; UTF-8")


def states(names: Mapping[str, bool]) -> Schema:
    """Last-token states of examples, by the name of the state; those of no event stand once for all events.

    Parameters
    ----------
    names
        State → whether every event of an example has one of its own.
    """
    columns = [
        Column(
            f"states/{name}",
            ("sample", *(("event",) if of_event else ()), "layer", "hidden"),
            "f4",
            "",
            f"F_l of {name}: state of the last prompt token after block l; see docs/controls.md",
        )
        for name, of_event in names.items()
    ]
    return Schema(STATES, (_SAMPLE_ID, *columns), "extract_activations")


def directions(contrasts: Iterable[tuple[str, str]]) -> Schema:
    """What the means of labels are made of, for every contrast of two states."""
    sums = [
        Column(
            f"{kind}/{first}/{second}",
            ("label", "layer", "hidden"),
            "f8",
            "",
            f"sum of v_l = F_l({first}) - F_l({second}) over the events of each label{after}",
        )
        for first, second in contrasts
        for kind, after in (("sum", ""), ("shuffled_sum", " after the labels were shuffled"))
    ]
    columns = (
        Column("label", ("label",), f"S{LABEL_BYTES}", "", "labels of the examples in alphabetical order; UTF-8"),
        Column("domain", ("label",), f"S{LABEL_BYTES}", "", "domain of each label; UTF-8"),
        Column("count", ("label",), "i4", "events", "events of each label, before and after shuffling"),
        *sums,
        _SAMPLE_ID,
        Column("shuffled_label", ("sample", "event"), "i4", "", "row of the label that shuffling put on the event"),
    )
    return Schema(DIRECTIONS, columns, "average_vectors")


def passes(readout: str, rebuilt_by: str) -> Schema:
    """What passes of examples leave, [sample, pass, ...]; `readout` as in `config.passes.PassSettings`."""
    columns = [
        _SAMPLE_ID,
        Column("recording", ("sample",), "S256", "", "recording that the sample is or the item is about; UTF-8"),
        Column("n_audio_tokens", ("sample",), "i4", "tokens", "real audio tokens, without padding or markers"),
        Column("target", ("sample", "pass"), "S16", "", "event whose vector steered; empty if it was none's"),
        Column(
            "label",
            ("sample", "pass"),
            f"S{LABEL_BYTES}",
            "",
            "label whose vector steered, or of the absent sound that an un-steered pass is about; else empty; UTF-8",
        ),
    ]
    if readout == "text":
        columns += [
            Column(
                "n_text_tokens", ("sample", "pass"), "i4", "tokens", "text tokens from the audio to the prompt's end"
            ),
            Column("text", ("sample", "pass", "text_token"), "S128", "", "those tokens, each decoded by itself; UTF-8"),
        ]
    return Schema(PASSES, (*columns, VALUES[readout]), rebuilt_by)


def frames() -> Schema:
    """What the text stack is given of the audio, averaged over frames (`localization.frames`)."""
    columns = (
        _SAMPLE_ID,
        Column("n_frames", ("sample",), "i4", "frames", "frames of the recording, without padding"),
        Column(
            "frames", ("sample", "frame", "hidden"), "f4", "", "average embedding of the audio tokens of each frame"
        ),
    )
    return Schema(FRAMES, columns, "extract_activations")


def choices(rebuilt_by: str, with_heads: bool) -> Schema:
    """How likely the choices of questions are in every pass; `with_heads`: and what each head gives to the audio."""
    likely = ("sample", "pass", "wording", "choice")
    columns = [
        _SAMPLE_ID,
        Column("recording", ("sample",), "S256", "", "recording that the question is about; UTF-8"),
        Column("groups", ("sample",), "S512", "", "task, categories and difficulty, one in a line; UTF-8"),
        Column("right", ("sample",), "f4", "", "number of the right choice, from 0; NaN where it is withheld"),
        Column("n_tokens", ("sample", "choice"), "f4", "tokens", "tokens of each choice"),
        Column("choices", likely, "f4", "nat", "log-probability of each choice as a whole"),
        Column("letters", likely, "f4", "nat", "log-probability of each choice's letter"),
        Column(
            "words", likely[:3], "f4", "", "number of the choice that the answer in words names; -1: none or several"
        ),
    ]
    if with_heads:
        about = "share of each head's attention from the last prompt token that goes to the audio, un-steered; 0 to 1"
        columns.append(Column("head_mass", ("sample", "layer", "head"), "f4", "", about))
    return Schema(CHOICES, tuple(columns), rebuilt_by)


STATES = "where-to-listen/states/1"
DIRECTIONS = "where-to-listen/directions/1"
PASSES = "where-to-listen/passes/1"
FRAMES = "where-to-listen/frames/1"
CHOICES = "where-to-listen/choices/1"
"""Names of the kinds of files, with their versions."""

VALUES = {
    "attention": Column(
        "attention",
        ("sample", "pass", "layer", "audio_token"),
        "f4",
        "",
        "attention mass to each audio token: mean over heads, sum over text queries",
    ),
    "heads": Column(
        "attention",
        ("sample", "pass", "layer", "head", "audio_token"),
        "f4",
        "",
        "attention mass of each head to each audio token: sum over text queries",
    ),
    "text": Column(
        "attention",
        ("sample", "pass", "layer", "text_token", "audio_token"),
        "f4",
        "",
        "attention mass from each text token to each audio token: mean over heads",
    ),
    "share": Column(
        "audio_share",
        ("sample", "pass", "layer"),
        "f4",
        "",
        "P_l: share of the attention of all tokens that goes to audio tokens, mean over heads; 0 to 1",
    ),
    "head_mass": Column(
        "head_mass",
        ("sample", "pass", "layer", "head"),
        "f4",
        "",
        "share of each head's attention from the last prompt token that goes to audio tokens; 0 to 1",
    ),
}
"""Readout → the column that holds it."""
