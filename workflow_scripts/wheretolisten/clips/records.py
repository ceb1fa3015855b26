"""The record of a clip, and the table of a library's clips."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from wheretolisten.clips.names import label_problem, path_problem
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path, refusal


@dataclass(frozen=True)
class Clip:
    """One recording of one labelled sound, 16 kHz mono."""

    clip_id: str
    label: str
    domain: str
    source: str
    """The recording that the clip was cut from: clips of one source are not independent."""
    path: str
    """Audio file, relative to the folder of the table."""
    n_frames: int
    """Duration in audio samples."""
    digest: str
    """SHA-256 of the audio as little-endian int16."""


def write_clips(clips: Sequence[Clip], path: str | Path) -> None:
    """Write the table of a library, one row per clip, atomically."""
    table = pd.DataFrame([asdict(clip) for clip in clips], columns=[field.name for field in fields(Clip)])
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_clips(path: str | Path) -> list[Clip]:
    """Read the table of a library.

    Raises
    ------
    UserError
        If the file is missing or is not such a table, or a clip's label or path cannot be used.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise refusal(path, error) or UserError(
            f"{path} cannot be read as a table of clips ({' '.join(str(error).split())}); prepare the clips again"
        ) from error
    missing = [field.name for field in fields(Clip) if field.name not in table.columns]
    if missing:
        raise UserError(f"{path} lacks the columns {', '.join(missing)}; prepare the clips again")
    duplicates = table["clip_id"][table["clip_id"].duplicated()]
    if len(duplicates):
        raise UserError(f"{path} lists clip {duplicates.iloc[0]!r} twice; prepare the clips again")
    rows = table[[field.name for field in fields(Clip)]].to_dict("records")
    for row in rows:
        if problem := label_problem(row["label"]) or path_problem(row["path"], Path(path).parent):
            raise UserError(f"{path}: clip {row['clip_id']!r} {problem}; prepare the clips again")
    try:
        return [Clip(**{**row, "n_frames": int(row["n_frames"])}) for row in rows]
    except ValueError as error:
        raise UserError(f"{path}: n_frames is not a whole number ({error}); prepare the clips again") from error
