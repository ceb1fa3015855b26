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
from wheretolisten.store.schema import CHOICES, DIRECTIONS, FRAMES, PASSES, STATES, digest_of_attributes


@dataclass(frozen=True, eq=False)
class Passes:
    """What passes of examples left.

    Attributes
    ----------
    sample_id, recording, n_audio_tokens
        Of every example, [sample].
    tokens_per_second
        Rate of audio tokens, in 1/s.
    passes
        Name of each pass, and the event that it is about (empty: the example as a whole), [pass].
    target, label
        Event, and its label, whose vector steered, [sample, pass]; empty where it was none's.
    values
        [sample, pass, ...]: attention mass by layer and audio token, or what else was read (see `schema.VALUES`), NaN
        beyond a sample's own tokens.
    text
        The text tokens of each pass, decoded, [sample][pass][text_token]; only of the readout `text`.
    """

    sample_id: np.ndarray
    recording: np.ndarray
    n_audio_tokens: np.ndarray
    tokens_per_second: float
    passes: tuple[tuple[str, str], ...]
    target: np.ndarray
    label: np.ndarray
    values: np.ndarray
    text: list[list[list[str]]] = field(repr=False)
    attributes: dict[str, Any] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the passes, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.passes))

    def of(self, name: str, event: str = "") -> np.ndarray:
        """Values of one pass, [sample, ...].

        Raises
        ------
        KeyError
            If there is no such pass.
        """
        if (name, event) not in self.passes:
            raise KeyError(f"{name} about {event or 'the example'}")
        return self.values[:, self.passes.index((name, event))]


def read_passes(
    paths: Sequence[str | Path], examples_digests: Sequence[str] | None = None, model: str | None = None
) -> Passes:
    """Read the passes of shards, in order.

    Parameters
    ----------
    paths
        One file per shard.
    examples_digests
        Digest of each shard of the examples that the files must have been made from; None: not compared.
    model
        Identity of the model (`config.models.Model.identity`) that the files must have been made with; None: not
        compared.

    Raises
    ------
    UserError
        If a file is damaged, cannot be read (`open_hdf5`), is of another kind or version, or of other examples or
        model.
    """
    pieces: dict[str, list[np.ndarray]] = {}
    for number, path in enumerate(paths):
        with _open(path, PASSES, model) as file:
            attributes = dict(file.attrs)
            if examples_digests is not None:
                _check_examples(file, [attributes["examples_digest"]], examples_digests[number])
            for name in file:
                pieces.setdefault(name, []).append(file[name][()])
    columns = {name: concatenate(arrays) for name, arrays in pieces.items()}
    for name, values in columns.items():
        if values.dtype.kind == "S":
            columns[name] = np.char.decode(values, "utf-8")
    text = [
        [tokens[:n].tolist() for tokens, n in zip(of_sample, counts, strict=True)]
        for of_sample, counts in zip(columns.pop("text", ()), columns.pop("n_text_tokens", ()), strict=True)
    ]
    common = {name: columns.pop(name) for name in ("sample_id", "recording", "n_audio_tokens", "target", "label")}
    (values,) = columns.values()
    return Passes(
        **common,
        tokens_per_second=float(attributes["tokens_per_second"]),
        passes=tuple(map(tuple, json.loads(attributes["passes"]))),
        values=values,
        text=text,
        attributes=attributes,
    )


def read_passes_by_event(
    paths: Sequence[Path],
    unsteered: Passes,
    examples_digests: Sequence[str] | None = None,
    model: str | None = None,
) -> dict[str, Passes]:
    """Read `<event>/<shard>.h5`, those of an event in the order of shards: event → passes.

    Raises
    ------
    UserError
        As `read_passes`, and if an event's samples are not those of the `unsteered` passes.
    """
    files: dict[str, list[Path]] = {}
    for path in paths:
        files.setdefault(path.parent.name, []).append(path)
    found = {event: read_passes(of_event, examples_digests, model) for event, of_event in files.items()}
    for event, passes in found.items():
        if not np.array_equal(passes.sample_id, unsteered.sample_id):
            raise UserError(
                f"{files[event][0]}: its samples are not those of the un-steered passes; delete both and run the "
                "workflow again"
            )
    return found


