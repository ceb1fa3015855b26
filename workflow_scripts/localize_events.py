"""Predicted window and overlap of every query, by every method that a model answers with."""

import functools
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wheretolisten import arguments, log, store
from wheretolisten.config.settings import ScoredMethod, ScoringSettings
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.examples import read_shard
from wheretolisten.files import sha256_of_file
from wheretolisten.localization.frames import FrameProbe
from wheretolisten.localization.readings import Readings
from wheretolisten.localization.references import NO_REFERENCE, rank_p_value
from wheretolisten.localization.table import FRAME_PROBE, no_vector, write_localization
from wheretolisten.localization.windows import Window, find_window_of_any_width, find_windows, without_vector
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.detection import QUERIES
from wheretolisten.statistics.scoring import score_answer, score_unknown_duration, score_window
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Score all queries of one model on one study; files are listed shard by shard, steered ones event by event."""
    args = arguments.parse(
        __doc__,
        argv,
        settings=ScoringSettings.from_json,
        model=str,
        identity=str,
        study=str,
        shards=[str],
        unsteered=[Path],
        steered=[Path],
        frames=[Path],
        answers=[str],
        output=str,
        unknown_duration=str,
        detection=Path,
    )
    logger = log.start("localize_events")
    methods = args.settings.methods

    digests = [sha256_of_file(path) for path in args.shards]
    events = pd.concat([read_shard(path) for path in args.shards], ignore_index=True)
    unsteered = store.read_passes(args.unsteered, digests, args.identity)
    readings = Readings(unsteered, store.read_passes_by_event(args.steered, unsteered, digests, args.identity))
    answers = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in args.answers]
    answer_of = {(row.sample_id, row.position): row.answer for table in answers for row in table.itertuples()}
    missing = {name: missing_vectors(method.direction, events) for name, method in methods.items() if method.direction}
    rate = unsteered.tokens_per_second
    probe = None
    if args.frames:
        frames, frames_per_second = store.read_frames(args.frames, digests, args.identity)
        probe = FrameProbe(frames, events, frames_per_second)

    @functools.cache
    def candidates_of(n_tokens: int) -> Window:
        # Attention that does not change ties everywhere: all candidate windows.
        constant = np.ones((unsteered.values.shape[2], n_tokens))
        return find_window_of_any_width(constant, constant, rate, n_tokens, args.settings.localization)

    rows, unknown, detected = [], [], []
    for event in events.to_dict("records"):
        key = (event["sample_id"], event["position"])
        candidates = candidates_of(readings.n_audio_tokens(event["sample_id"]))
        drawn = score_unknown_duration(event, candidates, candidates, "random", args.model, args.study)
        unknown.append(drawn | {"tied": False})
        reasons = {name: of_method[key] for name, of_method in missing.items() if key in of_method}
        steering = {name: method for name, method in methods.items() if name not in reasons}
        windows = _windows_of(readings, event, steering)
        for name in methods:
            if name in windows:
                window, of_any_width = windows[name]
            else:
                window = of_any_width = without_vector(reasons.get(name, NO_REFERENCE), rate)
            rows.append(score_window(event, window, name, args.model, args.study))
            unknown.append(score_unknown_duration(event, of_any_width, candidates, name, args.model, args.study))
        if probe:
            window, of_any_width = probe.windows(event, args.settings.localization)
            rows.append(score_window(event, window, FRAME_PROBE, args.model, args.study))
            unknown.append(score_unknown_duration(event, of_any_width, candidates, FRAME_PROBE, args.model, args.study))
        detected += _detections_of(readings, event, {name: methods[name] for name in windows})
        if answers:
            rows.append(score_answer(event, answer_of[key], args.model, args.study))
    write_localization(rows, args.output)
    write_localization(unknown, args.unknown_duration)
    found = pd.DataFrame(detected, columns=list(QUERIES)).assign(model=args.model, study=args.study)
    write_table(found, args.detection, decimals=6)
    for method, of_method in pd.DataFrame(rows).groupby("method"):
        unsteered = no_vector(of_method)
        if unsteered.any():
            logger.warning(
                "%s: %d of %d queries are not scored: %s",
                *(method, unsteered.sum(), len(of_method), count_reasons(of_method[unsteered], most=5)),
            )
        group = of_method[~unsteered]
        if len(group):
            logger.info(
                "%s: %d queries, mean overlap %.1f %% (chance %.1f %%), %d tied, %d unparsed, %d failed",
                method, len(group), 100 * group["overlap"].mean(), 100 * group["chance"].mean(),
                group["tied"].sum(), (~group["parsed"]).sum(), (group["failure"] != "").sum(),
            )  # fmt: skip


def _windows_of(
    readings: Readings, event: Mapping[str, Any], methods: Mapping[str, ScoredMethod]
) -> dict[str, tuple[Window, Window]]:
    """Method → its windows of known and of unknown duration, where it has a reference; equal references are one."""
    sample_id, position = event["sample_id"], event["position"]
    alike = defaultdict(list)
    for name, method in methods.items():
        alike[name if method.localization.reference == "absent" else method.localization.as_json()].append(name)
    windows = {}
    for names in alike.values():
        first = methods[names[0]]
        reference = readings.reference(first.passes, sample_id, position, first.localization)
        if reference is not None:
            others = [readings.of(methods[name].passes, sample_id, position) for name in names]
            times = (event["duration"], readings.unsteered.tokens_per_second, readings.n_audio_tokens(sample_id))
            found = find_windows(reference, others, *times, first.localization)
            windows |= dict(zip(names, found, strict=True))
    return windows


def _detections_of(
    readings: Readings, event: Mapping[str, Any], methods: Mapping[str, ScoredMethod]
) -> list[dict[str, Any]]:
    """Whether each method that has absent sounds finds the event, and the first of those sounds among the others."""
    sample_id, position = event["sample_id"], event["position"]
    times = (event["duration"], readings.unsteered.tokens_per_second, readings.n_audio_tokens(sample_id))
    rows = []
    for name, method in methods.items():
        if method.localization.reference == "absent":
            asked = readings.of(method.passes, sample_id, position)
            absent = readings.absent(method.passes, sample_id, position, method.localization)
            for what, query, others in (("present", asked, absent), ("absent", absent[0], absent[1:])):
                score, p = rank_p_value(query, others, *times, method.localization)
                about = {"method": name, "sample_id": sample_id, "position": position, "source": event["source"]}
                rows.append(about | {"sound": what, "n_absent": len(others), "score": score, "p": p})
    return rows


if __name__ == "__main__":
    log.run(main)
