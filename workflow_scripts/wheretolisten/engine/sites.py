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
    """A state inside a decoder block.

    Attributes
    ----------
    module
        Path of a module inside the block; empty: the block itself.
    side
        Whether the state goes into the module, as its first argument, or comes out of it.
    words
        What a log calls it, before "blocks".
    """

    module: str
    side: Side
    words: str


SITES = {
    "heads": Site("self_attn.o_proj", "input", "the outputs of the attention heads in"),
    "attention": Site("self_attn.o_proj", "output", "the output of the attention in"),
    "neurons": Site("mlp.down_proj", "input", "the neurons of the MLP in"),
    "mlp": Site("mlp", "output", "the output of the MLP in"),
    "block": Site("", "output", "the output of"),
}
"""Sites by name, in the order in which a block computes them. heads: what each head makes of the values, before the
output projection mixes the heads; neurons: act(gate) · up, before the down projection."""


def width(adapter: Adapter, site: str) -> int:
    """Width of a state, and of a vector, at a site: the stream's, or that of what goes into a projection.

    Raises
    ------
    UserError
        As `places`, and if blocks differ in it, so that no array holds the states of all of them.
    ValueError
        If there is no such site.
    """
    found = places(adapter, site)
    if _named(site).side == "output":
        return adapter.hidden_size
    widths = {place.module.in_features for place in found}
    if len(widths) > 1:
        raise UserError(
            f"{adapter.name}: blocks of its text stack differ in the width of {site} ({sorted(widths)}); choose "
            "another site, such as block"
        )
    return widths.pop()


def places(adapter: Adapter, site: str) -> list[Place]:
    """The site's place in every block of the text stack, [layer].

    Raises
    ------
    UserError
        If the model's blocks are built otherwise.
    ValueError
        If there is no such site.
    """
    where = _named(site)
    try:
        stream = None if where.module else adapter.family.stream
        return [Place(block.get_submodule(where.module), where.side, stream) for block in adapter.blocks]
    except AttributeError:
        raise UserError(
            f"{adapter.name}: a block of its text stack has no module {where.module}, hence no site {site!r}; "
            "choose another site, such as block"
        ) from None


def reaches(changed: str, read: str) -> bool:
    """Whether a change at one site shows in what is read at another site of the same block."""
    order = list(SITES)
    return order.index(changed) <= order.index(read)


def _named(site: str) -> Site:
    if site not in SITES:
        raise ValueError(f"there is no site {site!r}; choose from {', '.join(SITES)}")
    return SITES[site]
