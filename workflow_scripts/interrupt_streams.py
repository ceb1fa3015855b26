"""Interrupt a model that listens and speaks at once, steer it to listen, and measure what it misses."""

from pathlib import Path

import pandas as pd
import torch

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.effects import UNSTEERED
from wheretolisten.config.interruption import INTERRUPTION, InterruptionSettings
from wheretolisten.effects.interruption import InterruptionStudy
from wheretolisten.effects.measuring import tabulated
from wheretolisten.effects.pairs import inputs_of, read_pairs, split
from wheretolisten.engine.meter import Meter
from wheretolisten.engine.streams import Streams
from wheretolisten.files import atomic_path
from wheretolisten.models import registry


def main(argv: list[str] | None = None) -> None:
    """Measure arm after arm."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="one value per row, csv")
    parser.add_argument("--origin", type=Path, required=True, help="what it was made with and from, JSON")
    args = parser.parse_args(argv)
    logger = log.start("interrupt_streams")
    settings = InterruptionSettings.from_json(args.settings)
    asked = settings.interruption
    sides = split(read_pairs(settings.pairs, [INTERRUPTION]), asked)[INTERRUPTION]  # before the model is loaded
    logger.info("%s", ", ".join(f"{len(pairs)} dialogues {side}" for side, pairs in sides.items()))

    torch.set_num_threads(args.threads)
    _, attributes = provenance.of_job("interrupt_streams", settings, inputs_of(settings.pairs))
    streams = Streams(registry.load(settings.model))
    meter = Meter(streams.adapter.device)
    with meter.stage("answer"):
        study = InterruptionStudy(streams, asked, sides)
        tables = [tabulated("" if arm == UNSTEERED else INTERRUPTION, arm, study.measure(arm)) for arm in asked.arms]
    store.write_origin(args.origin, attributes | jobs.ran_on(streams.adapter))
    with atomic_path(args.output) as path:
        pd.concat(tables).to_csv(path, index=False, lineterminator="\n")
    meter.n_samples = sum(map(len, sides.values()))
    jobs.report(meter, args.performance)
    logger.info("wrote %s", args.output)


if __name__ == "__main__":
    log.run(main)
