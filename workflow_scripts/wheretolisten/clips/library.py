"""Preparing a clip library: whatever it is made of, the result is FLAC files at 16 kHz mono and one record for each."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wheretolisten.clips.decode import BadFileError, decode
from wheretolisten.clips.listing import list_entries
from wheretolisten.clips.pcm import digest_of, quantise, write_flac
from wheretolisten.clips.procedural import synthesize
from wheretolisten.clips.randomness import generator
from wheretolisten.clips.records import Clip
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.sounds import Esc50Library, Library, ProceduralLibrary
from wheretolisten.errors import UserError

_log = logging.getLogger(__name__)

_Draft = tuple[str, str, str, str, np.ndarray]
"""clip_id, label, domain, source, int16 audio [frame]."""


def prepare(library: Library, folder: str | Path, path_in_table: str | Path | None = None) -> list[Clip]:
    """Decode or synthesise all clips of a library and write them to `folder` as `<clip_id>.flac`.

    Parameters
    ----------
    library
        The library's section of the configuration; its paths start from the working directory.
    folder
        Where the audio goes.
    path_in_table
        The same folder as the records shall name it; default: the folder's own name, as when the table lies beside it.

    Returns
    -------
    list of Clip
        In a fixed order.

    Raises
    ------
    UserError
        If a file is bad and `on_bad_file` is "refuse", or if fewer than two labels are left.
    """
    folder = Path(folder)
    prefix = Path(folder.name if path_in_table is None else path_in_table)
    drafts = _synthesise(library) if isinstance(library, ProceduralLibrary) else _decode(library)
    clips = []
    for clip_id, label, domain, source, pcm in drafts:
        write_flac(folder / f"{clip_id}.flac", pcm)
        path = (prefix / f"{clip_id}.flac").as_posix()
        clips.append(Clip(clip_id, label, domain, source, path, len(pcm), digest_of(pcm)))
        if len(clips) % 100 == 0:
            _log.info("%d clips", len(clips))
    _check_labels(clips)
    return clips


def _synthesise(library: ProceduralLibrary) -> Iterator[_Draft]:
    shortest, longest = (round(seconds * SAMPLING_RATE) for seconds in library.clip_seconds)
    named = ((domain, label) for domain, labels in library.labels_by_domain().items() for label in labels)
    for domain, label in named:
        for number in range(library.clips_per_label):
            # Named streams: other labels, or more clips of this one, change nothing here.
            rng = generator("procedural clip", library.seed, label, number)
            n_frames = int(rng.integers(shortest, longest, endpoint=True))
            clip_id = f"{label}-{number:04d}"
            yield clip_id, label, domain, clip_id, quantise(synthesize(label, n_frames / SAMPLING_RATE, rng))


def _decode(library: Library) -> Iterator[_Draft]:
    entries = list_entries(library)
    where = library.csv if isinstance(library, Esc50Library) else library.path
    seen: set[str] = set()
    n_bad = 0
    for entry in entries:
        try:
            if problem := entry.problem():
                raise BadFileError(problem)
            name = os.path.normpath(entry.path)
            if name in seen:
                raise BadFileError("is listed twice")
            seen.add(name)
            pcm = decode(entry.path, library.min_seconds)
        except BadFileError as error:
            if library.on_bad_file == "refuse":
                raise UserError(f"{entry.path} {error}; repair or remove it, or set on_bad_file: skip") from error
            n_bad += 1
            _log.warning("skipped: %s %s", entry.path, error)
            continue
        yield entry.clip_id, entry.label, entry.domain, entry.source, pcm
    _log.info("%d of %d files skipped", n_bad, len(entries))
    if n_bad == len(entries):
        raise UserError(
            f"none of the {len(entries)} files of the clip library {where} can be used; repair them, the log names the "
            "reason of each"
        )


def _check_labels(clips: list[Clip]) -> None:
    counts = Counter((clip.domain, clip.label) for clip in clips)
    for (domain, label), count in sorted(counts.items()):
        _log.info("%s / %s: %d clips", domain, label, count)
    labels = sorted({label for _, label in counts})
    if len(labels) < 2:
        # How many a sample needs, its composition says; there is none with fewer.
        raise UserError(
            f"the clip library has {len(labels)} usable label(s) ({', '.join(labels)}), and a sample needs 2 different "
            "ones or more; add labels"
        )
