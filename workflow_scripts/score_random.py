"""Overlap of windows drawn at random, the baseline that every method is measured against; events that go with it."""

from pathlib import Path

from wheretolisten import arguments, log
from wheretolisten.examples import read_shard
from wheretolisten.files import atomic_path
from wheretolisten.localization.draws import draw_starts
from wheretolisten.localization.table import RANDOM_MODEL, write_localization
from wheretolisten.statistics.scoring import score_draws


def main(argv: list[str] | None = None) -> None:
    """Write one row per query of a study, the mean over its draws, and keep a copy of the events beside it."""
    args = arguments.parse(
        __doc__, argv, study=str, events=Path, draws=int, seed=int, localization=Path, kept_events=Path
    )
    logger = log.start("score_random")
    rows = []
    for event in read_shard(args.events).to_dict("records"):
        query = (event[name] for name in ("sample_id", "position", "sample_seconds", "duration"))
        rows.append(score_draws(event, draw_starts(args.seed, *query, args.draws), RANDOM_MODEL, args.study))
    write_localization(rows, args.localization)
    # Figures are drawn where the examples are not, from what lies with the predictions.
    with atomic_path(args.kept_events) as path:
        path.write_bytes(args.events.read_bytes())
    logger.info("%d windows for each of %d queries", args.draws, len(rows))


if __name__ == "__main__":
    log.run(main)
