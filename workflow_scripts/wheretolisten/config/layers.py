"""Naming decoder blocks."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from wheretolisten.errors import UserError

_LAYER_RANGE = re.compile(r"^(\d+)(%?) ?- ?(\d+)(%?)$")


def _check_layers(layers: Any) -> Any:
    """Refuse what `select_layers` does not know, in one sentence instead of one per member of a union."""
    if isinstance(layers, list):
        numbers = all(isinstance(layer, int) and not isinstance(layer, bool) for layer in layers)
        if not numbers or not layers or min(layers) < 0 or len(set(layers)) != len(layers):
            raise ValueError("a list of blocks holds different numbers from 0 on, at least one")
        return layers
    if layers in ("all", "second_half", "last"):
        return layers
    found = _LAYER_RANGE.match(layers) if isinstance(layers, str) else None
    if found is None or found[2] != found[4]:
        raise ValueError(
            f"{layers!r} is none of all, second_half, last, a list of blocks, a range such as 14-29 "
            "or a part of the depth such as 50%-100%"
        )
    first, last, percent = int(found[1]), int(found[3]), bool(found[2])
    if first > last or (percent and (first == last or last > 100)):
        raise ValueError(f"{layers!r} holds no block; write the lower end first, percentages up to 100%")
    return layers


Layers = Annotated[Any, BeforeValidator(_check_layers)]
"""Decoder blocks, counted from 0: `all`, `second_half`, the `last`, a list, a range "14-29" (ends included), or a part
of the depth "50%-100%"."""


def select_layers(layers: str | list[int], n_layers: int) -> list[int]:
    """Indices of the chosen decoder blocks, 0-based and ascending.

    `second_half` is L/2 … L−1 (SWL §3.3), the same as "50%-100%"; "14-29" holds both its ends.

    Raises
    ------
    UserError
        If an index is not below `n_layers`, or a part of the depth holds no block.
    """
    if layers == "all":
        return list(range(n_layers))
    if layers == "second_half":
        return list(range(n_layers // 2, n_layers))
    if layers == "last":
        return [n_layers - 1]
    if isinstance(layers, list):
        chosen = sorted(layers)
    else:
        first, percent, last, _ = _LAYER_RANGE.match(layers).groups()
        if percent:
            chosen = list(range(int(first) * n_layers // 100, int(last) * n_layers // 100))
        else:
            chosen = list(range(int(first), int(last) + 1))
    if not chosen:
        raise UserError(f"{layers} holds none of the {n_layers} blocks of the text stack; widen it")
    if chosen[-1] >= n_layers:
        raise UserError(
            f"block {chosen[-1]} does not exist; the text stack has {n_layers} blocks, choose from 0 to {n_layers - 1}"
        )
    return chosen
