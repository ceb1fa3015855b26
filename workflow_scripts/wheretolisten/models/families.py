"""What is known of each type of model beside what transformers tells: a table of facts, one row per type.

A type without a row runs through the same adapter, if its numbers agree with the plain model's (`selfcheck`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Family:
    """Facts about one value of `model_type` in config.json.

    Attributes
    ----------
    model_type
        The value.
    class_name
        Class in transformers, or of `models.small`, that loads it; None: the first of `architectures` in config.json,
        which may be missing.
    seconds_per_token
        Duration of an audio token; None: measured on silence, which counts rounded to blocks or padded would spoil.
    max_seconds
        Longest recording that is heard as a whole; None: what the processor says, perhaps without end.
    padded_span
        Whether tokens of padding follow those of the recording between the markers.
    model_arguments
        What the model's forward pass is given beside the processor's output.
    per_layer_inputs
        Where blocks take inputs of their own, made from token ids: what audio tokens count as, `padding` or their `own`
        id.
    stream
        Index of the stream that is steered and read where blocks hand on several, [stream, row, token, hidden].
    converses
        Whether its processor makes token ids of whole conversations that hold recordings as files, and knows no text
        with placeholders.
    packages
        What its processor needs beside the group `models`: modules that can be imported.
    """

    model_type: str
    class_name: str | None = None
    seconds_per_token: float | None = None
    max_seconds: float | None = None
    padded_span: bool = False
    model_arguments: Mapping[str, Any] = field(default_factory=dict)
    per_layer_inputs: Literal["padding", "own"] | None = None
    stream: int | None = None
    converses: bool = False
    packages: tuple[str, ...] = ()


_VISION = ("PIL", "torchvision")

FAMILIES = {
    family.model_type: family
    for family in (
        Family("qwen2_audio", "Qwen2AudioForConditionalGeneration"),
        # A subclass of this project's own (`models.small`).
        Family("small_qwen2_audio", "SmallQwen2AudioForConditionalGeneration"),
        Family("audioflamingo3", "AudioFlamingo3ForConditionalGeneration"),
        Family("musicflamingo", "MusicFlamingoForConditionalGeneration"),
        # Checkpoints of the whole model, talker included, and of the thinker alone.
        Family("qwen2_5_omni", "Qwen2_5OmniThinkerForConditionalGeneration", packages=_VISION),
        Family("qwen2_5_omni_thinker", "Qwen2_5OmniThinkerForConditionalGeneration", packages=_VISION),
        Family("qwen3_omni_moe", "Qwen3OmniMoeThinkerForConditionalGeneration", packages=_VISION),
        Family("qwen3_omni_moe_thinker", "Qwen3OmniMoeThinkerForConditionalGeneration", packages=_VISION),
        # 188 tokens for any recording, the rest of them of padding.
        Family(
            "gemma3n",
            "Gemma3nForConditionalGeneration",
            seconds_per_token=0.16,
            max_seconds=30,
            padded_span=True,
            per_layer_inputs="own",
            stream=0,
            packages=(*_VISION, "timm"),
        ),
        Family(
            "gemma4", "Gemma4ForConditionalGeneration", max_seconds=30, per_layer_inputs="padding", packages=_VISION
        ),
        Family("gemma4_unified", "Gemma4UnifiedForConditionalGeneration", packages=_VISION),
        Family("phi4_multimodal", "Phi4MultimodalForCausalLM", packages=_VISION),
        # Three tokens for every started block of 0.3 s.
        Family(
            "granite_speech", "GraniteSpeechForConditionalGeneration", seconds_per_token=0.1, packages=("torchaudio",)
        ),
        Family(
            "granite_speech_plus",
            "GraniteSpeechPlusForConditionalGeneration",
            seconds_per_token=0.1,
            packages=("torchaudio",),
        ),
        # 375 tokens for every started 30 s.
        Family(
            "voxtral",
            "VoxtralForConditionalGeneration",
            seconds_per_token=0.08,
            padded_span=True,
            converses=True,
            packages=("mistral_common",),
        ),
        Family("glmasr", "GlmAsrForConditionalGeneration"),
        Family("qwen3_asr", "Qwen3ASRForConditionalGeneration"),
        # Its encoder draws noise unless it is told not to.
        Family("vibevoice_asr", "VibeVoiceAsrForConditionalGeneration", model_arguments={"sample": False}),
        Family("nemotron_h_omni", "NemotronH_Omni_Reasoning_V3", packages=_VISION),
    )
}
"""Types whose facts are known, by name; docs/models.md says what of each was run."""

_NO_AUDIO_TOKENS = "audio is added to the states of the text there, so that no text token attends to audio tokens"
ENCODER_DECODER = "it has an encoder and a decoder, so that no text token attends to audio tokens"
REFUSED = {
    "whisper": ENCODER_DECODER,
    "voxtral_realtime": _NO_AUDIO_TOKENS,
    "kyutai_speech_to_text": _NO_AUDIO_TOKENS,
    "moshi": _NO_AUDIO_TOKENS,
    "inkling_mm_model": "its attention adds a bias of positions that is not read",
    "moss_transcribe_diarize": "digits stand between its audio tokens, which must be one span",
}
"""Types that cannot be right, and why."""


def family_of(model_type: str) -> Family:
    """The facts about a type; of one that is not in the table, none."""
    return FAMILIES.get(model_type) or Family(model_type)
