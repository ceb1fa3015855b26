"""Fitting the projector that is shipped, and scoring it."""

import itertools
import json
import logging
import platform
from pathlib import Path
from typing import Annotated

import torch
import transformers
from pydantic import BaseModel, ConfigDict, Field, model_validator

from wheretolisten.clips.procedural import LABELS
from wheretolisten.config.labels import Named
from wheretolisten.config.sections import UserPath
from wheretolisten.config.sounds import Esc50Library
from wheretolisten.files import sha256_of_file, write_text
from wheretolisten.models.adapter import Adapter
from wheretolisten.models.families import family_of
from wheretolisten.small import whisper
from wheretolisten.small.assembly import assemble
from wheretolisten.small.card import render_card
from wheretolisten.small.projector import HELD_OUT, PROJECTOR, Example, Projector, fit, hear
from wheretolisten.small.scores import score
from wheretolisten.tiny.recordings import (
    EVALUATION_CLIPS,
    TRAINING_CLIPS,
    ClipPool,
    other_takes,
    recorded_clips,
    synthesise_clips,
)

_EVALUATION_CLIPS = 10
"""Of each label, synthesised."""

logger = logging.getLogger(__name__)


class FittedRecordings(BaseModel):
    """A library laid out as ESC-50 whose recordings the projector is fitted on beside the synthesised sounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    csv: UserPath = Field(description="table with the columns filename, category and fold")
    audio: UserPath = Field(description="folder that holds the files")
    folds: list[int] = Field(default=[1, 2, 3, 4], min_length=1, description="all that the shipped projector knows")
    held_out: int = Field(default=4, description="the one of them that is scored by a projector that does not know it")
    words: Annotated[dict[str, str], Named] = Field(
        default_factory=dict, description="category → its name, where it has another"
    )
    spoken: dict[str, str] = Field(
        default_factory=dict,
        description="name → the word that the language model is given for it, where it has another",
    )
    takes: int = Field(default=6, ge=1, description="variants of each clip")
    mixed: int = Field(default=100, ge=1, description="recordings of one to four events that are mixed of each fold")

    @model_validator(mode="after")
    def _check_held_out(self) -> "FittedRecordings":
        if self.held_out not in self.folds or len(self.folds) < 2:
            raise ValueError(f"held_out is {self.held_out}; let it be one of the folds {self.folds}, which are several")
        return self

    def clips(self, fold: int) -> dict:
        """Clips of a fold by name."""
        return recorded_clips(Esc50Library(type="esc50", csv=self.csv, audio=self.audio, folds=[fold]), self.words)

    def held_out_pool(self) -> ClipPool:
        """Clips of the fold that is held out."""
        return ClipPool(self.clips(self.held_out), EVALUATION_CLIPS)


class FittingSettings(BaseModel):
    """What the projector is fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="of recordings and sounds")
    threads: int = Field(default=1, ge=1, description="processor cores; results depend on it in the last digits")
    clips_per_label: int = Field(default=60, ge=1, description="synthesised clips per label")
    mixed: int = Field(default=250, ge=1, description="recordings of one to four events that are mixed of them")
    scored: int = Field(default=40, ge=1, description="freshly drawn recordings for each set of scores")
    recordings: FittedRecordings | None = Field(default=None, description="real recordings beside them")


def fit_shipped(language_model: Path, folder: Path, settings: FittingSettings) -> None:
    """Fit the projector, score it, and write it with scores.json and the model card README.md into a folder.

    Where there are recordings, a second one that does not know the fold that is held out is fitted, scored and written,
    too.

    Parameters
    ----------
    language_model
        Folder with SmolLM2's checkpoint, as `convert_smollm2` writes it.
    folder
        Where to write.
    settings
        What it is fitted on.
    """
    encoder, _ = whisper.find()
    model, processor = assemble(language_model, encoder)
    adapter = Adapter("small-qwen2-audio", model.float(), processor, family_of("small_qwen2_audio"))
    projector, held_out = fit_projectors(adapter, settings)
    scores = {}
    pools = {"synthesised": (PROJECTOR, projector, lambda: evaluation_pool(settings.seed))}
    if held_out is not None:
        pools["recorded"] = (HELD_OUT, held_out, settings.recordings.held_out_pool)
    for name, (file, fitted, pool) in pools.items():
        fitted.save(folder / file)
        fitted.put_into(model, processor.tokenizer)
        scores[name] = score_on(adapter, pool(), settings)
        logger.info("scores, %s: %s", name, scores[name])
    content = {
        "words": projector.words,
        "scores": scores,
        "settings": settings.model_dump(exclude={"recordings": {"csv", "audio"}}),
        "digest": sha256_of_file(folder / PROJECTOR),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    write_text(folder / "scores.json", json.dumps(content, indent=2) + "\n")
    write_text(folder / "README.md", render_card(content, adapter))


def fit_projectors(adapter: Adapter, settings: FittingSettings) -> tuple[Projector, Projector | None]:
    """The projector, and where there are recordings one that does not know the fold that is held out.

    Parameters
    ----------
    adapter
        The model, of whose projector nothing is used.
    settings
        What they are fitted on.
    """
    torch.set_num_threads(settings.threads)
    seed, recordings, rate = settings.seed, settings.recordings, adapter.tokens_per_second

    def heard(pool: ClipPool, n_recordings: int) -> list[Example]:
        return hear(adapter.model, adapter.processor, pool, n_recordings, seed)

    clips = synthesise_clips(list(LABELS), settings.clips_per_label, TRAINING_CLIPS, seed)
    synthesised = heard(ClipPool(clips, TRAINING_CLIPS), settings.mixed)
    if recordings is None:
        return fit(synthesised, rate, {}), None
    recorded = {}
    for fold in recordings.folds:
        takes = other_takes(recordings.clips(fold), recordings.takes, TRAINING_CLIPS + fold, seed)
        recorded[fold] = heard(ClipPool(takes, TRAINING_CLIPS + fold, recorded=True), recordings.mixed)
        logger.info("heard fold %d", fold)
    everything = [*synthesised, *itertools.chain(*recorded.values())]
    del recorded[recordings.held_out]
    known = [*synthesised, *itertools.chain(*recorded.values())]
    return fit(everything, rate, recordings.spoken), fit(known, rate, recordings.spoken)


def evaluation_pool(seed: int) -> ClipPool:
    """Synthesised clips that nothing is fitted on."""
    return ClipPool(synthesise_clips(list(LABELS), _EVALUATION_CLIPS, EVALUATION_CLIPS, seed), EVALUATION_CLIPS)


def score_on(adapter: Adapter, pool: ClipPool, settings: FittingSettings) -> dict[str, float]:
    """Scores of a model on clips that its projector was not fitted on (see `scores.score`)."""
    spoken = settings.recordings.spoken if settings.recordings else {}
    return score(adapter, pool, spoken, settings.scored, settings.seed)
