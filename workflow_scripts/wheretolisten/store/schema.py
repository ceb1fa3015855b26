"""The datasets of each kind of file: names, axes, units."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

SAMPLE_ID_BYTES = 32
"""Length of a stored sample id. Fixed, because checksums do not cover HDF5's variable-length strings."""

LABEL_BYTES = 256
"""Length of a stored label or domain; none is longer than the name of a folder."""


@dataclass(frozen=True)
class Column:
    """One dataset. The first axis is the row; `text_token` and `audio_token` are ragged and padded with NaN.

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


def digest_of_attributes(attributes: Mapping[str, Any]) -> str:
    """Hex SHA-256 of a file's attributes but for this digest. HDF5's checksums do not cover their text."""
    values = {key: str(value) for key, value in attributes.items() if key != "attributes_digest"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


_SAMPLE_ID = Column("sample_id", ("sample",), f"S{SAMPLE_ID_BYTES}", "", "sample of the benchmark")
_N_AUDIO_TOKENS = Column("n_audio_tokens", ("sample",), "i4", "tokens", "real audio tokens, without padding or markers")
_MASS = "attention mass: mean over heads, sum over text queries"

ACTIVATIONS = Schema(
    "where-to-listen/activations/2",
    (
        _SAMPLE_ID,
        _N_AUDIO_TOKENS,
        Column("states/negative", ("sample", "layer", "hidden"), "f4", "", "F_l(X-), last prompt token, after block l"),
        Column("states/positive", ("sample", "position", "layer", "hidden"), "f4", "", "F_l(X+) of each event's label"),
        Column("attention/base", ("sample", "layer", "audio_token"), "f4", "", f"{_MASS}; inference prompt"),
        Column(
            "attention/prompted",
            ("sample", "position", "layer", "audio_token"),
            "f4",
            "",
            f"{_MASS}; label prompt, not steered",
        ),
    ),
    "extract_activations",
)


def activations_with(states: Iterable[str]) -> Schema:
    """The schema of activations that hold further states, named as in `config.probe.contrasted_states`."""
    columns = [
        Column(
            f"states/{state}",
            ("sample", *(() if state.startswith("negative") else ("position",)), "layer", "hidden"),
            "f4",
            "",
            f"last-token states of {state}; see docs/controls.md",
        )
        for state in states
    ]
    return replace(ACTIVATIONS, columns=(*ACTIVATIONS.columns, *columns))


VECTORS = Schema(
    "where-to-listen/vectors/4",
    (
        Column("label", ("label",), f"S{LABEL_BYTES}", "", "labels of the benchmark in alphabetical order; UTF-8"),
        Column("domain", ("label",), f"S{LABEL_BYTES}", "", "domain of each label; UTF-8"),
        Column("count", ("label",), "i4", "events", "events of each label, before and after shuffling"),
        Column("sum/label", ("label", "layer", "hidden"), "f8", "", "sum of v_l = F_l(X+) - F_l(X-) over the events"),
        Column("sum/shuffled", ("label", "layer", "hidden"), "f8", "", "the same after the labels were shuffled"),
        _SAMPLE_ID,
        Column("shuffled_label", ("sample", "position"), "i4", "", "row of the label that shuffling put on the event"),
        Column("norm/sample", ("sample", "position", "layer"), "f4", "", "Euclidean length of the own-sample vector"),
        Column("norm/label_mean", ("sample", "position", "layer"), "f4", "", "length of the leave-one-out label mean"),
        Column("cosine", ("sample", "position", "layer"), "f4", "", "cosine between own-sample vector and label mean"),
    ),
    "average_vectors",
)

ATTENTION = Schema(
    "where-to-listen/attention/3",
    (
        _SAMPLE_ID,
        _N_AUDIO_TOKENS,
        Column("target", ("sample", "method"), "S8", "", "event whose vector steered; empty if it was none's"),
        Column("label", ("sample", "method"), f"S{LABEL_BYTES}", "", "label whose vector steered; empty if none's"),
        Column(
            "attention/steered",
            ("sample", "method", "layer", "audio_token"),
            "f4",
            "",
            f"{_MASS}; inference prompt, steered",
        ),
    ),
    "steer_attention",
)

ATTENTION_MAP = Schema(
    "where-to-listen/attention-map/3",
    (
        Column(
            "pass", ("pass",), "S8", "", "base (inference prompt), prompted (label prompt), steered (inference prompt)"
        ),
        Column("n_text_tokens", ("pass",), "i4", "tokens", "text tokens after the audio, to the last prompt token"),
        Column("text", ("pass", "text_token"), "S128", "", "the text tokens, each decoded by itself; UTF-8"),
        Column(
            "attention",
            ("pass", "layer", "text_token", "audio_token"),
            "f4",
            "",
            "attention mass: mean over heads; from each text token to each real audio token of one recording",
        ),
    ),
    "map_attention",
)

AUDIO_SHARE = Schema(
    "where-to-listen/audio-share/1",
    (
        Column("item_id", ("item",), "S64", "", "item of the question set; UTF-8"),
        Column("audio_id", ("item",), "S256", "", "recording, a path in the question set's folder; UTF-8"),
        Column("n_audio_tokens", ("item",), "i4", "tokens", "real audio tokens, without padding or markers"),
        Column(
            "audio_share",
            ("item", "condition", "layer"),
            "f4",
            "",
            "P_l: share of the attention of all tokens that goes to audio tokens, mean over heads; 0 to 1",
        ),
    ),
    "analyze_attention",
)

SWEEP = Schema(
    "where-to-listen/sweep/1",
    (
        _SAMPLE_ID,
        _N_AUDIO_TOKENS,
        Column(
            "attention/base",
            ("sample", "point", "layer", "audio_token"),
            "f4",
            "",
            "attention mass, sum over text queries, at each point of the sweep; one point where it is the same at all",
        ),
        Column(
            "attention/steered",
            ("sample", "position", "point", "layer", "audio_token"),
            "f4",
            "",
            "the same under steering. Points are values of the varied key (mean over heads), or the heads",
        ),
    ),
    "sweep_attention",
)
