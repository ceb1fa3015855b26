"""Whether the engine computes what a model's own code computes: right or refused, before anything is read."""

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from wheretolisten import provenance
from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.engine.passes import Engine, Reading
from wheretolisten.engine.traits import traits_of
from wheretolisten.errors import UserError
from wheretolisten.files import write_text
from wheretolisten.models import registry
from wheretolisten.models.adapter import Adapter, Recording

_log = logging.getLogger(__name__)

_PROMPTS = ("Describe the audio.", "Which part of the audio has the sound of rain, and how long does it last?")
_SECONDS = (2.0, 1.3)
_WORDS = (40, 25)
"""Length of the recordings in seconds; of the passages of a model that reads text only, in words."""

TOLERANCES = {torch.float32: 5e-4, torch.bfloat16: 5e-2, torch.float16: 2e-2}
"""Largest difference that passes: of states as a part of the largest one, of attention summed over text as it is. Most
of what is wrong in kind is off by 0.001 to 1 (docs/models.md has what is not); half precision rounds otherwise in every
kernel."""

_OF_NOISE = 3
"""Where a model's own kernels differ by more than that, states may differ by so many times as much."""


@dataclass(frozen=True)
class Agreement:
    """Largest differences between the engine and the plain model, on two prompts about each of two short recordings.

    Attributes
    ----------
    states, attention
        Of prompts that go through in full; states relative to the largest.
    shared_states, shared_attention
        Of prompts that share a prefix; the same numbers where they never do.
    noise
        Of states, between two kernels of the model's own code: what its type of numbers leaves open.
    repeated
        Of states, between two passes of the model's own code that are the same.
    logits
        Of logits, relative to the largest, between those that are made of a state and the model's own.
    tolerance
        What passes.
    """

    states: float
    attention: float
    shared_states: float
    shared_attention: float
    noise: float
    repeated: float
    logits: float
    tolerance: float

    @property
    def in_full(self) -> bool:
        """Whether prompts in full agree."""
        return self._pass(self.states, self.attention)

    @property
    def shared(self) -> bool:
        """Whether prompts that share a prefix agree, too."""
        return self._pass(self.shared_states, self.shared_attention)

    @property
    def scored(self) -> bool:
        """Whether likelihoods of choices agree, which are made of logits."""
        return self.logits <= self.tolerance

    @property
    def is_noisy(self) -> bool:
        """Whether the model's own kernels differ by more than what passes, so that attention tells nothing."""
        return self.noise > self.tolerance

    @property
    def verdict(self) -> Literal["agrees", "in full only", "within noise", "refused"]:
        """What is found of the model."""
        if self.repeated > self.tolerance or not self.in_full:
            return "refused"
        if self.is_noisy:
            return "within noise"
        return "agrees" if self.shared else "in full only"

    def _pass(self, states: float, attention: float) -> bool:
        if self.is_noisy:
            return states <= _OF_NOISE * self.noise
        return max(states, attention) <= self.tolerance


def load(model: Model) -> Adapter:
    """A model behind its adapter, compared with its own code the first time (`check`).

    Raises
    ------
    UserError
        If it cannot be loaded (`models.registry.load`), or the engine does not compute what it computes.
    """
    adapter = registry.load(model)
    check(adapter, model)
    return adapter


