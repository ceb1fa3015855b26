"""Which sounds a model hears in a shard of one's own recordings, and where (docs/recordings.md)."""

import shutil
from pathlib import Path

import pandas as pd
import torch

from wheretolisten import jobs, log, provenance, store
from wheretolisten.checkpoint import folder_of
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.settings import ListeningSettings
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.examples.recordings import list_recordings
from wheretolisten.files import sha256_of_file
from wheretolisten.listening import calibration, models, recording
from wheretolisten.listening.hear import Listener


def main(argv: list[str] | None = None) -> None:
    """Listen to every recording of a shard, after those that a killed job left; a long one goes on where it stood."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--first", type=int, required=True, help="first recording of the shard")
    parser.add_argument("--stop", type=int, required=True, help="recording after the last one of the shard")
    parser.add_argument("--output", type=Path, required=True, help="a row for every interval, or none of a sound, csv")
    args = parser.parse_args(argv)
    logger = log.start("listen_recordings")
    settings = ListeningSettings.from_json(args.settings)
    listed = list_recordings(settings.recordings)[args.first : args.stop]
    files = [Path(settings.recordings.audio) / each.path for each in listed]
    scratch = args.output.with_name(f".{args.output.stem}.scratch")
    for file in files:  # before the model is loaded
        seconds = len(recording.read(file, scratch / "recording")) / SAMPLING_RATE
        if seconds > settings.recordings.max_seconds:
            raise UserError(
                f"{file} lasts {seconds:.1f} s, and max_seconds of its examples is "
                f"{settings.recordings.max_seconds:g}; raise that, or cut the recording"
            )
    known = calibration.read(models.CALIBRATIONS, folder_of(settings.model.checkpoint), settings.method)
    vocabulary = known.words if known else calibration.every_word(models.CALIBRATIONS)
    if known is None and not all(each.sounds for each in listed):
        raise UserError(
            f"nobody knows which sounds {settings.model.checkpoint} can be asked about; name them under sounds of the "
            "examples"
        )

    asked = []
    for each in listed:
        try:
            asked.append(calibration.words_for(each.sounds, known, settings.model.checkpoint))
        except UserError as error:
            raise UserError(f"{each.path}: {error}") from error

    torch.set_num_threads(args.threads)
    digests = [(each.path, each.sounds, sha256_of_file(file)) for each, file in zip(listed, files, strict=True)]
    identity, _ = provenance.of_job("listen_recordings", settings, {})
    table = store.PartedTable(args.output, provenance.digest_of(identity, digests))
    engine = Engine(selfcheck.load(settings.model))
    for number, (each, file) in enumerate(zip(listed, files, strict=True)):
        if table.has(number):
            continue
        listener = Listener(engine, asked[number], vocabulary, settings.method, known)
        pcm = recording.read(file, scratch / "recording")
        seconds = len(pcm) / SAMPLING_RATE
        told = listener.tell(listener.find(pcm, scratch), seconds)
        for sound, name in zip(told["sounds"], each.sounds, strict=False):  # none where all words are asked about
            sound["name"] = name
        table.write(number, _rows(each.path, told))
        engine.meter.n_samples += 1
        logger.info("recording %d of %d", number + 1, len(listed))
    table.merge(len(listed))
    shutil.rmtree(scratch, ignore_errors=True)
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def _rows(path: str, told: dict) -> pd.DataFrame:
    """A row for every interval of every sound, and one without times for a sound that is not heard."""
    rows = []
    for sound in told["sounds"]:
        about = {"recording": path, "seconds": told["seconds"], "sound": sound["name"], "heard": sound["heard"]}
        about |= {"score": sound["score"], "threshold": sound["threshold"], "p": sound["p_value"]}
        for interval in sound["intervals"] or [{"onset": None, "offset": None, "score": None}]:
            times = {"onset": interval["onset"], "offset": interval["offset"]}
            rows.append(about | times | {"interval_score": interval["score"]})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    log.run(main)
