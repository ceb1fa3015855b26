"""Teach facts to a copy of a model, write a direction into a weight that takes some back, and measure what is left."""

from pathlib import Path

import pandas as pd
import torch

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.unlearning import FORGET, RETAIN, UnlearningSettings
from wheretolisten.effects import reinforcing
from wheretolisten.effects.pairs import inputs_of, read_facts
from wheretolisten.effects.unlearning import UnlearningStudy
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.files import atomic_path
from wheretolisten.models.memory import ROWS_PER_SAMPLE


def main(argv: list[str] | None = None) -> None:
    """Measure the taught model, the original one, and every edit."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="one value per row, csv")
    parser.add_argument("--origin", type=Path, required=True, help="what it was made with and from, JSON")
    args = parser.parse_args(argv)
    logger = log.start("unlearn_facts")
    settings = UnlearningSettings.from_json(args.settings)
    asked = settings.unlearning
    # Before the model is loaded.
    facts = read_facts(settings.pairs)
    taught = [*facts[FORGET], *facts[RETAIN]]
    if asked.reinforce:
        reinforcing.check(asked.reinforce, taught)

    torch.set_num_threads(args.threads)
    _, attributes = provenance.of_job("unlearn_facts", settings, inputs_of(settings.pairs) | asked.files)
    engine = Engine(selfcheck.load(settings.model), max_rows=ROWS_PER_SAMPLE * settings.model.batch_samples)
    tables = list(UnlearningStudy(engine, asked, facts).measure())
    store.write_origin(args.origin, attributes | jobs.ran_on(engine.adapter))
    with atomic_path(args.output) as path:
        pd.concat(tables).to_csv(path, index=False, lineterminator="\n")
    engine.meter.n_samples = len(taught)
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


if __name__ == "__main__":
    log.run(main)
