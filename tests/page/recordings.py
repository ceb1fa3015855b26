"""Recordings with what a model might hear in them, for pages."""

from typing import Any

import numpy as np

RATE = 25


def heard(
    names: list[str], seconds: float = 12.0, absent: tuple[str, ...] = (), n_layers: int = 3, rate: float = RATE
) -> dict[str, Any]:
    """What listen.json would hold: sound k of n lies in the k-th stretch, at twice the attention, or nowhere."""
    times = (np.arange(round(seconds * rate)) + 0.5) / rate
    rng, sounds, truth = np.random.default_rng(len(names)), [], []
    for index, name in enumerate(names):
        there = name not in absent
        onset, offset = (float(seconds * (index + part) / len(names)) for part in (0.2, 0.8))
        inside = (times >= onset) & (times < offset) & there
        base = rng.gamma(20, 1 / 20, times.size)
        asked = base * np.where(inside, 2, 1) * rng.gamma(50, 1 / 50, times.size)
        change = np.log2(asked / base)
        layers = [{"layer": layer, "change": change * layer} for layer in range(n_layers)]
        sounds.append(
            {
                "name": name,
                "heard": there,
                "score": 2.5 if there else 0.75,
                "p_value": 0.05 if there else 0.6,
                "threshold": 1.25,
                "intervals": [{"onset": onset, "offset": offset, "score": 2.5}] if there else [],
                "curve": {"seconds": times, "change": change, "base": base, "asked": asked},
                "layers": layers or None,
            }
        )
        truth += [{"onset": onset, "offset": offset, "label": name}] if there else []
    return {
        "version": 1,
        "file": "my recording.wav",
        "seconds": seconds,
        "model": "small-qwen2-audio",
        "method": "ask",
        "trusted": names[:2],
        "tokens_per_second": rate,
        "absent": ["helicopter", "church bells", "frog"],
        "sounds": sounds,
        "truth": truth,
    }


def tones(seconds: float, n: int = 3) -> np.ndarray:
    """Noise with a tone in each of n stretches, [frame] at 16 kHz."""
    times = np.arange(round(seconds * 16_000)) / 16_000
    place = times / seconds * n
    inside = (place % 1 > 0.2) & (place % 1 < 0.8)
    noise = 0.01 * np.random.default_rng(0).standard_normal(times.size)
    return (0.3 * np.sin(2 * np.pi * 400 * (1 + np.floor(place)) * times) * inside + noise).astype(np.float32)
