"""Share of attention that goes to the audio while a model reads questions, under five conditions (SWL Figure 1)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wheretolisten import jobs, log, passes, provenance, store
from wheretolisten.config.passes import ItemSettings
from wheretolisten.directions.vectors import contrast
from wheretolisten.engine.forward import Heard
from wheretolisten.files import sha256_of_file
from wheretolisten.questions.audio import load_recording, usable
from wheretolisten.questions.mmau import Item, read_items


def main(argv: list[str] | None = None) -> None:
    """Read every question of a shard in all passes, batch by batch, after the batches a killed job left."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--questions", type=Path, required=True, help="question set in MMAU's format, json")
    parser.add_argument("--audio", type=Path, required=True, help="folder that the set's audio paths start from")
    parser.add_argument("--first", type=int, required=True, help="first item of the shard")
    parser.add_argument("--stop", type=int, required=True, help="item after the last one of the shard")
    parser.add_argument("--output", type=Path, required=True, help="shares of attention, HDF5")
    args = parser.parse_args(argv)
    logger = log.start("analyze_attention")
    settings = ItemSettings.from_json(args.settings)
    items = read_items(args.questions, args.first, args.stop, settings.splits, settings.on_bad_item)
    items = usable(items, args.audio, settings.max_seconds, settings.on_bad_item)
    by_id = {item.item_id: item for item in items}
    batches = jobs.cut(
        [_example(item) for item in items],
        settings.model.batch_samples,
        lambda example: load_recording(by_id[example.example_id], args.audio, settings.max_seconds),
    )
    job = jobs.Job("analyze_attention", settings, args.threads, {"questions": args.questions})
    columns = passes.columns_of(job.passes, [])
    audio = [(item.audio_id, sha256_of_file(args.audio / item.audio_id)) for item in items]
    result = job.file(
        args.output,
        store.schema.passes(settings.readout, "analyze_attention"),
        passes=[(each.name, event) for each, event in columns],
        first=args.first,
        stop=args.stop,
        audio_digest=provenance.digest_of(audio),
    )
    if items:
        job.describe(columns, batches[0])
    else:
        logger.warning("none of the items %d to %d can be used", args.first, args.stop - 1)
        batches = [jobs.Batch(0, [], lambda _: np.zeros(0))]

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
        contrasts = [columns[number][0].direction.contrast for number in steered]
        return np.stack([contrast(*(states[name][:, 0] for name in names)) for names in contrasts], axis=1)

    shares, _ = passes.read(job.engine, heard, batch.examples, columns, job.settings, vectors)
    return shares


def _example(item: Item) -> passes.Example:
    return passes.Example(item.item_id, str(Path(item.audio_id)), {"question": item.question, "choices": item.lettered})


if __name__ == "__main__":
    log.run(main)
