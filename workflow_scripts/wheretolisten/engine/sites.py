"""Where a decoder block's states are read and changed: one table for both."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from wheretolisten.errors import UserError
from wheretolisten.models.adapter import Adapter

Side = Literal["input", "output"]


class Place(NamedTuple):
    """A module, whether what goes into it is meant or what comes out of it, and which stream of several of them."""

    module: nn.Module
    side: Side
    stream: int | None = None


@dataclass(frozen=True)
class Site:
    """A state inside a decoder block, or behind the last one.

    Attributes
    ----------
    module
        Path of a module inside the block; empty: the block itself.
    side
        Whether the state goes into the module, as its first argument, or comes out of it.
    words
        What a log calls it, before "blocks".
    in_block
        False: the module is one of the text stack, and follows the last block.
    wide
        Path of the projection inside the block that takes states as wide as these in; None: they are as wide as the
        stream.
    """

    module: str
    side: Side
    words: str
    in_block: bool = True
    wide: str | None = None


SITES = {
    "heads": Site("self_attn.o_proj", "input", "the outputs of the attention heads in", wide="self_attn.o_proj"),
    "attention": Site("self_attn.o_proj", "output", "the output of the attention in"),
    "gates": Site("mlp.act_fn", "output", "the gates of the MLP in", wide="mlp.down_proj"),
    "neurons": Site("mlp.down_proj", "input", "the neurons of the MLP in", wide="mlp.down_proj"),
    "mlp": Site("mlp", "output", "the output of the MLP in"),
    "block": Site("", "output", "the output of"),
    "final_norm": Site("norm", "output", "the output of the final norm behind", in_block=False),
}
"""Sites by name, in the order in which a block computes them. heads: what each head makes of the values, before the
output projection mixes the heads; gates: act(gate), before it is multiplied with up; neurons: act(gate) · up, before
the down projection; final_norm: what goes to the head that makes logits."""

_FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "embedding_norm")
"""What text stacks call the norm behind their last block."""


def width(adapter: Adapter, site: str) -> int:
    """Width of a state, and of a vector, at a site: the stream's, or that of what goes into a projection.

    Raises
    ------
    UserError
        As `places`, and if blocks differ in it, so that no array holds the states of all of them.
    ValueError
        If there is no such site.
    """
    places(adapter, site)
    if (wide := named(site).wide) is None:
        return adapter.hidden_size
    widths = {block.get_submodule(wide).in_features for block in adapter.blocks}
    if len(widths) > 1:
        raise UserError(
            f"{adapter.name}: blocks of its text stack differ in the width of {site} ({sorted(widths)}); choose "
            "another site, such as block"
        )
    return widths.pop()


def places(adapter: Adapter, site: str) -> list[Place]:
    """The site's place in every block of the text stack, [layer]; of a site behind the blocks the same for all.

    Raises
    ------
    UserError
        If the model's blocks are built otherwise.
    ValueError
        If there is no such site.
    """
    where = named(site)
    if not where.in_block:
        return [Place(_final_norm(adapter), where.side)] * adapter.n_layers
    try:
        stream = None if where.module else adapter.family.stream
        return [Place(block.get_submodule(where.module), where.side, stream) for block in adapter.blocks]
    except AttributeError:
        raise UserError(
            f"{adapter.name}: a block of its text stack has no module {where.module}, hence no site {site!r}; "
            "choose another site, such as block"
        ) from None


def _final_norm(adapter: Adapter) -> nn.Module:
    found = [getattr(adapter.text_stack, name) for name in _FINAL_NORMS if hasattr(adapter.text_stack, name)]
    if len(found) != 1:
        raise UserError(
            f"{adapter.name}: its text stack has no final norm of a known name, hence no site 'final_norm'; choose "
            "site block with layers: last"
        )
    return found[0]


def reaches(changed: str, read: str) -> bool:
    """Whether a change at one site shows in what is read at another site of the same block."""
    order = list(SITES)
    return order.index(changed) <= order.index(read)


def named(site: str) -> Site:
    """The site of a name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if site not in SITES:
        raise ValueError(f"there is no site {site!r}; choose from {', '.join(SITES)}")
    return SITES[site]
