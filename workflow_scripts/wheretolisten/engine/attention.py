"""Reading a few rows of attention inside the attention call, without keeping any map.

An attention function is registered with transformers under the name `IMPLEMENTATION`. It is the fast sdpa kernel; when
a forward pass carries an `AttentionReader` as the keyword `attention_reader`, it computes the softmax of the requested
query rows besides, reduced before it leaves the block: over heads, and unless they are to be kept over the queries.
"""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IMPLEMENTATION = "sdpa_with_readout"


class AttentionReader:
    """Collects attention from a run of query tokens per row to all keys, averaged over heads.

    Parameters
    ----------
    first, last
        First and last query token that is read, inclusive, indices in the padded batch, [row].
    n_layers
        Number of blocks that will report.
    keep_queries
        False: the queries of a row are summed.
    """

    def __init__(self, first: torch.Tensor, last: torch.Tensor, n_layers: int, keep_queries: bool = False) -> None:
        counts = last - first + 1
        steps = torch.arange(int(counts.max()), device=first.device)
        # Rows with fewer queries repeat their last one, which then counts nothing.
        self._queries = torch.minimum(first[:, None] + steps, last[:, None])
        self._counted = (steps < counts[:, None]).float()
        self._keep_queries = keep_queries
        self._layers: list[torch.Tensor | None] = [None] * n_layers

    def read(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, scaling: float, mask: torch.Tensor | None
    ) -> None:
        """Take in one block: softmax(q·Kᵀ · scaling + mask) of the requested queries, in float32.

        Parameters
        ----------
        layer
            Index of the block.
        query, key
            [row, head, token, channel] after the position encoding; heads may share keys (grouped-query attention).
        scaling
            Factor of the scores.
        mask
            True where a query sees a key, [row, 1, token, key]; None: causal without padding.
        """
        n_rows, n_heads, n_tokens, _ = query.shape
        n_key_heads, n_keys = key.shape[1:3]
        queries, counted = self._queries.to(query.device), self._counted.to(query.device)
        query = query.gather(2, queries[:, None, :, None].expand(-1, n_heads, -1, query.shape[3])).float()
        # Consecutive heads share a key head, so they can queue up as further queries of it.
        scores = query.reshape(n_rows, n_key_heads, -1, query.shape[3]) @ key.float().transpose(2, 3) * scaling
        scores = scores.view(n_rows, n_heads, -1, n_keys)
        if mask is None:
            seen = torch.arange(n_keys, device=query.device) <= queries[:, None, :, None] + n_keys - n_tokens
        else:
            seen = mask.gather(2, queries[:, None, :, None].expand(-1, 1, -1, n_keys))
        weights = scores.masked_fill_(~seen, -torch.inf).softmax(dim=-1)
        if self._keep_queries:
            self._layers[layer] = weights.mean(dim=1).masked_fill(counted[:, :, None] == 0, torch.nan)
        else:
            self._layers[layer] = torch.einsum("bhqk,bq->bk", weights, counted) / n_heads

    def audio_columns(self, audio_span: torch.Tensor) -> torch.Tensor:
        """Attention to each row's audio tokens, float32 [row, layer, audio_token] on the CPU.

        With kept queries [row, layer, query, audio_token]. NaN beyond a row's own queries and audio tokens.
        `audio_span` is [row, 2], first and after-last audio token.
        """
        attention = torch.stack([layer.cpu() for layer in self._layers], dim=1)
        spans = audio_span.tolist()
        columns = attention.new_full((*attention.shape[:-1], max(after - first for first, after in spans)), torch.nan)
        for row, (first, after) in enumerate(spans):
            columns[row, ..., : after - first] = attention[row, ..., first:after]
        return columns


def _sdpa_with_readout(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    attention_reader: AttentionReader | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    if attention_reader is not None:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        attention_reader.read(module.layer_idx, query, key, scale, attention_mask)
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)


AttentionInterface.register(IMPLEMENTATION, _sdpa_with_readout)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
