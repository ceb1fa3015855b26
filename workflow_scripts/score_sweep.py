"""Windows and overlap of every query at every value of a sweep."""

from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import arguments, log, store
from wheretolisten.benchmark import read_shard
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.sweeps import ScoreSettings
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.localization.table import no_vector
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.sweeps import score_sweep
from wheretolisten.statistics.tables import write_table
from wheretolisten.steering.kinds import missing_vectors


def main(argv: list[str] | None = None) -> None:
    """Score one sweep of all its models.

    Files of a kind are listed model by model, shard by shard: `attention` of the sweep's own passes, or, where it has
    none, what the run has read (`activations` and those of every position). `events` are all of the benchmark, of which
    the first `samples` recordings count.
    """
    args = arguments.parse(
        __doc__,
        argv,
        settings=ScoreSettings.from_json,
        sweep=str,
        models=[str],
        identities=[str],
        benchmark=str,
        samples=int,
        shards=[str],
        events=str,
        vector=str,
        attention=[str],
        activations=[str],
        **{position: [str] for position in POSITIONS},
        output=Path,
    )
    logger = log.start("score_sweep")
    settings = args.settings

    digests = [sha256_of_file(path) for path in args.shards]
    events = pd.concat([read_shard(path) for path in args.shards], ignore_index=True)
    missing = missing_vectors(args.vector, read_shard(args.events))
    events = events[events["sample_id"].isin(events["sample_id"].unique()[: args.samples])]
    rows = []
    steered = [getattr(args, position) for position in POSITIONS]
    files = arguments.by_model(args.models, args.identities, args.attention, args.activations, *steered)
    for model, (identity,), own, activations, *of_positions in files:
        if settings.variation.passes == "none":
            attention = _of_the_run(activations, of_positions, digests, identity, settings.variation.method)
        else:
            attention = store.read_sweep(own, digests, identity)
        found = score_sweep(attention, events, settings.variation, settings.probe, model, args.benchmark, missing)
        rows += [{"sweep": args.sweep} | row for row in found]
    queries = pd.DataFrame(rows)
    write_table(queries, args.output, decimals=6)
    logger.info("%d queries at %d values", len(queries), queries["value"].nunique())
    failed, unsteered = queries["failure"] != "", no_vector(queries)
    for rows, what in ((queries[failed & ~unsteered], "score 0"), (queries[unsteered], "are not scored")):
        if len(rows):
            logger.warning("%d queries %s: %s", len(rows), what, count_reasons(rows, most=5))


def _of_the_run(
    activations: list[str], steered: list[list[str]], digests: list[str], identity: str, method: str
) -> store.SweptAttention:
    """Base and steered attention of the run, as the single point of a sweep."""
    base = store.read_activations(activations, digests, identity)
    of_positions = [store.read_attention(paths, digests, identity) for paths in steered]
    for paths, attention in zip(steered, of_positions, strict=True):
        if not np.array_equal(attention.sample_id, base.sample_id):
            raise UserError(
                f"{paths[0]}: its samples are not those of {activations[0]}; delete both and run the workflow again"
            )
    number = of_positions[0].methods.index(method)
    return store.SweptAttention(
        sample_id=base.sample_id,
        n_audio_tokens=base.n_audio_tokens,
        tokens_per_second=base.tokens_per_second,
        points=(method,),
        base=base.base[:, None],
        steered=np.stack([attention.steered[:, [number]] for attention in of_positions], axis=1),
    )


if __name__ == "__main__":
    log.run(main)
