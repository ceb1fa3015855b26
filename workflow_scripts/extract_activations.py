"""Un-steered passes over one shard: last-token states under both instructions, and attention to the audio."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.probe import Prompts
from wheretolisten.config.settings import ExtractionSettings
from wheretolisten.engine.passes import Engine


def main(argv: list[str] | None = None) -> None:
    """Read every sample of a shard under its five prompts, batch by batch, after the batches a killed job left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, prompts and readout, JSON")
    parser.add_argument("--shard", type=Path, required=True, help="shard of a benchmark, csv")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="activations, HDF5")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    args = parser.parse_args(argv)
    logger = log.start("extract_activations")
    settings = ExtractionSettings.from_json(args.settings)
    batches = jobs.batches_of(args.shard, settings.model.batch_samples)

    adapter, facts = jobs.load_model(settings.model, args.threads)
    engine = Engine(adapter, settings.readout.text_rows, settings.readout.kernel)
    first = batches[0]
    logger.info(engine.describe(None, first.recording(adapter, 0), _prompts(settings.prompts, first.events[0])[0]))
    identity, attributes = provenance.of_job("extract_activations", settings, {"benchmark": args.shard})
    attributes |= facts | {"tokens_per_second": adapter.tokens_per_second}
    result = store.PartedFile(args.output, store.ACTIVATIONS, identity, attributes)
    for batch in jobs.unfinished(batches, result, engine.meter):
        prompts = [_prompts(settings.prompts, events) for events in batch.events]
        reading = engine.read(
            batch.recordings(adapter),
            [prompt for of_sample in prompts for prompt in of_sample],
            audio_index=np.repeat(np.arange(len(prompts)), len(prompts[0])).tolist(),
            want_states=True,
        )
        # [sample * prompt, ...] to [sample, prompt, ...]; the prompts are inference, negative, one per position.
        states, attention, n_audio_tokens = (
            values.reshape(len(prompts), len(prompts[0]), *values.shape[1:])
            for values in (reading.states, reading.attention, reading.n_audio_tokens)
        )
        with engine.meter.stage("store"):
            result.write(
                batch.number,
                {
                    "sample_id": np.array(batch.sample_ids, dtype="S"),
                    "n_audio_tokens": n_audio_tokens[:, 0],
                    "states/negative": states[:, 1],
                    "states/positive": states[:, 2:],
                    "attention/base": attention[:, 0],
                    "attention/prompted": attention[:, 2:],
                },
            )
    with engine.meter.stage("store"):
        result.merge(len(batches))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def _prompts(prompts: Prompts, events: pd.DataFrame) -> list[str]:
    """Prompts of one sample: inference, negative, and the positive one of each event's label."""
    positive = [prompts.positive_for(*event) for event in zip(events["label"], events["domain"], strict=True)]
    return [prompts.inference, prompts.negative_with_query(), *positive]


if __name__ == "__main__":
    log.run(main)
