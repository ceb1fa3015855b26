"""What the engine needs from a model: prompts and audio in, token embeddings and the blocks of the text stack out."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig

from wheretolisten.errors import UserError


@dataclass(frozen=True, eq=False)
class Inputs:
    """A padded batch of prompts, each about one of the batch's recordings; tensors lie on the CPU.

    Attributes
    ----------
    input_ids
        Token ids, [row, token].
    attention_mask
        1 for tokens of the prompt, 0 for padding, [row, token].
    audio_index
        Which recording a row is about, [row].
    audio_span
        First audio token and the index after the last, [row, 2]; begin and end markers and padding lie outside. Without
        audio both are the first prompt token.
    last
        Index of the last prompt token, [row].
    recordings
        The recordings, float32 [frame] each; None: no audio.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    audio_index: torch.Tensor
    audio_span: torch.Tensor
    last: torch.Tensor
    recordings: tuple[np.ndarray | None, ...]

    @property
    def first(self) -> torch.Tensor:
        """Index of the first prompt token, [row]."""
        return self.attention_mask.argmax(dim=1)

    @property
    def text_start(self) -> torch.Tensor:
        """Index of the first token after the audio, [row]; it may be the end-of-audio marker."""
        return self.audio_span[:, 1]

    @property
    def n_audio_tokens(self) -> torch.Tensor:
        """Number of audio tokens, [row]."""
        return self.audio_span[:, 1] - self.audio_span[:, 0]