@dataclass(frozen=True, eq=False)
class Choices:
    """How likely a model finds the choices of questions; NaN beyond an item's own wordings and choices.

    Attributes
    ----------
    item_id, recording, right
        Of every item, [item]; `right` is the number of the right choice, NaN where it is withheld.
    groups
        Task, categories and difficulty of each item.
    passes
        Names, [pass].
    n_tokens
        Of each choice, [item, choice].
    choices, letters
        Log-probabilities, [item, pass, wording, choice].
    words
        Number of the choice that the answer in words names, [item, pass, wording]; -1: none or several, NaN: not asked.
    head_mass
        [item, layer, head], from 0 to 1; None in files of passes that heads steer.
    """

    item_id: np.ndarray
    recording: np.ndarray
    right: np.ndarray
    groups: list[list[str]]
    passes: tuple[str, ...]
    n_tokens: np.ndarray
    choices: np.ndarray
    letters: np.ndarray
    words: np.ndarray
    head_mass: np.ndarray | None


def read_choices(paths: Sequence[str | Path], model: str | None = None) -> Choices:
    """Read what all shards of a study hold of choices, in order; `model` and errors are those of `read_passes`."""
    pieces: dict[str, list[np.ndarray]] = {}
    for path in paths:
        with _open(path, CHOICES, model) as file:
            passes = tuple(json.loads(file.attrs["passes"]))
            for name in file:
                pieces.setdefault(name, []).append(file[name][()])
    columns = {name: concatenate(arrays) for name, arrays in pieces.items()}
    texts = {name: np.char.decode(columns.pop(name), "utf-8") for name in ("sample_id", "recording", "groups")}
    return Choices(
        item_id=texts["sample_id"],
        recording=texts["recording"],
        groups=[each.split("\n") if each else [] for each in texts["groups"]],
        passes=passes,
        **({"head_mass": None} | columns),
    )


def read_frames(
    paths: Sequence[str | Path], examples_digests: Sequence[str] | None = None, model: str | None = None
) -> tuple[list[np.ndarray], float]:
    """What the text stack is given of each sample's audio, [frame, hidden] each, and the rate of frames in Hz.

    Parameters and errors are those of `read_passes`.
    """
    frames: list[np.ndarray] = []
    for number, path in enumerate(paths):
        with _open(path, FRAMES, model) as file:
            if examples_digests is not None:
                _check_examples(file, [file.attrs["examples_digest"]], examples_digests[number])
            counts, rate = file["n_frames"][()], float(file.attrs["frames_per_second"])
            frames += [values[:n] for values, n in zip(file["frames"][()], counts, strict=True)]
    return frames, rate


