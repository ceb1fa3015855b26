"""What kind of blocks a text stack has, and what follows for prompts that go through it side by side."""

from dataclasses import dataclass

import torch

from wheretolisten.engine.layout import Layout
from wheretolisten.models.adapter import Adapter

_ATTENTION = {"full_attention", "sliding_attention"}
_ATTENDS = ("self_attn", "attn", "attention", "self_attention")
"""What blocks call their attention."""


@dataclass(frozen=True)
class Traits:
    """What the engine may do with a text stack.

    Attributes
    ----------
    window
        Tokens that a token sees in blocks of sliding windows, itself included; None: there are none.
    by_type
        Whether the stack takes one mask for each type of block, by name, because only some have windows.
    side_by_side
        Whether prompts may stand side by side behind what they share: what mixes tokens otherwise than by masked
        attention (state spaces, convolutions, linear attention) would carry one prompt into the next.
    plain
        Whether all blocks are alike and take nothing but states, so that keys and values can be kept.
    branches
        Whether rows may multiply between two blocks: nothing that the stack hands on to them has rows of its own.
    """

    window: int | None
    by_type: bool
    side_by_side: bool
    plain: bool
    branches: bool


def traits_of(adapter: Adapter) -> Traits:
    """The traits of a model's text stack, from its configuration."""
    config = adapter.text_config
    types = set(getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ())
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" not in types and (types or getattr(config, "use_sliding_window", True) is False):
        window = None
    # Where the configuration is silent, blocks tell: what has no attention mixes tokens in another way.
    attends = all(any(hasattr(block, name) for name in _ATTENDS) for block in adapter.blocks)
    side_by_side = types <= _ATTENTION and attends and adapter.shares
    plain = side_by_side and window is None and adapter.family.per_layer_inputs is None
    # Positions of several axes are embedded row by row.
    by_row = "mrope_section" in (getattr(config, "rope_parameters", None) or {})
    return Traits(window, "sliding_attention" in types, side_by_side, plain, branches=plain and not by_row)


def masks(mask: torch.Tensor, tokens: Layout, traits: Traits) -> torch.Tensor | dict[str, torch.Tensor]:
    """What the text stack takes in place of a mask of `layout.block_mask`, which knows no windows.

    Windows are of positions, not of columns: prompts side by side are as far from their prefix as if they were alone.
    """
    if traits.window is None:
        return mask
    n_rows, _, n_last, n_columns = mask.shape
    full = torch.ones(n_columns, n_columns, dtype=torch.bool, device=mask.device).tril()
    full = full.expand(n_rows, 1, -1, -1).clone()
    full[:, :, n_columns - n_last :] = mask
    position = tokens.position_ids.to(mask.device)
    near = (position[:, :, None] - position[:, None, :]) < traits.window
    # A padded prefix column sees itself at least, as nothing reads it and a softmax over nothing is NaN.
    sliding = full & (near[:, None] | torch.eye(n_columns, dtype=torch.bool, device=mask.device))
    return {"full_attention": mask, "sliding_attention": sliding} if traits.by_type else sliding
