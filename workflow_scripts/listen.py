"""Show where in recordings of one's own a model hears sounds, and which it does not hear (docs/recordings.md)."""

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wheretolisten import log
from wheretolisten.clips.pcm import as_heard
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.labels import refuse_alike
from wheretolisten.errors import UserError
from wheretolisten.files import write_text
from wheretolisten.listening import calibration, models, output, recording
from wheretolisten.page import write_page

if TYPE_CHECKING:
    from wheretolisten.listening.hear import Listener

_logger = logging.getLogger("listen")


def main(argv: list[str] | None = None) -> None:
    """Command line: print what is heard in every recording, and write it into a folder of `output` for each."""
    arguments = _parser().parse_args(argv)
    sounds = _checked(arguments.sound)
    choice = models.choose(arguments.model)
    files = recording.listed(arguments.recordings)
    folders = _folders(files, arguments.output)
    known = calibration.read(models.CALIBRATIONS, choice.folder, arguments.method)
    if known is None and not sounds:
        raise UserError(
            f"nobody knows which sounds {choice.name} can be asked about; name them, as in --sound dog --sound rain"
        )
    words = _introduce(choice, known, sounds, arguments.method, len(files))
    vocabulary = list(known.words) if known else calibration.every_word(models.CALIBRATIONS)
    listener, failed = None, 0
    for file, folder in zip(files, folders, strict=True):
        try:
            pcm = recording.read(file, folder / "parts" / "recording")
        except UserError as error:  # of many files one may be bad
            shutil.rmtree(folder / "parts", ignore_errors=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            if len(files) == 1:
                raise
            _logger.error("%s", error)
            failed += 1
            continue
        if listener is None:  # what takes longest waits for a recording that can be heard
            listener = _listener(choice, words, vocabulary, arguments.method, known)
        found = {
            "version": 1,
            "file": file.name,
            "model": choice.name,
            "trusted": list(known.words) if known else [],
            **listener.tell(listener.find(pcm, folder / "parts"), len(pcm) / SAMPLING_RATE),
        }
        for sound, name in zip(found["sounds"], sounds, strict=False):  # none where all words are asked about
            sound["name"] = name
        output.write(found, folder)
        write_page(found, as_heard(pcm), folder / "listen.html")
        shutil.rmtree(folder / "parts", ignore_errors=True)
        print(f"{file} ({output.clock(found['seconds'])})\n{output.told(found, not sounds)}\n", flush=True)
        drawn = sounds or [sound["name"] for sound in found["sounds"] if sound["heard"]]
        if drawn:
            output.draw(found, drawn, folder)
        _logger.info(
            "%s: html, json, csv, txt (labels for Audacity), TextGrid%s", folder, " and a figure" if drawn else ""
        )
    if failed:
        raise UserError(f"{failed} of {len(files)} recordings could not be heard; the lines above say why")


def _listener(
    choice: models.Choice,
    sounds: Sequence[str],
    vocabulary: Sequence[str],
    method: str,
    known: calibration.Calibration | None,
) -> "Listener":
    # torch takes longer to import than what can be wrong takes to find.
    from wheretolisten.engine import selfcheck
    from wheretolisten.engine.passes import Engine
    from wheretolisten.listening.hear import Listener
    from wheretolisten.models import registry

    adapter = registry.load(choice.model)
    if not adapter.hears:
        raise UserError(f"--model {choice.name}: it reads text only; choose a model that hears")
    selfcheck.check(adapter, choice.model)
    return Listener(Engine(adapter), sounds, vocabulary, method, known)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="listen.py", description=__doc__)
    add = parser.add_argument
    add("recordings", nargs="+", type=Path, metavar="recording", help="file, or folder of files, that libsndfile reads")
    add("--sound", action="append", default=[], help="a sound to listen for; without any, all that the model knows")
    add("--model", help="name in config.yaml, or folder of a checkpoint; default: the small model, or a tiny one")
    add("--method", choices=["ask", "steer"], default="ask", help="ask about the sound, or steer for it")
    add("--output", type=Path, default=Path("listen"), help="folder to write, with one for each recording")
    return parser


def _checked(sounds: Sequence[str]) -> list[str]:
    cleaned = [" ".join(sound.split()) for sound in sounds]
    if "" in cleaned:
        raise UserError("--sound: a sound has no name; write what is to be heard, as in --sound dog")
    if repeated := [sound for sound in dict.fromkeys(cleaned) if cleaned.count(sound) > 1]:
        raise UserError(f"--sound: {repeated[0]!r} is asked about twice; name every sound once")
    try:
        refuse_alike(cleaned, "sound")
    except ValueError as error:
        raise UserError(f"--sound: {error}") from error
    return cleaned


def _folders(files: Sequence[Path], output_folder: Path) -> list[Path]:
    """A folder for each recording, named by it; with its suffix, or numbered, where two would share one.

    Raises
    ------
    UserError
        If one cannot be written.
    """
    stems, names = [file.stem for file in files], [file.name for file in files]
    folders = []
    for number, file in enumerate(files):
        own = file.stem if stems.count(file.stem) == 1 else file.name
        own = own if names.count(file.name) == 1 else f"{file.name}-{number + 1}"
        folders.append(output_folder / own)
    # What fails in the end had better fail now.
    for folder in folders:
        trial = folder / "parts" / "trial"
        write_text(trial, "")
        trial.unlink()
        if not any(trial.parent.iterdir()):  # else an interrupted run goes on there
            trial.parent.rmdir()
    return folders


def _introduce(
    choice: models.Choice, known: calibration.Calibration | None, sounds: Sequence[str], method: str, n_files: int
) -> list[str]:
    """Say who listens, to what, and what it can be trusted with; returns what is said for each sound.

    Raises
    ------
    UserError
        If the same would be said for two of them.
    """
    _logger.info("%s listens to %d recording%s, %s", choice.name, n_files, "s" * (n_files > 1), method)
    if known is None:
        _logger.warning(
            "%s: nothing is known of what it hears; a sound counts as heard if it stands out more than every other one "
            "that is tried",
            choice.name,
        )
        return list(sounds)
    _logger.info("it can be trusted with: %s", ", ".join(known.words))
    try:
        words = calibration.words_for(sounds, known, choice.name)
    except UserError as error:
        raise UserError(f"--sound: {error}") from error
    for sound, word in zip(sounds, words, strict=True):
        if word not in known.words:
            _logger.warning("%s has no word for %r, and what it says of it means little", choice.name, sound)
        elif word != sound:
            _logger.info("%r is asked about as %r, which %s knows", sound, word, choice.name)
    if known.scores is None:
        _logger.warning(
            "%s was not calibrated for --method %s, and tells less well what is absent", choice.name, method
        )
    return words


if __name__ == "__main__":
    log.start("listen")
    log.run(main)
