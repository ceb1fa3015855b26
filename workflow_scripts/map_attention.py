"""Where each text token reads the audio, block by block: one query in the base, the prompted and the steered pass."""

import argparse
from pathlib import Path

import numpy as np

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.settings import MapSettings
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.query_vectors import QueryVectors


def main(argv: list[str] | None = None) -> None:
    """Read one sample in the three passes, text token by text token."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, prompts and method, JSON")
    parser.add_argument("--shard", type=Path, required=True, help="shard of a benchmark that holds the sample, csv")
    parser.add_argument("--activations", type=Path, required=True, help="states of the shard, HDF5")
    parser.add_argument("--vectors", type=Path, required=True, help="label sums of the benchmark, HDF5")
    parser.add_argument("--sample", type=int, required=True, help="index of the sample")
    parser.add_argument("--position", choices=POSITIONS, required=True, help="event that is asked for")
    parser.add_argument("--method", required=True, help="name of the method that steers")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="attention, HDF5")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    args = parser.parse_args(argv)
    logger = log.start("map_attention")
    settings = MapSettings.from_json(args.settings)
    batches = [batch for batch in jobs.batches_of(args.shard, 1) if int(batch.sample_ids[0]) == args.sample]
    if not batches:
        raise UserError(f"{args.shard}: sample {args.sample} is not in it; pass the shard that holds the sample")
    batch, position = batches[0], POSITIONS.index(args.position)
    event = batch.events[0].iloc[position]

    adapter, facts = jobs.load_model(settings.model, args.threads)
    recording = batch.recording(adapter, 0)
    prompts = {
        "base": settings.prompts.inference,
        "prompted": settings.prompts.positive_for(event["label"], event["domain"]),
        "steered": settings.prompts.inference,
    }
    # Whatever rows the probe sums, the map shows them all.
    engine = Engine(adapter, "all")
    logger.info(engine.describe(settings.method.steering, recording, settings.prompts.inference))
    files = {"benchmark": args.shard, "activations": args.activations, "vectors": args.vectors}
    identity, attributes = provenance.of_job("map_attention", settings, files)
    origin = (attributes["benchmark_digest"], attributes["model"])
    source = QueryVectors(args.activations, args.vectors, batch.sample_ids, *origin)
    own = source.of_query(batch.events[0], args.position, [settings.method.vector]).vectors[0]
    # A vector of zeros changes no bit, so that all passes fit into one.
    vectors = np.stack([own if name == "steered" else np.zeros_like(own) for name in prompts])
    inputs = adapter.prepare([recording], list(prompts.values()), [0] * len(prompts))
    engine.meter.n_samples = 1
    reading = engine.read_inputs(inputs, vectors, settings.method.steering, keep_text=True)
    tokens = engine.text_tokens(inputs)

    query = {"sample_id": batch.sample_ids[0], "position": args.position, "method": args.method}
    attributes |= facts | query | {"prompts": prompts, "tokens_per_second": adapter.tokens_per_second}
    identity = provenance.digest_of(identity, query)
    result = jobs.Saver(store.PartedFile(args.output, store.ATTENTION_MAP, identity, attributes), engine.meter)
    longest = max(map(len, tokens))
    result.write(
        0,
        {
            "pass": np.array(list(prompts), dtype="S"),
            "n_text_tokens": np.array([len(of_pass) for of_pass in tokens]),
            "text": np.char.encode([of_pass + [""] * (longest - len(of_pass)) for of_pass in tokens], "utf-8"),
            "attention": reading.attention,
        },
    )
    result.merge(1)
    jobs.report(engine.meter, args.performance)
    logger.info("%s, %s: wrote %s", event["label"], args.position, args.output)


if __name__ == "__main__":
    log.run(main)
