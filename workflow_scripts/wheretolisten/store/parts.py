"""Crash-safe writing: finished batches become whole part files, which are merged into the result at the end.

HDF5 files are not crash-safe, so nothing is ever appended to one that matters. A killed job loses the batch in flight;
its next start finds the parts, checks them, and goes on after them.
"""

import contextlib
import csv
import io
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from wheretolisten.files import atomic_path
from wheretolisten.store.hdf5 import DamagedFileError, open_hdf5
from wheretolisten.store.schema import Column, Schema, digest_of_attributes

_log = logging.getLogger(__name__)

_ANEW = "run the same command again, which computes this part anew"


class PartedFile:
    """A result file that is written batch by batch.

    Parameters
    ----------
    target
        The result. Parts live beside it, in `<target>.parts/`.
    schema
        What the file holds.
    identity
        Digest of all that the content depends on. A part of another identity is discarded, not trusted.
    attributes
        Provenance, stored as attributes of the result (strings and numbers as they are, the rest as JSON).
    """

    def __init__(self, target: str | Path, schema: Schema, identity: str, attributes: Mapping[str, Any]) -> None:
        self._target = Path(target)
        self._folder = self._target.with_name(self._target.name + ".parts")
        self._schema = schema
        self._identity = identity
        self._attributes = dict(attributes)

    def has(self, part: int) -> bool:
        """Whether a valid part of this number exists; an invalid one is removed.

        Raises
        ------
        UserError
            If the part cannot be read (`open_hdf5`), which does not make it invalid.
        """
        path = self._path(part)
        if not path.exists():
            return False
        try:
            with open_hdf5(path, _ANEW) as file:
                if file.attrs["identity"] == self._identity:
                    for name in self._schema.column_names:
                        file[name][()]  # reading everything verifies every checksum
                    return True
            reason = "was written with other settings or code"
        except DamagedFileError as error:
            reason = f"is not readable ({error.reason})"
        _log.warning("%s %s; it is computed again", path, reason)
        path.unlink()
        return False

    def write(self, part: int, columns: Mapping[str, np.ndarray]) -> None:
        """Write one part whole: arrays named and shaped as the schema says, first axis = rows of this batch.

        Raises
        ------
        ValueError
            If the columns are not the schema's, or their numbers of rows or axes disagree.
        """
        if set(columns) != set(self._schema.column_names):
            raise ValueError(f"{self._schema.name}: expected {self._schema.column_names}, got {sorted(columns)}")
        rows = {(column.axes[0], len(columns[column.name])) for column in self._schema.columns}
        if len(rows) != len({axis for axis, _ in rows}):
            raise ValueError(f"{self._schema.name}: columns have different numbers of rows: {sorted(rows)}")
        with _new_file(self._path(part)) as file:
            file.attrs["identity"] = self._identity
            for column in self._schema.columns:
                _create(file, column, np.asarray(columns[column.name]).shape)[...] = columns[column.name]

    def merge(self, n_parts: int, keep_parts: bool = False) -> None:
        """Join parts 0 … n_parts-1 into the result, in order, and remove them, unless they are to be kept.

        Raises
        ------
        UserError
            If a part is damaged or cannot be read, or the disk is full; the parts stay.
        """
        paths = [self._path(part) for part in range(n_parts)]
        with _new_file(self._target) as file:
            file.attrs["schema"] = self._schema.name
            file.attrs["identity"] = self._identity
            file.attrs["rebuilt_by"] = self._schema.rebuilt_by
            for key, value in self._attributes.items():
                file.attrs[key] = value if isinstance(value, str | int | float) else json.dumps(value, sort_keys=True)
            file.attrs["attributes_digest"] = digest_of_attributes(file.attrs)
            shapes: dict[str, list[tuple[int, ...]]] = {}
            for part in paths:
                with open_hdf5(part, _ANEW) as source:
                    for name in self._schema.column_names:
                        shapes.setdefault(name, []).append(source[name].shape)
            for column in self._schema.columns:
                sizes = np.array(shapes[column.name])
                _create(file, column, (int(sizes[:, 0].sum()), *map(int, sizes[:, 1:].max(axis=0))))
            start = dict.fromkeys(self._schema.column_names, 0)
            for part in paths:
                with open_hdf5(part, _ANEW) as source:
                    columns = {name: source[name][()] for name in self._schema.column_names}
                for name, values in columns.items():
                    rows = slice(start[name], start[name] + len(values))
                    file[name][(rows, *map(slice, values.shape[1:]))] = values
                    start[name] += len(values)
        if not keep_parts:
            self.remove_parts()

    def remove_parts(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, part: int) -> Path:
        return self._folder / f"{part:06d}.h5"


