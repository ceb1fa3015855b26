"""The passes of a sweep over one shard: attention to the audio at every value of the varied key."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.sweeps import HEADS, SweepSettings, points
from wheretolisten.engine.passes import Engine
from wheretolisten.query_vectors import QueryVectors


def main(argv: list[str] | None = None) -> None:
    """Read the first samples of a shard at all points, batch by batch, after the batches a killed job left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, what is varied, and the probe, JSON")
    parser.add_argument("--shard", type=Path, required=True, help="shard of a benchmark, csv")
    parser.add_argument("--samples", type=int, required=True, help="how many of the shard's samples are read")
    parser.add_argument("--activations", type=Path, required=True, help="activations of the shard, HDF5")
    parser.add_argument("--vectors", type=Path, required=True, help="label sums of the benchmark, HDF5")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="attention, HDF5")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    args = parser.parse_args(argv)
    logger = log.start("sweep_attention")
    settings = SweepSettings.from_json(args.settings)
    variation, readout = settings.variation, settings.probe.readout
    batches = jobs.batches_of(args.shard, settings.model.batch_samples, args.samples)

    adapter, facts = jobs.load_model(settings.model, args.threads)
    engine = Engine(adapter, readout.text_rows, readout.kernel)
    swept = points(variation, settings.probe, adapter.n_layers)
    first = batches[0].recording(adapter, 0)
    for point in swept:
        engine.text_rows = point.probe.readout.text_rows
        logger.info(
            "%s = %s: %s", variation.vary, point.value,
            engine.describe(point.probe.steering, first, point.probe.prompts.inference),
        )  # fmt: skip
    identity, attributes = provenance.of_job(
        "sweep_attention",
        settings,
        {"benchmark": args.shard, "activations": args.activations, "vectors": args.vectors},
    )
    origin = (attributes["benchmark_digest"], attributes["model"])
    by_head = variation.vary == HEADS
    names = [point.value for point in swept]
    if by_head:
        names = [f"head {head}" for head in range(adapter.text_stack.config.num_attention_heads)]
    attributes |= facts | {"points": names, "tokens_per_second": adapter.tokens_per_second}
    base_of = {}
    if variation.passes == "steered":
        cached = store.read_activations([args.activations], [origin[0]], origin[1])
        base_of = dict(zip(cached.sample_id.tolist(), cached.base, strict=True))
    sample_ids = [sample_id for batch in batches for sample_id in batch.sample_ids]
    source = QueryVectors(args.activations, args.vectors, sample_ids, *origin)
    identity = provenance.digest_of(identity, args.samples)
    result = jobs.Saver(store.PartedFile(args.output, store.SWEEP, identity, attributes), engine.meter)
    for batch, recordings in jobs.unfinished(batches, result, engine.meter, lambda batch: batch.recordings(adapter)):
        vectors = np.stack([_vectors(source, events, settings.vector) for events in batch.events])
        n_samples, n_positions = vectors.shape[:2]
        heard = engine.hear(recordings)
        base, steered = [], []
        for point in swept:
            engine.text_rows = point.probe.readout.text_rows
            inference = point.probe.prompts.inference
            if not base_of:
                reading = engine.read(heard, [inference] * n_samples, keep_heads=by_head)
                base.append(_with_points(reading.attention, by_head))
            reading = engine.read(
                heard,
                [inference] * (n_samples * n_positions),
                audio_index=np.repeat(np.arange(n_samples), n_positions).tolist(),
                vectors=vectors.reshape(n_samples * n_positions, *vectors.shape[2:]),
                steering=point.probe.steering,
                keep_heads=by_head,
            )
            steered.append(_with_points(reading.attention, by_head))
        if base_of:
            base.append(np.stack([base_of[sample_id] for sample_id in batch.sample_ids])[:, None])
        swept_attention = np.concatenate(steered, axis=1)
        result.write(
            batch.number,
            {
                "sample_id": np.array(batch.sample_ids, dtype="S"),
                "n_audio_tokens": reading.n_audio_tokens[::n_positions],
                "attention/base": np.concatenate(base, axis=1),
                "attention/steered": swept_attention.reshape(n_samples, n_positions, *swept_attention.shape[1:]),
            },
        )
    result.merge(len(batches))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def _vectors(source: QueryVectors, events: pd.DataFrame, kind: str) -> np.ndarray:
    """Steering vectors of one kind for the events of a sample, [position, layer, hidden]."""
    return np.concatenate([source.of_query(events, position, [kind]).vectors for position in POSITIONS])


def _with_points(attention: np.ndarray, by_head: bool) -> np.ndarray:
    """[row, point, layer, audio_token] from one reading, whose heads are points of their own where they are kept."""
    return np.moveaxis(attention, 2, 1) if by_head else attention[:, None]


if __name__ == "__main__":
    log.run(main)
