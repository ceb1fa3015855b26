"""Tiny LALMs: real model classes, small enough to be trained on two processor cores on synthesised sounds.

They are model organisms: what they hear is known exactly, so they show whether the workflow works. Their numbers say
nothing about large models.
"""

import json
import logging
import platform
from pathlib import Path
from typing import Annotated

import torch
import transformers
from pydantic import BaseModel, ConfigDict, Field

from wheretolisten.clips.procedural import LABELS
from wheretolisten.config.labels import Named
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.config.sections import UserPath
from wheretolisten.config.sounds import Esc50Library
from wheretolisten.files import sha256_of_file, write_text
from wheretolisten.tiny.architecture import build_model, build_processor, save_checkpoint
from wheretolisten.tiny.card import render_card
from wheretolisten.tiny.evaluation import evaluate
from wheretolisten.tiny.probe import probe
from wheretolisten.tiny.recordings import (
    EVALUATION_CLIPS,
    TRAINING_CLIPS,
    TUNING_CLIPS,
    ClipPool,
    blends,
    other_takes,
    recorded_clips,
    synthesise_clips,
)
from wheretolisten.tiny.trainer import Trainer

logger = logging.getLogger(__name__)

# What the probe is tried with after training.
_SCALES = (0.05, 0.1, 0.2, 0.4)
_INFERENCE_PROMPTS = (PROMPTS["inference"], PROMPTS["negative"])


class RealRecordings(BaseModel):
    """A library laid out as ESC-50 whose recordings are trained on beside the synthesised sounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    csv: UserPath = Field(description="table with the columns filename, category and fold")
    audio: UserPath = Field(description="folder that holds the files")
    training_folds: list[int] = Field(default=[1, 2, 3], min_length=1)
    validation_folds: list[int] = Field(default=[4], min_length=1)
    words: Annotated[dict[str, str], Named] = Field(
        default_factory=dict, description="category → its name, where it has another"
    )
    ears_share: float = Field(default=0.6, gt=0, lt=1, description="share of mixtures of them in ears on recordings")
    blended: float = Field(default=0.5, ge=0, lt=1, description="share of blends there, taken from the whole first")
    blends: int = Field(default=10, ge=1, description="blends of each training clip, told by their texture alone")
    hear_share: float = Field(default=0.5, gt=0, lt=1, description="share of mixtures of them in hear")
    misheard: float = Field(default=0.4, ge=0, le=1, description="share of events in hear that partly sound otherwise")
    takes: int = Field(default=20, ge=1, description="variants of each training clip, made before training on sound")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout in the audio encoder during training")
    ears_steps: int = Field(default=3000, ge=1, description="steps of the encoder on them, after those without them")
    hear_ears_peak: float = Field(
        default=1e-4, gt=0, description="highest rate of the encoder in hear, if recordings are heard"
    )
    average: float = Field(default=0.98, ge=0, lt=1, description="decay of the running mean of weights that is kept")
    # They are taken from some 700 events; asked for more, training would end in an error after an hour.
    texture_components: int = Field(default=24, ge=1, le=384, description="principal components of texture statistics")
    texture_weight: float = Field(default=1.0, ge=0, description="weight of telling texture statistics of the sound")

    def clips(self, folds: list[int]) -> dict:
        """Clips of some folds by name."""
        return recorded_clips(Esc50Library(type="esc50", csv=self.csv, audio=self.audio, folds=folds), self.words)


class TinyTrainingSettings(BaseModel):
    """How a tiny LALM is trained; `SHIPPED` holds the settings of the shipped models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="seed of weights, recordings and sounds")
    threads: int = Field(default=1, ge=1, description="processor cores; results depend on it in the last digits")
    batch_size: int = Field(default=16, ge=1, description="recordings per step")
    questions: int = Field(default=8, ge=1, description="questions about each recording")
    blocks: int = Field(default=4, ge=2, description="decoder blocks of the text stack")
    reader_blocks: int = Field(default=1, ge=1, description="how many of them, at its end, learn first")
    listen_steps: int = Field(default=250, ge=1, description="steps of the reader alone on short written recordings")
    listen_long_steps: int = Field(default=600, ge=1, description="steps of the reader alone at real length")
    understand_steps: int = Field(default=300, ge=1, description="most steps of the lower blocks per kind of question")
    understand_long_steps: int = Field(default=300, ge=1, description="most steps of the lower blocks at real length")
    enough: float = Field(default=0.97, gt=0, description="accuracy that ends a stage of the lower blocks early")
    speak_steps: int = Field(default=350, ge=1, description="steps of the whole text stack on written recordings")
    ears_steps: int = Field(default=800, ge=1, description="steps of the audio encoder alone")
    hear_steps: int = Field(default=600, ge=1, description="steps on sound")
    peak: float = Field(default=1e-3, gt=0, description="highest learning rate of the text stack while it grows")
    speak_peak: float = Field(default=7e-4, gt=0, description="highest learning rate of lower blocks and words")
    speak_reader_peak: float = Field(default=7e-5, gt=0, description="highest learning rate of the reader beside them")
    ears_peak: float = Field(default=2e-3, gt=0, description="highest learning rate of the audio encoder on its own")
    hear_peak: float = Field(default=3e-4, gt=0, description="highest learning rate of lower blocks and words on sound")
    hear_reader_peak: float = Field(default=3e-4, gt=0, description="highest learning rate of the reader beside them")
    hear_ears_peak: float = Field(default=5e-4, gt=0, description="highest learning rate of the encoder on questions")
    regression_weight: float = Field(default=1.0, ge=0, description="weight of the regression onto written recordings")
    warmup_steps: int = Field(default=30, ge=1, description="steps of linear warm-up in every stage")
    gapless_short: float = Field(default=1.0, ge=0, le=1, description="share of the shortest recordings without gaps")
    gapless_long: float = Field(default=0.8, ge=0, le=1, description="share of written long ones without gaps")
    gapless_heard: float = Field(default=0.0, ge=0, le=1, description="share of recordings without gaps in hear")
    symbol_noise: float = Field(default=0.2, ge=0, description="noise on written recordings, relative to their spread")
    recordings: RealRecordings | None = Field(default=None, description="real recordings to train on as well")
    clips_per_label: int = Field(default=150, ge=1, description="synthesised training clips per label")
    evaluation_recordings: int = Field(default=200, ge=1, description="freshly drawn recordings for the scores")
    evaluation_clips_per_label: int = Field(default=30, ge=1, description="synthesised evaluation clips per label")
    tuning_recordings: int = Field(default=60, ge=2, description="freshly drawn recordings for the probe")
    tuning_clips_per_label: int = Field(default=20, ge=1, description="synthesised tuning clips per label")
    log_every: int = Field(default=25, ge=1, description="steps between log lines")


