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
    for batch in jobs.unfinished(batches, result, engine.meter):
        prompts = [_prompts(settings, events) for events in batch.events]
        recordings = batch.recordings(adapter)
        # What is heard, and from which place on: the sample's own recording, silence of equal length, or nothing.
        heard = {"recording": recordings}
        if "silence" in settings.states:
            heard["silence"] = [np.zeros_like(recording) for recording in recordings]
        audio = [*(sound for sounds in heard.values() for sound in sounds), None]
        first = {name: number * len(recordings) for number, name in enumerate(heard)}
        audio_index = [
            len(audio) - 1 if name == "no_audio" else first.get(name, 0) + sample
            for sample, of_sample in enumerate(prompts)
            for name, texts in of_sample.items()
            for _ in texts
        ]
        reading = engine.read(
            audio,
            [text for of_sample in prompts for texts in of_sample.values() for text in texts],
            audio_index=audio_index,
            want_states=True,
        )
        # [sample * prompt, ...] to [sample, prompt, ...], then name by name.
        ends = np.cumsum([len(texts) for texts in prompts[0].values()])
        states, attention = (
            dict(zip(prompts[0], np.split(values.reshape(len(prompts), ends[-1], *values.shape[1:]), ends[:-1], axis=1)))
            for values in (reading.states, reading.attention)
        )
        n_audio_tokens = reading.n_audio_tokens.reshape(len(prompts), -1)[:, 0]
        with engine.meter.stage("store"):
            result.write(
                batch.number,
                {
                    "sample_id": np.array(batch.sample_ids, dtype="S"),
                    "n_audio_tokens": n_audio_tokens,
                    "attention/base": attention["base"][:, 0],
                    "attention/prompted": attention["positive"],
                }
                | {
                    f"states/{name}": values[:, 0] if name.startswith("negative") else values
                    for name, values in states.items()
                    if name != "base"
                },
            )
    with engine.meter.stage("store"):
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


if __name__ == "__main__":
    log.run(main)