class Adapter(abc.ABC):
    """One audio-language model behind the interface that the engine uses.

    A family says which class loads its checkpoints, how many seconds it hears, and how its audio encoder is called.
    The rest is common: a Whisper feature extractor, a chat template with one placeholder per recording that is repeated
    once per audio token, and a text stack in `model.language_model`.

    Parameters
    ----------
    name
        How errors call the model: its folder or repository id.
    model
        The loaded model, on its device.
    processor
        The processor that belongs to it.
    """

    model_type: ClassVar[str]
    model_class: ClassVar[type]

    def __init__(self, name: str, model: nn.Module, processor: Any) -> None:
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.processor = processor
        tokenizer = processor.tokenizer
        if tokenizer.convert_tokens_to_ids(processor.audio_token) != model.config.audio_token_id:
            raise UserError(
                f"{name}: the tokenizer does not know the model's audio token {processor.audio_token!r}; "
                "use the tokenizer files that belong to the weights"
            )
        defaults = model.generation_config
        eos = tokenizer.eos_token_id if defaults.eos_token_id is None else defaults.eos_token_id
        # Checkpoints bring sampling defaults (temperature, top-p, repetition penalty) that greedy decoding must not
        # see.
        model.generation_config = GenerationConfig(
            do_sample=False, num_beams=1, eos_token_id=eos, pad_token_id=tokenizer.pad_token_id
        )

    @property
    @abc.abstractmethod
    def max_seconds(self) -> float:
        """Longest recording the model hears, in seconds."""

    @abc.abstractmethod
    def _project_audio(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Embeddings of windows of audio, [window, audio_token, hidden], padding included.

        `features` is [window, mel_bin, frame], `mask` [window, frame].
        """

    @property
    def device(self) -> torch.device:
        """Where prompts and audio are put."""
        return self.model.get_input_embeddings().weight.device

    @property
    def text_stack(self) -> nn.Module:
        """The decoder without head: embeddings in, final states out."""
        return self.model.get_submodule("model.language_model")

    @property
    def blocks(self) -> nn.ModuleList:
        """Decoder blocks of the text stack, by name: the audio tower has a list of blocks too, sometimes as long."""
        return self.text_stack.get_submodule("layers")

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks of the text stack."""
        return len(self.blocks)

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream of the text stack."""
        return self.model.config.get_text_config().hidden_size

    @property
    def _tower(self) -> nn.Module:
        return self.model.get_submodule("model.audio_tower")

    @property
    def tokens_per_second(self) -> float:
        """Rate of audio tokens, in Hz: mel frames per second over the strides of the audio tower."""
        extractor = self.processor.feature_extractor
        stride = self._tower.conv1.stride[0] * self._tower.conv2.stride[0]
        pool = self._tower.avg_pooler.stride
        stride *= pool[0] if isinstance(pool, tuple) else pool
        return extractor.sampling_rate / extractor.hop_length / stride

    def n_audio_tokens(self, n_frames: int) -> int:
        """Number of audio tokens of a recording of `n_frames` audio samples."""
        mel_frames = torch.tensor(-(-n_frames // self.processor.feature_extractor.hop_length))
        return int(self._tower._get_feat_extract_output_lengths(mel_frames)[1])

    def check_length(self, n_frames: int, name: str) -> None:
        """Refuse a recording that the model cannot hear as a whole.

        Raises
        ------
        UserError
            If `n_frames` audio samples are more than the model's window, or too few for one audio token.
        """
        seconds = n_frames / self.processor.feature_extractor.sampling_rate
        if seconds > self.max_seconds:
            raise UserError(
                f"{name} lasts {seconds:.2f} s, but {self.name} hears at most {self.max_seconds:g} s; shorten it"
            )
        if n_frames < 1 or self.n_audio_tokens(n_frames) < 1:
            raise UserError(f"{name} lasts {seconds:.3f} s, too short for one audio token of {self.name}; lengthen it")

    def prepare(
        self,
        recordings: Sequence[np.ndarray | None],
        prompts: Sequence[str],
        audio_index: Sequence[int] | None = None,
        padding_side: str = "left",
    ) -> Inputs:
        """Prompts about recordings as one padded batch.

        Each prompt is put after its recording, or alone where there is none, in the checkpoint's chat template, and the
        turn of the model is opened.

        Parameters
        ----------
        recordings
            float32 [frame] each, mono, at the feature extractor's sampling rate (16 kHz); None: no audio.
        prompts
            What is asked, one per row.
        audio_index
            Which recording each prompt is about; by default the first prompt is about the first recording and so on.
        padding_side
            `left` or `right`.

        Raises
        ------
        UserError
            If a recording is too long or too short for the model, a prompt contains the audio placeholder, or the
            processor counts audio tokens otherwise than the model.
        """
        audio_index = list(range(len(prompts))) if audio_index is None else list(audio_index)
        if len(audio_index) != len(prompts) or not all(0 <= index < len(recordings) for index in audio_index):
            raise ValueError(f"{len(prompts)} prompts about recordings {audio_index} of {len(recordings)}")
        for index, recording in enumerate(recordings):
            if recording is not None:
                self.check_length(len(recording), f"recording {index} of the batch")
        n_tokens = [0 if recording is None else self.n_audio_tokens(len(recording)) for recording in recordings]
        n_tokens = torch.tensor([n_tokens[index] for index in audio_index])
        texts = [self._render(prompt, int(n)) for prompt, n in zip(prompts, n_tokens, strict=True)]
        batch = self.processor.tokenizer(texts, padding=True, padding_side=padding_side, return_tensors="pt")

        n_total = batch["input_ids"].shape[1]
        is_audio = (batch["input_ids"] == self.model.config.audio_token_id).int()
        start, has_audio = batch["attention_mask"].argmax(dim=1), n_tokens > 0
        first = torch.where(has_audio, is_audio.argmax(dim=1), start)
        after = torch.where(has_audio, n_total - is_audio.flip(1).argmax(dim=1), start)
        if not (torch.equal(after - first, n_tokens) and torch.equal(is_audio.sum(dim=1), n_tokens)):
            raise UserError(
                f"{self.name}: prompts hold {is_audio.sum(dim=1).tolist()} audio tokens where the model expects "
                f"{n_tokens.tolist()}; use the processor and tokenizer files that belong to the weights"
            )
        return Inputs(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            audio_index=torch.tensor(audio_index),
            audio_span=torch.stack([first, after], dim=1),
            last=n_total - 1 - batch["attention_mask"].flip(1).argmax(dim=1),
            recordings=tuple(recordings),
        )

    @torch.inference_mode()
    def encode(self, recordings: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Embeddings of the audio tokens of each recording, [audio_token, hidden], on the model's device."""
        features, mask, windows = self._extract_features(recordings)
        tower = next(self._tower.parameters())
        projected = self._project_audio(features.to(tower), mask.to(tower.device))
        # From the mask on the CPU: nobody has to wait for a GPU to know how long the windows are.
        _, n_tokens = self._tower._get_feat_extract_output_lengths(mask.sum(dim=1))
        by_window = [window[:n].to(self.device) for window, n in zip(projected, n_tokens.tolist(), strict=True)]
        by_recording, start = [], 0
        for n_windows in windows:
            by_recording.append(torch.cat(by_window[start : start + n_windows]))
            start += n_windows
        return by_recording

    def embed(self, input_ids: torch.Tensor, audio: Sequence[torch.Tensor]) -> torch.Tensor:
        """Input embeddings, [row, token, hidden], of token ids [row, token].

        `audio` holds embeddings [audio_token, hidden] that take the audio tokens' places, in the order of rows.
        """
        embeddings = self.model.get_input_embeddings()(input_ids)
        if not audio:
            return embeddings
        is_audio = input_ids == self.model.config.audio_token_id
        return embeddings.masked_scatter(is_audio.unsqueeze(-1), torch.cat(list(audio)).to(embeddings))

    @property
    def eos_token_ids(self) -> list[int]:
        """Tokens that end an answer."""
        eos = self.model.generation_config.eos_token_id
        return list(eos) if isinstance(eos, list | tuple) else [eos]

    def _extract_features(self, recordings: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, tuple[int, ...]]:
        extractor = self.processor.feature_extractor
        size = extractor.n_samples
        windows = [
            [recording[start : start + size] for start in range(0, len(recording), size)] for recording in recordings
        ]
        batch = extractor(
            [window for parts in windows for window in parts],
            sampling_rate=extractor.sampling_rate,
            padding="max_length",
            return_attention_mask=True,
            return_tensors="pt",
            device=str(self._tower.device),
        )
        return batch["input_features"], batch["attention_mask"], tuple(len(parts) for parts in windows)

    def _render(self, prompt: str, n_audio_tokens: int) -> str:
        n_expected = int(n_audio_tokens > 0)
        content = [{"type": "audio"}] * n_expected + [{"type": "text", "text": prompt}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        placeholder = self.processor.audio_token
        if text.count(placeholder) != n_expected:
            raise UserError(
                f"{self.name}: the prompt {prompt!r} yields {text.count(placeholder)} audio placeholders "
                f"({placeholder}) instead of {n_expected}; take the placeholder out of the prompt or correct the chat "
                "template"
            )
        return text.replace(placeholder, placeholder * n_audio_tokens)
