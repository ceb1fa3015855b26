"""Predicted window and overlap of every query, by every method that a model answers with."""

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import arguments, log, store
from wheretolisten.config.directions import Direction
from wheretolisten.config.probe import Localization
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.examples import read_shard
from wheretolisten.files import sha256_of_file
from wheretolisten.localization.table import no_vector, write_localization
from wheretolisten.localization.windows import Window, find_window_of_any_width, find_windows, without_vector
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.scoring import score_answer, score_unknown_duration, score_window


def main(argv: list[str] | None = None) -> None:
    """Score all queries of one model on one study; files are listed shard by shard, steered ones event by event."""
    args = arguments.parse(
        __doc__,
        argv,
        settings=Localization.from_json,
        model=str,
        identity=str,
        study=str,
        shards=[str],
        unsteered=[Path],
        steered=[Path],
        answers=[str],
        output=str,
        unknown_duration=str,
    )
    logger = log.start("localize_events")
    settings = args.settings

    digests = [sha256_of_file(path) for path in args.shards]
    events = pd.concat([read_shard(path) for path in args.shards], ignore_index=True)
    unsteered = store.read_passes(args.unsteered, digests, args.identity)
    steered = store.read_passes_by_event(args.steered, unsteered, digests, args.identity)
    answers = pd.concat([pd.read_csv(path, dtype=str, keep_default_na=False) for path in args.answers])
    answer_of = dict(zip(zip(answers["sample_id"], answers["position"], strict=True), answers["answer"], strict=True))
    row_of = {sample_id: row for row, sample_id in enumerate(unsteered.sample_id)}
    directions = json.loads(next(iter(steered.values())).attributes["directions"])
    missing = {
        name: missing_vectors(Direction.model_validate(direction), events) for name, direction in directions.items()
    }
    base_of, rate = unsteered.of("base"), unsteered.tokens_per_second

    @functools.cache
    def candidates_of(n_tokens: int) -> Window:
        # Attention that does not change ties everywhere: all candidate windows.
        constant = np.ones((base_of.shape[1], n_tokens))
        return find_window_of_any_width(constant, constant, rate, n_tokens, settings)

    rows, unknown = [], []
    for event in events.to_dict("records"):
        sample = row_of[event["sample_id"]]
        attention = steered[event["position"]]
        n_tokens = int(unsteered.n_audio_tokens[sample])
        candidates = candidates_of(n_tokens)
        drawn = score_unknown_duration(event, candidates, candidates, "random", args.model, args.study)
        unknown.append(drawn | {"tied": False})
        others = {"prompt_only": unsteered.of("prompted", event["position"])[sample]} | {
            f"steering_{name}": attention.of(name, event["position"])[sample] for name in attention.names
        }
        reasons = {
            f"steering_{name}": reason
            for name, of_method in missing.items()
            if (reason := of_method.get((event["sample_id"], event["position"])))
        }
        steering = {method: other for method, other in others.items() if method not in reasons}
        found = find_windows(base_of[sample], steering.values(), event["duration"], rate, n_tokens, settings)
        windows = dict(zip(steering, found, strict=True))
        for method in others:
            if method in reasons:
                window = of_any_width = without_vector(reasons[method], rate)
            else:
                window, of_any_width = windows[method]
            rows.append(score_window(event, window, method, args.model, args.study))
            unknown.append(score_unknown_duration(event, of_any_width, candidates, method, args.model, args.study))
        answer = answer_of[event["sample_id"], event["position"]]
        rows.append(score_answer(event, answer, args.model, args.study))
    write_localization(rows, args.output)
    write_localization(unknown, args.unknown_duration)
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


if __name__ == "__main__":
    log.run(main)
