"""Where a decoder block's states are read and changed: one table for both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from wheretolisten.errors import UserError
from wheretolisten.models.base import Adapter

Side = Literal["input", "output"]

Place = tuple[nn.Module, Side]
"""A module, and whether what goes into it is meant or what comes out of it."""


@dataclass(frozen=True)
class Site:
    """A state inside a decoder block.

    Attributes
    ----------
    module
        Path of a module inside the block; empty: the block itself.
    side
        Whether the state goes into the module, as its first argument, or comes out of it.
    width
        Width of the state, from the configuration of the text stack.
    words
        What a log calls it, before "blocks".
    """

    module: str
    side: Side
    width: Callable[[Any], int]
    words: str


def _width_of_heads(config: Any) -> int:
    """Channels of all heads, one head after the other; some families name those of a head, others divide the stream."""
    n_heads = config.num_attention_heads
    return n_heads * (getattr(config, "head_dim", None) or config.hidden_size // n_heads)


SITES = {
    "heads": Site("self_attn.o_proj", "input", _width_of_heads, "the outputs of the attention heads in"),
    "attention": Site(
        "self_attn.o_proj", "output", lambda config: config.hidden_size, "the output of the attention in"
    ),
    "neurons": Site("mlp.down_proj", "input", lambda config: config.intermediate_size, "the neurons of the MLP in"),
    "mlp": Site("mlp", "output", lambda config: config.hidden_size, "the output of the MLP in"),
    "block": Site("", "output", lambda config: config.hidden_size, "the output of"),
}
"""Sites by name, in the order in which a block computes them. heads: what each head makes of the values, before the
output projection mixes the heads; neurons: act(gate) · up, before the down projection."""


def width(adapter: Adapter, site: str) -> int:
    """Width of a state, and of a vector, at a site.

    Raises
    ------
    ValueError
        If there is no such site.
    """
    return _named(site).width(adapter.model.config.get_text_config())


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
        return [(block.get_submodule(where.module), where.side) for block in adapter.blocks]
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
