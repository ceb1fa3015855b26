"""Qwen2-Audio with windows as short as the recording, longer audio tokens, and a projector that knows words.

Three things differ from the class in transformers. Recordings are not padded to 30 s, so that a short one costs little.
An audio token is the mean over `audio_config.frames_per_token` of the encoder's frames, behind as many blocks as
`audio_config.encoder_layers` says. And the projector tells which of `n_words` words a token is, or none of them, and
hands on the embedding of the word, or a mixture where it is not sure. Importing this module makes transformers know the
type.
"""

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoProcessor,
    Qwen2AudioConfig,
    Qwen2AudioEncoder,
    Qwen2AudioEncoderConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
)
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_outputs import BaseModelOutput

_BEHIND = 4
"""Mel frames behind the end of a recording that its last frame is made of."""


@strict
class SmallQwen2AudioEncoderConfig(Qwen2AudioEncoderConfig):
    """Config of the encoder: Qwen2-Audio's and `frames_per_token`, how many frames of 0.02 s make an audio token."""

    model_type = "small_qwen2_audio_encoder"

    frames_per_token: int = 8


@strict
class SmallQwen2AudioConfig(Qwen2AudioConfig):
    """Config of the whole model: Qwen2-Audio's and `n_words`, how many words the projector knows."""

    model_type = "small_qwen2_audio"
    sub_configs_defaults = Qwen2AudioConfig.sub_configs_defaults | {
        "audio_config": SubConfigSpec(config_class=AutoConfig, model_type="small_qwen2_audio_encoder")
    }

    n_words: int = 1


class SmallQwen2AudioEncoder(Qwen2AudioEncoder):
    """Whisper's encoder on mel frames of any number, up to 30 s."""

    config: SmallQwen2AudioEncoderConfig

    def __init__(self, config: SmallQwen2AudioEncoderConfig) -> None:
        super().__init__(config)
        self.avg_pooler = nn.AvgPool1d(config.frames_per_token)

    def forward(
        self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> BaseModelOutput:
        """Audio tokens, [recording, audio_token, channel], of mel frames, [recording, mel, frame].

        `attention_mask` hides the frames behind the end of a recording that is not the longest of its batch.
        """
        weights = self.conv1.weight
        frames = nn.functional.gelu(self.conv1(input_features.to(weights.device, weights.dtype)))
        frames = nn.functional.gelu(self.conv2(frames)).transpose(1, 2)
        states = frames + self.embed_positions.weight[: frames.shape[1]]
        for layer in self.layers:
            states = layer(states, attention_mask)
        pooled = self.avg_pooler(states.transpose(1, 2)).transpose(1, 2)
        return BaseModelOutput(last_hidden_state=self.layer_norm(pooled))

    def _get_feat_extract_output_lengths(self, input_lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames behind the convolutions, and audio tokens, of a number of mel frames."""
        frames = (input_lengths - 1) // 2 + 1
        return frames, frames // self.config.frames_per_token


class WordProjector(nn.Module):
    """From states of the encoder to embeddings of words, in three steps of which only the second is not linear.

    Attributes
    ----------
    tell
        From a state to a score for every word and, at the end, for none of them.
    words
        The embeddings of the words, and of none, that are mixed with the softmax of the scores as weights.
    """

    def __init__(self, config: SmallQwen2AudioConfig) -> None:
        super().__init__()
        self.tell = nn.Linear(config.audio_config.d_model, config.n_words + 1)
        self.words = nn.Linear(config.n_words + 1, config.text_config.hidden_size, bias=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Embeddings, [..., hidden], of states, [..., channel]."""
        scores = self.tell(states)
        return self.words(scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype))


class SmallQwen2AudioForConditionalGeneration(Qwen2AudioForConditionalGeneration):
    """The whole model; what it says is read off with the matrix that embeds words, where the config ties them."""

    config: SmallQwen2AudioConfig
    config_class = SmallQwen2AudioConfig
    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: SmallQwen2AudioConfig) -> None:
        super().__init__(config)
        self.model.multi_modal_projector = WordProjector(config)
        self.post_init()


class SmallQwen2AudioProcessor(Qwen2AudioProcessor):
    """Makes mel frames up to the end of the longest recording of a batch, and as many placeholders as audio tokens.

    Parameters
    ----------
    feature_extractor, tokenizer, chat_template
        As of Qwen2-Audio's processor.
    audio_token
        What stands for an audio token; there are no markers around them.
    frames_per_token
        As in the encoder's config.
    """

    def __init__(
        self,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        audio_token: str = "<|AUDIO|>",
        frames_per_token: int = 8,
    ) -> None:
        super().__init__(feature_extractor, tokenizer, chat_template, audio_token)
        self.frames_per_token = frames_per_token

    def _process_audio(self, audio: Any, **kwargs: Any) -> tuple[Any, list[str]]:
        inputs, _ = super()._process_audio(audio, **kwargs)
        lengths = inputs["feature_attention_mask"].sum(-1)
        # The last tokens of a recording must not depend on the rest of the batch: convolutions find silence behind it.
        n_frames = -(-int(lengths.max() + _BEHIND) // 2) * 2
        for name in ("input_features", "feature_attention_mask"):
            inputs[name] = inputs[name][..., :n_frames]
        inputs["num_audio_tokens"] = [((n - 1) // 2 + 1) // self.frames_per_token for n in lengths.tolist()]
        return inputs, [self.replace_audio_token(inputs, audio_idx=index) for index in range(len(audio))]


AutoConfig.register(SmallQwen2AudioEncoderConfig.model_type, SmallQwen2AudioEncoderConfig)
AutoConfig.register(SmallQwen2AudioConfig.model_type, SmallQwen2AudioConfig)
AutoModel.register(SmallQwen2AudioEncoderConfig, SmallQwen2AudioEncoder)
AutoProcessor.register(SmallQwen2AudioConfig, SmallQwen2AudioProcessor)

CLASSES = {"SmallQwen2AudioForConditionalGeneration": SmallQwen2AudioForConditionalGeneration}
"""Classes of models that transformers lacks, by name."""
