"""Curriculum of the tiny LALMs: a language model first, ears later.

Stage "bare": the text stack reads very short recordings written out as words, one word per audio token, and learns
from the shortest questions to match a named sound with its place. Stages "short" and "long": the same with the real
questions, then at real length. Stage "ears": the audio encoder alone learns to project sound onto what the text stack
already reads. Stage "audio": it goes on doing so while everything is trained on the questions.
"""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, ProcessorMixin
from transformers.masking_utils import create_bidirectional_mask

from wheretolisten.config import SAMPLING_RATE
from wheretolisten.files import atomic_path
from wheretolisten.models.tiny_architecture import INITIALIZER_RANGE, sinusoids
from wheretolisten.models.tiny_language import GAP_WORD, ask, ask_bare
from wheretolisten.models.tiny_packing import Pack, Packer
from wheretolisten.models.tiny_recordings import ClipPool, Recording, draw_long, draw_short, draw_shortest

logger = logging.getLogger(__name__)

# Share of each task among the questions of a stage.
_BARE_TASKS = {"existence": 0.4, "order": 0.15, "part": 0.2, "next": 0.15, "previous": 0.1}
_SHORT_TASKS = {
    "existence": 0.2,
    "order": 0.12,
    "part": 0.25,
    "onset": 0.1,
    "direct": 0.05,
    "caption": 0.08,
    "next": 0.1,
    "previous": 0.1,
}
_ALL_TASKS = {
    "existence": 0.25, "order": 0.17, "part": 0.15, "direct": 0.15, "caption": 0.08,
    "onset": 0.06, "duration": 0.04, "next": 0.04, "previous": 0.04, "count": 0.02,
}  # fmt: skip

_WRITTEN = {"bare": draw_shortest, "short": draw_short, "long": draw_long}


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum: how long, how fast, on what.

    `peak` is the text stack's highest learning rate, 0 where it rests; the encoder's is `audio_peak`, 0 in stages
    without sound.
    """

    name: str
    steps: int
    batch_size: int
    peak: float
    audio_peak: float
    tasks: dict[str, float]


class Transcriber(nn.Module):
    """Embeds a recording as words plus positions: what the text stack expects of the audio encoder's output."""

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, labels: Sequence[str]) -> None:
        super().__init__()
        words = [f" {word}" for word in [*labels, GAP_WORD]]
        ids = [processor.tokenizer.encode(word, add_special_tokens=False) for word in words]
        self._index = {label: index for index, label in enumerate(labels)} | {None: len(labels)}
        hidden = model.config.text_config.hidden_size
        self.register_buffer("word_ids", torch.tensor([row[0] for row in ids]), persistent=False)
        self.register_buffer("table", sinusoids(256, hidden), persistent=False)
        self.scale = nn.Parameter(torch.tensor(INITIALIZER_RANGE))
        self._embeddings = [model.get_input_embeddings()]

    def forward(self, recordings: Sequence[Recording], n_tokens: Sequence[int]) -> torch.Tensor:
        """Embeddings of all recordings' audio tokens, concatenated [audio_token, hidden]."""
        words, places = [], []
        for recording, count in zip(recordings, n_tokens, strict=True):
            words.extend(self._index[label] for label in recording.token_labels(count))
            places.extend(range(count))
        embedded = self._embeddings[0](self.word_ids[torch.tensor(words)])
        return embedded + self.scale * self.table[torch.tensor(places)]


