"""What every arm of a study does to a text model's answers (docs/studies/README.md)."""

from pathlib import Path

import torch

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.effects import EffectSettings
from wheretolisten.effects.arms import Study, units_of
from wheretolisten.effects.measuring import Meter
from wheretolisten.effects.pairs import inputs_of, read_pairs, split
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.models.memory import ROWS_PER_SAMPLE


def main(argv: list[str] | None = None) -> None:
    """Measure arm after arm, after those that a killed job left."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="one value per row, csv")
    parser.add_argument("--origin", type=Path, required=True, help="what it was made with and from, JSON")
    args = parser.parse_args(argv)
    logger = log.start("steer_texts")
    settings = EffectSettings.from_json(args.settings)
    effects = settings.effects
    sides = split(read_pairs(settings.pairs, list(effects.axes)), effects)  # before the model is loaded
    for axis, of_axis in sides.items():
        logger.info("%s: %s", axis, ", ".join(f"{len(pairs)} pairs {side}" for side, pairs in of_axis.items()))

    torch.set_num_threads(args.threads)
    inputs = inputs_of(settings.pairs) | effects.files
    identity, attributes = provenance.of_job("steer_texts", settings, inputs)
    table = store.PartedTable(args.output, identity)
    engine = Engine(selfcheck.load(settings.model), max_rows=ROWS_PER_SAMPLE * settings.model.batch_samples)
    study = Study(Meter(engine, effects), effects, sides)
    units = units_of(effects)
    for number, unit in enumerate(units):
        if table.has(number):
            continue
        table.write(number, study.measure(unit))
        engine.meter.n_samples += 1
        logger.info("arm %d of %d", number + 1, len(units))
    store.write_origin(args.origin, attributes | jobs.ran_on(engine.adapter))
    table.merge(len(units))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


if __name__ == "__main__":
    log.run(main)
