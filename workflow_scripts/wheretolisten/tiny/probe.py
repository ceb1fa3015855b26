"""The localization probe on a tiny LALM, over strengths and inference prompts, on recordings of its own.

It scores the weights after training and chooses nothing inside it. The clips are those of a pool for tuning: none of
them is in the training, in the scores of the model card, or in the default run.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Localization, Steering
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.directions.labels import sum_by_label
from wheretolisten.directions.vectors import contrast, random_direction
from wheretolisten.engine.passes import Engine
from wheretolisten.localization.windows import find_window
from wheretolisten.models.registry import load
from wheretolisten.statistics.overlap import chance_overlap, window_overlap
from wheretolisten.tiny.language import Event
from wheretolisten.tiny.recordings import ClipPool

_METHODS = ("steering_sample", "steering_label_mean", "steering_random_direction")


def probe(
    folder: Path, pool: ClipPool, n_recordings: int, scales: Sequence[float], inference: Sequence[str], seed: int
) -> list[dict]:
    """Overlap of the probe's windows with the named events, for every strength and inference prompt.

    Everything but strength and inference prompt is as in SWL §3.3: own vectors, label means and random directions at
    every block and token, all text rows, the second half of the blocks, ratio windows.

    Parameters
    ----------
    folder
        A saved checkpoint.
    pool
        Clips for tuning.
    n_recordings
        Recordings to draw, each of three events that are all queried.
    scales
        λ to try.
    inference
        Prompts of the base and of the steered pass to try.
    seed
        Of the recordings.

    Returns
    -------
    One row per inference prompt, method and strength: `inference`, `method` ("chance", "prompt_only" or
    one of `_METHODS`), `scale` (None without steering), and the mean overlap in percent at `begin`, `middle`,
    `end` and `overall`.
    """
    adapter = load(Model(checkpoint=str(folder), dtype="float32", device="cpu"))
    engine, rate = Engine(adapter), adapter.tokens_per_second
    rng = np.random.default_rng(np.random.SeedSequence([pool.entropy, seed, 0x9B0B]))
    drawn = [pool.draw(rng, benchmark_like=True) for _ in range(n_recordings)]

    passes, own = [], []
    for recording, sound in drawn:
        labels = [event.label for event in recording.events]
        prompts = [PROMPTS["negative"], *(PROMPTS["positive"].format(label=label) for label in labels), *inference]
        reading = engine.read([sound], prompts, [0] * len(prompts), want_states=True)
        own.append(contrast(reading.states[1 : 1 + len(labels)], reading.states[:1]))
        passes.append(reading)
    labels = [[event.label for event in recording.events] for recording, _ in drawn]
    sums = sum_by_label(np.concatenate(own), np.ravel(labels), np.unique(labels))
    vectors = [
        np.stack(
            [
                of_sample,
                [sums.mean_without(label, of_sample, own_labels) for label in own_labels],
                random_direction(of_sample, [f"tuning-{number}"] * len(POSITIONS), POSITIONS),
            ]
        )
        for number, (of_sample, own_labels) in enumerate(zip(own, labels, strict=True))
    ]

    overlaps: dict[tuple, list[list[float]]] = defaultdict(lambda: [[] for _ in POSITIONS])
    for (recording, sound), reading, by_method in zip(drawn, passes, vectors, strict=True):
        rows = by_method.reshape(-1, *by_method.shape[2:])
        for number, prompt in enumerate(inference):
            base = reading.attention[1 + len(POSITIONS) + number]
            for place in range(len(POSITIONS)):
                event = recording.events[place]
                chance = chance_overlap(event.onset, event.offset - event.onset, recording.seconds)
                overlaps[prompt, "chance", None][place].append(chance)
                prompted = _overlap(base, reading.attention[1 + place], event, rate)
                overlaps[prompt, "prompt_only", None][place].append(prompted)
            for scale in scales:
                steered = engine.read([sound], [prompt] * len(rows), [0] * len(rows), rows, Steering(scale=scale))
                for row, attention in enumerate(steered.attention):
                    method, place = divmod(row, len(POSITIONS))
                    found = _overlap(base, attention, recording.events[place], rate)
                    overlaps[prompt, _METHODS[method], scale][place].append(found)
    return [
        {"inference": prompt, "method": method, "scale": scale} | _means(values)
        for (prompt, method, scale), values in overlaps.items()
    ]


def _overlap(base: np.ndarray, other: np.ndarray, event: Event, rate: float) -> float:
    window = find_window(base, other, event.offset - event.onset, rate, base.shape[1], Localization())
    return window_overlap(window, event.onset, event.offset)


def _means(values: list[list[float]]) -> dict[str, float]:
    means = {position: 100 * float(np.mean(row)) for position, row in zip(POSITIONS, values, strict=True)}
    return {name: round(value, 2) for name, value in (means | {"overall": np.mean(list(means.values()))}).items()}
