"""Windows and overlap of every query at every value of a sweep."""

from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log, store
from wheretolisten.config.studies import ScoreSettings
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.examples import read_shard
from wheretolisten.files import sha256_of_file
from wheretolisten.localization.table import no_vector
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.sweeps import attention_of_study, score_sweep, swept_attention
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Score one sweep of all its models.

    Files are listed model by model, shard by shard: `attention` of the sweep's own passes, and, as far as it needs
    them, `unsteered` passes and those that its study `steered`, in folders with the names of events. `events` are all
    of the study's, of which the first `samples` recordings count; `passes` is the name of those of the method.
    """
    args = arguments.parse(
        __doc__,
        argv,
        settings=ScoreSettings.from_json,
        sweep=str,
        models=[str],
        identities=[str],
        study=str,
        samples=int,
        shards=[str],
        events=str,
        passes=str,
        attention=[Path],
        unsteered=[Path],
        steered=[Path],
        output=Path,
    )
    logger = log.start("score_sweep")
    settings = args.settings

    digests = [sha256_of_file(path) for path in args.shards]
    events = pd.concat([read_shard(path) for path in args.shards], ignore_index=True)
    missing = missing_vectors(settings.direction, read_shard(args.events)) if settings.direction else {}
    events = events[events["sample_id"].isin(events["sample_id"].unique()[: args.samples])]
    rows = []
    for model, (identity,), own, unsteered, steered in arguments.by_model(
        args.models, args.identities, args.attention, args.unsteered, args.steered
    ):
        base = store.read_passes(unsteered, digests, identity) if unsteered else None
        if own:
            attention = swept_attention(store.read_passes(own, digests, identity), base)
        else:
            of_events = store.read_passes_by_event(steered, base, digests, identity)
            attention = attention_of_study(base, of_events, args.passes)
        found = score_sweep(attention, events, settings.variation, settings.probe, model, args.study, missing)
        rows += [{"sweep": args.sweep} | row for row in found]
    queries = pd.DataFrame(rows)
    write_table(queries, args.output, decimals=6)
    logger.info("%d queries at %d values", len(queries), queries["value"].nunique())
    failed, unsteered = queries["failure"] != "", no_vector(queries)
    for rows, what in ((queries[failed & ~unsteered], "score 0"), (queries[unsteered], "are not scored")):
        if len(rows):
            logger.warning("%d queries %s: %s", len(rows), what, count_reasons(rows, most=5))


if __name__ == "__main__":
    log.run(main)
