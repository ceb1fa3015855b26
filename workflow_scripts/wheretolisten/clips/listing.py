"""What files a library holds, and under which labels; nothing is decoded here."""

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wheretolisten.clips.records import label_problem, path_problem
from wheretolisten.config.libraries import Esc50Library, FolderLibrary, SakuraLibrary
from wheretolisten.errors import UserError
from wheretolisten.files import refusal

_log = logging.getLogger(__name__)

_SUFFIXES = {".wav", ".flac", ".ogg"}
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


def clean_label(text: str) -> str:
    """A label as people write it: underscores and repeated blanks become one blank."""
    return re.sub(r"[ _]+", " ", text).strip(" ")


def list_entries(library: FolderLibrary | Esc50Library | SakuraLibrary) -> list[Entry]:
    """All files of a library in a fixed order, good or bad.

    Raises
    ------
    UserError
        If the library's folder or table cannot be read, or `domains` does not fit its labels.
    """
    if isinstance(library, FolderLibrary):
        return _assign_domains(list(_list_folder(library)), library.domains, library.path)
    if isinstance(library, Esc50Library):
        return _assign_domains(list(_list_esc50(library)), library.domains, library.csv)
    return list(_list_sakura(library))


def _list_folder(library: FolderLibrary) -> Iterator[Entry]:
    root = Path(library.path)
    if not root.is_dir():
        raise UserError(f"the library's path {library.path!r} is not a folder; correct the path")
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        for file in sorted(folder.iterdir()):
            if file.name.startswith("."):
                continue
            if file.suffix.lower() not in _SUFFIXES:
                _log.warning("skipped: %s is no wav, flac or ogg file", file)
                continue
            name = f"{folder.name}/{file.name}"
            yield Entry(root, name, clean_label(folder.name), _ONLY_DOMAIN, name)


def _list_esc50(library: Esc50Library) -> Iterator[Entry]:
    needed = ["filename", "category"]
    needed += ["fold"] if library.folds is not None else []
    needed += [library.source_column] if library.source_column is not None else []
    table = _read_table(Path(library.csv), needed)
    if library.folds is not None:
        table = table[table["fold"].isin([str(fold) for fold in library.folds])]
        if table.empty:
            raise UserError(f"{library.csv} has no row in the folds {library.folds}; correct folds")
    for row in table.to_dict("records"):
        name = row["filename"].strip()
        source = row[library.source_column] if library.source_column else name
        yield Entry(Path(library.audio), name, clean_label(row["category"]), _ONLY_DOMAIN, source)


def _list_sakura(library: SakuraLibrary) -> Iterator[Entry]:
    for domain, track in library.tracks.items():
        # The tracks lie in data/ of the checkout; either folder may be given.
        candidates = [Path(library.path) / track, Path(library.path) / "data" / track]
        folder = next((path for path in candidates if (path / "metadata.csv").is_file()), None)
        if folder is None:
            raise UserError(
                f"the library's track {track!r} (domain {domain!r}) has no metadata.csv in {candidates[0]} or "
                f"{candidates[1]}; correct path or tracks"
            )
        root = folder / "audio" if (folder / "audio").is_dir() else folder
        for row in _read_table(folder / "metadata.csv", ["file", "attribute_label"]).to_dict("records"):
            name = row["file"].strip()
            yield Entry(root, name, clean_label(row["attribute_label"]), domain, f"{track}/{name}")


def _read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise refusal(path, error) or UserError(
            f"{path} cannot be read as a csv table ({' '.join(str(error).split())}); repair it"
        ) from error
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise UserError(
            f"{path} lacks the column {missing[0]!r}; it has {', '.join(table.columns)}; correct the table or the key"
        )
    return table


def _assign_domains(entries: list[Entry], domains: Mapping[str, Sequence[str]] | None, where: str) -> list[Entry]:
    """Put the labels into their domains; labels that no domain lists are left out."""
    if domains is None:
        return entries
    domain_of: dict[str, str] = {}
    for domain, labels in domains.items():
        for label in map(clean_label, labels):
            if domain_of.setdefault(label, domain) != domain:
                raise UserError(
                    f"domains: {label!r} is in {domain_of[label]!r} and in {domain!r}; a label belongs to one domain"
                )
    present = sorted({entry.label for entry in entries})
    unknown = sorted(set(domain_of) - set(present))
    if unknown:
        raise UserError(f"domains: {where} has no label {unknown[0]!r}; its labels are {', '.join(present)}")
    left_out = [label for label in present if label not in domain_of]
    if left_out:
        _log.info("labels that no domain lists are left out: %s", ", ".join(left_out))
    return [
        Entry(entry.root, entry.name, entry.label, domain_of[entry.label], entry.source)
        for entry in entries
        if entry.label in domain_of
    ]
