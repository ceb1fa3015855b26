"""Share of attention that goes to the audio while a model reads questions, under five conditions (SWL Figure 1)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wheretolisten import jobs, log, passes, store
from wheretolisten.config.passes import ItemSettings
from wheretolisten.engine.forward import Heard
from wheretolisten.questions import shards


def main(argv: list[str] | None = None) -> None:
    """Read every question of a shard in all passes, batch by batch, after the batches a killed job left."""
    parser = shards.parser_of(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="shares of attention, HDF5")
    args = parser.parse_args(argv)
    logger = log.start("analyze_attention")
    settings = ItemSettings.from_json(args.settings)
    items = shards.usable_items(args, settings)
    batches = shards.batches_of(items, args.audio, settings)
    job = jobs.Job("analyze_attention", settings, args.threads, {"questions": args.questions})
    columns = passes.columns_of(job.passes, [])
    result = job.file(
        args.output,
        store.schema.passes(settings.readout, "analyze_attention"),
        passes=[(each.name, event) for each, event in columns],
        first=args.first,
        stop=args.stop,
        audio_digest=shards.audio_digest(items, args.audio),
    )
    if items:
        job.describe(columns, batches[0])
    else:
        logger.warning("none of the items %d to %d can be used", args.first, args.stop - 1)

    def work(batch: jobs.Batch, heard: Heard) -> list[dict[str, np.ndarray]]:
        shares = measure(job, batch, heard) if batch.examples else np.zeros((0, len(columns), job.adapter.n_layers))
        return [jobs.part_of(batch, heard, columns, shares, settings.readout)]

    job.run(batches, [result], work, args.performance)
    logger.info("wrote %s", args.output)


def measure(job: jobs.Job, batch: jobs.Batch, heard: Heard) -> np.ndarray:
    """Share of the audio in every pass, [item, pass, layer] (SWL Figure 1).

    Vectors are those of the item itself, from the states that its un-steered prompts leave.
    """
    columns = passes.columns_of(job.passes, [])

    def vectors(states: Mapping[str, np.ndarray], steered: list[int]) -> np.ndarray:
        directions = [columns[number][0].direction for number in steered]
        return np.stack([shards.vectors_of(each, states, batch.examples) for each in directions], axis=1)

    shares, _ = passes.read(job.engine, heard, batch.examples, columns, job.settings, vectors)
    return shares


if __name__ == "__main__":
    log.run(main)
