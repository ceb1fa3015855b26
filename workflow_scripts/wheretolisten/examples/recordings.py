"""Recordings of one's own: which there are, what is asked about them, and what is known to be heard in them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten.clips.names import path_problem
from wheretolisten.config.examples import Recordings
from wheretolisten.config.labels import clean_label
from wheretolisten.errors import UserError
from wheretolisten.files import refusal

SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".w64", ".wav"}
)
"""Ends of names, in lower case, of files that a folder's recordings have."""

EVENTS = ("recording", "label", "onset", "offset")
"""Columns of events, in seconds from the recording's begin."""

# As they are written by ourselves, by DESED and by AudioSet's strong labels.
_COLUMNS = {
    "recording": ("recording", "path", "filename", "file", "segment_id"),
    "label": ("label", "sound", "event_label"),
    "onset": ("onset", "start_time_seconds"),
    "offset": ("offset", "end_time_seconds"),
}


@dataclass(frozen=True)
class OwnRecording:
    """A file, by its path in the folder of the recordings, and the sounds that are asked about it; none: all known."""

    path: str
    sounds: tuple[str, ...]


def list_recordings(settings: Recordings) -> list[OwnRecording]:
    """The recordings in a fixed order: that of the table, or of their paths.

    Raises
    ------
    UserError
        If the table cannot be read, names a file twice or one that is not there, or there is no recording.
    """
    folder = Path(settings.audio)
    asked = tuple(settings.sounds or ())
    if settings.csv is None:
        paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise UserError(f"{folder} holds no audio file ({', '.join(sorted(SUFFIXES))}); name another folder")
        if not asked and settings.events is not None:
            asked = tuple(sorted({*read_events(settings, paths)["label"]}))
        return [OwnRecording(path, asked) for path in paths]
    table = _read(settings.csv)
    column = _column(settings.csv, table, "recording")
    found: dict[str, OwnRecording] = {}
    for path, sounds in zip(table[column], table.get("sounds", pd.Series("", table.index)), strict=True):
        if problem := path_problem(path, folder):
            raise UserError(f"{settings.csv}: a recording {problem}; correct the path")
        if not (folder / path).is_file():
            raise UserError(f"{settings.csv}: {path!r} is not in {folder}; correct the path or put the file there")
        if path in found:
            raise UserError(f"{settings.csv}: {path!r} is listed twice; keep one of them")
        own = tuple(dict.fromkeys(filter(None, map(clean_label, sounds.split(";")))))
        found[path] = OwnRecording(path, own or asked)
    if not found:
        raise UserError(f"{settings.csv} lists no recording; add some")
    if settings.events is not None and not asked:
        known = tuple(sorted({*read_events(settings, list(found))["label"]}))
        found = {path: OwnRecording(path, each.sounds or known) for path, each in found.items()}
    return list(found.values())


def read_events(settings: Recordings, paths: Sequence[str]) -> pd.DataFrame:
    """What is heard in some recordings, and when, with the columns `EVENTS`; names of files may lack their suffix.

    Recordings that the table does not name, or names without an event, hold none of its sounds.

    Raises
    ------
    UserError
        If the table cannot be read, a column is missing, an event is of none of the recordings, ends before it begins,
        or has a label that `names` does not know.
    """
    table, by_stem = _read(settings.events), {}
    for path in paths:
        by_stem |= {path: path, str(Path(path).with_suffix("")): path, Path(path).name: path, Path(path).stem: path}
    names = _read_names(settings.names)
    columns = {key: _column(settings.events, table, key) for key in EVENTS}
    rows = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        where = f"{settings.events}, line {number}"
        recording, label, *times = (row[columns[key]].strip() for key in EVENTS)
        if not label and not any(times):
            continue  # DESED's way to say that a file holds nothing
        try:
            onset, offset = map(float, times)
        except ValueError:
            onset, offset = np.nan, np.nan
        if not 0 <= onset < offset:
            raise UserError(
                f"{where}: an event from {times[0]!r} to {times[1]!r}; give onset and offset in seconds, onset first"
            )
        if recording not in by_stem:
            raise UserError(f"{where}: {recording!r} is none of the recordings; add it, or take the event out")
        if names and label not in names:
            raise UserError(f"{settings.names} has no name for {label!r} ({where}); add it")
        rows.append((by_stem[recording], clean_label(names.get(label, label)), onset, offset))
    return pd.DataFrame(rows, columns=list(EVENTS))


def _read_names(path: str | None) -> Mapping[str, str]:
    """Label → name, from a table of two columns without a heading, as AudioSet's mid_to_display_name.tsv."""
    return dict(_read(path, header=None).iloc[:, :2].itertuples(index=False)) if path else {}


def _read(path: str, **options: object) -> pd.DataFrame:
    """A table as text: values separated by tabs where the name says so (.tsv, .txt), otherwise by commas."""
    separator = "\t" if Path(path).suffix.lower() in (".tsv", ".txt") else ","
    try:
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", **options)
    except (OSError, ValueError, csv.Error) as error:
        raise refusal(path, error) or UserError(
            f"{path}: cannot be read as a table ({error}); write it as csv"
        ) from error


def _column(path: str, table: pd.DataFrame, key: str) -> str:
    found = [name for name in _COLUMNS[key] if name in table]
    if not found:
        raise UserError(f"{path}: there is no column {key!r} (or {', '.join(_COLUMNS[key][1:])}); add it")
    return found[0]
