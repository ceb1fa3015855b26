"""Adding a vector to the residual stream, by hooks that never outlive their context."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from wheretolisten.config import Steering, select_layers
from wheretolisten.models.base import Inputs

BlockHook = Callable[[torch.Tensor], torch.Tensor | None]
"""Takes a block's output [row, token, hidden] and returns its replacement, or None to leave it."""


def steer(
    hidden: torch.Tensor, vectors: torch.Tensor, tokens: torch.Tensor, scale: float, preserve_norm: bool
) -> torch.Tensor:
    """Steered states h' = Norm(h + λ v), where Norm restores the length of h (SWL §3.1).

    Computed in float32 and returned in the type of `hidden`. With scale 0 the result equals `hidden` bit for bit,
    because the two lengths are then the same number; no case is singled out for it.

    Parameters
    ----------
    hidden
        Output of a block, [row, token, hidden].
    vectors
        One vector per row, [row, hidden].
    tokens
        True at the tokens to steer, [row, token]; the others are returned as they are.
    scale
        λ.
    preserve_norm
        False: plain addition, h + λ v.
    """
    states = hidden.float()
    steered = states + scale * vectors.to(states)[:, None, :]
    if preserve_norm:
        length = steered.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        steered = steered * (states.norm(dim=-1, keepdim=True) / length)
    return torch.where(tokens[:, :, None].to(hidden.device), steered.to(hidden.dtype), hidden)


def steered_tokens(inputs: Inputs, positions: str) -> torch.Tensor:
    """True at the tokens of each prompt that `positions` names, [row, token]; never at padding.

    all: the whole prompt, audio and template included; after_audio: every token after the audio; last: the last one.
    """
    index = torch.arange(inputs.input_ids.shape[1], device=inputs.input_ids.device)
    if positions == "last":
        return index == inputs.last[:, None]
    real = inputs.attention_mask.bool()
    return real & (index >= inputs.text_start[:, None]) if positions == "after_audio" else real


@contextlib.contextmanager
def hooked(blocks: Sequence[nn.Module], hooks: dict[int, BlockHook]) -> Iterator[None]:
    """Attach hooks to the outputs of blocks, by index, while the context lasts; an exception removes them too."""
    with contextlib.ExitStack() as stack:
        for layer, hook in hooks.items():
            handle = blocks[layer].register_forward_hook(lambda _module, _args, output, hook=hook: hook(output))
            stack.callback(handle.remove)
        yield


def steering_hooks(vectors: torch.Tensor, tokens: torch.Tensor, steering: Steering) -> dict[int, BlockHook]:
    """The hook of every steered block, by its index.

    Parameters
    ----------
    vectors
        [row, layer, hidden], one vector per row and block of the text stack.
    tokens
        True at the tokens to steer, [row, token].
    steering
        Scale, layers, normalisation. `unit` brings every vector to length 1 first; a zero vector stays zero.
    """
    vectors = vectors.float()
    if steering.normalisation == "unit":
        vectors = nn.functional.normalize(vectors, dim=-1)

    def hook_for(layer: int) -> BlockHook:
        return lambda hidden: steer(hidden, vectors[:, layer], tokens, steering.scale, steering.preserve_norm)

    return {layer: hook_for(layer) for layer in select_layers(steering.layers, vectors.shape[1])}


def describe(steering: Steering, n_layers: int) -> str:
    """What is steered, in words for a log: blocks, tokens, scale, normalisation."""
    layers = select_layers(steering.layers, n_layers)
    tokens = {
        "all": "every token of the prompt, audio included",
        "after_audio": "every token after the audio",
        "last": "the last token of the prompt",
    }[steering.positions]
    vector = "brought to length 1" if steering.normalisation == "unit" else "of its own length"
    norm = "the length of every steered state restored" if steering.preserve_norm else "lengths left to change"
    return (
        f"steering adds {steering.scale:g} times the vector ({vector}) to the output of {len(layers)} of {n_layers} "
        f"decoder blocks ({ranges(layers)}) at {tokens}, {norm}"
    )


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in short: 0-3, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
