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

from wheretolisten.config.probe import VECTOR_KINDS
from wheretolisten.errors import UserError
from wheretolisten.store.schema import (
    ACTIVATIONS,
    ATTENTION,
    ATTENTION_MAP,
    DAMAGE,
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
    """Steered passes at one target position: `steered` [sample, vector_kind, layer, audio_token]."""

    sample_id: np.ndarray
    n_audio_tokens: np.ndarray
    vector_kinds: tuple[str, ...]
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
    vector_kind: str
    passes: tuple[str, ...]
    text: list[list[str]]
    attention: list[np.ndarray]
    tokens_per_second: float
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
        If a file is damaged, of another kind or version, or of another benchmark or model.
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
    path: str | Path, benchmark_digest: str | None = None, model: str | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sample ids, F_l(X−) [sample, layer, hidden] and F_l(X+) [sample, position, layer, hidden] of one shard.

    Raises
    ------
    UserError
        As `read_activations`.
    """
    digests = None if benchmark_digest is None else [benchmark_digest]
    columns, _ = _read([path], ACTIVATIONS, ("sample_id", "states/negative", "states/positive"), digests, model)
    return columns["sample_id"], columns["states/negative"], columns["states/positive"]


def read_attention(
    paths: Sequence[str | Path], benchmark_digests: Sequence[str] | None = None, model: str | None = None
) -> Attention:
    """Read the steered attention of shards, in order.

    Raises
    ------
    UserError
        As `read_activations`.
    """
    names = ("sample_id", "n_audio_tokens", "attention/steered")
    columns, attributes = _read(paths, ATTENTION, names, benchmark_digests, model)
    return Attention(
        sample_id=columns["sample_id"],
        n_audio_tokens=columns["n_audio_tokens"],
        vector_kinds=tuple(json.loads(attributes["vector_kinds"])),
        steered=columns["attention/steered"],
        attributes=attributes,
    )


def read_attention_map(path: str | Path) -> AttentionMap:
    """Read the attention of one query by text token.

    Raises
    ------
    UserError
        If the file is damaged or of another kind or version.
    """
    columns, attributes = _read([path], ATTENTION_MAP, ATTENTION_MAP.column_names, None, None)
    counts = columns["n_text_tokens"].tolist()
    return AttentionMap(
        **{name: attributes[name] for name in ("sample_id", "position", "vector_kind")},
        passes=tuple(columns["pass"].tolist()),
        text=[tokens[:n].tolist() for tokens, n in zip(columns["text"], counts, strict=True)],
        attention=[values[:, :n] for values, n in zip(columns["attention"], counts, strict=True)],
        tokens_per_second=float(attributes["tokens_per_second"]),
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


def read_vectors(
    path: str | Path,
    sample_ids: Sequence[str],
    position: int,
    benchmark_digest: str | None = None,
    model: str | None = None,
) -> np.ndarray:
    """Steering vectors [sample, vector_kind, layer, hidden] of some samples' events at one position.

    The kinds are in the order of `config.probe.VECTOR_KINDS`. Only these rows are read: the file holds every sample.
    `benchmark_digest` is of the shard that holds the samples, `model` as for `read_activations`.

    Raises
    ------
    UserError
        If the file is damaged, of another kind or version, of another benchmark or model, or lacks one of the samples.
    """
    with _open(path, VECTORS, model) as file:
        if benchmark_digest is not None:
            _check_benchmark(path, VECTORS, json.loads(file.attrs["benchmark_digests"]), benchmark_digest)
        row_of = {sample_id: row for row, sample_id in enumerate(file["sample_id"].asstr()[()])}
        missing = [sample_id for sample_id in sample_ids if sample_id not in row_of]
        if missing:
            raise UserError(f"{path}: no vectors of sample {missing[0]}; {_way_out(path, VECTORS)}")
        rows = [row_of[sample_id] for sample_id in sample_ids]
        kinds = [file[f"vector/{kind}"] for kind in VECTOR_KINDS]
        return np.stack([np.stack([kind[row, position] for kind in kinds]) for row in rows])


@contextlib.contextmanager
def _open(path: str | Path, schema: Schema, model: str | None = None) -> Iterator[h5py.File]:
    """Open a result file of a schema; what is wrong with the file becomes a `UserError`."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("schema") != schema.name:
                raise UserError(
                    f"{path}: the file's schema is {file.attrs.get('schema')!r}, this version reads "
                    f"{schema.name!r}; {_way_out(path, schema)}"
                )
            if file.attrs["attributes_digest"] != digest_of_attributes(file.attrs):
                raise ValueError("its attributes have changed")
            if model is not None and file.attrs["model"] != model:
                raise UserError(
                    f"{path}: it was made with the model {file.attrs['model']}, this run has {model}; "
                    f"{_way_out(path, schema)}"
                )
            yield file
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: the file is damaged ({reason}); {_way_out(path, schema)}") from error


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
