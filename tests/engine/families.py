"""Tiny random checkpoints of every family, with a tokenizer that is trained on the spot: nothing is downloaded.

Sizes are small, and queries and keys drawn wide, so that attention is uneven. Tokenizers and chat templates imitate the
published ones: one placeholder per recording, with markers where a family has any.
"""

import importlib.machinery
import importlib.resources
import json
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.audio_utils import mel_filter_bank
from transformers.models.granite_speech import feature_extraction_granite_speech

from wheretolisten.models import small

_LINES = (
    "Describe the audio.",
    "Focus on the entire audio",
    "Which part of the audio has the sound of rooster?",
    "When does the dog bark, and is it before or after the rain? Answer in seconds.",
)
_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_VOCABULARY, _WIDTH = 512, 64
_TEXT = {
    "vocab_size": _VOCABULARY,
    "hidden_size": _WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "num_mel_bins": 80,
}
_TOWER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "num_mel_bins": 80,
}
_WINDOWS = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2}


def tokenizer(specials: list[str], named: dict[str, str] | None = None, pad: str = _PAD):
    """A byte-pair tokenizer of 480 tokens that knows these special ones; `named` by the attribute they become."""
    specials = list(dict.fromkeys([pad, _PAD, _START, _END, *specials, *(named or {}).values()]))
    trained = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    trained.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(_LINES * 3, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained,
        eos_token=_END,
        pad_token=pad,
        padding_side="left",
        extra_special_tokens=named or {},
        additional_special_tokens=[token for token in specials if token not in (pad, _END)],
    )


def template(audio: str) -> str:
    """A chat template that renders a recording as `audio`."""
    return (
        "{%- for m in messages -%}{{ '" + _START + "' + m['role'] + '\\n' }}{%- for p in m['content'] -%}"
        "{%- if p['type'] == 'audio' -%}{{ '" + audio + "' }}{%- else -%}{{ p['text'] }}{%- endif -%}{%- endfor -%}"
        "{{ '" + _END + "\\n' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '" + _START + "assistant\\n' }}{%- endif -%}"
    )


TEXT_TEMPLATE = (
    "{%- for m in messages -%}" + _START + "{{ m['role'] }}\n{{ m['content'] }}" + _END + "\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}" + _START + "assistant\n{%- endif -%}"
)


def _whisper(**settings: object):
    return transformers.WhisperFeatureExtractor(feature_size=80, return_attention_mask=True, **settings)


def _qwen2_audio():
    config = transformers.Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", "max_source_positions": 1500, **_WHISPER},
        text_config={"model_type": "qwen2", **_TEXT},
    )
    tokens = tokenizer(["<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"])
    chat = template("<|audio_bos|><|AUDIO|><|audio_eos|>")
    return config, transformers.Qwen2AudioProcessor(_whisper(), tokens, chat_template=chat)


def _small_qwen2_audio():
    config = small.SmallQwen2AudioConfig(
        audio_config={"model_type": "small_qwen2_audio_encoder", "frames_per_token": 4, **_WHISPER},
        text_config={"model_type": "llama", **_TEXT},
        n_words=3,
        tie_word_embeddings=True,
    )
    tokens, chat = tokenizer(["<|AUDIO|>"]), template("<|AUDIO|>")
    return config, small.SmallQwen2AudioProcessor(_whisper(), tokens, chat_template=chat, frames_per_token=4)


def _flamingo(name: str, specials: list[str]):
    config = getattr(transformers, f"{name}Config")(
        audio_config={"model_type": "audioflamingo3_encoder", "max_source_positions": 1500, **_TOWER},
        text_config={"model_type": "qwen2", **_TEXT},
    )
    processor = getattr(transformers, f"{name}Processor")
    return config, processor(_whisper(), tokenizer(specials), chat_template=template("<sound>"))


def _glmasr():
    # The audio token is the padding token.
    tokens = tokenizer(["<|boa|>", "<|eoa|>"], pad="<|pad|>")
    config = transformers.GlmAsrConfig(
        audio_config={"model_type": "glmasr_encoder", **_TOWER, "intermediate_size": 128},
        text_config={"model_type": "llama", **_TEXT},
    )
    return config, transformers.GlmAsrProcessor(_whisper(), tokens, chat_template=template("<|boa|><|pad|><|eoa|>"))


