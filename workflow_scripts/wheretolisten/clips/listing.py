"""What files a library holds, and under which labels; nothing is decoded here."""

import csv
import hashlib
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wheretolisten.clips.names import label_problem, path_problem
from wheretolisten.config.labels import clean_label, known_instead, refuse_alike
from wheretolisten.config.prompts import Wording
from wheretolisten.config.sounds import (
    PROCEDURAL_LABELS,
    Esc50Library,
    FolderLibrary,
    Library,
    ProceduralLibrary,
    SakuraLibrary,
)
from wheretolisten.errors import UserError
from wheretolisten.files import refusals_named

_log = logging.getLogger(__name__)

# What libsndfile reads, by the ends of its files' names. Not .raw, which does not say how it is to be read, and not
# .mat, which mostly holds other things than sound.
_READ = """
    8svx aif aifc aiff au avr bwf caf flac htk iff ircam mat4 mat5 mp1 mp2 mp3 mpc2k mpga nist oga ogg opus paf pvf rf64
    sd2 sds sf snd sph svx voc w64 wav wave wavex wve xi
"""
# Sound that it does not read: such a file was meant to be a clip, too, so that it is named as a bad one.
_NOT_READ = "3ga aac ac3 amr ape dsf dts m4a m4b mka mpc ra raw tta weba wma wv"
AUDIO_SUFFIXES = frozenset(f".{name}" for name in f"{_READ} {_NOT_READ}".split())
"""Ends of names, in lower case, of files that a folder library takes for clips."""

_ONLY_DOMAIN = "sounds"


@dataclass(frozen=True)
class Entry:
    """A file that a library lists."""

    root: Path
    """Folder that the file must lie in."""
    name: str
    """Path of the file, relative to `root`, as the library gives it."""
    label: str
    domain: str
    source: str

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.root / self.name

    @property
    def clip_id(self) -> str:
        """Id that depends on the label and the file's name only, fit for a file name."""
        digest = hashlib.sha256(f"{self.domain}/{self.label}/{self.name}".encode(errors="surrogateescape")).hexdigest()
        words = re.sub(r"[^a-z0-9]+", "-", f"{self.label}-{Path(self.name).stem}".lower()).strip("-")
        return f"{words[:60]}-{digest[:8]}"

    def problem(self) -> str | None:
        """Why the entry cannot serve as a clip, whatever the file holds; None if it can."""
        if any("\ud800" <= letter <= "\udfff" for letter in self.name + self.label):
            return "has a name that is not valid UTF-8"
        return label_problem(self.label) or path_problem(self.name, self.root)


def list_entries(library: FolderLibrary | Esc50Library | SakuraLibrary) -> list[Entry]:
    """All files of a library in a fixed order, good or bad.

    Raises
    ------
    UserError
        If the library's folder or table cannot be read or lists no file, two of its labels look alike, or `domains`
        does not fit its labels.
    """
    entries = _list_all(library)
    return entries if isinstance(library, SakuraLibrary) else _assign_domains(entries, library)


def list_files(library: Library) -> list[Path]:
    """Existing files that clips are made from, tables and audio; none of a procedural library.

    Raises
    ------
    UserError
        As `list_entries`.
    """
    if isinstance(library, ProceduralLibrary):
        return []
    found = {entry.path for entry in list_entries(library) if entry.problem() is None and entry.path.is_file()}
    if isinstance(library, Esc50Library):
        found.add(Path(library.csv))
    elif isinstance(library, SakuraLibrary):
        found |= {_track_folder(library, domain) / "metadata.csv" for domain in library.tracks}
    return sorted(found)


def check_names(libraries: Mapping[str, Library], wording: Wording) -> None:
    """Refuse, before anything runs, libraries that cannot be listed and wording for names that no library has.

    Raises
    ------
    UserError
        As `list_entries`, starting with the library's key; or naming the key of the wording and the nearest known name.
    """
    # The library types' own domains count as known, so that the default's wording of languages harms no other library.
    labels: set[str] = set()
    domains = {_ONLY_DOMAIN, *PROCEDURAL_LABELS, *SakuraLibrary(type="sakura", path="").tracks}
    for name, library in libraries.items():
        if isinstance(library, ProceduralLibrary):
            labels |= {label for names in PROCEDURAL_LABELS.values() for label in names}
            continue
        try:
            domains |= {entry.domain for entry in list_entries(library)}
            if wording.labels:
                # Labels that no domain lists, too: to leave some out of a run is no reason to change their wording.
                labels |= {entry.label for entry in _list_all(library)}
        except UserError as error:
            raise UserError(f"sounds.{name}: {error}") from None
    for key, kind, worded, known in (
        ("labels", "label", wording.labels, labels),
        ("domains", "domain", wording.domains, domains),
    ):
        for name in worded:
            if name not in known:
                raise UserError(
                    f"wording.{key}: no configured sounds have the {kind} {name!r}; "
                    f"{known_instead(name, sorted(known))}"
                )


def _list_all(library: FolderLibrary | Esc50Library | SakuraLibrary) -> list[Entry]:
    """All files before domains choose among them."""
    if isinstance(library, FolderLibrary):
        where, entries = library.path, list(_list_folder(library))
        remedy = "put the files of each label into a folder of their own in it"
    elif isinstance(library, Esc50Library):
        where, entries = library.csv, list(_list_esc50(library))
        remedy = "add rows below its header"
    else:
        where, entries = library.path, list(_list_sakura(library))
        remedy = "add rows to the tables of its tracks"
    if not entries:
        raise UserError(f"the clip library {where} lists no audio file; {remedy}")
    try:
        refuse_alike((entry.label for entry in entries), "label")
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    return entries


