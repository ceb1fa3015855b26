"""Steered passes over one shard: attention to the audio while the vector of the event at one position is added."""

import argparse
from pathlib import Path

import numpy as np

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import VECTOR_KINDS
from wheretolisten.config.settings import SteeringSettings
from wheretolisten.engine.passes import Engine


def main(argv: list[str] | None = None) -> None:
    """Read every sample of a shard once per kind of vector, batch by batch, after the batches a killed job left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, inference prompt, steering and readout, JSON")
    parser.add_argument("--shard", type=Path, required=True, help="shard of a benchmark, csv")
    parser.add_argument("--vectors", type=Path, required=True, help="steering vectors of the benchmark, HDF5")
    parser.add_argument("--position", choices=POSITIONS, required=True, help="event whose label is steered for")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="attention, HDF5")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    args = parser.parse_args(argv)
    logger = log.start("steer_attention")
    settings = SteeringSettings.from_json(args.settings)
    batches = jobs.batches_of(args.shard, settings.model.batch_samples)

    adapter, facts = jobs.load_model(settings.model, args.threads)
    engine = Engine(adapter, settings.readout.text_rows, settings.readout.kernel)
    logger.info(engine.describe(settings.steering, batches[0].recording(adapter, 0), settings.inference))
    identity, attributes = provenance.of_job(
        "steer_attention", settings, {"benchmark": args.shard, "vectors": args.vectors}
    )
    identity = provenance.digest_of(identity, args.position)
    origin = (attributes["benchmark_digest"], attributes["model"])
    attributes |= facts | {"position": args.position, "vector_kinds": list(VECTOR_KINDS)}
    result = store.PartedFile(args.output, store.ATTENTION, identity, attributes)
    for batch in jobs.unfinished(batches, result, engine.meter):
        vectors = store.read_vectors(args.vectors, batch.sample_ids, POSITIONS.index(args.position), *origin)
        n_samples, n_kinds = vectors.shape[:2]
        reading = engine.read(
            batch.recordings(adapter),
            [settings.inference] * (n_samples * n_kinds),
            audio_index=np.repeat(np.arange(n_samples), n_kinds).tolist(),
            vectors=vectors.reshape(n_samples * n_kinds, *vectors.shape[2:]),
            steering=settings.steering,
        )
        with engine.meter.stage("store"):
            result.write(
                batch.number,
                {
                    "sample_id": np.array(batch.sample_ids, dtype="S"),
                    "n_audio_tokens": reading.n_audio_tokens[::n_kinds],
                    "attention/steered": reading.attention.reshape(n_samples, n_kinds, *reading.attention.shape[1:]),
                },
            )
    with engine.meter.stage("store"):
        result.merge(len(batches))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


if __name__ == "__main__":
    log.run(main)