def check(adapter: Adapter, model: Model, of_job: Mapping[str, Any] | None = None) -> None:
    """Compare engine and plain model, once for a checkpoint on a machine.

    What was found is kept in the user's cache folder, by the checkpoint's digest, the versions of packages, a digest of
    the code that runs it, device and type; a job knows the digests already (`provenance.of_job`). Where prompts come
    out right only by themselves, the adapter is told so (`Adapter.shares`).

    Raises
    ------
    UserError
        If they disagree on prompts that go through by themselves, or the model's own code with itself.
    """
    kept = _kept_at(adapter, model, of_job)
    try:
        agreement = Agreement(**json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        agreement = compare(adapter)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_text(kept, json.dumps(dataclasses.asdict(agreement), indent=2) + "\n")
        except (OSError, UserError):
            _log.info("the self-check of %s cannot be kept in %s, and is made again next time", adapter.name, kept)
    if agreement.repeated > agreement.tolerance:
        raise UserError(
            f"{adapter.name}: the model's own code computes other states every time (they differ by "
            f"{agreement.repeated:.1e}), so that nothing can be compared; choose another model (docs/models.md)"
        )
    if not agreement.in_full:
        raise UserError(
            f"{adapter.name}: the engine does not compute what the model computes: states differ by "
            f"{agreement.states:.1e} and attention by {agreement.attention:.1e}, and {agreement.tolerance:.0e} passes; "
            "this type of model cannot be read as it is, choose another one (docs/models.md)"
        )
    if agreement.is_noisy:
        _log.warning(
            "%s: in this type of numbers the model's own kernels differ by %.1e of the largest state, and no result is "
            "better than that; set dtype: float32",
            *(adapter.name, agreement.noise),
        )
    if not agreement.shared:
        _log.warning(
            "%s: prompts that share a prefix differ from those in full (states by %.1e, attention by %.1e), so that "
            "every prompt goes through by itself, which takes longer",
            *(adapter.name, agreement.shared_states, agreement.shared_attention),
        )
        adapter.shares = False
    adapter.scores = agreement.scored


def compare(adapter: Adapter) -> Agreement:
    """The largest differences between the engine and the model's own code (see `Agreement`)."""
    rng = np.random.default_rng(0)
    # Longer than a window of the text stack, so that it counts, if the model hears so long.
    beyond = 1.2 * (traits_of(adapter).window or 0)
    recordings: list[Recording] = [" ".join(["sound"] * max(n, round(beyond))) for n in _WORDS]
    if adapter.hears:
        longest = min(beyond / adapter.tokens_per_second, adapter.max_seconds or np.inf)
        noise = [0.1 * rng.normal(size=round(max(seconds, longest) * SAMPLING_RATE)) for seconds in _SECONDS]
        recordings = [recording.astype(np.float32) for recording in noise]
    asked = [(index, prompt) for index in range(len(recordings)) for prompt in _PROMPTS]
    expected = [_plain(adapter, recordings[index], prompt, "eager") for index, prompt in asked]
    index, prompt = asked[0]
    again, _ = _plain(adapter, recordings[index], prompt, "eager")
    repeated = _difference(expected[0][0], again)
    logits = _difference(*_logits(adapter, recordings[index], prompt))
    others = [_plain(adapter, recordings[index], prompt, "sdpa") for index, prompt in asked]
    noise = max(_difference(ours, theirs) for (ours, _), (theirs, _) in zip(expected, others, strict=True))

    heard, (indices, prompts) = Engine(adapter).hear(recordings), zip(*asked, strict=True)

    def differences(share_prefix: bool, **steered: Any) -> tuple[float, float]:
        engine = Engine(adapter, share_prefix=share_prefix)
        return _largest(engine.read(heard, prompts, indices, want_states=True, **steered), expected)

    states, attention = differences(False)
    shared_states, shared_attention = differences(True) if traits_of(adapter).side_by_side else (states, attention)
    if traits_of(adapter).plain:
        # Behind keys and values that are kept, as steered prompts and answers are.
        vectors = np.zeros((len(asked), adapter.n_layers, adapter.hidden_size), np.float32)
        behind = differences(True, vectors=vectors, steering=Steering(positions="after_audio", scale=0.0))
        shared_states, shared_attention = max(shared_states, behind[0]), max(shared_attention, behind[1])
    dtype = next(adapter.text_stack.parameters()).dtype
    return Agreement(states, attention, shared_states, shared_attention, noise, repeated, logits, TOLERANCES[dtype])


def _largest(found: Reading, expected: list[tuple[np.ndarray, np.ndarray | None]]) -> tuple[float, float]:
    states, attention = 0.0, 0.0
    for row, (of_model, weights) in enumerate(expected):
        states = max(states, _difference(of_model, found.states[row]))
        if weights is not None:
            attends = ~np.isnan(found.attention[row]).all(axis=-1)
            if attends.sum() != len(weights):
                return np.inf, np.inf
            own = found.attention[row][attends][:, : weights.shape[1]]
            attention = max(attention, _or_infinite(np.abs(own - weights).max(initial=0)))
    return states, attention


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    return _or_infinite(np.abs(found - expected).max() / np.abs(expected).max())


def _or_infinite(value: float) -> float:
    # What is not finite is no agreement.
    return float(value) if np.isfinite(value) else np.inf


@torch.inference_mode()
def _plain(
    adapter: Adapter, recording: Recording, prompt: str, kernel: Literal["eager", "sdpa"]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Last-token states [layer, hidden], and attention [attending layer, audio_token], by the model's own code.

    Whole model, one prompt as its own processor makes it. Eager attention alone leaves maps.
    """
    stack = adapter.text_stack
    before, states = stack.config._attn_implementation, []

    def keep(_: torch.nn.Module, __: tuple, output: torch.Tensor | tuple) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        hidden = hidden if adapter.family.stream is None else hidden[adapter.family.stream]
        states.append(hidden[0, -1].float().cpu())

    inputs = adapter.accepted(adapter.process(recording, prompt))
    handles = [block.register_forward_hook(keep) for block in adapter.blocks]
    try:
        stack.set_attn_implementation(kernel)
        arguments = adapter.family.model_arguments | {"output_attentions": kernel == "eager"}
        outputs = adapter.model(**inputs, **arguments)
    finally:
        stack.set_attn_implementation(before)
        for handle in handles:
            handle.remove()
    weights = None
    if kernel == "eager":
        span = adapter.prepare([recording], [prompt])
        (first, after), text = span.audio_span[0].tolist(), int(span.text_start[0])
        maps = [layer for layer in outputs.attentions if layer is not None]
        weights = torch.stack([layer[0, :, text:, first:after].float().mean(0).sum(0).cpu() for layer in maps]).numpy()
    return torch.stack(states).numpy(), weights


@torch.inference_mode()
def _logits(adapter: Adapter, recording: Recording, prompt: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the next token by the model's own code, and those made of the state that it has there, [vocabulary]."""
    states = []
    handle = adapter.text_stack.register_forward_hook(lambda _, __, output: states.append(output[0][0, -1]))
    try:
        inputs = adapter.accepted(adapter.process(recording, prompt))
        outputs = adapter.model(**inputs, **adapter.family.model_arguments)
    finally:
        handle.remove()
    return outputs.logits[0, -1].float().cpu().numpy(), adapter.logits(states[-1]).cpu().numpy()


def _kept_at(adapter: Adapter, model: Model, of_job: Mapping[str, Any] | None) -> Path:
    known = of_job or {
        "checkpoint_digest": provenance.checkpoint_digest(model.checkpoint, model.revision),
        "code_digest": provenance.code_digest("extract_activations"),
    }
    # Numbers of random weights are the same in every job, and so is what follows from them.
    key = provenance.digest_of(
        known["checkpoint_digest"],
        known["code_digest"],
        provenance.versions(),
        [model.weights, str(adapter.device.type), str(adapter.model.dtype)],
    )
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "where-to-listen" / "checks" / f"{key}.json"
