"""Takes a tiny LALM through its curriculum."""

import contextlib
import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedModel, ProcessorMixin
from transformers.masking_utils import create_bidirectional_mask

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path
from wheretolisten.tiny.architecture import INITIALIZER_RANGE, sinusoids
from wheretolisten.tiny.curriculum import Stage, stages
from wheretolisten.tiny.language import GAP_WORD, ask, ask_bare
from wheretolisten.tiny.packing import Pack, Packer
from wheretolisten.tiny.recordings import ClipPool, Recording, mishear
from wheretolisten.tiny.textures import TextureHead

logger = logging.getLogger(__name__)

# Recordings by which the texture statistics are standardised.
_STANDARD_RECORDINGS = 256
# Answers over which the accuracy of a task is watched.
_RECENT = 250


class Transcriber(nn.Module):
    """Writes a recording: the word of its label plus its place in time for every audio token.

    What all audio tokens have in common lets a query tell the sound of a dog from the word.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, labels: Sequence[str]) -> None:
        super().__init__()
        words = [f" {word}" for word in [*labels, GAP_WORD]]
        ids = [processor.tokenizer.encode(word, add_special_tokens=False) for word in words]
        for word, tokens in zip(words, ids, strict=True):
            if len(tokens) != 1:
                raise UserError(
                    f"the label {word.strip()!r} is {len(tokens)} tokens; rename it to one word in recordings.words"
                )
        self._index = {label: index for index, label in enumerate(labels)} | {None: len(labels)}
        hidden = model.config.text_config.hidden_size
        self.register_buffer("word_ids", torch.tensor([row[0] for row in ids]), persistent=False)
        self.register_buffer("table", sinusoids(256, hidden), persistent=False)
        self.scale = nn.Parameter(torch.tensor(INITIALIZER_RANGE))
        self.common = nn.Parameter(INITIALIZER_RANGE * torch.randn(hidden))
        self._embeddings = [model.get_input_embeddings()]

    def forward(self, token_labels: Sequence[Sequence[str | None]]) -> torch.Tensor:
        """Embeddings of all recordings' audio tokens, concatenated [audio_token, hidden].

        `token_labels` holds the label of each audio token, None in gaps: [recording][audio_token].
        """
        places = [place for row in token_labels for place in range(len(row))]
        return self.words(token_labels) + self.scale * self.table[torch.tensor(places)] + self.common

    def words(self, token_labels: Sequence[Sequence[str | None]]) -> torch.Tensor:
        """The words alone of what `forward` writes, [audio_token, hidden]."""
        indices = [self._index[label] for row in token_labels for label in row]
        return self._embeddings[0](self.word_ids[torch.tensor(indices)])


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


@contextlib.contextmanager
def audio_states_at(
    block: nn.Module, is_audio: torch.Tensor, written: torch.Tensor | None = None
) -> Iterator[list[torch.Tensor]]:
    """Collect the audio tokens' states [audio_token, hidden] at the input of a block.

    `written`, of the same shape, is added to them first: a recording that enters the text stack here. `is_audio`
    [recording, token] says which tokens are audio.
    """
    collected: list[torch.Tensor] = []

    def enter(module, arguments, keywords):
        keywords = dict(keywords)
        states = arguments[0] if arguments else keywords.pop("hidden_states")
        if written is not None:
            states = states + torch.zeros_like(states).masked_scatter(is_audio[..., None], written)
        collected.append(states[is_audio])
        return (states,), keywords

    with block.register_forward_pre_hook(enter, with_kwargs=True):
        yield collected


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
        torch.manual_seed(settings.seed)
        self.transcriber = Transcriber(model, processor, labels)
        self.checkpoint = checkpoint
        self._fingerprint = settings.model_dump_json()
        self.seconds = 0.0
        self.hop_length = processor.feature_extractor.hop_length
        stack = model.model.language_model
        self._n_lower = len(stack.layers) - settings.reader_blocks
        lower, reader = stack.layers[: self._n_lower], stack.layers[self._n_lower :]
        self._parts = {
            "words": [*stack.embed_tokens.parameters(), *self.transcriber.parameters()],
            "lower": list(lower.parameters()),
            "reader": [*reader.parameters(), *stack.norm.parameters()],
            "ears": [*model.model.audio_tower.parameters(), *model.model.multi_modal_projector.parameters()],
        }
        # The encoder's table of positions is fixed.
        self._parts["ears"] = [parameter for parameter in self._parts["ears"] if parameter.requires_grad]
        self.textures = None
        if settings.recordings is not None:
            width = model.model.audio_tower.config.hidden_size
            self.textures = TextureHead(width, settings.recordings.texture_components)
            self._parts["ears"].extend(self.textures.parameters())
        with torch.no_grad():
            for block in lower:  # lower blocks begin as the identity, so that the reader sees what it was trained on
                block.self_attn.o_proj.weight.zero_()
                block.mlp.down_proj.weight.zero_()

    def run(self, pools: Callable[[], Sequence[ClipPool]]) -> None:
        """Run all stages; `pools`, called when the first with sound begins, gives the clips.

        The synthesised ones, and where real recordings are trained on, those and their blends.
        """
        done, started, clips = self._resume(), time.monotonic(), None
        for index, stage in enumerate(stages(self.settings)):
            if index < done:
                continue
            if stage.draw is None and clips is None:
                clips = pools()
            self._train(stage, index, clips)
            self.seconds += time.monotonic() - started
            started = time.monotonic()
            self._save(index + 1)

    def untie(self) -> None:
        """Give the output matrix its own copy of the embeddings, as the classes expect it in a file."""
        self.model.requires_grad_(True)
        self.model.lm_head.weight = nn.Parameter(self.model.get_input_embeddings().weight.detach().clone())

    def _train(self, stage: Stage, index: int, clips: Sequence[ClipPool] | None) -> None:
        settings, model = self.settings, self.model
        rng = np.random.default_rng(np.random.SeedSequence([settings.seed, index, 0x57A6E]))
        torch.manual_seed(settings.seed * 100 + index)
        for part, parameters in self._parts.items():
            for parameter in parameters:
                parameter.requires_grad_(part in stage.peaks)
        groups = [{"params": self._parts[part], "peak": peak} for part, peak in stage.peaks.items()]
        trained = nn.ParameterList(parameter for group in groups for parameter in group["params"])
        optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
        averaged = None
        if stage.recorded:
            decay = get_ema_multi_avg_fn(settings.recordings.average)
            averaged = AveragedModel(trained, multi_avg_fn=decay)
        packer = Packer(self.processor, stage.form)
        recent: dict[str, deque] = defaultdict(lambda: deque(maxlen=_RECENT))
        losses, started = deque(maxlen=50), time.monotonic()
        if stage.recorded and not self.textures.standardised:
            self._standardise_textures(stage, clips)
        model.train()
        with self._blocks(stage):
            for step in range(stage.steps):
                factor = _schedule(step, stage.steps, settings.warmup_steps)
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * factor
                loss = self._loss(stage, packer, clips, rng, recent)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                if averaged is not None:
                    averaged.update_parameters(trained)
                losses.append(loss.item())
                enough = all(
                    len(recent[task]) == _RECENT and np.mean(recent[task]) >= stage.enough for task in stage.tasks
                )
                last = step + 1 == stage.steps or (bool(stage.tasks) and enough)
                if (step + 1) % settings.log_every == 0 or last:
                    scores = " ".join(f"{task} {np.mean(hits):.2f}" for task, hits in sorted(recent.items()) if hits)
                    seconds = time.monotonic() - started
                    logger.info("%s %d loss %.3f %.0f s | %s", stage.name, step + 1, np.mean(losses), seconds, scores)
                if last:
                    break
        if averaged is not None:
            with torch.no_grad():
                for parameter, mean in zip(trained, averaged.module, strict=True):
                    parameter.copy_(mean)
        model.eval()

    @contextlib.contextmanager
    def _blocks(self, stage: Stage) -> Iterator[None]:
        """Leave the lower blocks out of the text stack for as long as the reader is trained alone."""
        stack = self.model.model.language_model
        every = stack.layers
        if stage.entry == "reader_alone":
            stack.layers = every[self._n_lower :]
        try:
            yield
        finally:
            stack.layers = every

    def _loss(self, stage: Stage, packer: Packer, clips: Sequence[ClipPool] | None, rng, recent) -> torch.Tensor:
        settings, size = self.settings, stage.batch * self.settings.batch_size
        blended = int(stage.blended * size)
        if stage.draw is not None:
            recordings = [stage.draw(self.labels, rng) for _ in range(size)]
        else:
            recordings, sounds = self._mix(stage, clips, size - blended, blended, rng)
        counts = [count_audio_tokens(recording.seconds, self.hop_length) for recording in recordings]
        heard = [recording.token_labels(count) for recording, count in zip(recordings, counts, strict=True)]
        written = self.transcriber(heard)
        if stage.draw is not None:
            audio = written + settings.symbol_noise * written.detach().std() * torch.randn_like(written)
        else:
            features, mask = mel_features(self.processor, sounds)
            encoded: list[torch.Tensor] = []
            projector = self.model.model.multi_modal_projector
            with projector.register_forward_pre_hook(lambda _, arguments: encoded.append(arguments[0])):
                audio = embed_audio(self.model, features, mask)
        if stage.misheard:
            misheard = [mishear(row, self.labels, stage.misheard, rng) for row in heard]
            audio = audio + (self.transcriber.words(misheard) - self.transcriber.words(heard)).detach()
        textures = 0.0
        if stage.recorded:
            textures = settings.recordings.texture_weight * self.textures.loss(encoded[0], features, recordings)
        if not stage.tasks:
            named = sum(counts[: size - blended])
            return self._regression(audio[:named], written[:named], recent) + textures
        tasks, shares = list(stage.tasks), np.array(list(stage.tasks.values()))
        draw_question = ask if stage.form == "chat" else ask_bare
        questions = [
            [
                draw_question(tasks[k], recording.events, self.labels, rng)
                for k in rng.choice(len(tasks), settings.questions, p=shares / shares.sum())
            ]
            for recording in recordings
        ]
        pack = packer.pack(counts, questions, rng)
        logits, at_reader = self._answer(pack, audio, stage.entry)
        hits = (logits[pack.keys].argmax(-1) == pack.targets[pack.keys]).tolist()
        for task, hit in zip(pack.tasks, hits, strict=True):
            recent[task].append(hit)
        loss = (nn.functional.cross_entropy(logits, pack.targets, reduction="none") * pack.weights).sum() + textures
        if stage.entry == "input":
            loss = loss + settings.regression_weight * self._regression(at_reader, written, recent)
        return loss

    def _mix(
        self, stage: Stage, clips: Sequence[ClipPool], named: int, blended: int, rng
    ) -> tuple[list[Recording], list[np.ndarray]]:
        """Recordings of a stage with sound, and their sounds; after those with names those of blends."""
        pools = [clips[int(stage.recorded > 0 and rng.random() < stage.recorded)] for _ in range(named)]
        pools.extend(clips[2] for _ in range(blended))
        pairs = [pool.draw(rng, gapless=stage.gapless) for pool in pools]
        return [recording for recording, _ in pairs], [sound for _, sound in pairs]

    def _standardise_textures(self, stage: Stage, clips: Sequence[ClipPool]) -> None:
        rng = np.random.default_rng(np.random.SeedSequence([self.settings.seed, 0x7E47]))
        recordings, sounds = self._mix(stage, clips, _STANDARD_RECORDINGS, 0, rng)
        self.textures.standardise(mel_features(self.processor, sounds)[0], recordings)

    @staticmethod
    def _regression(states: torch.Tensor, written: torch.Tensor, recent) -> torch.Tensor:
        """Squared distance of audio tokens' states to the written recording, relative to its square."""
        target = written.detach()
        loss = (states - target).square().mean() / target.square().mean()
        recent["regression"].append(float(loss.detach()))
        return loss

    def _answer(self, pack: Pack, audio: torch.Tensor, entry: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of answer tokens [answer_token, vocabulary], audio states at the reader [audio_token, hidden].

        `audio` holds the embeddings that enter, [audio_token, hidden].
        """
        model, stack = self.model, self.model.model.language_model
        embeddings, written = model.get_input_embeddings()(pack.ids), None
        if entry == "reader":
            # What the lower blocks make of the placeholders stays: it must not disturb the reader.
            written = audio - embeddings[pack.is_audio].detach()
        else:
            embeddings = embeddings.masked_scatter(pack.is_audio[..., None], audio)
        with audio_states_at(stack.layers[-self.settings.reader_blocks], pack.is_audio, written) as at_reader:
            states = stack(
                inputs_embeds=embeddings, attention_mask=pack.mask, position_ids=pack.positions, use_cache=False
            ).last_hidden_state
        row, token = pack.places
        return model.lm_head(states[row, token]), at_reader[0]

    def _save(self, done: int) -> None:
        if self.checkpoint is not None:
            state = {
                "done": done,
                "settings": self._fingerprint,
                "seconds": self.seconds,
                "model": self.model.state_dict(),
                "transcriber": self.transcriber.state_dict(),
            }
            if self.textures is not None:
                state["textures"] = self.textures.state_dict()
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
        if self.textures is not None:
            self.textures.load_state_dict(state["textures"])
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