def _qwen3_asr():
    named = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
    config = transformers.Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", **_WHISPER, "output_dim": 64, "downsample_hidden_size": 16},
        text_config={"model_type": "qwen3", "head_dim": 16, **_TEXT},
        pad_token_id=0,
        eos_token_id=2,
    )
    extractor = transformers.Qwen3ASRFeatureExtractor(feature_size=80)
    chat = template("<|audio_start|><|audio_pad|><|audio_end|>")
    return config, transformers.Qwen3ASRProcessor(extractor, tokenizer([], named), chat_template=chat)


_ROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}}
_VISION = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": _WIDTH}


def _omni(family: str, audio: dict, vision: dict, text: dict):
    kinds = ("image", "audio", "video")
    named = {f"{kind}_token": f"<|{kind.upper()}|>" for kind in kinds}
    named |= {f"{kind}_{end}_token": f"<|{kind}_{end}|>" for kind in ("vision", "audio") for end in ("bos", "eos")}
    tokens = tokenizer([], named)
    ids = {f"{kind}_token_id": tokens.convert_tokens_to_ids(named[f"{kind}_token"]) for kind in kinds}
    config = getattr(transformers, f"{family}ThinkerConfig")(
        audio_config={**_WHISPER, "output_dim": _WIDTH, "max_source_positions": 1500, **audio},
        vision_config=_VISION | vision,
        text_config={**_TEXT, **_ROPE, **text},
    )
    ids |= {"vision_start_token_id": 501, "vision_end_token_id": 502}
    ids |= {"audio_start_token_id": tokens.convert_tokens_to_ids("<|audio_bos|>")}
    for name, number in ids.items():
        setattr(config, name, number)
    processor = getattr(transformers, f"{family}Processor")(
        transformers.Qwen2VLImageProcessor(),
        transformers.Qwen2VLVideoProcessor(),
        _whisper(chunk_length=300),
        tokens,
        chat_template=template("<|audio_bos|><|AUDIO|><|audio_eos|>"),
    )
    return config, processor


def _qwen2_5_omni():
    return _omni("Qwen2_5Omni", {"n_window": 100}, {"fullatt_block_indexes": [1]}, {})