def read_states(
    path: str | Path,
    names: Sequence[str],
    sample_ids: Sequence[str] | None = None,
    examples_digest: str | None = None,
    model: str | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sample ids and last-token states of one shard.

    Parameters
    ----------
    path
        States.
    names
        Of the states (`config.directions.StateName`).
    sample_ids
        Samples to read, in order; None: all.
    examples_digest, model
        As for `read_passes`, of this shard.

    Returns
    -------
    sample_ids
        [sample].
    states
        Name → float32 [sample, event, layer, hidden]; with one event where all events of a sample share the state.

    Raises
    ------
    UserError
        As `read_passes`, and if the file lacks one of the samples or states.
    """
    with _open(path, STATES, model) as file:
        if examples_digest is not None:
            _check_examples(file, [file.attrs["examples_digest"]], examples_digest)
        missing = [name for name in names if f"states/{name}" not in file]
        if missing:
            raise UserError(f"{path}: it holds no states {missing[0]!r}; {_way_out(file)}")
        if sample_ids is None:
            sample_ids = file["sample_id"].asstr()[()].tolist()
        rows = _rows_of(file, sample_ids)
        # One by one: samples are chunks, and h5py takes no list of rows in any order.
        states = {name: np.stack([file[f"states/{name}"][row] for row in rows]) for name in names}
    return np.array(sample_ids), {
        name: values[:, None] if values.ndim == 3 else values for name, values in states.items()
    }


@dataclass(frozen=True, eq=False)
class Directions:
    """What the means of labels are made of.

    Attributes
    ----------
    labels, domains, counts
        Labels in alphabetical order, the domain and the number of events of each, [label].
    sums, shuffled_sums
        Contrast of two states → sums of its vectors by label, and by shuffled label, float64 [label, layer, hidden].
    shuffled_labels
        Sample id → labels that shuffling put on its events, [event].
    """

    labels: tuple[str, ...]
    domains: tuple[str, ...]
    counts: np.ndarray
    sums: dict[tuple[str, str], np.ndarray]
    shuffled_sums: dict[tuple[str, str], np.ndarray]
    shuffled_labels: dict[str, tuple[str, ...]]


def read_directions(
    path: str | Path, sample_ids: Sequence[str], examples_digest: str | None = None, model: str | None = None
) -> Directions:
    """Read the label sums of sequences, and the shuffled labels of some samples.

    `examples_digest` is of the shard that holds the samples, `model` as for `read_passes`.

    Raises
    ------
    UserError
        If the file is damaged, cannot be read, is of another kind or version, of other examples or model, or lacks
        one of the samples.
    """
    with _open(path, DIRECTIONS, model) as file:
        if examples_digest is not None:
            _check_examples(file, json.loads(file.attrs["examples_digests"]), examples_digest)
        labels, domains = (tuple(np.char.decode(file[name][()], "utf-8").tolist()) for name in ("label", "domain"))
        shuffled = file["shuffled_label"][()][_rows_of(file, sample_ids)]
        contrasts = [tuple(contrast) for contrast in json.loads(file.attrs["contrasts"])]
        sums, shuffled_sums = (
            {contrast: file[f"{kind}/{contrast[0]}/{contrast[1]}"][()] for contrast in contrasts}
            for kind in ("sum", "shuffled_sum")
        )
        of_samples = {
            sample_id: tuple(labels[row] for row in rows) for sample_id, rows in zip(sample_ids, shuffled, strict=True)
        }
        return Directions(labels, domains, file["count"][()], sums, shuffled_sums, of_samples)


@contextlib.contextmanager
def _open(path: str | Path, schema: str, model: str | None = None) -> Iterator[h5py.File]:
    """Open a result file of a schema; what is wrong with the file becomes a `UserError`."""
    anew = f"delete it (rm {shlex.quote(str(path))}) and run the same command again, which rebuilds it"
    with open_hdf5(path, anew) as file:
        if file.attrs.get("schema") != schema:
            raise UserError(
                f"{path}: the file's schema is {file.attrs.get('schema')!r}, this version reads {schema!r}; {anew}"
            )
        if file.attrs["attributes_digest"] != digest_of_attributes(file.attrs):
            raise ValueError("its attributes have changed")
        if model is not None and file.attrs["model"] != model:
            raise UserError(
                f"{path}: it was made with the model {file.attrs['model']}, this run has {model}; {_way_out(file)}"
            )
        yield file


def _rows_of(file: h5py.File, sample_ids: Sequence[str]) -> list[int]:
    row_of = {sample_id: row for row, sample_id in enumerate(file["sample_id"].asstr()[()])}
    missing = [sample_id for sample_id in sample_ids if sample_id not in row_of]
    if missing:
        raise UserError(f"{file.filename}: sample {missing[0]} is not in it; {_way_out(file)}")
    return [row_of[sample_id] for sample_id in sample_ids]


def _check_examples(file: h5py.File, digests: Sequence[str], expected: str) -> None:
    if expected not in digests:
        raise UserError(
            f"{file.filename}: it was made from examples with digest {digests[0][:12]}, this one has "
            f"{expected[:12]}; {_way_out(file)}"
        )


def _way_out(file: h5py.File) -> str:
    return (
        f"delete it (rm {shlex.quote(file.filename)}) and run the same command again, which rebuilds it with "
        f"{file.attrs['rebuilt_by']}"
    )


def concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    """Join along the sample axis; axes of tokens are padded to the longest, numbers with NaN, texts with nothing."""
    widest = np.max([array.shape for array in arrays], axis=0)
    padded = []
    for array in arrays:
        widths = [(0, 0), *((0, int(width - size)) for size, width in zip(array.shape[1:], widest[1:], strict=True))]
        if any(after for _, after in widths):
            array = np.pad(array, widths, constant_values=b"" if array.dtype.kind == "S" else np.nan)
        padded.append(array)
    return np.concatenate(padded)
