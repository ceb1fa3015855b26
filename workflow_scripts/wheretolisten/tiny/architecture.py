"""Small checkpoints of the real model classes: configuration, tokenizer, processor, untrained weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.errors import UserError
from wheretolisten.tiny.language import corpus

FAMILIES = ("qwen2_audio", "audio_flamingo_3")
# 25 mel frames per second instead of Whisper's 100; four mel frames make one audio token: 6.25 per second.
HOP_LENGTH = 640
MEL_FRAMES_PER_TOKEN = 4
TOKENS_PER_SECOND = SAMPLING_RATE / HOP_LENGTH / MEL_FRAMES_PER_TOKEN
MAX_SECONDS = 20
MEL_BINS = 64
VOCABULARY_SIZE = 768
HIDDEN_SIZE = 128
# About 1/sqrt(hidden size): the large models' 0.02 leaves the attention of so narrow a model uniform for long.
INITIALIZER_RANGE = 0.08

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
AUDIO_TOKEN = {"qwen2_audio": "<|AUDIO|>", "audio_flamingo_3": "<sound>"}
AUDIO_BEGIN, AUDIO_END = "<|audio_bos|>", "<|audio_eos|>"

_SYSTEM_TURN = f"{START}system\nYou are a helpful assistant.{END}\n"
# Audio parts come before the text parts of a turn, whatever their order in the message.
_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if loop.first and message['role'] != 'system' -%}{{ '"
    + _SYSTEM_TURN.replace("\n", "\\n")
    + "' }}{%- endif -%}"
    "{{ '" + START + "' + message['role'] + '\\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}"
    "{%- set ns = namespace(audios=0) -%}"
    "{%- for part in message['content'] if part['type'] == 'audio' -%}"
    "{%- set ns.audios = ns.audios + 1 -%}{{ AUDIO_PART }}"
    "{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}"
    "{%- endif -%}"
    "{{ '" + END + "\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '" + START + "assistant\\n' }}{%- endif -%}"
)
_AUDIO_PART = {
    "qwen2_audio": f"'Audio ' + ns.audios|string + ': {AUDIO_BEGIN}{AUDIO_TOKEN['qwen2_audio']}{AUDIO_END}\\n'",
    "audio_flamingo_3": f"'{AUDIO_TOKEN['audio_flamingo_3']}'",
}


def chat_template(family: str) -> str:
    """Jinja chat template in the manner of the family's large model."""
    return _TEMPLATE.replace("AUDIO_PART", _AUDIO_PART[family])


def build_tokenizer(family: str, labels: Sequence[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on the questions and answers: known words are one token, any other text still has tokens.

    Digits are tokens of their own.
    """
    specials = [PAD, START, END, AUDIO_BEGIN, AUDIO_END, AUDIO_TOKEN[family]]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(labels), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START, AUDIO_BEGIN, AUDIO_END, AUDIO_TOKEN[family]],
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def build_processor(family: str, labels: Sequence[str]) -> ProcessorMixin:
    """Processor of the family with a Whisper feature extractor for at most `MAX_SECONDS` of 16 kHz audio.

    Raises
    ------
    UserError
        For a family that is not one of `FAMILIES`.
    """
    _check_family(family)
    extractor = WhisperFeatureExtractor(
        feature_size=MEL_BINS,
        sampling_rate=SAMPLING_RATE,
        hop_length=HOP_LENGTH,
        chunk_length=MAX_SECONDS,
        n_fft=2 * HOP_LENGTH,
        return_attention_mask=True,
    )
    tokenizer = build_tokenizer(family, labels)
    template = chat_template(family)
    if family == "qwen2_audio":
        return Qwen2AudioProcessor(extractor, tokenizer, chat_template=template)
    return AudioFlamingo3Processor(extractor, tokenizer, chat_template=template, max_audio_len=MAX_SECONDS)


def build_model(
    family: str, processor: ProcessorMixin, seed: int, blocks: int, dropout: float = 0.0
) -> PreTrainedModel:
    """Untrained model with a number of decoder blocks, whose token ids agree with the processor's tokenizer.

    Qwen2-Audio's text stack has full multi-head attention, Audio Flamingo 3's has grouped key-value heads, as in the
    large models. Input and output embeddings hold the same numbers. `dropout` is the audio encoder's, outside its
    attention: there it would rule out the fast kernels.
    """
    _check_family(family)
    tokenizer = processor.tokenizer
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    text_config = {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN_SIZE,
        "intermediate_size": 320,
        "num_hidden_layers": blocks,
        "num_attention_heads": 4,
        "num_key_value_heads": 4 if family == "qwen2_audio" else 2,
        "max_position_embeddings": 1024,
        "initializer_range": INITIALIZER_RANGE,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": pad,
    }
    positions = MAX_SECONDS * SAMPLING_RATE // HOP_LENGTH // 2
    torch.manual_seed(seed)
    if family == "qwen2_audio":
        audio_config = {
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": MEL_BINS,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 256,
            "d_model": HIDDEN_SIZE,
            "max_source_positions": positions,
            "dropout": dropout,
            "initializer_range": INITIALIZER_RANGE,
        }
        audio_index = tokenizer.convert_tokens_to_ids(AUDIO_TOKEN[family])
        config = Qwen2AudioConfig(audio_config=audio_config, text_config=text_config, audio_token_index=audio_index)
        model = Qwen2AudioForConditionalGeneration(config)
    else:
        audio_config = {
            "model_type": "audioflamingo3_encoder",
            "num_mel_bins": MEL_BINS,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "hidden_size": HIDDEN_SIZE,
            "max_source_positions": positions,
            "dropout": dropout,
            "initializer_range": INITIALIZER_RANGE,
        }
        audio_index = tokenizer.convert_tokens_to_ids(AUDIO_TOKEN[family])
        config = AudioFlamingo3Config(audio_config=audio_config, text_config=text_config, audio_token_id=audio_index)
        model = AudioFlamingo3ForConditionalGeneration(config)
    with torch.no_grad():
        table = model.model.audio_tower.embed_positions.weight
        table.copy_(sinusoids(*table.shape))
        model.lm_head.weight.copy_(model.get_input_embeddings().weight)
    model.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=pad, do_sample=False, max_new_tokens=64, use_cache=True
    )
    return model.eval()


def sinusoids(length: int, channels: int) -> torch.Tensor:
    """Sine and cosine position table [length, channels], wavelengths 2π to 2π·10⁴ positions (Vaswani et al. 2017)."""
    rates = 10_000.0 ** -(torch.arange(channels // 2) / (channels // 2 - 1))
    angles = torch.arange(length)[:, None] * rates[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def save_checkpoint(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write weights (float32 safetensors), configuration, generation defaults and processor for `from_pretrained`."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written for the owner only


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        raise UserError(f"unknown tiny model {family!r}: choose one of {', '.join(FAMILIES)}")