def _qwen3_omni_moe():
    return _omni(
        "Qwen3OmniMoe",
        {"n_window": 50, "downsample_hidden_size": 16},
        {"deepstack_visual_indexes": [0], "num_position_embeddings": 16},
        {"head_dim": 16, "moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2},
    )


def _gemma3n():
    named = {
        "image_token": "<image_soft_token>",
        "audio_token": "<audio_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "boa_token": "<start_of_audio>",
        "eoa_token": "<end_of_audio>",
    }
    tokens = tokenizer([], named)
    text = {
        **_TEXT,
        "head_dim": 16,
        "vocab_size_per_layer_input": _VOCABULARY - 32,
        "hidden_size_per_layer_input": 8,
        "laurel_rank": 8,
        "altup_num_inputs": 2,
        "sliding_window": 16,
        "num_hidden_layers": 6,
        "layer_types": ["sliding_attention", "full_attention"] * 3,
        "num_kv_shared_layers": 2,
    }
    config = transformers.Gemma3nConfig(
        text_config=text,
        audio_config={
            "hidden_size": 32,
            "conf_num_hidden_layers": 1,
            "conf_num_attention_heads": 2,
            "sscp_conv_channel_size": (16, 8),
            "vocab_offset": _VOCABULARY - 16,
            "vocab_size": 16,
        },
        vision_config={
            "architecture": "mobilenetv5_300m_enc",
            "hidden_size": 2048,
            "vocab_offset": _VOCABULARY - 32,
            "vocab_size": 16,
        },
        audio_soft_tokens_per_image=188,
    )
    for name in ("image_token", "boa_token", "eoa_token"):
        setattr(config, f"{name}_id", tokens.convert_tokens_to_ids(named[name]))
    extractor, images = transformers.Gemma3nAudioFeatureExtractor(), transformers.SiglipImageProcessor()
    chat = template("<audio_soft_token>")
    return config, transformers.Gemma3nProcessor(extractor, images, tokens, chat_template=chat)


def _gemma4_processor(kind: str):
    named = {
        "image_token": "<|image|>",
        "audio_token": "<|audio|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    }
    audio, images, videos = (
        getattr(transformers, kind + part)() for part in ("AudioFeatureExtractor", "ImageProcessor", "VideoProcessor")
    )
    return getattr(transformers, f"{kind}Processor")(
        audio,
        images,
        tokenizer(["<|video|>"], named),
        videos,
        chat_template=template("<|audio|>"),
    )


def _gemma4(**text: object):
    tower = {"num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Gemma4Config(
        text_config={
            **_TEXT,
            "head_dim": 16,
            "vocab_size_per_layer_input": _VOCABULARY,
            "hidden_size_per_layer_input": 8,
            "sliding_window": 16,
            "num_hidden_layers": 6,
            "layer_types": ["sliding_attention", "full_attention"] * 3,
            "num_kv_shared_layers": 2,
            **text,
        },
        audio_config={"hidden_size": 32, **tower, "subsampling_conv_channels": (128, 8), "output_proj_dims": 32},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 32,
            **tower,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "position_embedding_size": 64,
        },
    )
    return config, _gemma4_processor("Gemma4")


def _gemma4_moe():
    experts = {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 16}
    return _gemma4(**experts, num_kv_shared_layers=0, hidden_size_per_layer_input=0)


def _gemma4_unified():
    config = transformers.Gemma4UnifiedConfig(
        text_config={**_TEXT, "head_dim": 16, **_WINDOWS}, audio_config={}, vision_config={}
    )
    return config, _gemma4_processor("Gemma4Unified")


def _phi4_multimodal():
    tokens = tokenizer([], {"image_token": "<|image|>", "audio_token": "<|audio|>"})
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    config = transformers.Phi4MultimodalConfig(
        **_TEXT,
        audio_config={
            **tower,
            "num_blocks": 2,
            "nemo_conv_channels": 16,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "audio_token_id": tokens.convert_tokens_to_ids("<|audio|>"),
            "bias_max_distance": 50,
        },
        vision_config={
            **tower,
            "num_hidden_layers": 2,
            "image_token_id": tokens.convert_tokens_to_ids("<|image|>"),
            "image_size": 28,
            "crop_size": 28,
        },
    )
    processor = transformers.Phi4MultimodalProcessor(
        transformers.Phi4MultimodalImageProcessor(),
        transformers.Phi4MultimodalFeatureExtractor(),
        tokens,
    )
    tokens.chat_template = template("<|audio|>")  # which this processor does not keep
    return config, processor


def _vibevoice_asr():
    tower = {"model_type": "vibevoice_acoustic_tokenizer_encoder", "num_filters": 4, "depths": [1] * 7}
    config = transformers.VibeVoiceAsrConfig(
        text_config={"model_type": "qwen2", **_TEXT},
        acoustic_tokenizer_encoder_config={**tower, "hidden_size": 8},
        semantic_tokenizer_encoder_config={**tower, "hidden_size": 8},
    )
    tokens = tokenizer(["<|box_start|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|AUDIO_DURATION|>"])
    extractor = transformers.VibeVoiceAcousticTokenizerFeatureExtractor()
    chat = template("<|object_ref_start|><|box_start|><|object_ref_end|>")
    return config, transformers.VibeVoiceAsrProcessor(extractor, tokens, chat_template=chat)


def _nemotron_h_omni():
    blocks = ["mamba", "attention", "moe", "mamba", "attention", "mlp"]
    config = transformers.AutoConfig.for_model(
        "nemotron_h_omni",
        text_config={
            "model_type": "nemotron_h",
            **{name: _TEXT[name] for name in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")},
            "num_key_value_heads": 2,
            "head_dim": 16,
            "layers_block_type": blocks,
            "mamba_num_heads": 8,
            "mamba_head_dim": 16,
            "ssm_state_size": 16,
            "n_groups": 2,
            "chunk_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "moe_shared_expert_intermediate_size": 32,
            "n_group": 1,
            "topk_group": 1,
        },
        vision_config={
            "model_type": "radio",
            "video_temporal_patch_size": 2,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 48,
        },
        audio_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 48,
            "subsampling_conv_channels": 16,
            "projection_hidden_size": 32,
            "projection_bias": False,
            "num_mel_bins": 80,
        },
        vision_hidden_size=32,
        projector_hidden_size=32,
    )
    named = {"image_token": "<image>", "audio_token": "<so_embedding>"}
    tokens = tokenizer(["<so_start>", "<so_end>", "<img>", "</img>", "<video>"], named)
    processor = transformers.NemotronH_Omni_Reasoning_V3Processor(
        transformers.Qwen2VLImageProcessor(),
        transformers.Qwen2VLVideoProcessor(),
        tokens,
        transformers.ParakeetFeatureExtractor(),
        chat_template=template("<so_embedding>"),
    )
    return config, processor


def _granite(kind: str):
    config = getattr(transformers, f"{kind}Config")(
        encoder_config={
            "input_dim": 160,
            "num_layers": 2,
            "hidden_dim": 32,
            "num_heads": 2,
            "output_dim": 16,
            "context_size": 50,
            "max_pos_emb": 64,
        },
        projector_config={
            "model_type": "blip_2_qformer",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "encoder_hidden_size": 32,
            "cross_attention_frequency": 1,
        },
        text_config={"model_type": "granite", **_TEXT},
        has_lora_adapter=False,
    )
    extractor = transformers.GraniteSpeechFeatureExtractor()
    chat = template("<|audio|>")
    return config, transformers.GraniteSpeechProcessor(extractor, tokenizer(["<|audio|>"]), chat_template=chat)


def _voxtral():
    """Its tokenizer comes with mistral-common; here with a part of its vocabulary."""
    from transformers.tokenization_mistral_common import MistralCommonBackend  # needs the package

    (source,) = importlib.resources.files("mistral_common").joinpath("data").glob("tekken_240911.json")
    tekken = json.loads(source.read_text())
    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"]
    specials += ["[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"]
    specials += ["[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"]
    specials += [
        *(f"<SPECIAL_{n}>" for n in range(20, 24)),
        "[AUDIO]",
        "[BEGIN_AUDIO]",
        "[TRANSCRIBE]",
        "[ARGS]",
        "[CALL_ID]",
    ]
    tekken["special_tokens"] = [
        {"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(specials)
    ]
    tekken["vocab"] = tekken["vocab"][:470]
    sizes = {"num_vocab_tokens": 470, "default_vocab_size": 510, "default_num_special_tokens": 40, "version": "v7"}
    tekken["config"].update(sizes)
    tekken.pop("image", None)
    tekken["audio"] = {
        "sampling_rate": 16_000,
        "frame_rate": 12.5,
        "audio_encoding_config": {"num_mel_bins": 80, "hop_length": 160, "window_size": 400},
        "chunk_length_s": 30.0,
    }
    folder = Path(tempfile.mkdtemp())
    (folder / "tekken.json").write_text(json.dumps(tekken))
    config = transformers.VoxtralConfig(
        audio_config={"model_type": "voxtral_encoder", **_TOWER, "intermediate_size": 128},
        text_config={"model_type": "llama", "head_dim": 16, **_TEXT},
        audio_token_id=24,
    )
    tokens = MistralCommonBackend.from_pretrained(folder)
    return config, transformers.VoxtralProcessor(transformers.WhisperFeatureExtractor(feature_size=80), tokens)


class _Mel(torch.nn.Module):
    """What torchaudio calls a mel spectrogram, as far as the extractor of Granite Speech uses it."""

    def __init__(self, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int) -> None:
        super().__init__()
        self._n_fft, self._hop, self._window = n_fft, hop_length, win_length
        filters = mel_filter_bank(n_fft // 2 + 1, n_mels, 0, sample_rate / 2, sample_rate)
        self.register_buffer("_filters", torch.tensor(filters, dtype=torch.float32))

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        window = torch.hann_window(self._window)
        spectrum = torch.stft(wave, self._n_fft, self._hop, self._window, window, return_complex=True).abs() ** 2
        return (spectrum.transpose(-1, -2) @ self._filters).transpose(-1, -2)


def stand_in_for_torchaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its newest release breaks the import of transformers' audio models, so that it is not installed here."""
    package = types.ModuleType("torchaudio")
    package.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    package.transforms = types.SimpleNamespace(MelSpectrogram=_Mel)
    monkeypatch.setitem(sys.modules, "torchaudio", package)
    monkeypatch.setattr(feature_extraction_granite_speech, "requires_backends", lambda *_: None)
    monkeypatch.setattr(feature_extraction_granite_speech, "torchaudio", package, raising=False)


BUILT: dict[str, tuple[Callable, str]] = {
    "qwen2_audio": (_qwen2_audio, "Qwen2AudioForConditionalGeneration"),
    "small_qwen2_audio": (_small_qwen2_audio, "SmallQwen2AudioForConditionalGeneration"),
    "audioflamingo3": (lambda: _flamingo("AudioFlamingo3", ["<sound>"]), "AudioFlamingo3ForConditionalGeneration"),
    "musicflamingo": (
        lambda: _flamingo("MusicFlamingo", ["<sound>", "<|sound_bos|>", "<|sound_eos|>"]),
        "MusicFlamingoForConditionalGeneration",
    ),
    "voxtral": (_voxtral, "VoxtralForConditionalGeneration"),
    "glmasr": (_glmasr, "GlmAsrForConditionalGeneration"),
    "qwen3_asr": (_qwen3_asr, "Qwen3ASRForConditionalGeneration"),
    "qwen2_5_omni_thinker": (_qwen2_5_omni, "Qwen2_5OmniThinkerForConditionalGeneration"),
    "qwen3_omni_moe_thinker": (_qwen3_omni_moe, "Qwen3OmniMoeThinkerForConditionalGeneration"),
    "gemma3n": (_gemma3n, "Gemma3nForConditionalGeneration"),
    "gemma4": (_gemma4, "Gemma4ForConditionalGeneration"),
    "gemma4 (experts)": (_gemma4_moe, "Gemma4ForConditionalGeneration"),
    "gemma4_unified": (_gemma4_unified, "Gemma4UnifiedForConditionalGeneration"),
    "phi4_multimodal": (_phi4_multimodal, "Phi4MultimodalForCausalLM"),
    "granite_speech": (lambda: _granite("GraniteSpeech"), "GraniteSpeechForConditionalGeneration"),
    "granite_speech_plus": (lambda: _granite("GraniteSpeechPlus"), "GraniteSpeechPlusForConditionalGeneration"),
    "vibevoice_asr": (_vibevoice_asr, "VibeVoiceAsrForConditionalGeneration"),
    "nemotron_h_omni": (_nemotron_h_omni, "NemotronH_Omni_Reasoning_V3"),
}
"""Family → what makes its configuration and processor, and the class of its model."""


def class_of(class_name: str) -> type:
    """A class of transformers, or one of this project's own."""
    return small.CLASSES.get(class_name) or getattr(transformers, class_name)


def save(name: str, folder: Path) -> Path:
    """A checkpoint of a family in a folder."""
    build, class_name = BUILT[name]
    config, processor = build()
    if name not in ("phi4_multimodal", "voxtral"):  # which have it already
        config.audio_token_id = processor.tokenizer.convert_tokens_to_ids(processor.audio_token)
    for kind in ("image", "video"):
        known = getattr(processor, f"{kind}_token_id", None)
        if hasattr(config, f"{kind}_token_id") and known is not None:
            setattr(config, f"{kind}_token_id", known)
    save_random(class_of(class_name)(config), folder)
    processor.save_pretrained(folder)
    return folder


def save_whole_omni(folder: Path) -> Path:
    """A checkpoint of the whole Qwen2.5-Omni, as published ones are: the thinker's weights have a prefix."""
    config, processor = _qwen2_5_omni()
    whole = transformers.Qwen2_5OmniConfig(thinker_config=config.to_dict(), enable_audio_output=False)
    save_random(transformers.Qwen2_5OmniForConditionalGeneration(whole), folder)
    processor.save_pretrained(folder)
    return folder


def save_random(model: transformers.PreTrainedModel, folder: Path) -> None:
    """Save a model whose weights are drawn anew where small ones would make attention even or streams alike."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if any(part in name for part in ("q_proj.weight", "k_proj.weight", "qkv_proj.weight")):
                weights.normal_(std=0.2 if "vision" not in name else 0.02)
            elif "altup" in name or "per_layer" in name:
                weights.normal_(std=0.3)
    model.save_pretrained(folder)
