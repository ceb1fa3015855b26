"""Prepare a clip library: 16 kHz mono FLAC files and the table that lists them."""

import argparse
import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from wheretolisten import log
from wheretolisten.clips.folders import replaced_folder
from wheretolisten.clips.library import prepare
from wheretolisten.clips.records import write_clips
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.sounds import Library
from wheretolisten.errors import UserError


def main(argv: list[str] | None = None) -> None:
    """Write the audio folder, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="the library's section of the configuration, JSON")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips to write, csv")
    parser.add_argument("--audio", type=Path, required=True, help="folder of clips to write")
    args = parser.parse_args(argv)
    logger = log.start("prepare_clips")
    try:
        library = TypeAdapter(Library).validate_json(args.settings)
    except ValidationError as error:
        raise UserError(f"--settings is not a clip library: {' '.join(str(error).split())}") from error
    with replaced_folder(args.audio) as folder:
        clips = prepare(library, folder, os.path.relpath(args.audio, args.clips.parent))
    write_clips(clips, args.clips)
    seconds = sum(clip.n_frames for clip in clips) / SAMPLING_RATE
    logger.info("%d clips, %.1f minutes of audio", len(clips), seconds / 60)


if __name__ == "__main__":
    log.run(main)
