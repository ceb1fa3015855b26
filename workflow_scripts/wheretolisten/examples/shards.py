"""The tables of sequences, and its audio as models hear it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wheretolisten.clips.names import label_problem, path_problem
from wheretolisten.clips.pcm import as_heard, read_pcm
from wheretolisten.config.positions import DESCRIPTION, is_position
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path, refusal

COLUMNS = {
    "sample_id": str,
    "position": str,
    "label": str,
    "domain": str,
    "onset": float,
    "offset": float,
    "clip_id": str,
    "source": str,
    "duration": float,
    "sample_seconds": float,
    "path": str,
    "digest": str,
    "audible": float,
}
"""Column → type of a table of events: one row per event, in order of onset; times in seconds, multiples of 1/16000 s.

`path` is the sample's audio file relative to the examples' folder, `digest` the SHA-256 of its int16 audio, `audible`
the share of the event that can be heard, from 0 to 1 (see `clips.audibility`). Tables of earlier versions lack it.
Of symbolic examples, which have no audio, both are empty, and all of every event is heard.
"""


def write_shard(rows: Sequence[Mapping[str, Any]] | pd.DataFrame, path: str | Path) -> None:
    """Write a table of events (see `COLUMNS`) atomically."""
    with atomic_path(path) as temporary:
        pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(temporary, index=False, lineterminator="\n")


def read_shard(path: str | Path) -> pd.DataFrame:
    """Read a table of events, of one shard or of all of them.

    Returns
    -------
    pandas.DataFrame
        The columns of `COLUMNS`, typed; rows as in the file.

    Raises
    ------
    UserError
        If the file is missing, lacks a column, holds a value that does not fit, lists an event twice, or names an
        audio file outside the examples.
    """
    remedy = "build the examples again"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise refusal(path, error) or UserError(
            f"{path} cannot be read as a table of events ({reason}); {remedy}"
        ) from error
    missing = [column for column in COLUMNS if column not in table.columns and column != "audible"]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; {remedy}")
    try:
        # Results of earlier versions can still be drawn.
        table = table.reindex(columns=list(COLUMNS), fill_value="").replace({"audible": {"": "nan"}}).astype(COLUMNS)
    except ValueError as error:
        raise UserError(f"{path} holds a time that is not a number ({error}); {remedy}") from error
    for position in table["position"].unique():
        if not is_position(position):
            raise UserError(f"{path} holds the position {position!r}, not one of {DESCRIPTION}; {remedy}")
    repeated = table[table.duplicated(["sample_id", "position"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise UserError(f"{path} lists sample {row['sample_id']}, position {row['position']} twice; {remedy}")
    # shards/<k>.csv and events.csv lie at different depths; paths start from the examples' folder.
    for row in table.to_dict("records"):
        if problem := label_problem(row["label"]) or path_problem(row["path"], "the examples") or _number_problem(row):
            raise UserError(f"{path}: sample {row['sample_id']}, position {row['position']} {problem}; {remedy}")
    return table


def _number_problem(row: Mapping[str, Any]) -> str | None:
    if not 0 <= row["onset"] < row["offset"] <= row["sample_seconds"] < math.inf:
        return f"lasts from {row['onset']:g} to {row['offset']:g} s in a sample of {row['sample_seconds']:g} s"
    if row["audible"] < 0 or row["audible"] > 1:
        return f"is audible for {row['audible']:g} of its duration, and a share lies between 0 and 1"
    return None


def collect(shards: Sequence[str | Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join shards into the tables of all of them.

    Returns
    -------
    tuple of pandas.DataFrame
        Samples (sample_id, domain, seconds, path, digest, labels joined by "|"), and events (see `COLUMNS`).

    Raises
    ------
    UserError
        If a shard cannot be read, or two shards hold the same sample.
    """
    tables = [read_shard(path) for path in shards]
    owner: dict[str, str | Path] = {}
    for path, table in zip(shards, tables, strict=True):
        for sample_id in table["sample_id"].unique():
            if sample_id in owner:
                raise UserError(f"sample {sample_id} is in {owner[sample_id]} and in {path}; build the examples again")
            owner[sample_id] = path
    events = pd.concat(tables, ignore_index=True)
    samples = events.groupby("sample_id", sort=False).agg(
        domain=("domain", lambda domains: domains.iloc[0] if domains.nunique() == 1 else "mixed"),
        seconds=("sample_seconds", "first"),
        path=("path", "first"),
        digest=("digest", "first"),
        labels=("label", "|".join),
    )
    return samples.reset_index(), events


def load_audio(sample: Mapping[str, Any] | pd.Series, folder: str | Path) -> np.ndarray:
    """Audio of a sample, as models hear it.

    Parameters
    ----------
    sample
        A row of a table of events or of samples.
    folder
        Folder of the examples.

    Returns
    -------
    numpy.ndarray
        float32 [frame] at 16 kHz, in −1 … 1.

    Raises
    ------
    UserError
        If the file is missing, broken, or not the audio that the table describes.
    """
    what, remedy = f"sample {sample['sample_id']}", "rerun with --forcerun compose_sequences"
    pcm = read_pcm(Path(folder) / sample["path"], sample["digest"], what, remedy)
    return as_heard(pcm)
