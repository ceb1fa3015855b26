"""Reading result files back, with a check that they are what they should be."""

import contextlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from wheretolisten.errors import UserError
from wheretolisten.store.hdf5 import open_hdf5
from wheretolisten.store.schema import (
    ACTIVATIONS,
    ATTENTION,
    ATTENTION_MAP,
    AUDIO_SHARE,
    SWEEP,
    VECTORS,
    Schema,
    digest_of_attributes,
)


@dataclass(frozen=True)
class Activations:
    """Un-steered passes of a benchmark.

    `base` [sample, layer, audio_token] and `prompted` [sample, position, layer, audio_token] are attention masses,
    NaN beyond a sample's `n_audio_tokens`; `tokens_per_second` in 1/s.
    """

    sample_id: np.ndarray
    n_audio_tokens: np.ndarray
    tokens_per_second: float
    base: np.ndarray
    prompted: np.ndarray
    attributes: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Attention:
    """Steered passes of the queries at one position: `steered` [sample, method, layer, audio_token].

    `target` [sample, method] is the position of the event whose vector steered, empty where it was no event's.
    """

    sample_id: np.ndarray
    n_audio_tokens: np.ndarray
    methods: tuple[str, ...]
    target: np.ndarray
    steered: np.ndarray
    attributes: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class AttentionMap:
    """One query, pass by pass: base, prompted, steered.

    `text` holds the text tokens of each pass, decoded, and `attention` their masses, each [layer, text_token,
    audio_token] without padding; `tokens_per_second` in 1/s.
    """

    sample_id: str
    position: str
    method: str
    passes: tuple[str, ...]
    text: list[list[str]]
    attention: list[np.ndarray]
    tokens_per_second: float
    attributes: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class AudioShare:
    """Share of attention that goes to the audio (P_l), of every item of a question set.

    `share` [item, condition, layer] lies in 0 … 1; `audio_id` names each item's recording, [item].
    """

    item_id: np.ndarray
    audio_id: np.ndarray
    conditions: tuple[str, ...]
    share: np.ndarray
    attributes: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class SweptAttention:
    """Attention at the points of a sweep, `points` by name.

    `base` [sample, point, layer, audio_token], with one point where all share it, and `steered` [sample, position,
    point, layer, audio_token] are attention masses, NaN beyond a sample's `n_audio_tokens`; `tokens_per_second` in 1/s.
    """

    sample_id: np.ndarray
    n_audio_tokens: np.ndarray
    tokens_per_second: float
    points: tuple[str, ...]
    base: np.ndarray
    steered: np.ndarray


def read_activations(
    paths: Sequence[str | Path], benchmark_digests: Sequence[str] | None = None, model: str | None = None
) -> Activations:
    """Read the attention of shards, in order. States are left on disk; `read_states` reads them.

    Parameters
    ----------
    paths
        One file per shard.
    benchmark_digests
        Digest of each shard of the benchmark that the files must have been made from; None: not compared.
    model
        Identity of the model (`config.models.Model.identity`) that the files must have been made with; None: not
        compared.

    Raises
    ------
    UserError
        If a file is damaged, cannot be read (`open_hdf5`), is of another kind or version, or of another benchmark or
        model.
    """
    names = ("sample_id", "n_audio_tokens", "attention/base", "attention/prompted")
    columns, attributes = _read(paths, ACTIVATIONS, names, benchmark_digests, model)
    return Activations(
        sample_id=columns["sample_id"],
        n_audio_tokens=columns["n_audio_tokens"],
        tokens_per_second=float(attributes["tokens_per_second"]),
        base=columns["attention/base"],
        prompted=columns["attention/prompted"],
        attributes=attributes,
    )


