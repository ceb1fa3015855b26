"""Compose the samples of one shard of sequences, and render them where they have audio."""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wheretolisten import log
from wheretolisten.clips.folders import replaced_folder
from wheretolisten.clips.pcm import digest_of, read_clip, write_flac
from wheretolisten.clips.records import read_clips
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.examples import Composition
from wheretolisten.examples.composition import Composer, Plan
from wheretolisten.examples.cutting import cut_where_heard
from wheretolisten.examples.rendering import render
from wheretolisten.examples.shards import write_shard


def main(argv: list[str] | None = None) -> None:
    """Write the shard's audio folder, if there is to be one, then its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="the composition, JSON")
    parser.add_argument("--clips", type=Path, required=True, help="table of clips, csv")
    parser.add_argument("--first", type=int, required=True, help="index of the first sample")
    parser.add_argument("--stop", type=int, required=True, help="index after the last sample")
    parser.add_argument("--shard", type=Path, required=True, help="table of events to write, csv")
    parser.add_argument("--audio", type=Path, help="folder of samples to write, audio/<shard>; left out: none")
    args = parser.parse_args(argv)
    logger = log.start("compose_sequences")
    settings = Composition.from_json(args.settings)
    composer = Composer(settings, read_clips(args.clips))
    rows = []
    with replaced_folder(args.audio) if args.audio else contextlib.nullcontext() as folder:
        for index in range(args.first, args.stop):
            plan = composer.plan(index)
            path, digest, shares = "", "", [1.0] * len(plan.events)
            if folder:
                clips = [read_clip(event.clip, args.clips.parent) for event in plan.events]
                plan, shares = cut_where_heard(plan, clips, settings)
                pcm = render(plan, clips, settings)
                write_flac(folder / f"{plan.sample_id}.flac", pcm)
                path = f"{args.audio.parent.name}/{args.audio.name}/{plan.sample_id}.flac"
                digest = digest_of(pcm)
            rows.extend(_rows(plan, shares, settings.positions, path, digest))
            if (index + 1 - args.first) % 50 == 0:
                logger.info("%d of %d samples", index + 1 - args.first, args.stop - args.first)
    write_shard(rows, args.shard)
    logger.info("samples %d to %d are done", args.first, args.stop - 1)


def _rows(plan: Plan, shares: list[float], positions: Sequence[str], path: str, digest: str) -> list[dict[str, Any]]:
    # In order of onset; an event stands before what is mixed into it.
    heard = sorted(zip(plan.events, shares, strict=True), key=lambda pair: pair[0].onset)
    return [
        {
            "sample_id": plan.sample_id,
            "position": position,
            "label": event.clip.label,
            "domain": event.clip.domain,
            "onset": event.onset / SAMPLING_RATE,
            "offset": event.offset / SAMPLING_RATE,
            "clip_id": event.clip.clip_id,
            "source": event.clip.source,
            "duration": event.n_frames / SAMPLING_RATE,
            "sample_seconds": plan.n_frames / SAMPLING_RATE,
            "path": path,
            "digest": digest,
            "audible": round(share, 4),
        }
        for position, (event, share) in zip(positions, heard, strict=True)
    ]


if __name__ == "__main__":
    log.run(main)
