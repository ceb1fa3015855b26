"""How little noise moves a window: noise of a given length that is found by gradient, and random noise beside it.

The readout that is attacked is asking against absent sounds (docs/matched.md), the best one of models that are not
steered: its windows follow from attention in closed form, so that gradients reach the signal. What this does to windows
under steering, or of another model, is measured and not optimised.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from wheretolisten.config.layers import select_layers
from wheretolisten.config.probe import Localization

Loss = Callable[[torch.Tensor], torch.Tensor]
"""A number that follows from a signal [frame]."""

_RESERVE = 0.1
"""Nats by which the best window elsewhere is to exceed those at the event: rounding shall not bring these back."""

_PATH = 2.5
"""Length of all steps together, in lengths of the noise that is allowed."""


def window_scores(
    asked: torch.Tensor, absent: torch.Tensor, width: int, settings: Localization, weights: np.ndarray
) -> torch.Tensor:
    """Score of every window of `localization.windows.find_window` against absent sounds, [start], in float64.

    Parameters
    ----------
    asked
        Attention of the pass about an event, [layer, audio_token].
    absent
        That of the passes about sounds that the recording does not hold, [sound, layer, audio_token].
    width
        Audio tokens of a window.
    settings
        Scored blocks, ε, and how passes are averaged.
    weights
        Of the scored blocks (`localization.windows.layer_weights`), [scored_layer].
    """
    layers = select_layers(settings.layers, len(asked))
    own, others = (each[..., layers, :].double() for each in (asked, absent))
    own, others = (each / each.sum(dim=-1, keepdim=True) for each in (own, others))
    reference = others.mean(dim=0) if settings.absent_average == "mean" else others.quantile(0.5, dim=0)
    reference = reference / reference.sum(dim=-1, keepdim=True)
    mass, of_reference = (each.unfold(-1, width, 1).sum(dim=-1) for each in (own, reference))
    return torch.as_tensor(weights, device=asked.device) @ (mass / (of_reference + settings.epsilon))


def margin(scores: torch.Tensor, width: int, onset: float, offset: float) -> torch.Tensor | None:
    """Log-ratio of the best window that touches an event and the best that does not; negative: it is found elsewhere.

    Parameters
    ----------
    scores
        [start].
    width
        Audio tokens of a window.
    onset, offset
        Of the event, in audio tokens.

    Returns
    -------
    torch.Tensor or None
        Nats; None where every window touches the event.
    """
    starts = torch.arange(len(scores), device=scores.device)
    elsewhere = (starts + width <= onset) | (starts >= offset)
    if not elsewhere.any():
        return None
    return (scores[~elsewhere].max() / scores[elsewhere].max()).log()


def noise_length(recording: np.ndarray, snr_db: float) -> float:
    """Euclidean length of noise that lies `snr_db` below a whole recording [frame]."""
    return float(np.linalg.norm(recording.astype(np.float64))) * 10 ** (-snr_db / 20)


def random_noise(recording: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """White noise that lies `snr_db` below a whole recording, float32 [frame]."""
    noise = rng.standard_normal(len(recording))
    return (noise * (noise_length(recording, snr_db) / np.linalg.norm(noise))).astype(np.float32)


def adversarial_noise(
    loss: Loss, recording: np.ndarray, snr_db: float, steps: int, device: torch.device
) -> tuple[np.ndarray, list[float]]:
    """Noise that lies at least `snr_db` below a whole recording and makes a loss small: projected gradient descent.

    Steps of equal length along the gradient, each followed by the projection onto the ball of allowed noise (arXiv
    1706.06083, in L2). The best noise on the way is kept; a loss of 0 ends it.

    Parameters
    ----------
    loss
        Of a signal [frame] on the device.
    recording
        float32 [frame].
    steps
        Gradients that are taken.

    Returns
    -------
    noise : numpy.ndarray
        float32 [frame].
    losses : list of float
        Before every step and after the last.
    """
    allowed, heard = noise_length(recording, snr_db), torch.as_tensor(recording, device=device)
    noise, losses, best = torch.zeros_like(heard), [], torch.zeros_like(heard)
    for step in range(steps + 1):
        noise.requires_grad_(True)
        value = loss(heard + noise)
        losses.append(value.item())
        if losses[-1] == min(losses):
            best = noise.detach()
        if losses[-1] == 0 or step == steps:
            break
        (gradient,) = torch.autograd.grad(value, noise)
        length = gradient.norm().item()
        if not 0 < length < math.inf:
            break
        with torch.no_grad():
            noise = noise - gradient * (_PATH * allowed / steps / length)
            noise = noise * min(1.0, allowed / noise.norm().item())
    return best.cpu().numpy(), losses


def loss_of_windows(
    attention: Callable[[torch.Tensor], torch.Tensor],
    spans: Sequence[tuple[float, float]],
    widths: Sequence[int],
    settings: Localization,
    weights: np.ndarray,
) -> Loss:
    """How far the windows of a recording's events are from lying elsewhere, as a function of the signal.

    The sum over events of max(0, margin + reserve): one that lies elsewhere counts no more.

    Parameters
    ----------
    attention
        From a signal [frame] to attention about the events, then about absent sounds, [prompt, layer, audio_token].
    spans
        Onset and offset of the events, in audio tokens.
    widths
        Audio tokens of their windows.
    settings, weights
        As in `window_scores`.
    """

    def loss(signal: torch.Tensor) -> torch.Tensor:
        found = attention(signal)
        total = found.new_zeros((), dtype=torch.float64)
        for asked, (onset, offset), width in zip(found[: len(spans)], spans, widths, strict=True):
            scores = window_scores(asked, found[len(spans) :], width, settings, weights)
            of_event = margin(scores, width, onset, offset)
            if of_event is not None:
                total = total + (of_event + _RESERVE).clamp(min=0)
        return total

    return loss