def read_states(
    path: str | Path,
    names: Sequence[str] = ("negative", "positive"),
    sample_ids: Sequence[str] | None = None,
    benchmark_digest: str | None = None,
    model: str | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sample ids and last-token states of one shard.

    Parameters
    ----------
    path
        Activations.
    names
        States, as `config.probe.contrasted_states` names them.
    sample_ids
        Samples to read, in order; None: all.
    benchmark_digest, model
        As for `read_activations`, of this shard.

    Returns
    -------
    sample_ids
        [sample].
    states
        Name → float32 [sample, position, layer, hidden]; negative ones, which a sample's events share, have one
        position.

    Raises
    ------
    UserError
        As `read_activations`, and if the file lacks one of the samples or states.
    """
    with _open(path, ACTIVATIONS, model) as file:
        if benchmark_digest is not None:
            _check_benchmark(path, ACTIVATIONS, [file.attrs["benchmark_digest"]], benchmark_digest)
        missing = [name for name in names if f"states/{name}" not in file]
        if missing:
            raise UserError(f"{path}: it holds no states {missing[0]!r}; {_way_out(path, ACTIVATIONS)}")
        if sample_ids is None:
            sample_ids = file["sample_id"].asstr()[()].tolist()
        rows = _rows_of(file, sample_ids, path, ACTIVATIONS)
        # One by one: samples are chunks, and h5py takes no list of rows in any order.
        states = {name: np.stack([file[f"states/{name}"][row] for row in rows]) for name in names}
    return np.array(sample_ids), {
        name: values[:, None] if name.startswith("negative") else values for name, values in states.items()
    }


def read_attention(
    paths: Sequence[str | Path], benchmark_digests: Sequence[str] | None = None, model: str | None = None
) -> Attention:
    """Read the steered attention of shards, in order.

    Raises
    ------
    UserError
        As `read_activations`.
    """
    names = ("sample_id", "n_audio_tokens", "target", "attention/steered")
    columns, attributes = _read(paths, ATTENTION, names, benchmark_digests, model)
    return Attention(
        sample_id=columns["sample_id"],
        n_audio_tokens=columns["n_audio_tokens"],
        methods=tuple(json.loads(attributes["methods"])),
        target=columns["target"],
        steered=columns["attention/steered"],
        attributes=attributes,
    )


def read_attention_map(path: str | Path) -> AttentionMap:
    """Read the attention of one query by text token.

    Raises
    ------
    UserError
        If the file is damaged, cannot be read, or is of another kind or version.
    """
    columns, attributes = _read([path], ATTENTION_MAP, ATTENTION_MAP.column_names, None, None)
    counts = columns["n_text_tokens"].tolist()
    return AttentionMap(
        **{name: attributes[name] for name in ("sample_id", "position", "method")},
        passes=tuple(columns["pass"].tolist()),
        text=[tokens[:n].tolist() for tokens, n in zip(columns["text"], counts, strict=True)],
        attention=[values[:, :n] for values, n in zip(columns["attention"], counts, strict=True)],
        tokens_per_second=float(attributes["tokens_per_second"]),
        attributes=attributes,
    )


def read_audio_share(paths: Sequence[str | Path], model: str | None = None) -> AudioShare:
    """Read the shares of attention of shards, in order.

    Raises
    ------
    UserError
        If a file is damaged, cannot be read, is of another kind or version, or of another model.
    """
    columns, attributes = _read(paths, AUDIO_SHARE, ("item_id", "audio_id", "audio_share"), None, model)
    return AudioShare(
        item_id=columns["item_id"],
        audio_id=columns["audio_id"],
        conditions=tuple(json.loads(attributes["conditions"])),
        share=columns["audio_share"],
        attributes=attributes,
    )


def read_sweep(
    paths: Sequence[str | Path], benchmark_digests: Sequence[str] | None = None, model: str | None = None
) -> SweptAttention:
    """Read the attention of a sweep's shards, in order.

    Raises
    ------
    UserError
        As `read_activations`.
    """
    columns, attributes = _read(paths, SWEEP, SWEEP.column_names, benchmark_digests, model)
    return SweptAttention(
        sample_id=columns["sample_id"],
        n_audio_tokens=columns["n_audio_tokens"],
        tokens_per_second=float(attributes["tokens_per_second"]),
        points=tuple(json.loads(attributes["points"])),
        base=columns["attention/base"],
        steered=columns["attention/steered"],
    )


@dataclass(frozen=True, eq=False)
class Vectors:
    """What label means are made of.

    Attributes
    ----------
    labels, domains, counts
        Labels in alphabetical order, the domain and the number of events of each, [label].
    sums, shuffled_sums
        Sums of own-sample vectors by label, and by shuffled label, float64 [label, layer, hidden].
    shuffled_labels
        Sample id → labels that shuffling put on its events, [position].
    """

    labels: tuple[str, ...]
    domains: tuple[str, ...]
    counts: np.ndarray
    sums: np.ndarray
    shuffled_sums: np.ndarray
    shuffled_labels: dict[str, tuple[str, ...]]


def read_vectors(
    path: str | Path, sample_ids: Sequence[str], benchmark_digest: str | None = None, model: str | None = None
) -> Vectors:
    """Read the label sums of a benchmark, and the shuffled labels of some samples.

    `benchmark_digest` is of the shard that holds the samples, `model` as for `read_activations`.

    Raises
    ------
    UserError
        If the file is damaged, cannot be read, is of another kind or version, of another benchmark or model, or lacks
        one of the samples.
    """
    with _open(path, VECTORS, model) as file:
        if benchmark_digest is not None:
            _check_benchmark(path, VECTORS, json.loads(file.attrs["benchmark_digests"]), benchmark_digest)
        labels, domains = (tuple(np.char.decode(file[name][()], "utf-8").tolist()) for name in ("label", "domain"))
        shuffled = file["shuffled_label"][()][_rows_of(file, sample_ids, path, VECTORS)]
        return Vectors(
            labels,
            domains,
            file["count"][()],
            file["sum/label"][()],
            file["sum/shuffled"][()],
            {
                sample_id: tuple(labels[row] for row in rows)
                for sample_id, rows in zip(sample_ids, shuffled, strict=True)
            },
        )


@contextlib.contextmanager
def _open(path: str | Path, schema: Schema, model: str | None = None) -> Iterator[h5py.File]:
    """Open a result file of a schema; what is wrong with the file becomes a `UserError`."""
    way_out = _way_out(path, schema)
    with open_hdf5(path, way_out) as file:
        if file.attrs.get("schema") != schema.name:
            raise UserError(
                f"{path}: the file's schema is {file.attrs.get('schema')!r}, this version reads {schema.name!r}; "
                f"{way_out}"
            )
        if file.attrs["attributes_digest"] != digest_of_attributes(file.attrs):
            raise ValueError("its attributes have changed")
        if model is not None and file.attrs["model"] != model:
            raise UserError(
                f"{path}: it was made with the model {file.attrs['model']}, this run has {model}; {way_out}"
            )
        yield file


def _rows_of(file: h5py.File, sample_ids: Sequence[str], path: str | Path, schema: Schema) -> list[int]:
    row_of = {sample_id: row for row, sample_id in enumerate(file["sample_id"].asstr()[()])}
    missing = [sample_id for sample_id in sample_ids if sample_id not in row_of]
    if missing:
        raise UserError(f"{path}: sample {missing[0]} is not in it; {_way_out(path, schema)}")
    return [row_of[sample_id] for sample_id in sample_ids]


def _check_benchmark(path: str | Path, schema: Schema, digests: Sequence[str], expected: str) -> None:
    if expected not in digests:
        raise UserError(
            f"{path}: it was made from a benchmark with digest {digests[0][:12]}, this one has {expected[:12]}; "
            f"{_way_out(path, schema)}"
        )


def _way_out(path: str | Path, schema: Schema) -> str:
    return (
        f"delete it (rm {shlex.quote(str(path))}) and run the same command again, which rebuilds it with "
        f"{schema.rebuilt_by}"
    )


def _read(
    paths: Sequence[str | Path],
    schema: Schema,
    names: Sequence[str],
    benchmark_digests: Sequence[str] | None,
    model: str | None,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
    attributes: dict[str, Any] = {}
    for number, path in enumerate(paths):
        with _open(path, schema, model) as file:
            attributes = dict(file.attrs)
            if benchmark_digests is not None:
                _check_benchmark(path, schema, [attributes["benchmark_digest"]], benchmark_digests[number])
            for name in names:
                pieces[name].append(file[name][()])
    columns = {name: _concatenate(arrays) for name, arrays in pieces.items()}
    for name, values in columns.items():
        if values.dtype.kind == "S":
            columns[name] = np.char.decode(values, "utf-8")
    return columns, attributes


def _concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    """Join along the sample axis; the audio-token axis, where present, is padded to the longest."""
    widest = np.max([array.shape for array in arrays], axis=0)
    padded = []
    for array in arrays:
        widths = [(0, 0), *((0, int(width - size)) for size, width in zip(array.shape[1:], widest[1:], strict=True))]
        if any(after for _, after in widths):
            array = np.pad(array, widths, constant_values=np.nan)
        padded.append(array)
    return np.concatenate(padded)
