"""Qwen2-Audio, and models of other names that keep its architecture (R1-AQA)."""

import torch
from transformers import Qwen2AudioForConditionalGeneration
from transformers.masking_utils import create_bidirectional_mask

from wheretolisten.models.base import Adapter


class Qwen2AudioAdapter(Adapter):
    """Checkpoints of type `qwen2_audio`: one window of audio, begin and end markers around it."""

    model_type = "qwen2_audio"
    model_class = Qwen2AudioForConditionalGeneration

    @property
    def max_seconds(self) -> float:
        """Length of the feature extractor's one window, in seconds."""
        return self.processor.feature_extractor.chunk_length

    def _project_audio(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # The tower takes a mask over its own positions, after the first two convolutions, and does not build it itself.
        n_positions, _ = self._tower._get_feat_extract_output_lengths(mask.sum(dim=1))
        positions = torch.arange(self._tower.config.max_source_positions, device=mask.device)
        tower_mask = create_bidirectional_mask(
            config=self._tower.config,
            inputs_embeds=features.new_empty(len(features), len(positions), 1),
            attention_mask=positions < n_positions[:, None],
        )
        states = self._tower(features, attention_mask=tower_mask).last_hidden_state
        return self.model.get_submodule("model.multi_modal_projector")(states)
