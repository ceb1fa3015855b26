"""Adding a vector to the residual stream, by hooks that never outlive their context."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn

from wheretolisten.config.probe import Steering
from wheretolisten.models.base import Inputs

Hook = Callable[[torch.Tensor], torch.Tensor | None]
"""Takes a module's output [row, token, hidden] and returns its replacement, or None to leave it."""


def steer(hidden: torch.Tensor, vectors: torch.Tensor, scale: float, steering: Steering) -> torch.Tensor:
    """Steered states h' = Norm(h + λ g ‖h‖ v), where Norm restores the length of h (SWL §3.1; g, ‖h‖: VISTA's code).

    The gate g = 1 + max(0, cos(h, −v)) and the factor ‖h‖ are 1 unless `steering` asks for them. Computed in float32
    and returned in the type of `hidden`. With scale 0 or a vector of zeros the result equals `hidden` bit for bit,
    because the two lengths are then the same number; no case is singled out for it.

    Parameters
    ----------
    hidden
        Output of a block or MLP, [..., hidden].
    vectors
        What is added, of the same shape or broadcast to it; of length 1 where it is to be brought to the length of the
        state.
    scale
        λ of this block.
    steering
        Gate, normalisation, and whether lengths are restored; if not, Norm is left out.
    """
    vectors = vectors.to(hidden.device, torch.float32)
    # Types are mixed: states in half precision are read as they are, without a copy in float32.
    length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32)
    strength = torch.full_like(length, scale)
    if steering.gate == "opposed":
        strength *= 1 + nn.functional.cosine_similarity(hidden.float(), -vectors, dim=-1).clamp(min=0)[..., None]
    if steering.normalisation == "state":
        strength *= length
    steered = torch.addcmul(hidden, strength, vectors)
    if steering.preserve_norm:
        steered *= length / steered.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return steered.to(hidden.dtype)


def first_steered(inputs: Inputs, positions: str) -> torch.Tensor:
    """First of the tokens that `positions` names, an index in the padded batch, [row]; they end with the last one.

    all: the whole prompt, audio and template included; after_audio: every token after the audio; last: the last one.
    """
    if positions == "last":
        return inputs.last
    return inputs.text_start if positions == "after_audio" else inputs.first


@contextlib.contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Attach hooks to the outputs of modules while the context lasts; an exception removes them too."""
    with contextlib.ExitStack() as stack:
        for module, hook in hooks:
            handle = module.register_forward_hook(lambda _module, _args, output, hook=hook: hook(output))
            stack.callback(handle.remove)
        yield


def steering_hooks(
    vectors: torch.Tensor, tokens: torch.Tensor | None, steering: Steering, owner: torch.Tensor | None = None
) -> dict[int, Hook]:
    """The hook of every steered block, by its index; where it is attached is `steering.site`.

    Parameters
    ----------
    vectors
        [query, layer, hidden], one vector per query and block of the text stack.
    tokens
        True at the tokens to steer, [row, token], on the CPU; the others are left as they are. None: every token.
    steering
        Strengths, layers, normalisation. `unit` and `state` bring every vector to length 1 first; a zero vector stays
        zero.
    owner
        Query that every steered token belongs to, [row, token], on the CPU; None: every row is the query of its index.
    """
    vectors = vectors.float()
    if steering.normalisation != "none":
        vectors = nn.functional.normalize(vectors, dim=-1)
    if tokens is not None:
        # Counted where they lie, on the CPU: a GPU would have to be waited for.
        row, column = tokens.nonzero(as_tuple=True)
        query = row if owner is None else owner[row, column]
        row, column, query = (index.to(vectors.device) for index in (row, column, query))

    def hook_for(layer: int, scale: float) -> Hook:
        def hook(hidden: torch.Tensor) -> torch.Tensor:
            if tokens is None:
                return steer(hidden, vectors[:, layer, None], scale, steering)
            at = row.to(hidden.device), column.to(hidden.device)
            steered = hidden.clone()
            steered[at] = steer(hidden[at], vectors[query, layer], scale, steering)
            return steered

        return hook

    return {layer: hook_for(layer, scale) for layer, scale in steering.scales(vectors.shape[1]).items()}


def describe(steering: Steering, n_layers: int) -> str:
    """What is steered, in words for a log: blocks, tokens, scale, normalisation, gate."""
    scales = steering.scales(n_layers)
    tokens = {
        "all": "every token of the prompt, audio included",
        "after_audio": "every token after the audio",
        "last": "the last token of the prompt",
    }[steering.positions]
    vector = {
        "none": "of its own length",
        "unit": "brought to length 1",
        "state": "brought to the length of the state",
    }[steering.normalisation]
    norm = "the length of every steered state restored" if steering.preserve_norm else "lengths left to change"
    site = "the output of" if steering.site == "block" else "the output of the MLP in"
    if steering.gate == "opposed":
        norm += "; up to twice the strength where a state points away from the vector"
    strengths = sorted(set(scales.values()), reverse=True)
    if len(strengths) == 2:
        more = ranges([layer for layer, scale in scales.items() if scale == strengths[0]])
        norm += f"; of the strength, blocks {more} get {strengths[0]:g} and the others {strengths[1]:g}"
    return (
        f"steering adds {steering.scale:g} times the vector ({vector}) to {site} {len(scales)} of {n_layers} "
        f"decoder blocks ({ranges(list(scales))}) at {tokens}, {norm}"
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
