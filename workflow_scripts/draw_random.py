"""Draw the windows of the random baseline for every query of a benchmark."""

import argparse
from pathlib import Path

import pandas as pd

from wheretolisten import log
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path
from wheretolisten.localization.draws import draw_starts


def main(argv: list[str] | None = None) -> None:
    """Write a table with the columns sample_id, position, draw, start (in seconds)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=Path, required=True, help="events.csv of the benchmark")
    parser.add_argument("--draws", type=int, required=True, help="windows per query")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("draw_random")

    events = pd.read_csv(arguments.events, dtype={"sample_id": str})
    missing = {"sample_id", "position", "sample_seconds", "duration"} - set(events)
    if missing:
        raise UserError(f"{arguments.events}: column {', '.join(sorted(missing))} is missing; rebuild the benchmark")
    draws = [
        pd.DataFrame(
            {
                "sample_id": event.sample_id,
                "position": event.position,
                "draw": range(arguments.draws),
                "start": draw_starts(
                    arguments.seed,
                    event.sample_id,
                    event.position,
                    event.sample_seconds,
                    event.duration,
                    arguments.draws,
                ),
            }
        )
        for event in events.itertuples()
    ]
    with atomic_path(arguments.output) as path:
        pd.concat(draws).to_csv(path, index=False, float_format="%.6f", lineterminator="\n")
    logger.info("%d windows for each of %d queries: %s", arguments.draws, len(events), arguments.output)


if __name__ == "__main__":
    log.run(main)
