"""Tiny LALMs: real model classes, small enough to be trained on two processor cores on synthesised sounds.

They are model organisms: what they hear is known exactly, so they show whether the workflow works. Their numbers say
nothing about large models.
"""

import json
import logging
import platform
from pathlib import Path

import torch
import transformers
from pydantic import BaseModel, ConfigDict, Field

from wheretolisten.clips.procedural import LABELS
from wheretolisten.files import sha256_of_file, write_text
from wheretolisten.models.tiny_architecture import build_model, build_processor, save_checkpoint
from wheretolisten.models.tiny_card import render_card
from wheretolisten.models.tiny_evaluation import evaluate
from wheretolisten.models.tiny_recordings import EVALUATION_CLIPS, TRAINING_CLIPS, ClipPool
from wheretolisten.models.tiny_training import Trainer

logger = logging.getLogger(__name__)


class TinyTrainingSettings(BaseModel):
    """How a tiny LALM is trained; the defaults are those of the shipped models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="seed of weights, recordings and sounds")
    threads: int = Field(default=1, ge=1, description="processor cores; results depend on it in the last digits")
    batch_size: int = Field(default=16, ge=1, description="recordings per step")
    questions: int = Field(default=8, ge=1, description="questions about each recording")
    bare_steps: int = Field(default=400, ge=0, description="steps on the shortest questions about written recordings")
    short_steps: int = Field(default=400, ge=0, description="steps on short recordings written as words")
    long_steps: int = Field(default=400, ge=0, description="steps on recordings of real length written as words")
    ears_steps: int = Field(default=600, ge=0, description="steps of the audio encoder alone, onto written recordings")
    audio_steps: int = Field(default=250, ge=0, description="steps on sound")
    peak: float = Field(default=1e-3, gt=0, description="highest learning rate of the text stack before it hears sound")
    ears_peak: float = Field(default=2e-3, gt=0, description="highest learning rate of the audio encoder on its own")
    audio_text_peak: float = Field(default=3e-4, gt=0, description="highest learning rate of the text stack on sound")
    audio_peak: float = Field(default=5e-4, gt=0, description="highest learning rate of the encoder beside the text")
    warmup_steps: int = Field(default=50, ge=1, description="steps of linear warm-up in every stage")
    symbol_noise: float = Field(default=0.2, ge=0, description="noise on written recordings, relative to their spread")
    regression_weight: float = Field(default=1.0, ge=0, description="weight of the regression onto written recordings")
    clips_per_label: int = Field(default=150, ge=1, description="synthesised training clips per label")
    evaluation_recordings: int = Field(default=200, ge=1, description="freshly drawn recordings for the scores")
    evaluation_clips_per_label: int = Field(default=30, ge=1, description="synthesised evaluation clips per label")
    log_every: int = Field(default=25, ge=1, description="steps between log lines")


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
        For an unknown family.
    """
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    labels = list(LABELS)
    processor = build_processor(family, labels)
    model = build_model(family, processor, settings.seed)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    logger.info("%s: %d parameters, %d tokens", family, parameters, len(processor.tokenizer))
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "training.pt"
    trainer = Trainer(model, processor, labels, settings, checkpoint)
    trainer.run(lambda: ClipPool(labels, settings.clips_per_label, TRAINING_CLIPS, settings.seed))
    trainer.untie()
    save_checkpoint(model, processor, folder)
    pool = ClipPool(labels, settings.evaluation_clips_per_label, EVALUATION_CLIPS, settings.seed)
    tasks = evaluate(model, processor, pool, settings.evaluation_recordings, settings.seed)
    scores = {
        "model": family,
        "digest": sha256_of_file(folder / "model.safetensors"),
        "parameters": parameters,
        "tasks": tasks,
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
    logger.info("scores on fresh sounds: %s", tasks)
    return scores