def _list_folder(library: FolderLibrary) -> Iterator[Entry]:
    root = Path(library.path)
    if not root.is_dir():
        raise UserError(f"the library's path {library.path!r} is not a folder; correct the path")
    try:
        for folder in sorted(root.iterdir()):
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            for file in sorted(folder.iterdir()):
                if not file.name.startswith(".") and file.suffix.lower() in AUDIO_SUFFIXES:
                    name = f"{folder.name}/{file.name}"
                    yield Entry(root, name, clean_label(folder.name), _ONLY_DOMAIN, name)
                elif file.is_dir():
                    _log.info("left alone: %s is a folder; the files of a label lie in its folder itself", file)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be listed ({error.strerror}); let it be read") from error


def _list_esc50(library: Esc50Library) -> Iterator[Entry]:
    needed = ["filename", "category"]
    needed += ["fold"] if library.folds is not None else []
    needed += [library.source_column] if library.source_column is not None else []
    rows = _read_table(Path(library.csv), needed)
    if library.folds is not None:
        rows = [row for row in rows if row["fold"] in map(str, library.folds)]
        if not rows:
            raise UserError(f"{library.csv} has no row in the folds {library.folds}; correct folds")
    for row in rows:
        name = row["filename"]
        source = row[library.source_column] if library.source_column else name
        yield Entry(Path(library.audio), name, clean_label(row["category"]), _ONLY_DOMAIN, source)


def _track_folder(library: SakuraLibrary, domain: str) -> Path:
    """Folder of a track, which has its table."""
    track = library.tracks[domain]
    # The tracks lie in data/ of the checkout; either folder may be given.
    candidates = [Path(library.path) / track, Path(library.path) / "data" / track]
    folder = next((path for path in candidates if (path / "metadata.csv").is_file()), None)
    if folder is None:
        raise UserError(
            f"the library's track {track!r} (domain {domain!r}) has no metadata.csv in {candidates[0]} or "
            f"{candidates[1]}; correct path or tracks"
        )
    return folder


def _list_sakura(library: SakuraLibrary) -> Iterator[Entry]:
    for domain, track in library.tracks.items():
        folder = _track_folder(library, domain)
        root = folder / "audio" if (folder / "audio").is_dir() else folder
        for row in _read_table(folder / "metadata.csv", ["file", "attribute_label"]):
            name = row["file"]
            yield Entry(root, name, clean_label(row["attribute_label"]), domain, f"{track}/{name}")


def _read_table(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a user's csv table, column → text without blanks around it.

    The module csv says where a row begins; pandas would take a surplus of fields for the names of rows, and shift all
    columns.
    """

    def unreadable(reason: str, remedy: str = "repair it") -> UserError:
        return UserError(f"{path} cannot be read as a csv table ({reason}); {remedy}")

    with refusals_named(path):
        raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise unreadable(f"line {line} is not UTF-8 text", "save it as UTF-8") from error
    if "\0" in text:
        raise unreadable("it holds zero bytes", "save it as UTF-8 text")
    records = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    first = 1
    try:
        for record in reader:
            if any(field.strip() for field in record):
                records.append((first, [field.strip() for field in record]))
            first = reader.line_num + 1
    except csv.Error as error:
        raise unreadable(f"line {first}: {error}", "repair the quotes there") from error
    if not records:
        raise unreadable("it is empty")
    (_, header), *rows = records
    named = header.copy()
    while not named[-1]:
        named.pop()
    for column in named:
        if column and named.count(column) > 1:
            raise unreadable(f"it has two columns {column!r}", "rename or remove one")
    missing = [column for column in needed if column not in named]
    if missing:
        raise UserError(
            f"{path} lacks the column {missing[0]!r}; it has {', '.join(named)}; correct the table or the key"
        )
    for line, row in rows:
        # Columns without a name that hold nothing do no harm: commas at the end of every line, the header's too.
        if not len(named) <= len(row) <= len(header) or any(row[len(named) :]):
            raise unreadable(
                f"line {line}: expected {len(named)} fields, saw {len(row)}",
                "take out or add a comma there, or put a field that holds one in quotes",
            )
    return [dict(zip(named, row, strict=False)) for _, row in rows]


def _assign_domains(entries: list[Entry], library: FolderLibrary | Esc50Library) -> list[Entry]:
    """Put the labels into their domains; labels that no domain lists are left out."""
    if library.domains is None:
        return entries
    where = library.path if isinstance(library, FolderLibrary) else library.csv
    domain_of = {label: domain for domain, labels in library.domains.items() for label in labels}
    present = sorted({entry.label for entry in entries})
    for label in domain_of:
        if label not in present:
            raise UserError(f"domains: {where} has no label {label!r}; {known_instead(label, present)}")
    left_out = [label for label in present if label not in domain_of]
    if left_out:
        _log.info("labels that no domain lists are left out: %s", ", ".join(left_out))
    return [replace(entry, domain=domain_of[entry.label]) for entry in entries if entry.label in domain_of]
