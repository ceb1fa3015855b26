"""Windows and overlap of every query at every value of a sweep."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import log, store
from wheretolisten.benchmark import read_shard
from wheretolisten.config.directions import Direction
from wheretolisten.config.sweeps import ScoreSettings
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.localization.table import no_vector
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.sweeps import attention_of_run, score_sweep, swept_attention
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Score one sweep of all its models; files of a kind are listed model by model, shard by shard."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="what is varied, and the probe, JSON")
    parser.add_argument("--sweep", required=True, help="name of the sweep")
    parser.add_argument("--models", nargs="+", required=True, help="names of the models")
    parser.add_argument("--identities", nargs="+", required=True, help="their identities, as the HDF5 files note them")
    parser.add_argument("--benchmark", required=True, help="name of the benchmark")
    parser.add_argument("--samples", type=int, required=True, help="how many samples of the benchmark count")
    parser.add_argument("--shards", nargs="+", required=True, help="shards of the benchmark, csv")
    parser.add_argument("--events", help="all events of the benchmark, csv; by default those of the shards")
    parser.add_argument("--direction", required=True, help="what the method steers with, JSON")
    parser.add_argument("--attention", nargs="*", default=[], help="passes of the sweep, HDF5")
    parser.add_argument(
        "--of-run", nargs="*", default=[], help="passes of the run that it needs, HDF5, <kind or event>/<shard>.h5"
    )
    parser.add_argument("--output", type=Path, required=True, help="one row per query and value, csv")
    args = parser.parse_args(argv)
    logger = log.start("score_sweep")
    settings = ScoreSettings.from_json(args.settings)

    digests = [sha256_of_file(path) for path in args.shards]
    events = pd.concat([read_shard(path) for path in args.shards], ignore_index=True)
    missing = missing_vectors(Direction.from_json(args.direction), read_shard(args.events) if args.events else events)
    events = events[events["sample_id"].isin(events["sample_id"].unique()[: args.samples])]
    rows = []
    n_files = len(args.of_run) // len(args.models)
    for number, (model, identity) in enumerate(zip(args.models, args.identities, strict=True)):
        own = args.attention[number * len(digests) : (number + 1) * len(digests)]
        of_run = _read(args.of_run[number * n_files : (number + 1) * n_files], digests, identity)
        if own:
            attention = swept_attention(store.read_passes(own, digests, identity), of_run.get("unsteered"))
        else:
            attention = attention_of_run(of_run, settings.variation.method)
        found = score_sweep(attention, events, settings.variation, settings.probe, model, args.benchmark, missing)
        rows += [{"sweep": args.sweep} | row for row in found]
    queries = pd.DataFrame(rows)
    write_table(queries, args.output, decimals=6)
    logger.info("%d queries at %d values", len(queries), queries["value"].nunique())
    failed, unsteered = queries["failure"] != "", no_vector(queries)
    for rows, what in ((queries[failed & ~unsteered], "score 0"), (queries[unsteered], "are not scored")):
        if len(rows):
            logger.warning("%d queries %s: %s", len(rows), what, count_reasons(rows, most=5))


def _read(paths: list[str], digests: list[str], identity: str) -> dict[str, store.Passes]:
    """Kind or event → its passes, of the same samples."""
    of: dict[str, list[str]] = {}
    for path in paths:
        of.setdefault(Path(path).parent.name, []).append(path)
    found = {name: store.read_passes(files, digests, identity) for name, files in of.items()}
    for name, passes in found.items():
        if not np.array_equal(passes.sample_id, found["unsteered"].sample_id):
            raise UserError(
                f"{of[name][0]}: its samples are not those of {of['unsteered'][0]}; delete both and run the workflow "
                "again"
            )
    return found


if __name__ == "__main__":
    log.run(main)
