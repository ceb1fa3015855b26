"""Reading a few rows of attention inside the attention call, without keeping any map.

Attention functions are registered with transformers, one per kernel (`KERNELS`). They are the fast kernel and nothing
else, unless a forward pass carries the keyword `attention_reader`: a function that is shown queries, keys, scaling and
mask of every block, and may compute the softmax of the rows it wants. A mask may have fewer rows than there are
queries: it is for the last of them, and those before are causal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.modeling_flash_attention_utils import _flash_attention_forward
from transformers.utils import is_flash_attn_2_available

from wheretolisten.errors import UserError

KERNELS = {"sdpa": "sdpa_with_readout", "flash": "fa2_with_readout"}
"""Name under which each kernel is registered with transformers, which takes names with "flash" for packages."""

_CHANGES_SCORES = ("position_bias", "softcap", "s_aux")
"""Arguments by which some families make scores of more than queries, keys, scaling and mask."""

Read = Callable[[int, torch.Tensor, torch.Tensor, float, torch.Tensor | None], None]
"""Takes the index of a block, then its queries, keys, factor of the scores and mask, as `AttentionReader.read`."""


def check_kernel(kernel: str, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse a kernel that cannot run here.

    Raises
    ------
    UserError
        If flash attention is asked for without its package, off the GPU, or in float32.
    """
    if kernel != "flash":
        return
    if not is_flash_attn_2_available():
        raise UserError(
            "readout.kernel: flash needs the package flash-attn and a GPU, and one of them is missing here; "
            "install it or set kernel: sdpa"
        )
    if device.type != "cuda" or dtype == torch.float32:
        raise UserError(
            f"readout.kernel: flash runs in bfloat16 or float16 on a GPU, not in {dtype} on {device}; "
            "set kernel: sdpa, or the model's dtype and device"
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """Which rows of attention are read in a pass; tensors lie on one device.

    Attributes
    ----------
    columns
        Query tokens that are read, as columns of the pass, [row, read_token]; rows with fewer repeat any of theirs.
    places
        Of every query its read tokens, in order, [query, text_token]: indices into the flattened `columns`; -1 beyond
        the query's own.
    audio_span
        First audio token of every query and the index after its last, as columns of the keys, [query, 2]; the same
        where there is no audio.
    n_audio
        Audio tokens of the query that has most.
    """

    columns: torch.Tensor
    places: torch.Tensor
    audio_span: torch.Tensor
    n_audio: int


@dataclass(frozen=True)
class Wanted:
    """What a pass is to find, beside the attention of text to audio; see the arguments of `Engine.read`."""

    states: bool = False
    keep_text: bool = False
    keep_heads: bool = False
    head_mass: bool = False
    audio_share: bool = False
    site: str = "block"


_CHUNK = 64
"""Query tokens whose attention exists at the same time where every token's is wanted."""


class AttentionReader:
    """Computes attention from text tokens to audio tokens, averaged over heads or not, for one block after the other.

    Parameters
    ----------
    rows
        What is read.
    wanted
        What is kept of it, and what is read beside it.
    lengths
        Tokens of each row, [row], for the audio's share of all their attention; such rows hold one query each, from its
        first token on, without a mask.
    """

    def __init__(self, rows: Rows, wanted: Wanted = Wanted(), lengths: torch.Tensor | None = None) -> None:
        self._rows, self._wanted, self._lengths = rows, wanted, lengths
        first, after = rows.audio_span.unbind(dim=1)
        steps = torch.arange(rows.n_audio, device=first.device)
        self._audio = torch.minimum(first[:, None] + steps, after[:, None] - 1).clamp(min=0)
        self._is_audio = steps < (after - first)[:, None]
        self._is_text = rows.places >= 0
        self._last = rows.places.gather(1, self._is_text.sum(dim=1, keepdim=True) - 1)[:, 0]
        self._seen: dict[tuple[torch.device, int], torch.Tensor] = {}

    def read(
        self, query: torch.Tensor, key: torch.Tensor, scaling: float, mask: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Read one block: softmax(q·Kᵀ · scaling + mask) of the requested rows, in float32.

        Parameters
        ----------
        query, key
            [row, head, token, channel] after the position encoding; heads may share keys (grouped-query attention),
            and keys may be more than queries (a cache).
        scaling
            Factor of the scores.
        mask
            True where a query sees a key, [row, 1, token, key], for the last of the queries, all that are read among
            them; None: causal, queries at the end of the keys.

        Returns
        -------
        dict
            `attention` to each query's audio tokens, [query, audio_token]; with kept text or heads [query, text_token
            or head, audio_token]; NaN beyond a query's own text and audio tokens. If wanted `head_mass`, the share of
            the last token's attention that goes to the audio, [query, head], and `audio_share`, that of all tokens'
            attention, [query].
        """
        found = {"audio_share": self._audio_share(query, key, scaling)} if self._wanted.audio_share else {}
        n_heads, n_channels = query.shape[1], query.shape[3]
        which = (query.device, id(mask))
        if which not in self._seen:
            # The same in every block that has the mask; those of sliding windows have another one.
            self._seen[which] = self._keys_seen(query, key, mask)
        columns = self._rows.columns.to(query.device)
        rows_of_queries = query.gather(2, columns[:, None, :, None].expand(-1, n_heads, -1, n_channels))
        weights = _softmax(rows_of_queries, key, scaling, self._seen[which])

        rows = (self._rows.places, self._audio, self._is_text, self._is_audio)
        places, audio, is_text, is_audio = (tensor.to(query.device) for tensor in rows)
        heads = weights if self._wanted.keep_heads else weights.mean(dim=1, keepdim=True)
        text = heads.transpose(1, 2)[self._at(places.clamp(min=0))]
        text = text.gather(3, audio[:, None, None, :].expand(*text.shape[:3], -1))
        text = text.masked_fill(~is_text[:, :, None, None], torch.nan if self._wanted.keep_text else 0)
        if not self._wanted.keep_text:
            text = text.sum(dim=1)
        if not self._wanted.keep_heads:
            text = text.squeeze(-2)
        found["attention"] = text.masked_fill_(~(is_audio[:, None] if text.ndim == 3 else is_audio), torch.nan)
        if self._wanted.head_mass:
            last = weights.transpose(1, 2)[self._at(self._last.to(query.device))]
            last = last.gather(2, audio[:, None, :].expand(-1, n_heads, -1))
            found["head_mass"] = last.masked_fill(~is_audio[:, None, :], 0).sum(dim=2)
        return found

    def _keys_seen(self, query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """True where a token that is read sees a key, [row, 1, read_token, key]."""
        (n_rows, _, n_tokens, _), n_keys = query.shape, key.shape[2]
        columns = self._rows.columns.to(query.device)
        if mask is None:
            return torch.arange(n_keys, device=query.device) <= columns[:, None, :, None] + n_keys - n_tokens
        masked = (columns - (n_tokens - mask.shape[2])).clamp(min=0)
        return mask.expand(n_rows, -1, -1, -1).gather(2, masked[:, None, :, None].expand(-1, 1, -1, n_keys))

    def _at(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n_columns = self._rows.columns.shape[1]
        return places // n_columns, places % n_columns

    def _audio_share(self, query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
        """P_l: share of the attention of all tokens of a row that goes to the audio, averaged over heads, [row]."""
        first, after = self._rows.audio_span.to(query.device)[:, :, None].unbind(dim=1)
        lengths = self._lengths.to(query.device)
        token = torch.arange(query.shape[2], device=query.device)
        is_audio = ((token >= first) & (token < after)).float()[:, :, None]
        mass = torch.zeros(len(query), device=query.device)
        for start in range(0, len(token), _CHUNK):
            here, seen = slice(start, start + _CHUNK), slice(start + _CHUNK)
            chunk = token[here]
            weights = _softmax(query[:, :, here], key[:, :, seen], scaling, token[seen] <= chunk[:, None])
            of_token = (weights.mean(dim=1) @ is_audio[:, seen])[:, :, 0]
            mass += of_token.masked_fill_(chunk >= lengths[:, None], 0).sum(dim=1)
        # The attention of every token sums to 1.
        return mass / lengths


def _softmax(query: torch.Tensor, key: torch.Tensor, scaling: float, seen: torch.Tensor) -> torch.Tensor:
    """Attention of queries to the keys that they have `seen`, in float32, [row, head, token, key]."""
    n_rows, n_heads, _, n_channels = query.shape
    # Consecutive heads share a key head, so they can queue up as further queries of it.
    query = query.reshape(n_rows, key.shape[1], -1, n_channels)
    scores = _products(query, key).mul_(scaling).view(n_rows, n_heads, -1, key.shape[2])
    return scores.masked_fill_(~seen, -torch.inf).softmax(dim=-1)


def _products(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """q·Kᵀ in float32, whatever type the two have, [row, key_head, query, key]."""
    if key.device.type == "cpu" or key.dtype == torch.float32:
        return query.float() @ key.float().transpose(2, 3)
    # A card multiplies half precision and adds up in float32, without a copy of all keys in float32.
    products = torch.bmm(query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), out_dtype=torch.float32)
    return products.unflatten(0, key.shape[:2])


def _with_readout(kernel: Callable[..., torch.Tensor]) -> Callable[..., tuple[torch.Tensor, None]]:
    def attend(
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        attention_reader: Read | None = None,
        scaling: float | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, None]:
        for name in _CHANGES_SCORES:
            if kwargs.get(name) is not None:
                raise UserError(
                    f"attention of {type(module).__name__} has a {name}, which is not read; choose another model"
                )
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        if attention_reader is not None:
            attention_reader(module.layer_idx, query, key, scaling, attention_mask)
        n_causal = 0 if attention_mask is None else query.shape[2] - attention_mask.shape[2]
        output = kernel(module, query[:, :, n_causal:], key, value, attention_mask, scaling=scaling, **kwargs)
        if n_causal:
            causal = (states[:, :, :n_causal] for states in (query, key, value))
            output = torch.cat([kernel(module, *causal, None, scaling=scaling, **kwargs), output], dim=1)
        return output, None

    return attend


def _sdpa(*args: Any, **kwargs: Any) -> torch.Tensor:
    return sdpa_attention_forward(*args, **kwargs)[0]


def _flash(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **kwargs: Any,
) -> torch.Tensor:
    if attention_mask is not None:
        # Flash attention knows causal passes only; prompts side by side behind one prefix are masked by block.
        return _sdpa(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return _flash_attention_forward(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        None,
        query_length=query.shape[2],
        is_causal=True,
        softmax_scale=scaling,
        attn_implementation="flash_attention_2",
    )


for _name, _kernel in (("sdpa", _sdpa), ("flash", _flash)):
    AttentionInterface.register(KERNELS[_name], _with_readout(_kernel))
    # Without padding and cache this yields None, which both kernels take as causal.
    AttentionMaskInterface.register(KERNELS[_name], sdpa_mask)
