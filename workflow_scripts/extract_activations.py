"""Un-steered passes over one shard: states that vectors are made of, attention to the audio, audio tokens, answers."""

from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import jobs, log, passes, store
from wheretolisten.config.passes import PassSettings
from wheretolisten.engine.forward import Heard
from wheretolisten.localization.frames import frames_of, tokens_per_frame


def main(argv: list[str] | None = None) -> None:
    """Read and ask every sample of a shard, batch by batch, after the batches a killed job left."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--shard", type=Path, required=True, help="shard of sequences, csv")
    parser.add_argument("--clips", type=Path, help="table of the sounds, whose labels may be absent from a sample, csv")
    parser.add_argument("--states", type=Path, help="states, HDF5")
    parser.add_argument("--passes", type=Path, help="attention, HDF5")
    parser.add_argument("--frames", type=Path, help="audio tokens, averaged over frames, HDF5")
    parser.add_argument("--answers", type=Path, help="answers, csv")
    args = parser.parse_args(argv)
    logger = log.start("extract_activations")
    settings = PassSettings.from_json(args.settings)
    n_absent = settings.n_absent
    batches = jobs.batches_of(
        args.shard, settings.model.batch_samples, clips=args.clips, n_absent=n_absent, symbols=settings.symbols
    )
    inputs = {"examples": args.shard} | ({"clips": args.clips} if n_absent else {})
    job = jobs.Job("extract_activations", settings, args.threads, inputs)
    positions = passes.positions_of(batches[0].examples)
    columns = passes.columns_of(job.passes, positions, passes.absent_of(batches[0].examples))

    results = []
    if args.states:
        of_event = {name: state.of_event for name, state in settings.states.items()}
        results.append(job.file(args.states, store.schema.states(of_event), positions=positions))
    if args.passes:
        job.describe(columns, batches[0])
        schema = store.schema.passes(settings.readout, "extract_activations")
        results.append(job.file(args.passes, schema, passes=[(each.name, event) for each, event in columns]))
    if args.frames:
        rate = job.attributes["tokens_per_second"]
        n_tokens = tokens_per_frame(rate)
        results.append(job.file(args.frames, store.schema.frames(), frames_per_second=rate / n_tokens))
    if args.answers:
        first = passes.fill(settings.answers.question, batches[0].examples[0], positions[0], settings.wording)
        recording = batches[0].recording(0, job.adapter)
        logger.info(job.engine.describe(None, recording, first, settings.answers.max_new_tokens))
        results.append(store.PartedTable(args.answers, job.identity))

    def work(batch: jobs.Batch, heard: Heard) -> list[dict[str, np.ndarray] | pd.DataFrame]:
        contents = []
        if args.states or args.passes:
            values, states = passes.read(job.engine, heard, batch.examples, columns, settings)
            if args.states:
                of_events = {name: state if of_event[name] else state[:, 0] for name, state in states.items()}
                ids = store.texts([example.example_id for example in batch.examples])
                contents.append({"sample_id": ids} | {f"states/{name}": state for name, state in of_events.items()})
            if args.passes:
                contents.append(jobs.part_of(batch, heard, columns, values, settings.readout))
        if args.frames:
            frames = [frames_of(audio.float().cpu().numpy(), n_tokens) for audio in heard.audio]
            contents.append(
                {
                    "sample_id": store.texts([example.example_id for example in batch.examples]),
                    "n_frames": np.array([len(each) for each in frames]),
                    "frames": store.concatenate([each[None] for each in frames]),
                }
            )
        if args.answers:
            contents.append(
                pd.DataFrame(passes.answer(job.engine, heard, batch.examples, settings.answers, settings.wording))
            )
        return contents

    job.run(batches, results, work, args.performance)
    logger.info(
        "wrote %s", ", ".join(str(path) for path in (args.states, args.passes, args.frames, args.answers) if path)
    )


if __name__ == "__main__":
    log.run(main)
