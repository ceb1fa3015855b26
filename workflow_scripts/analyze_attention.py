"""Share of attention that goes to the audio while a model reads questions, under five conditions (SWL Figure 1)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wheretolisten import jobs, log, provenance, store
from wheretolisten.config.probe import join
from wheretolisten.config.questions import CONDITIONS, AudioShare
from wheretolisten.config.settings import AnalysisSettings
from wheretolisten.engine.passes import Engine, Reading
from wheretolisten.files import sha256_of_file
from wheretolisten.questions.audio import load_recording, usable
from wheretolisten.questions.mmau import Item, read_items
from wheretolisten.steering.vectors import contrast


def main(argv: list[str] | None = None) -> None:
    """Read every question of a shard under all conditions, batch by batch, after the batches a killed job left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", required=True, help="model, wording, steering and treatment of items, JSON")
    parser.add_argument("--questions", type=Path, required=True, help="question set in MMAU's format, json")
    parser.add_argument("--audio", type=Path, required=True, help="folder that the set's audio paths start from")
    parser.add_argument("--first", type=int, required=True, help="first item of the shard")
    parser.add_argument("--stop", type=int, required=True, help="item after the last one of the shard")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--output", type=Path, required=True, help="shares of attention, HDF5")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    args = parser.parse_args(argv)
    logger = log.start("analyze_attention")
    settings = AnalysisSettings.from_json(args.settings)
    items = read_items(args.questions, args.first, args.stop, settings.splits, settings.on_bad_item)
    items = usable(items, args.audio, settings.max_seconds, settings.on_bad_item)
    batches = jobs.item_batches(items, settings.model.batch_samples)

    adapter, facts = jobs.load_model(settings.model, args.threads)
    engine = Engine(adapter, kernel=settings.readout.kernel)
    if items:
        example = load_recording(items[0], args.audio, settings.max_seconds)
        logger.info(engine.describe(settings.steering, example, _wording(settings.audio_share, items[0])))
    identity, attributes = provenance.of_job("analyze_attention", settings, {"questions": args.questions})
    audio = [(item.audio_id, sha256_of_file(args.audio / item.audio_id)) for item in items]
    attributes |= facts | {"first": args.first, "stop": args.stop, "conditions": list(CONDITIONS)}
    attributes["audio_digest"] = provenance.digest_of(audio)
    identity = provenance.digest_of(identity, args.first, args.stop, attributes["audio_digest"])
    result = jobs.Saver(store.PartedFile(args.output, store.AUDIO_SHARE, identity, attributes), engine.meter)

    def load(batch: jobs.ItemBatch) -> list[np.ndarray]:
        return [load_recording(item, args.audio, settings.max_seconds) for item in batch.items]

    for batch, recordings in jobs.unfinished(batches, result, engine.meter, load):
        readings = measure(engine, recordings, batch.items, settings)
        share = np.stack([readings[name].audio_share for name in CONDITIONS], axis=1)
        result.write(batch.number, _columns(batch.items, readings["original"].n_audio_tokens, share))
    if not items:
        logger.warning("none of the items %d to %d can be used", args.first, args.stop - 1)
        result.write(0, _columns([], np.zeros(0), np.zeros((0, len(CONDITIONS), adapter.n_layers))))
    result.merge(max(len(batches), 1))
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def measure(
    engine: Engine, recordings: Sequence[np.ndarray], items: Sequence[Item], settings: AnalysisSettings
) -> dict[str, Reading]:
    """One reading per condition, rows as items, each with `audio_share` [item, layer] (SWL Figure 1).

    The audio-based vectors are F_l(audio, q) − F_l(silence of equal length, q), and the same without any audio instead
    of silence (AVS, uniform λ); the instruction-based one is F_l(audio, p+ ⊕ q) − F_l(audio, p− ⊕ q) (SWL). All are
    taken at the last prompt token, and added while q alone is read.
    """
    wording = settings.audio_share
    queries = [_wording(wording, item) for item in items]
    heard = engine.hear(recordings)
    silence = [np.zeros_like(recording) for recording in recordings]
    original, prompted = (
        engine.read(heard, prompts, want_states=True, want_audio_share=True)
        for prompts in (queries, [join(wording.positive, query) for query in queries])
    )
    negative = engine.read(heard, [join(wording.negative, query) for query in queries], want_states=True)
    silent = engine.read(silence, queries, want_states=True)
    alone = engine.read([None] * len(queries), queries, want_states=True)
    vectors = {
        "audio_silence": contrast(original.states, silent.states),
        "audio_none": contrast(original.states, alone.states),
        "instruction": contrast(prompted.states, negative.states),
    }
    readings = {"original": original, "prompt_only": prompted}
    for name, of_items in vectors.items():
        readings[name] = engine.read(
            heard, queries, vectors=of_items, steering=settings.steering, want_audio_share=True
        )
    return readings


def _columns(items: Sequence[Item], n_audio_tokens: np.ndarray, share: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "item_id": np.array([item.item_id.encode() for item in items], dtype="S"),
        "audio_id": np.array([str(Path(item.audio_id)).encode() for item in items], dtype="S"),
        "n_audio_tokens": n_audio_tokens,
        "audio_share": share,
    }


def _wording(wording: AudioShare, item: Item) -> str:
    """The question q, with its choices."""
    return wording.item.format(question=item.question, choices=item.lettered)


if __name__ == "__main__":
    log.run(main)
