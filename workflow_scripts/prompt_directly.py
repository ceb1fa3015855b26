"""Ask a model in words when each sound starts, over one shard."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.settings import DirectSettings
from wheretolisten.engine.passes import Engine
from wheretolisten.localization.answers import parse_onset


def main(argv: list[str] | None = None) -> None:
    """Ask about every event of a shard, batch by batch, after the batches a killed job left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, prompts and direct prompt, JSON")
    parser.add_argument("--shard", type=Path, required=True, help="shard of a benchmark, csv")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="answers, csv")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    args = parser.parse_args(argv)
    logger = log.start("prompt_directly")
    settings = DirectSettings.from_json(args.settings)
    batches = jobs.batches_of(args.shard, settings.model.batch_samples)

    adapter, _ = jobs.load_model(settings.model, args.threads)
    engine = Engine(adapter)
    first = batches[0]
    example = _questions(settings, first.events[0])[0]
    logger.info(engine.describe(None, first.recording(adapter, 0), example, settings.direct_prompt.max_new_tokens))
    identity, _ = provenance.of_job("prompt_directly", settings, {"benchmark": args.shard})
    result = jobs.Saver(store.PartedTable(args.output, identity), engine.meter)
    for batch, recordings in jobs.unfinished(batches, result, engine.meter, lambda batch: batch.recordings(adapter)):
        asked = pd.concat(batch.events, ignore_index=True)
        rows = asked[["sample_id", "position"]].copy()
        rows["question"] = [question for events in batch.events for question in _questions(settings, events)]
        audio_index = np.repeat(np.arange(len(batch.events)), [len(events) for events in batch.events]).tolist()
        rows["answer"] = engine.answer(
            recordings, rows["question"].tolist(), audio_index, settings.direct_prompt.max_new_tokens
        )
        rows["start"] = [parse_onset(*pair) for pair in zip(rows["answer"], asked["label"], strict=True)]
        result.write(batch.number, rows)
    result.merge(len(batches))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def _questions(settings: DirectSettings, events: pd.DataFrame) -> list[str]:
    """What is asked about one sample: the onset of each of its events, whose duration is told."""
    return [
        settings.direct_prompt.question_for(
            settings.prompts.wording(event["label"], event["domain"]), event["duration"]
        )
        for event in events.to_dict("records")
    ]


if __name__ == "__main__":
    log.run(main)
