"""Overlap of windows drawn at random: the baseline that every method is measured against."""

import argparse

import pandas as pd

from wheretolisten import log
from wheretolisten.benchmark import read_shard
from wheretolisten.localization.table import RANDOM_MODEL, write_localization
from wheretolisten.statistics.scoring import score_draws


def main(argv: list[str] | None = None) -> None:
    """One row per query: the mean overlap over its draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmark", required=True, help="name of the benchmark")
    parser.add_argument("--events", required=True, help="events of the benchmark, csv")
    parser.add_argument("--answers", required=True, help="random starts, csv with sample_id, position, draw, start")
    parser.add_argument("--output", required=True, help="localization table, csv")
    args = parser.parse_args(argv)
    logger = log.start("score_random")
    draws = pd.read_csv(args.answers, dtype={"sample_id": str}).groupby(["sample_id", "position"])["start"]
    starts = {query: values.to_numpy() for query, values in draws}
    rows = [
        score_draws(event, starts[event["sample_id"], event["position"]], RANDOM_MODEL, args.benchmark)
        for event in read_shard(args.events).to_dict("records")
    ]
    write_localization(rows, args.output)
    logger.info("%d queries", len(rows))


if __name__ == "__main__":
    log.run(main)
