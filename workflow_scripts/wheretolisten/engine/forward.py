"""One pass through the text stack; what it leaves behind is taken by hooks, readers of attention, and caches."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import Cache

from wheretolisten.engine.attention import Read
from wheretolisten.engine.layout import Group, Layout, Query
from wheretolisten.engine.meter import Meter
from wheretolisten.engine.traits import masks, traits_of
from wheretolisten.models.adapter import Adapter, Recording


@dataclass(frozen=True, eq=False)
class Heard:
    """Recordings that the audio encoder has heard: `audio` holds their token embeddings, [audio_token, hidden] each.

    Those of symbols are embeddings of words. Passages of text, and no audio, None, have none. `prefixes` holds keys and
    values of what steered prompts about them begin with, for passes that steer in other ways behind the same.
    """

    recordings: tuple[Recording, ...]
    audio: tuple[torch.Tensor, ...]
    prefixes: dict[tuple, Cache] = field(default_factory=dict, repr=False)

    def of_groups(self, groups: Sequence[Group], queries: Sequence[Query]) -> list[torch.Tensor]:
        """What each group of queries is about."""
        return [self.audio[queries[group.queries[0]].recording] for group in groups]


class EnoughError(Exception):
    """Ends a pass when nobody needs the rest of it: the last block's MLP, the final norm."""


def forward(
    adapter: Adapter,
    tokens: Layout,
    audio: Sequence[torch.Tensor],
    cache: Cache | None = None,
    mask: torch.Tensor | None = None,
    read: Read | None = None,
) -> torch.Tensor | None:
    """States behind the final norm, [row, column, hidden]; None if `read` or a hook had enough before.

    Parameters
    ----------
    adapter
        The model, its text stack switched to one of `attention.KERNELS`.
    tokens
        What goes through.
    audio
        Embeddings for the audio tokens among them, in the order of rows.
    cache
        Keys and values of earlier columns; those of this pass are added.
    mask
        Whom the last columns see, see `layout.block_mask`; None: every column sees those before it.
    read
        Shown the queries and keys of every block.
    """
    device, ids = adapter.device, tokens.input_ids.to(adapter.device)
    # Without a mask positions are columns, and stay so for rows that branch off on the way.
    position_ids = None if mask is None else tokens.position_ids.to(device)
    with contextlib.suppress(EnoughError):
        return adapter.text_stack(
            inputs_embeds=adapter.embed(ids, audio),
            attention_mask=None if mask is None else masks(mask.to(device), tokens, traits_of(adapter)),
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
            attention_reader=read,
            **adapter.stack_arguments(ids),
        ).last_hidden_state


def prefill(adapter: Adapter, meter: Meter, shared: Layout, audio: Sequence[torch.Tensor], cache: Cache) -> None:
    """Take what prompts share into a cache, keys and values alone."""

    def stop_after_keys(layer: int, *_: object) -> None:
        # The cache holds the last block's keys and values by now, and nobody reads what comes out of it.
        if layer == adapter.n_layers - 1:
            raise EnoughError

    with meter.stage("prefill", shared.n_tokens):
        forward(adapter, shared, audio, cache, read=stop_after_keys)
