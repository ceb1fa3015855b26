"""Changing states along a vector, by hooks that never outlive their context."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from wheretolisten.config.probe import Steering
from wheretolisten.engine.sites import SITES, Place, places
from wheretolisten.models.adapter import Adapter, Inputs

Hook = Callable[[torch.Tensor], torch.Tensor | None]
"""Takes a state of every token [row, token, width] and returns its replacement, or None to leave it."""


def steer(
    hidden: torch.Tensor,
    vectors: torch.Tensor,
    scale: float,
    steering: Steering,
    support: torch.Tensor | None = None,
) -> torch.Tensor:
    """Steered states h' = Norm(h + c d), where Norm restores the length of h, and d and c depend on the operator.

    With v̂ = v/‖v‖, or 0 where v is 0, and the component h·v̂:

    ========  ======================  =================  =========================================================
    operator  c                       d                  then, without Norm
    ========  ======================  =================  =========================================================
    add       λ g ‖h‖                 v                  SWL §3.1; g and ‖h‖ as in VISTA's code
    ablate    −λ (h·v̂)                v̂                  (1 − λ)(h·v̂) is left; λ = 1 projects v out (Arditi et al. 2024)
    set       λ‖v‖ − h·v̂              v̂                  the component is λ‖v‖
    scale     (λ − 1)(h·v̂)            v̂                  the component is λ(h·v̂)
    scale     λ − 1                   h                  with a support: λ times every coordinate inside of it
    cap       −λ                      max(h, 0)          with a support; λ = 1 leaves min(h, 0) (NPTI)
    ========  ======================  =================  =========================================================

    The gate g = 1 + max(0, cos(h, −v)) and the factor ‖h‖ of `add` are 1 unless `steering` asks for them. With a
    support, h and v are what lies inside of it, for lengths and components, too; outside no bit changes.

    Computed in float32 and returned in the type of `hidden`. Where c or d is 0 (add, ablate and cap at scale 0, scale
    at 1, a vector of zeros, an empty support) the result equals `hidden` bit for bit, because the two lengths are then
    the same number; no case is singled out for it. A state of which nothing is left stays zero.

    Parameters
    ----------
    hidden
        States at a site, [..., width].
    vectors
        v, of the same shape or broadcast to it; of length 1 where it is to be brought to the length of the state.
    scale
        λ of this block.
    steering
        Operator, gate, normalisation, and whether lengths are restored; if not, Norm is left out.
    support
        True at the coordinates that may change, of the shape of `vectors`; None: all.
    """
    whole, vectors = hidden, vectors.to(hidden.device, torch.float32)
    if support is not None:
        support = support.to(hidden.device)
        hidden, vectors = hidden.masked_fill(~support, 0), vectors.masked_fill(~support, 0)
    # Types are mixed: states in half precision are read as they are, without a copy in float32.
    length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True, dtype=torch.float32)
    if steering.operator == "add":
        direction, strength = vectors, torch.full_like(length, scale)
        if steering.gate == "opposed":
            strength *= 1 + nn.functional.cosine_similarity(hidden.float(), -vectors, dim=-1).clamp(min=0)[..., None]
        if steering.normalisation == "state":
            strength *= length
    elif steering.operator == "scale" and support is not None:
        direction, strength = hidden.float(), torch.full_like(length, scale - 1)
    elif steering.operator == "cap":
        direction, strength = hidden.float().clamp(min=0), torch.full_like(length, -scale)
    else:
        direction = nn.functional.normalize(vectors, dim=-1)
        component = (hidden.float() * direction).sum(dim=-1, keepdim=True)
        if steering.operator == "ablate":
            strength = -scale * component
        elif steering.operator == "set":
            strength = scale * torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) - component
        else:
            strength = (scale - 1) * component
    steered = torch.addcmul(hidden, strength, direction)
    if steering.preserve_norm:
        limits = torch.finfo(torch.float32)
        steered *= (length / steered.norm(dim=-1, keepdim=True).clamp(min=limits.tiny)).clamp(max=limits.max)
    steered = steered.to(hidden.dtype)
    return steered if support is None else torch.where(support, steered, whole)


def first_steered(inputs: Inputs, positions: str) -> torch.Tensor:
    """First of the tokens that `positions` names, an index in the padded batch, [row]; they end with the last one.

    all: the whole prompt, audio and template included; after_audio: every token after the audio; last: the last one;
    none: the token after it, which is none of the prompt.
    """
    if positions == "none":
        return inputs.last + 1
    if positions == "last":
        return inputs.last
    return inputs.text_start if positions == "after_audio" else inputs.first


@contextlib.contextmanager
def hooked(hooks: Iterable[tuple[Place, Hook]]) -> Iterator[None]:
    """Attach hooks to modules while the context lasts; an exception removes them too."""
    with contextlib.ExitStack() as stack:
        for place, hook in hooks:
            hook = hook if place.stream is None else _of_stream(hook, place.stream)
            if place.side == "output":
                handle = place.module.register_forward_hook(lambda _module, _args, output, hook=hook: hook(output))
            else:
                handle = place.module.register_forward_pre_hook(lambda _module, args, hook=hook: hook(args[0]))
            stack.callback(handle.remove)
        yield


def _of_stream(hook: Hook, stream: int) -> Hook:
    """The hook for one of several streams, [stream, row, token, width]."""

    def of_stream(hidden: torch.Tensor) -> torch.Tensor | None:
        changed = hook(hidden[stream])
        if changed is None:
            return None
        return torch.cat([hidden[:stream], changed[None], hidden[stream + 1 :]])

    return of_stream


def steering_hooks(
    vectors: torch.Tensor,
    tokens: torch.Tensor | None,
    steering: Steering,
    owner: torch.Tensor | None = None,
    support: torch.Tensor | None = None,
) -> dict[int, Hook]:
    """The hook of every steered block, by its index; where it is attached is `steering.site`.

    Parameters
    ----------
    vectors
        [query, layer, width], one vector per query and block of the text stack; as wide as the site's states.
    tokens
        True at the tokens to steer, [row, token], on the CPU; the others are left as they are. None: every token.
    steering
        Operator, strengths, layers, normalisation. `unit` and `state` bring every vector to length 1 first; a zero
        vector stays zero.
    owner
        Query that every steered token belongs to, [row, token], on the CPU; None: every row is the query of its index.
    support
        True at the coordinates that may change, [query, layer, width]; None: all.
    """
    vectors = vectors.float()
    if steering.normalisation != "none":
        vectors = vectors if support is None else vectors.masked_fill(~support, 0)
        vectors = nn.functional.normalize(vectors, dim=-1)
    if tokens is not None:
        # Counted where they lie, on the CPU: a GPU would have to be waited for.
        row, column = tokens.nonzero(as_tuple=True)
        query = row if owner is None else owner[row, column]
        row, column, query = (index.to(vectors.device) for index in (row, column, query))

    def hook_for(layer: int, scale: float) -> Hook:
        def hook(hidden: torch.Tensor) -> torch.Tensor:
            if tokens is None:
                inside = None if support is None else support[:, layer, None]
                return steer(hidden, vectors[:, layer, None], scale, steering, inside)
            at = row.to(hidden.device), column.to(hidden.device)
            steered, inside = hidden.clone(), None if support is None else support[query, layer]
            steered[at] = steer(hidden[at], vectors[query, layer], scale, steering, inside)
            return steered

        return hook

    return {layer: hook_for(layer, scale) for layer, scale in steering.scales(vectors.shape[1]).items()}


@dataclass(frozen=True, eq=False)
class Injection:
    """How each query of a batch is steered.

    Attributes
    ----------
    vectors
        [query, layer, width]; 0 for a query whose vectors hold NaN.
    steering
        How states are changed along them.
    support
        True at the coordinates that may change, [query, layer, width]; None: all.
    broken
        True where a query's vectors hold NaN, [query].
    """

    vectors: torch.Tensor
    steering: Steering
    support: torch.Tensor | None
    broken: torch.Tensor

    @classmethod
    def of(
        cls, vectors: torch.Tensor, steering: Steering, support: torch.Tensor | None, device: torch.device
    ) -> "Injection":
        """Of vectors and support on the CPU, taken to a device."""
        # A vector of NaN would reach other prompts through the keys and values of their row.
        broken = vectors.isnan().flatten(1).any(dim=1)
        if broken.any():
            vectors = vectors.masked_fill(broken[:, None, None], 0)
        return cls(vectors.to(device), steering, None if support is None else support.to(device), broken)

    def hooks(
        self,
        adapter: Adapter,
        tokens: torch.Tensor | None,
        owner: torch.Tensor | None,
        steps: torch.Tensor | None = None,
    ) -> list[tuple[Place, Hook]]:
        """The hooks of one pass, each with where it is attached.

        Parameters
        ----------
        adapter
            The model.
        tokens, owner
            As in `steering_hooks`.
        steps
            Decoding step of each of the tokens, from 0, [row, token]; None: they are of prompts.
        """
        if steps is None:
            return self._placed(adapter, self.steering, tokens, owner)
        found, strengths = [], {}
        for step in steps[tokens].unique().tolist():
            if (steering := self.steering.at_step(step)) is not None:
                strengths.setdefault(steering.scale, (steering, []))[1].append(step)
        for steering, same in strengths.values():
            found += self._placed(adapter, steering, tokens & torch.isin(steps, torch.tensor(same)), owner)
        return found

    def _placed(
        self, adapter: Adapter, steering: Steering, tokens: torch.Tensor | None, owner: torch.Tensor | None
    ) -> list[tuple[Place, Hook]]:
        hooks = steering_hooks(self.vectors, tokens, steering, owner, self.support)
        where = places(adapter, steering.site)
        return [(where[layer], hook) for layer, hook in hooks.items()]


def describe(steering: Steering, n_layers: int) -> str:
    """What is steered, in words for a log: operator, scale, site, blocks, tokens, normalisation, gate."""
    scales = steering.scales(n_layers)
    tokens = {
        "all": "every token of the prompt, audio included",
        "after_audio": "every token after the audio",
        "last": "the last token of the prompt",
        "none": "no token of the prompt",
    }[steering.positions]
    vector = {
        "none": "of its own length",
        "unit": "brought to length 1",
        "state": "brought to the length of the state",
    }[steering.normalisation]
    norm = "the length of every steered state restored" if steering.preserve_norm else "lengths left to change"
    what = {
        "add": f"adds {steering.scale:g} times the vector ({vector}) to",
        "ablate": f"takes {steering.scale:g} times the part along the vector out of",
        "set": f"sets the component along the vector to {steering.scale:g} times the vector's length in",
        "scale": f"multiplies the part along the vector, or the coordinates of a support, by {steering.scale:g} in",
        "cap": f"takes {steering.scale:g} of what is positive in the coordinates of a support out of",
    }[steering.operator]
    if steering.gate == "opposed":
        norm += "; up to twice the strength where a state points away from the vector"
    strengths = sorted(set(scales.values()), reverse=True)
    if len(strengths) == 2:
        more = ranges([layer for layer, scale in scales.items() if scale == strengths[0]])
        norm += f"; of the strength, blocks {more} get {strengths[0]:g} and the others {strengths[1]:g}"
    return (
        f"steering {what} {SITES[steering.site].words} {len(scales)} of {n_layers} "
        f"decoder blocks ({ranges(list(scales))}) at {tokens}, {norm}"
    )


def describe_decoding(steering: Steering) -> str:
    """Which tokens of an answer are steered, in words for a log."""
    if isinstance(steering.decoding, str):
        return steering.decoding
    decay = steering.decoding.decay
    if decay == "linear":
        fading = ", with a strength that falls to 0 in equal steps"
    else:
        fading = "" if decay == 1 else f", each with {decay:g} times the strength before"
    return f"the first {steering.decoding.first}{fading}"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in short: 0-3, 5."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
