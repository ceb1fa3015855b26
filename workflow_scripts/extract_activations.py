"""Un-steered passes over one shard: last-token states that vectors are made of, and attention to the audio."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.settings import ExtractionSettings
from wheretolisten.engine.passes import Engine


def main(argv: list[str] | None = None) -> None:
    """Read every sample of a shard under its prompts, batch by batch, after the batches a killed job left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, prompts, readout and further states, JSON")
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
    logger.info(engine.describe(None, batches[0].recording(adapter, 0), settings.prompts.inference))
    identity, attributes = provenance.of_job("extract_activations", settings, {"benchmark": args.shard})
    attributes |= facts | {"tokens_per_second": adapter.tokens_per_second}
    result = store.PartedFile(args.output, store.activations_with(settings.states), identity, attributes)
    result = jobs.Saver(result, engine.meter)
    for batch, recordings in jobs.unfinished(batches, result, engine.meter, lambda batch: batch.recordings(adapter)):
        prompts = [_prompts(settings, events) for events in batch.events]
        n_samples, n_prompts = len(prompts), {state: len(texts) for state, texts in prompts[0].items()}
        # What is heard: each sample's recording; where a state needs it, silence of equal length, or nothing at all.
        heard = recordings
        place = {state: range(n_samples) for state in n_prompts}
        if "silence" in n_prompts:
            place["silence"] = range(len(heard), len(heard) + n_samples)
            heard = [*heard, *(np.zeros_like(recording) for recording in recordings)]
        if "no_audio" in n_prompts:
            place["no_audio"] = [len(heard)] * n_samples
            heard = [*heard, None]
        reading = engine.read(
            heard,
            [text for of_sample in prompts for texts in of_sample.values() for text in texts],
            audio_index=[
                place[state][sample] for sample in range(n_samples) for state, n in n_prompts.items() for _ in range(n)
            ],
            want_states=True,
        )
        states, attention, n_audio_tokens = (
            _by_state(values, n_samples, n_prompts)
            for values in (reading.states, reading.attention, reading.n_audio_tokens)
        )
        result.write(
            batch.number,
            {
                "sample_id": np.array(batch.sample_ids, dtype="S"),
                "n_audio_tokens": n_audio_tokens["base"][:, 0],
                "attention/base": attention["base"][:, 0],
                "attention/prompted": attention["positive"],
            }
            | {
                f"states/{state}": values[:, 0] if state.startswith("negative") else values
                for state, values in states.items()
                if state != "base"
            },
        )
    result.merge(len(batches))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def _prompts(settings: ExtractionSettings, events: pd.DataFrame) -> dict[str, list[str]]:
    """Prompts of one sample by the state they lead to: one that its events share, or one for each event's label."""
    prompts = settings.prompts
    instructions = {"negative": prompts.negative, "positive": prompts.positive} | settings.states
    return {"base": [prompts.inference]} | {
        state: [prompts.negative_with_query(instruction)]
        if state.startswith("negative")
        else [
            prompts.positive_for(label, domain, instruction)
            for label, domain in zip(events["label"], events["domain"], strict=True)
        ]
        for state, instruction in instructions.items()
    }


def _by_state(values: np.ndarray, n_samples: int, n_prompts: dict[str, int]) -> dict[str, np.ndarray]:
    """Rows [sample * prompt, ...] by the state that their prompts lead to, [sample, prompt, ...]."""
    ends = np.cumsum(list(n_prompts.values()))[:-1]
    parts = np.split(values.reshape(n_samples, -1, *values.shape[1:]), ends, axis=1)
    return dict(zip(n_prompts, parts, strict=True))


if __name__ == "__main__":
    log.run(main)
