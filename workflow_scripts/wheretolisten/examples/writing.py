"""Sequences as files: the audio of their samples, and the table of their events."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wheretolisten.clips.folders import replaced_folder
from wheretolisten.clips.pcm import digest_of, read_clip, write_flac
from wheretolisten.clips.records import read_clips
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.examples import Composition
from wheretolisten.examples.composition import Composer, Plan
from wheretolisten.examples.cutting import cut_where_heard
from wheretolisten.examples.rendering import render
from wheretolisten.examples.shards import write_shard

_log = logging.getLogger(__name__)

Change = Callable[[Sequence[Mapping[str, Any]], np.ndarray], np.ndarray]
"""From the rows of a sample's events and its audio, int16 [frame], to what is written in its place."""


def write_samples(
    settings: Composition, clips: Path, samples: range, shard: Path, audio: Path | None, change: Change | None = None
) -> None:
    """Compose samples and write their audio folder, if there is to be one, then their table.

    Parameters
    ----------
    settings
        The composition.
    clips
        Table of clips.
    samples
        Indices.
    shard
        Table of events to write.
    audio
        Folder of samples to write, audio/<shard>; None: none, and every event counts as heard.
    change
        What becomes of the audio of each; None: nothing.

    Raises
    ------
    UserError
        If the composition does not fit the clips, or a clip cannot be read.
    """
    composer = Composer(settings, read_clips(clips))
    rows = []
    with replaced_folder(audio) if audio else contextlib.nullcontext() as folder:
        for number, index in enumerate(samples):
            plan = composer.plan(index)
            of_sample = _rows(plan, [1.0] * len(plan.events), settings.positions)
            if folder:
                sounds = [read_clip(event.clip, clips.parent) for event in plan.events]
                plan, shares = cut_where_heard(plan, sounds, settings)
                of_sample, pcm = _rows(plan, shares, settings.positions), render(plan, sounds, settings)
                pcm = pcm if change is None else change(of_sample, pcm)
                write_flac(folder / f"{plan.sample_id}.flac", pcm)
                path = f"{audio.parent.name}/{audio.name}/{plan.sample_id}.flac"
                of_sample = [row | {"path": path, "digest": digest_of(pcm)} for row in of_sample]
            rows.extend(of_sample)
            if (number + 1) % 50 == 0:
                _log.info("%d of %d samples", number + 1, len(samples))
    write_shard(rows, shard)
    _log.info("samples %d to %d are done", samples[0], samples[-1])


def _rows(plan: Plan, shares: list[float], positions: Sequence[str]) -> list[dict[str, Any]]:
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
            "path": "",
            "digest": "",
            "audible": round(share, 4),
        }
        for position, (event, share) in zip(positions, heard, strict=True)
    ]
