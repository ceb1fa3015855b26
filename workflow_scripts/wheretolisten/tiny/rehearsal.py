"""Checkpoint folders without weights: the large models' architectures, with a processor that needs no download."""

from pathlib import Path
from typing import Any

from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3Processor,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    Qwen2AudioConfig,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.tiny.architecture import AUDIO_TOKEN, chat_template

MEL_BINS = 128
WINDOW_SECONDS = 30

# Qwen2-Audio-7B-Instruct, config.json at 0a095220c30b7b31434169c3086508ef3ea5bf0a. That file leaves out what equals the
# defaults of transformers' Qwen2Config (hidden size, blocks, heads) and Qwen2AudioEncoderConfig; here all is written.
# Audio Flamingo 3, config.json of nvidia/audio-flamingo-3-hf at 7d4bae64ee29878af6504ae6f6bb3e40492838ad. The numbers
# of parameters that result, 8,397,094,912 and 8,267,215,360, are those of the published weights.
TEXT: dict[str, dict[str, Any]] = {
    "qwen2_audio": {
        "vocab_size": 156_032,
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
    },
    "audio_flamingo_3": {
        "vocab_size": 151_672,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    },
}
# The audio towers of both are Whisper large-v3's encoder: 32 blocks, 20 heads, width 1280, 1500 positions for 30 s.
AUDIO: dict[str, dict[str, Any]] = {
    "qwen2_audio": {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": MEL_BINS,
        "encoder_layers": 32,
        "encoder_attention_heads": 20,
        "encoder_ffn_dim": 5120,
        "d_model": 1280,
        "max_source_positions": 1500,
    },
    "audio_flamingo_3": {
        "model_type": "audioflamingo3_encoder",
        "num_mel_bins": MEL_BINS,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "intermediate_size": 5120,
        "hidden_size": 1280,
        "max_source_positions": 1500,
    },
}


def write(family: str, tokenizer_of: Path, folder: Path) -> None:
    """Write config.json and the processor of a family's large model into a folder.

    Parameters
    ----------
    family
        `qwen2_audio` or `audio_flamingo_3`.
    tokenizer_of
        Tiny checkpoint of the same family whose tokenizer is used; its ids are far below the model's vocabulary.
    folder
        Where to write.
    """
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    tokenizer.model_max_length = TEXT[family]["max_position_embeddings"]
    extractor = WhisperFeatureExtractor(
        feature_size=MEL_BINS,
        sampling_rate=SAMPLING_RATE,
        hop_length=160,
        chunk_length=WINDOW_SECONDS,
        n_fft=400,
        return_attention_mask=True,
    )
    audio_id = tokenizer.convert_tokens_to_ids(AUDIO_TOKEN[family])
    text = {
        "model_type": "qwen2",
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
        **TEXT[family],
    }
    config: PreTrainedConfig
    if family == "qwen2_audio":
        config = Qwen2AudioConfig(audio_config=AUDIO[family], text_config=text, audio_token_index=audio_id)
        processor = Qwen2AudioProcessor(extractor, tokenizer, chat_template=chat_template(family))
    else:
        config = AudioFlamingo3Config(audio_config=AUDIO[family], text_config=text, audio_token_id=audio_id)
        processor = AudioFlamingo3Processor(extractor, tokenizer, chat_template=chat_template(family))
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    GenerationConfig(eos_token_id=text["eos_token_id"], pad_token_id=text["pad_token_id"]).save_pretrained(folder)
