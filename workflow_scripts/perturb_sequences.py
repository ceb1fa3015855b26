"""Compose the samples of one shard of sequences, with noise that moves a model's windows, or random noise as strong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wheretolisten import arguments, log
from wheretolisten.clips.pcm import as_heard, quantise
from wheretolisten.clips.randomness import generator
from wheretolisten.config.layers import select_layers
from wheretolisten.config.settings import PerturbingSettings
from wheretolisten.engine import perturbing, selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.examples.absent import absent_sounds, read_vocabulary
from wheretolisten.examples.writing import write_samples
from wheretolisten.localization.windows import layer_weights, window_width


def main(argv: list[str] | None = None) -> None:
    """Write the shard's audio folder, then its table."""
    args = arguments.parse(
        __doc__,
        argv,
        settings=PerturbingSettings.from_json,
        clips=Path,
        first=int,
        stop=int,
        threads=int,
        shard=Path,
        audio=Path,
    )
    logger = log.start("perturb_sequences")
    settings, vocabulary = args.settings, read_vocabulary(args.clips)
    torch.set_num_threads(args.threads)
    engine = None if settings.model is None else Engine(selfcheck.load(settings.model), text_rows=settings.text_rows)

    def perturbed(events: Sequence[Mapping[str, Any]], pcm: np.ndarray) -> np.ndarray:
        recording, sample_id, snr_db = as_heard(pcm), events[0]["sample_id"], settings.perturbation.snr_db
        if engine is None:
            rng = generator("perturbation", settings.composition.seed, sample_id)
            return quantise(recording + perturbing.random_noise(recording, snr_db, rng))
        absent = absent_sounds(sample_id, events, vocabulary, settings.localization.n_absent)
        if not absent:
            raise UserError(
                f"sample {sample_id} holds every sound that there is, so that there is no window to move that is held "
                "against absent ones; add sounds, or lower composition.n_events"
            )
        engine.adapter.check_length(len(recording), f"sample {sample_id}")
        loss = _loss(engine, recording, events, absent, settings)
        steps, device = settings.perturbation.steps, engine.adapter.device
        noise, losses = perturbing.adversarial_noise(loss, recording, snr_db, steps, device)
        logger.info("sample %s: loss %.3f, %.3f after %d gradients", sample_id, losses[0], min(losses), len(losses) - 1)
        return quantise(recording + noise)

    write_samples(settings.composition, args.clips, range(args.first, args.stop), args.shard, args.audio, perturbed)


def _loss(
    engine: Engine,
    recording: np.ndarray,
    events: Sequence[Mapping[str, Any]],
    absent: Sequence[Mapping[str, str]],
    settings: PerturbingSettings,
) -> perturbing.Loss:
    asked = [
        settings.prompt.format(label=settings.wording.of(each["label"], each["domain"])) for each in [*events, *absent]
    ]
    rate, scored = engine.adapter.tokens_per_second, settings.localization
    n_scored = len(select_layers(scored.layers, engine.adapter.n_layers))
    return perturbing.loss_of_windows(
        engine.attention_to(recording, asked),
        [(each["onset"] * rate, each["offset"] * rate) for each in events],
        [window_width(each["duration"], rate) for each in events],
        scored,
        layer_weights(n_scored, scored.layer_weights),
    )


if __name__ == "__main__":
    log.run(main)