def count_audio_tokens(seconds: float, hop_length: int) -> int:
    """Audio tokens of a recording, as both processors count them."""
    mel_frames = -(-round(seconds * SAMPLING_RATE) // hop_length)
    return ((mel_frames - 1) // 2 + 1 - 2) // 2 + 1


def embed_audio(model: PreTrainedModel, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Projected audio embeddings of a batch without padding, concatenated [audio_token, hidden].

    Parameters
    ----------
    model
        Either family.
    features
        Log-mel [recording, mel_bin, mel_frame].
    mask
        1 on real mel frames [recording, mel_frame].
    """
    core = model.model
    if hasattr(core, "get_audio_features"):
        return core.get_audio_features(features, mask, return_dict=True).pooler_output
    frames, tokens = core.audio_tower._get_feat_extract_output_lengths(mask.sum(-1))
    valid = torch.arange((features.shape[-1] - 2) // 2 + 1)[None, :] < frames[:, None]
    dummy = torch.zeros(*valid.shape, 1)
    attention = create_bidirectional_mask(core.audio_tower.config, inputs_embeds=dummy, attention_mask=valid.long())
    projected = core.multi_modal_projector(core.audio_tower(features, attention_mask=attention).last_hidden_state)
    return projected[torch.arange(projected.shape[1])[None, :] < tokens[:, None]]


def answer_logits(model: PreTrainedModel, pack: Pack, audio: torch.Tensor) -> torch.Tensor:
    """Logits of every answer token of a pack [answer_token, vocabulary]."""
    embeddings = model.get_input_embeddings()(pack.ids)
    embeddings = embeddings.masked_scatter(pack.is_audio[..., None], audio)
    states = model.model.language_model(
        inputs_embeds=embeddings, attention_mask=pack.mask, position_ids=pack.positions, use_cache=False
    ).last_hidden_state
    return model.lm_head(states[pack.places[0], pack.places[1]])


class Trainer:
    """Trains one model through the stages; keeps a checkpoint after each, so that an interrupted run continues.

    Parameters
    ----------
    model, processor
        From `build_model`, `build_processor`.
    labels
        All labels.
    settings
        See `TinyTrainingSettings`.
    checkpoint
        Where the state after the last complete stage is kept.

    Attributes
    ----------
    seconds
        Time spent in complete stages, those of an interrupted run included.
    """

    def __init__(self, model, processor, labels: Sequence[str], settings, checkpoint: Path | None = None) -> None:
        self.model, self.processor, self.labels, self.settings = model, processor, list(labels), settings
        # Tied while training; saved as two equal matrices, because the classes declare no tied weights.
        model.lm_head.weight = model.get_input_embeddings().weight
        self.transcriber = Transcriber(model, processor, labels)
        self.packer, self.bare_packer = Packer(processor), Packer(processor, bare=True)
        self.checkpoint = checkpoint
        self._fingerprint = settings.model_dump_json()
        self.seconds = 0.0
        self.hop_length = processor.feature_extractor.hop_length

    def run(self, pool: Callable[[], ClipPool]) -> None:
        """Run all stages; `pool` is called when the audio stage begins."""
        settings = self.settings
        size, peak = settings.batch_size, settings.peak
        stages = [
            # Bare questions are so short that four times as many cost the same.
            Stage("bare", settings.bare_steps, 4 * size, peak, 0.0, _BARE_TASKS),
            Stage("short", settings.short_steps, size, peak, 0.0, _SHORT_TASKS),
            Stage("long", settings.long_steps, size, peak, 0.0, _ALL_TASKS),
            Stage("ears", settings.ears_steps, size, 0.0, settings.ears_peak, {}),
            Stage("audio", settings.audio_steps, size, settings.audio_text_peak, settings.audio_peak, _ALL_TASKS),
        ]
        done, started = self._resume(), time.monotonic()
        for index, stage in enumerate(stages):
            if index < done:
                continue
            clips = pool() if stage.audio_peak else None
            self._train(stage, index, clips)
            self.seconds += time.monotonic() - started
            started = time.monotonic()
            self._save(index + 1)

    def untie(self) -> None:
        """Give the output matrix its own copy of the embeddings, as the classes expect it in a file."""
        self.model.lm_head.weight = nn.Parameter(self.model.get_input_embeddings().weight.detach().clone())

    def _train(self, stage: Stage, index: int, clips: ClipPool | None) -> None:
        settings, model = self.settings, self.model
        rng = np.random.default_rng(np.random.SeedSequence([settings.seed, index, 0x57A6E]))
        torch.manual_seed(settings.seed * 10 + index)
        ears = [*model.model.audio_tower.parameters(), *model.model.multi_modal_projector.parameters()]
        ears = [parameter for parameter in ears if parameter.requires_grad]
        text = [*model.model.language_model.parameters(), self.transcriber.scale]
        groups = [{"params": text, "peak": stage.peak}, {"params": ears, "peak": stage.audio_peak}]
        groups = [group for group in groups if group["peak"]]
        optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
        recent: dict[str, deque] = defaultdict(lambda: deque(maxlen=400))
        losses, started = deque(maxlen=50), time.monotonic()
        model.train()
        for step in range(stage.steps):
            factor = _schedule(step, stage.steps, settings.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            loss = self._loss(stage, clips, rng, recent, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            losses.append(loss.item())
            if (step + 1) % settings.log_every == 0 or step + 1 == stage.steps:
                scores = " ".join(f"{task} {np.mean(hits):.2f}" for task, hits in sorted(recent.items()))
                seconds = time.monotonic() - started
                logger.info("%s %d loss %.3f %.0f s | %s", stage.name, step + 1, np.mean(losses), seconds, scores)
        model.eval()

    def _loss(self, stage: Stage, clips: ClipPool | None, rng, recent, step: int) -> torch.Tensor:
        settings = self.settings
        if clips is None:
            draw = _WRITTEN[stage.name]
            recordings = [draw(self.labels, rng) for _ in range(stage.batch_size)]
            counts = [count_audio_tokens(recording.seconds, self.hop_length) for recording in recordings]
            audio = self.transcriber(recordings, counts)
            audio = audio + settings.symbol_noise * audio.detach().std() * torch.randn_like(audio)
            regression = 0.0
        else:
            pairs = [clips.draw(rng) for _ in range(stage.batch_size)]
            recordings = [recording for recording, _ in pairs]
            counts = [count_audio_tokens(recording.seconds, self.hop_length) for recording in recordings]
            features, mask = mel_features(self.processor, [sound for _, sound in pairs])
            audio = embed_audio(self.model, features, mask)
            target = self.transcriber(recordings, counts).detach()
            regression = (audio - target).square().mean() / target.square().mean()
            recent["regression"].append(float(regression.detach()))
            if not stage.peak:
                return regression
        tasks, shares = list(stage.tasks), list(stage.tasks.values())
        draw_question = ask_bare if stage.name == "bare" else ask
        questions = [
            [
                draw_question(tasks[k], recording.events, self.labels, rng)
                for k in rng.choice(len(tasks), settings.questions, p=shares)
            ]
            for recording in recordings
        ]
        packer = self.bare_packer if stage.name == "bare" else self.packer
        pack = packer.pack(counts, questions)
        logits = answer_logits(self.model, pack, audio)
        hits = (logits[pack.keys].argmax(-1) == pack.targets[pack.keys]).tolist()
        for task, hit in zip(pack.tasks, hits, strict=True):
            recent[task].append(hit)
        answers = (nn.functional.cross_entropy(logits, pack.targets, reduction="none") * pack.weights).sum()
        return answers + settings.regression_weight * regression

    def _save(self, done: int) -> None:
        if self.checkpoint is not None:
            state = {
                "done": done,
                "settings": self._fingerprint,
                "seconds": self.seconds,
                "model": self.model.state_dict(),
                "transcriber": self.transcriber.state_dict(),
            }
            with atomic_path(self.checkpoint) as path:
                torch.save(state, path)

    def _resume(self) -> int:
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0
        state = torch.load(self.checkpoint, weights_only=True)
        if state.get("settings") != self._fingerprint:
            logger.warning("%s was left by a run with other settings; training starts anew", self.checkpoint)
            return 0
        self.model.load_state_dict(state["model"])
        self.transcriber.load_state_dict(state["transcriber"])
        self.seconds = state["seconds"]
        logger.info("continue after stage %d from %s", state["done"], self.checkpoint)
        return state["done"]


def mel_features(processor: ProcessorMixin, sounds: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-mel features and their mask, padded to the longest input that the processor takes."""
    batch = processor.feature_extractor(
        list(sounds), sampling_rate=SAMPLING_RATE, return_attention_mask=True, padding="max_length", return_tensors="pt"
    )
    return batch["input_features"], batch["attention_mask"]


def _schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a straight line down to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    return 1.0 - 0.9 * (step - warmup) / max(1, steps - warmup)
