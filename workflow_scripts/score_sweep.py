"""Windows and overlap of every query at every value of a sweep."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import log, store
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
    parser.add_argument("--vector", default="sample", help="kind of the vectors of the method that steers")
    parser.add_argument("--attention", nargs="*", default=[], help="attention of the sweep, HDF5")
    parser.add_argument("--activations", nargs="*", default=[], help="where the sweep has no passes: the run's, HDF5")
    for position in POSITIONS:
        parser.add_argument(f"--{position}", nargs="*", default=[], help="the run's steered attention, HDF5")
    parser.add_argument("--output", type=Path, required=True, help="one row per query and value, csv")
    args = parser.parse_args(argv)
    logger = log.start("score_sweep")
    settings = ScoreSettings.from_json(args.settings)

    digests = [sha256_of_file(path) for path in args.shards]
    events = pd.concat([read_shard(path) for path in args.shards], ignore_index=True)
    missing = missing_vectors(args.vector, read_shard(args.events) if args.events else events)
    events = events[events["sample_id"].isin(events["sample_id"].unique()[: args.samples])]
    rows = []
    for number, (model, identity) in enumerate(zip(args.models, args.identities, strict=True)):
        here = slice(number * len(digests), (number + 1) * len(digests))
        if settings.variation.passes == "none":
            steered = [getattr(args, position)[here] for position in POSITIONS]
            attention = _of_the_run(args.activations[here], steered, digests, identity, settings.variation.method)
        else:
            attention = store.read_sweep(args.attention[here], digests, identity)
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
