"""Predicted window and overlap of every query, by every method that a model answers with."""

import functools
import json

import numpy as np
import pandas as pd

from wheretolisten import arguments, log, store
from wheretolisten.benchmark import read_shard
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import Localization
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.localization.table import no_vector, write_localization
from wheretolisten.localization.windows import Window, find_window_of_any_width, find_windows, without_vector
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.scoring import score_answer, score_unknown_duration, score_window
from wheretolisten.steering.kinds import missing_vectors


def main(argv: list[str] | None = None) -> None:
    """Score all queries of one model on one benchmark; HDF5 files and answers are listed shard by shard."""
    args = arguments.parse(
        __doc__,
        argv,
        settings=Localization.from_json,
        model=str,
        identity=str,
        benchmark=str,
        shards=[str],
        activations=[str],
        **{position: [str] for position in POSITIONS},
        answers=[str],
        output=str,
        unknown_duration=str,
    )
    logger = log.start("localize_events")
    settings = args.settings

    digests = [sha256_of_file(path) for path in args.shards]
    events = pd.concat([read_shard(path) for path in args.shards], ignore_index=True)
    activations = store.read_activations(args.activations, digests, args.identity)
    steered = {
        position: store.read_attention(getattr(args, position), digests, args.identity) for position in POSITIONS
    }
    answers = pd.concat([pd.read_csv(path, dtype=str, keep_default_na=False) for path in args.answers])
    answer_of = dict(zip(zip(answers["sample_id"], answers["position"], strict=True), answers["answer"], strict=True))
    row_of = {sample_id: row for row, sample_id in enumerate(activations.sample_id)}
    for position, attention in steered.items():
        if not np.array_equal(attention.sample_id, activations.sample_id):
            raise UserError(
                f"{getattr(args, position)[0]}: its samples are not those of {args.activations[0]}; "
                "delete both and run the workflow again"
            )

    kinds = json.loads(steered[POSITIONS[0]].attributes["vectors"])
    missing = [missing_vectors(kind, events) for kind in kinds]
    rate = activations.tokens_per_second

    @functools.cache
    def candidates_of(n_tokens: int) -> Window:
        # Attention that does not change ties everywhere: all candidate windows.
        constant = np.ones((activations.base.shape[1], n_tokens))
        return find_window_of_any_width(constant, constant, rate, n_tokens, settings)

    rows, unknown = [], []
    for event in events.to_dict("records"):
        sample = row_of[event["sample_id"]]
        place = POSITIONS.index(event["position"])
        attention = steered[event["position"]]
        n_tokens = int(activations.n_audio_tokens[sample])
        candidates = candidates_of(n_tokens)
        drawn = score_unknown_duration(event, candidates, candidates, "random", args.model, args.benchmark)
        unknown.append(drawn | {"tied": False})
        others = {"prompt_only": activations.prompted[sample, place]} | {
            f"steering_{name}": attention.steered[sample, number] for number, name in enumerate(attention.methods)
        }
        reasons = {
            f"steering_{name}": reason
            for name, of_method in zip(attention.methods, missing, strict=True)
            if (reason := of_method.get((event["sample_id"], event["position"])))
        }
        steering = {method: other for method, other in others.items() if method not in reasons}
        found = find_windows(activations.base[sample], steering.values(), event["duration"], rate, n_tokens, settings)
        windows = dict(zip(steering, found, strict=True))
        for method in others:
            if method in reasons:
                window = of_any_width = without_vector(reasons[method], rate)
            else:
                window, of_any_width = windows[method]
            rows.append(score_window(event, window, method, args.model, args.benchmark))
            unknown.append(score_unknown_duration(event, of_any_width, candidates, method, args.model, args.benchmark))
        answer = answer_of[event["sample_id"], event["position"]]
        rows.append(score_answer(event, answer, args.model, args.benchmark))
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
