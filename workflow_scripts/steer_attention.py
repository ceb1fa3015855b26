"""Steered passes over one shard: attention to the audio while vectors that ask for one position's event are added."""

import argparse
from pathlib import Path

import numpy as np

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.settings import SteeringSettings
from wheretolisten.engine.passes import Engine
from wheretolisten.models.memory import ROWS_PER_SAMPLE
from wheretolisten.query_vectors import QueryVectors


def main(argv: list[str] | None = None) -> None:
    """Read every sample of a shard once per method, batch by batch, after the batches a killed job left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, inference prompt, methods and readout, JSON")
    parser.add_argument("--shard", type=Path, required=True, help="shard of a benchmark, csv")
    parser.add_argument("--activations", type=Path, required=True, help="states of the shard, HDF5")
    parser.add_argument("--vectors", type=Path, required=True, help="label sums of the benchmark, HDF5")
    parser.add_argument("--position", choices=POSITIONS, required=True, help="event whose label is steered for")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="attention, HDF5")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    args = parser.parse_args(argv)
    logger = log.start("steer_attention")
    settings = SteeringSettings.from_json(args.settings)
    batches = jobs.batches_of(args.shard, settings.model.batch_samples)

    adapter, facts = jobs.load_model(settings.model, args.threads)
    max_rows = ROWS_PER_SAMPLE * settings.model.batch_samples
    engine = Engine(adapter, settings.readout.text_rows, settings.readout.kernel, max_rows)
    first = batches[0].recording(adapter, 0)
    # Methods that differ in their vectors only go through together.
    groups: dict[str, list[str]] = {}
    for name, method in settings.methods.items():
        groups.setdefault(method.steering.as_json(), []).append(name)
    for members in groups.values():
        steering = settings.methods[members[0]].steering
        logger.info("%s: %s", ", ".join(members), engine.describe(steering, first, settings.inference))
    inputs = {"benchmark": args.shard, "activations": args.activations, "vectors": args.vectors}
    identity, attributes = provenance.of_job("steer_attention", settings, inputs)
    identity = provenance.digest_of(identity, args.position)
    origin = (attributes["benchmark_digest"], attributes["model"])
    sample_ids = [sample_id for batch in batches for sample_id in batch.sample_ids]
    source = QueryVectors(args.activations, args.vectors, sample_ids, *origin)
    names = [name for members in groups.values() for name in members]
    kinds = [settings.methods[name].vector for name in names]
    attributes |= facts | {"position": args.position, "methods": names, "vectors": kinds}
    result = jobs.Saver(store.PartedFile(args.output, store.ATTENTION, identity, attributes), engine.meter)
    for batch, recordings in jobs.unfinished(batches, result, engine.meter, lambda batch: batch.recordings(adapter)):
        queries = [source.of_query(events, args.position, kinds) for events in batch.events]
        vectors = np.stack([query.vectors for query in queries])
        n_samples = len(queries)
        heard = engine.hear(recordings)
        attention = []
        for members in groups.values():
            own = vectors[:, [names.index(name) for name in members]]
            reading = engine.read(
                heard,
                [settings.inference] * (n_samples * len(members)),
                audio_index=np.repeat(np.arange(n_samples), len(members)).tolist(),
                vectors=own.reshape(-1, *own.shape[2:]),
                steering=settings.methods[members[0]].steering,
            )
            attention.append(reading.attention.reshape(n_samples, len(members), *reading.attention.shape[1:]))
        result.write(
            batch.number,
            {
                "sample_id": np.array(batch.sample_ids, dtype="S"),
                "n_audio_tokens": reading.n_audio_tokens[:: len(members)],
                "target": np.char.encode([query.targets for query in queries], "utf-8"),
                "label": np.char.encode([query.labels for query in queries], "utf-8"),
                "attention/steered": np.concatenate(attention, axis=1),
            },
        )
    result.merge(len(batches))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


if __name__ == "__main__":
    log.run(main)
