"""What the scripts that run a model over a shard have in common."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch

from wheretolisten.benchmark import load_audio, read_shard
from wheretolisten.config.models import Model
from wheretolisten.engine.meter import Meter
from wheretolisten.files import atomic_path
from wheretolisten.models import registry
from wheretolisten.models.base import Adapter
from wheretolisten.questions.mmau import Item

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples of a shard: `number` counts batches, `events` has one table per sample, in order of position."""

    number: int
    events: list[pd.DataFrame]
    folder: Path

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the samples, [sample]."""
        return [table["sample_id"].iloc[0] for table in self.events]

    def recording(self, adapter: Adapter, index: int) -> np.ndarray:
        """Audio of one sample, float32 [frame], 16 kHz mono.

        Raises
        ------
        UserError
            If the file is missing, is not the one that the shard describes, or is too long for the model.
        """
        recording = load_audio(self.events[index].iloc[0], self.folder)
        adapter.check_length(len(recording), f"sample {self.sample_ids[index]} in {self.folder}")
        return recording

    def recordings(self, adapter: Adapter) -> list[np.ndarray]:
        """Audio of all samples, as `recording`."""
        return [self.recording(adapter, index) for index in range(len(self.events))]


def batches_of(shard: Path, size: int, n_samples: int | None = None) -> list[Batch]:
    """The samples of a shard, or its first `n_samples`, cut into batches of `size` in order; nothing else matters."""
    table = read_shard(shard)
    samples = [events for _, events in table.groupby("sample_id", sort=False)][:n_samples]
    # shards/<k>.csv lies one level below the folder that its audio paths start from.
    folder = shard.parent.parent
    return [
        Batch(number, samples[first : first + size], folder)
        for number, first in enumerate(range(0, len(samples), size))
    ]


@dataclass(frozen=True, eq=False)
class ItemBatch:
    """Some items of a question set: `number` counts batches."""

    number: int
    items: list[Item]

    @property
    def sample_ids(self) -> list[str]:
        """Ids of the items, [item]."""
        return [item.item_id for item in self.items]


def item_batches(items: Sequence[Item], size: int) -> list[ItemBatch]:
    """Items cut into batches of `size` in order."""
    return [
        ItemBatch(number, list(items[first : first + size])) for number, first in enumerate(range(0, len(items), size))
    ]


class Saver:
    """Writes the parts of a result in a thread, so that a GPU does not wait for the disk.

    One part at a time: a killed job loses the one that was being written and the batch in flight. An error of writing
    is raised by the next call. When a job ends with another error, what was handed over is still written.

    Parameters
    ----------
    result
        A store.PartedFile or PartedTable.
    meter
        Counts the time of writing.
    """

    def __init__(self, result: Any, meter: Meter) -> None:
        self._result, self._meter = result, meter
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: Future | None = None

    def has(self, part: int) -> bool:
        """As that of the result."""
        return self._result.has(part)

    def write(self, part: int, content: Any) -> None:
        """Hand a part over, once the one before is written."""
        self._wait()
        self._pending = self._thread.submit(self._timed, self._result.write, part, content)

    def merge(self, n_parts: int) -> None:
        """Join the parts into the result."""
        self._wait()
        self._timed(self._result.merge, n_parts)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _timed(self, function: Callable[..., None], *arguments: Any) -> None:
        with self._meter.stage("store"):
            function(*arguments)


B = TypeVar("B", Batch, ItemBatch)
L = TypeVar("L")


def unfinished(batches: Sequence[B], result: Saver, meter: Meter, load: Callable[[B], L]) -> Iterator[tuple[B, L]]:
    """Batches that `result` does not hold yet, with progress in the log.

    Each comes with what `load` makes of it. A thread loads the next one while this one is worked on, so that a GPU does
    not wait for audio files; an error of loading is raised when the batch's turn comes. `meter` counts samples as they
    are done.
    """
    missing = [batch for batch in batches if not result.has(batch.number)]
    if len(missing) < len(batches):
        _log.info("%d of %d batches are there already", len(batches) - len(missing), len(batches))
    with ThreadPoolExecutor(max_workers=1) as loader:
        ahead = [loader.submit(load, batch) for batch in missing[:1]]
        for done, batch in enumerate(missing):
            loaded = ahead.pop().result()
            ahead += [loader.submit(load, following) for following in missing[done + 1 : done + 2]]
            yield batch, loaded
            meter.n_samples += len(batch.sample_ids)
            _log.info("batch %d of %d", done + 1, len(missing))


def load_model(model: Model, threads: int) -> tuple[Adapter, dict[str, str]]:
    """Load a model for a job; return its adapter and what its results should say about it."""
    torch.set_num_threads(threads)
    adapter = registry.load(model)
    facts = {"device": str(adapter.device), "dtype": str(adapter.model.dtype).removeprefix("torch.")}
    _log.info("%s on %s in %s, %d CPU threads", model.checkpoint, facts["device"], facts["dtype"], threads)
    return adapter, facts


def report(meter: Meter, path: Path) -> None:
    """Say in the log how fast the job was and where its time went, and write the same figures as JSON."""
    summary = meter.summary()
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in summary["seconds"].items() if seconds)
    memory = ", ".join(f"{name} {size:.0f} MB" for name, size in summary["peak_memory_mb"].items())
    _log.info(
        "%d samples in %.2f s: %.3g samples/s, %.4g tokens/s; seconds in %s; peak memory: %s",
        *(summary[key] for key in ("n_samples", "wall_s", "samples_per_s", "tokens_per_s")),
        stages,
        memory,
    )
    with atomic_path(path) as target:
        target.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
