"""Putting ears and language model together."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, WhisperFeatureExtractor

from wheretolisten.models.small import (
    SmallQwen2AudioConfig,
    SmallQwen2AudioForConditionalGeneration,
    SmallQwen2AudioProcessor,
)
from wheretolisten.small import whisper

FRAMES_PER_TOKEN = 8
"""Frames of 0.02 s that make an audio token."""
N_BLOCKS = 3
"""Blocks of the encoder that are kept: the states behind the third tell sounds apart best."""

_AUDIO = "<filename>"
"""Stands for an audio token: one of the special tokens that the language model has for code, and chats never hold."""

_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\\n' }}{%- endif -%}"
    "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
    "{%- for part in message['content'] if part['type'] == 'audio' -%}{{ 'Audio: " + _AUDIO + "\\n' }}{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}{%- endif -%}"
    "{{ '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)


def assemble(
    language_model: Path, encoder: bytes
) -> tuple[SmallQwen2AudioForConditionalGeneration, SmallQwen2AudioProcessor]:
    """Model and processor; the projector is left as it was drawn (`Projector.put_into`).

    Parameters
    ----------
    language_model
        Folder with SmolLM2's checkpoint, as `convert_smollm2` writes it.
    encoder
        Whisper's weights, from `whisper.find`.

    Returns
    -------
    The model, the language model in bfloat16, the encoder in float16 and the projector in float32, and the processor.
    """
    extractor = WhisperFeatureExtractor(feature_size=80, return_attention_mask=True)
    tokenizer = AutoTokenizer.from_pretrained(language_model, padding_side="left")
    processor = SmallQwen2AudioProcessor(
        extractor, tokenizer, _TEMPLATE, frames_per_token=FRAMES_PER_TOKEN, audio_token=_AUDIO
    )
    text = AutoModelForCausalLM.from_pretrained(language_model, dtype=torch.bfloat16)
    config = SmallQwen2AudioConfig(
        audio_config={
            "model_type": "small_qwen2_audio_encoder",
            "num_mel_bins": 80,
            "d_model": 512,
            "encoder_layers": N_BLOCKS,
            "encoder_attention_heads": 8,
            "encoder_ffn_dim": 2048,
            "frames_per_token": FRAMES_PER_TOKEN,
        },
        # Where it was loaded from is nobody's business.
        text_config={key: value for key, value in text.config.to_dict().items() if not key.startswith("_name")},
        audio_token_index=processor.audio_token_id,
        tie_word_embeddings=True,
    )
    model = SmallQwen2AudioForConditionalGeneration(config)
    # Assigned, not converted: what a module computes from the config (rotary frequencies) stays in float32.
    model.model.language_model.load_state_dict(text.model.state_dict(), assign=True)
    model.model.audio_tower.load_state_dict(whisper.encoder_weights(encoder, N_BLOCKS), assign=True)
    model.tie_weights()
    model.generation_config = text.generation_config
    return model.eval(), processor
