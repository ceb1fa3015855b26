"""Audio Flamingo 3."""

import torch
from transformers import AudioFlamingo3ForConditionalGeneration

from wheretolisten.models.base import Adapter


class AudioFlamingo3Adapter(Adapter):
    """Checkpoints of type `audioflamingo3`: longer recordings are heard as several windows, side by side."""

    model_type = "audioflamingo3"
    model_class = AudioFlamingo3ForConditionalGeneration

    @property
    def max_seconds(self) -> float:
        """Longest recording that the processor does not truncate, in seconds."""
        return self.processor.max_audio_len

    def _project_audio(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self._tower(features, input_features_mask=mask).last_hidden_state
        return self.model.get_submodule("model.multi_modal_projector")(states)