class _Disk(io.FileIO):
    """A new file for HDF5 to write to, which keeps the first error to itself.

    HDF5 cannot close a file after a failed write: the half file keeps its space on the full disk, and Python crashes at
    its end. So HDF5 sees every write succeed, and `error` tells what became of them.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                remaining = memoryview(data)
                while remaining:  # the last write that fits may be cut short
                    remaining = remaining[super().write(remaining) :]
            except OSError as error:
                self.error = error
        return len(data)


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[h5py.File]:
    """An HDF5 file to fill, which takes the place of `target` when the block succeeds."""
    with atomic_path(target) as path, _Disk(path) as disk:
        # Of this version on, HDF5 has checksums of what it notes about datasets, too.
        with h5py.File(disk, "w", libver=("v110", "v110")) as file:
            yield file
        if disk.error is not None:
            raise disk.error


def _create(file: h5py.File, column: Column, shape: tuple[int, ...]) -> h5py.Dataset:
    if len(shape) != len(column.axes):
        raise ValueError(f"{column.name}: expected the axes {column.axes}, got the shape {shape}")
    dataset = file.create_dataset(
        column.name,
        shape=shape,
        dtype=column.dtype,
        # A shard all of whose items were skipped has no rows, a file about sounds that nobody asks about has no passes;
        # chunks fit into axes that can grow only.
        maxshape=None if all(shape) else tuple(size or None for size in shape),
        chunks=(1, *(max(size, 1) for size in shape[1:])),
        fletcher32=True,
        fillvalue=np.nan if column.dtype.startswith("f") else None,
    )
    dataset.attrs["axes"] = json.dumps(column.axes)
    dataset.attrs["unit"] = column.unit
    dataset.attrs["about"] = column.about
    return dataset


class PartedTable:
    """A csv result that is written batch by batch, for text that people read.

    Parameters
    ----------
    target
        The result. Parts live beside it, in `<target>.parts/`.
    identity
        Digest of all that the content depends on; parts of another identity are left aside and removed at the end.
    """

    def __init__(self, target: str | Path, identity: str) -> None:
        self._target = Path(target)
        self._folder = self._target.with_name(self._target.name + ".parts")
        self._identity = identity

    def has(self, part: int) -> bool:
        """Whether a part of this number and identity exists; a part is whole once it has its name."""
        return self._path(part).exists()

    def write(self, part: int, rows: pd.DataFrame) -> None:
        """Write one part whole."""
        with atomic_path(self._path(part)) as path:
            _write_csv(rows, path)

    def merge(self, n_parts: int, keep_parts: bool = False) -> None:
        """Join parts 0 … n_parts-1 into the result, in order, and remove them, unless they are to be kept."""
        parts = [pd.read_csv(self._path(part), dtype=str, keep_default_na=False) for part in range(n_parts)]
        with atomic_path(self._target) as path:
            _write_csv(pd.concat(parts, ignore_index=True), path)
        if not keep_parts:
            self.remove_parts()

    def remove_parts(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, part: int) -> Path:
        return self._folder / self._identity[:16] / f"{part:06d}.csv"


def _write_csv(rows: pd.DataFrame, path: Path) -> None:
    # Quoted, because a model's answer may hold a bare carriage return, which a reader would take for the end of a row.
    rows.to_csv(path, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