SHIPPED = {
    "qwen2_audio": TinyTrainingSettings(),
    # With fewer key-value heads, its reader would begin to look at the noise between sounds again.
    "audio_flamingo_3": TinyTrainingSettings(hear_steps=800, hear_reader_peak=3e-5, gapless_heard=0.8),
}
"""Settings of the shipped models by family."""


def train(family: str, folder: Path, settings: TinyTrainingSettings) -> dict:
    """Train a tiny LALM and write weights, processor, scores.json and the model card README.md into a folder.

    Stages that an interrupted run completed are taken from `folder/training.pt`, which is removed at the end.

    Parameters
    ----------
    family
        "qwen2_audio" or "audio_flamingo_3".
    folder
        The checkpoint directory to write.
    settings
        Curriculum and seeds.

    Returns
    -------
    The content of scores.json.

    Raises
    ------
    UserError
        For an unknown family, a library of recordings that cannot be read, or a label of more than one word.
    """
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    real, validation = {}, {}
    if settings.recordings is not None:
        real = settings.recordings.clips(settings.recordings.training_folds)
        validation = settings.recordings.clips(settings.recordings.validation_folds)
        logger.info("%d real recordings of %d labels to train on", sum(map(len, real.values())), len(real))
    labels = [*LABELS, *sorted(set(real) - set(LABELS))]
    processor = build_processor(family, labels)
    dropout = settings.recordings.dropout if settings.recordings else 0.0
    model = build_model(family, processor, settings.seed, settings.blocks, dropout)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    logger.info("%s: %d parameters, %d tokens", family, parameters, len(processor.tokenizer))
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "training.pt"
    trainer = Trainer(model, processor, labels, settings, checkpoint)

    def synthesised(purpose: int, clips_per_label: int) -> ClipPool:
        return ClipPool(synthesise_clips(list(LABELS), clips_per_label, purpose, settings.seed), purpose)

    def training_pools() -> list[ClipPool]:
        pools = [synthesised(TRAINING_CLIPS, settings.clips_per_label)]
        if real:
            takes = other_takes(real, settings.recordings.takes, TRAINING_CLIPS, settings.seed)
            blended = blends(real, settings.recordings.blends, TRAINING_CLIPS, settings.seed)
            pools.extend(ClipPool(clips, TRAINING_CLIPS, recorded=True) for clips in (takes, blended))
        return pools

    trainer.run(training_pools)
    trainer.untie()
    save_checkpoint(model, processor, folder)
    pool = synthesised(EVALUATION_CLIPS, settings.evaluation_clips_per_label)
    tasks = evaluate(model, processor, pool, settings.evaluation_recordings, settings.seed)
    logger.info("scores on fresh sounds: %s", tasks)
    of_real = None
    if validation:
        pool = ClipPool(validation, EVALUATION_CLIPS)
        of_real = evaluate(model, processor, pool, settings.evaluation_recordings, settings.seed)
        logger.info("scores on real recordings held out: %s", of_real)
    pool = synthesised(TUNING_CLIPS, settings.tuning_clips_per_label)
    overlaps = probe(folder, pool, settings.tuning_recordings, _SCALES, _INFERENCE_PROMPTS, settings.seed)
    scores = {
        "model": family,
        "digest": sha256_of_file(folder / "model.safetensors"),
        "parameters": parameters,
        "tasks": tasks,
        "tasks_on_real_recordings": of_real,
        "probe": overlaps,
        "evaluation_recordings": settings.evaluation_recordings,
        "settings": settings.model_dump(),
        "training_minutes": round(trainer.seconds / 60, 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    write_text(folder / "scores.json", json.dumps(scores, indent=2) + "\n")
    write_text(folder / "README.md", render_card(scores, model, processor))
    checkpoint.unlink(missing_ok=True)
    return scores
