"""What the scripts that run a model over a shard have in common."""

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wheretolisten import passes, provenance, store
from wheretolisten.config.passes import Pass, PassSettings, SymbolSettings
from wheretolisten.engine import selfcheck
from wheretolisten.engine.forward import Heard
from wheretolisten.engine.meter import Meter
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.examples import load_audio, read_shard
from wheretolisten.examples.absent import absent_sounds, read_vocabulary
from wheretolisten.files import atomic_path
from wheretolisten.models import registry
from wheretolisten.models.adapter import Adapter, Recording, Symbols
from wheretolisten.models.memory import ROWS_PER_SAMPLE
from wheretolisten.passes import Example

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples of a job, and what loads their audio; `number` counts batches."""

    number: int
    examples: list[Example]
    load: Callable[[int], Recording]

    def recording(self, index: int, adapter: Adapter) -> Recording:
        """Audio of one example, float32 [frame], 16 kHz mono, or the symbols that stand for it.

        Raises
        ------
        UserError
            If the file is missing or is not the one that the example describes, or is too long for the model.
        """
        recording = self.load(index)
        if isinstance(recording, np.ndarray):
            example = self.examples[index]
            adapter.check_length(len(recording), f"{example.example_id} ({example.recording_id})")
        return recording

    def recordings(self, adapter: Adapter) -> list[Recording]:
        """Audio of all examples, as `recording`."""
        return [self.recording(index, adapter) for index in range(len(self.examples))]


def batches_of(
    shard: Path,
    size: int,
    n_samples: int | None = None,
    clips: Path | None = None,
    n_absent: int = 0,
    symbols: SymbolSettings | None = None,
) -> list[Batch]:
    """The samples of a shard, or its first `n_samples`, cut into batches of `size` in order; nothing else matters.

    What is heard of them is their audio, or words where `symbols` says so. They have `n_absent` sounds, at most, that a
    sample does not hold, of the labels of a table of `clips`.

    Raises
    ------
    UserError
        If a table cannot be read.
    """
    vocabulary = read_vocabulary(clips) if n_absent else {}
    table = read_shard(shard)
    samples = [events.to_dict("records") for _, events in table.groupby("sample_id", sort=False)][:n_samples]
    # shards/<k>.csv lies one level below the folder that its audio paths start from.
    folder = shard.parent.parent
    examples = [
        Example(
            events[0]["sample_id"],
            events[0]["path"],
            events=events,
            absent=absent_sounds(events[0]["sample_id"], events, vocabulary, n_absent),
        )
        for events in samples
    ]
    if symbols:
        return cut(examples, size, lambda example: symbols_of(example, symbols))
    return cut(examples, size, lambda example: load_audio(example.events[0], folder))


def symbols_of(example: Example, settings: SymbolSettings) -> Symbols:
    """A sample as words: every label sounds from the token at its onset to that at its offset, both rounded."""
    rate = settings.tokens_per_second
    spans = tuple((each["label"], round(each["onset"] * rate), round(each["offset"] * rate)) for each in example.events)
    n_tokens = round(example.events[0]["sample_seconds"] * rate)
    return Symbols(spans, n_tokens, settings.noise, ("symbols", settings.seed, example.example_id))


def cut(examples: Sequence[Example], size: int, load: Callable[[Example], Recording]) -> list[Batch]:
    """Examples cut into batches of `size` in order; `load` yields what is heard of one."""
    return [
        Batch(number, here := list(examples[first : first + size]), lambda index, here=here: load(here[index]))
        for number, first in enumerate(range(0, len(examples), size))
    ]


def only(batches: Sequence[Batch], sample: int, shard: Path) -> list[Batch]:
    """One sample, by its index, as the only batch.

    Raises
    ------
    UserError
        If it is not among them.
    """
    for batch in batches:
        for index, example in enumerate(batch.examples):
            if int(example.example_id) == sample:
                return [Batch(0, [example], lambda _, batch=batch, index=index: batch.load(index))]
    raise UserError(f"{shard}: sample {sample} is not in it; pass the shard that holds the sample")


class Saver:
    """Writes the parts of a result in a thread, so that a GPU does not wait for the disk.

    One part at a time: a killed job loses the one that was being written and the batch in flight. An error of writing
    is raised by the next call. When a job ends with another error, what was handed over is still written.

    Parameters
    ----------
    results
        store.PartedFile or PartedTable, which hold the same batches.
    meter
        Counts the time of writing.
    """

    def __init__(self, results: Sequence[Any], meter: Meter) -> None:
        self._results, self._meter = results, meter
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._pending: Future | None = None

    def has(self, part: int) -> bool:
        """Whether every result has it."""
        return all([result.has(part) for result in self._results])

    def write(self, part: int, contents: Sequence[Any]) -> None:
        """Hand a part over, the content of each result, once the one before is written."""
        self._wait()
        self._pending = self._thread.submit(self._write, part, contents)

    def merge(self, n_parts: int) -> None:
        """Join the parts into the results.

        Parts go when all results are there: Snakemake takes away what a job that fails has finished of its outputs.
        """
        self._wait()
        with self._meter.stage("store"):
            for result in self._results:
                result.merge(n_parts, keep_parts=True)
            for result in self._results:
                result.remove_parts()

    def _write(self, part: int, contents: Sequence[Any]) -> None:
        with self._meter.stage("store"):
            for result, content in zip(self._results, contents, strict=True):
                result.write(part, content)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()


def unfinished(batches: Sequence[Batch], result: Saver, engine: Engine) -> Iterator[tuple[Batch, Heard]]:
    """Batches that `result` does not hold yet and what the engine hears of them, with progress in the log.

    A thread reads the next one's audio while this one is worked on, so that a GPU does not wait for files; an error of
    reading is raised when the batch's turn comes. The engine's meter counts samples as they are done.
    """
    missing = [batch for batch in batches if not result.has(batch.number)]
    if len(missing) < len(batches):
        _log.info("%d of %d batches are there already", len(batches) - len(missing), len(batches))
    with ThreadPoolExecutor(max_workers=1) as loader:
        ahead = [loader.submit(batch.recordings, engine.adapter) for batch in missing[:1]]
        for done, batch in enumerate(missing):
            recordings = ahead.pop().result()
            ahead += [loader.submit(following.recordings, engine.adapter) for following in missing[done + 1 : done + 2]]
            yield batch, engine.hear(recordings)
            engine.meter.n_samples += len(batch.examples)
            _log.info("batch %d of %d", done + 1, len(missing))


def parser_of(description: str) -> argparse.ArgumentParser:
    """What all these scripts are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--settings", required=True, help="model and passes, JSON")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--performance", type=Path, required=True, help="speed and memory of the job, JSON")
    return parser


class Job:
    """A model that is loaded for a list of passes, and what its results say about it.

    Parameters
    ----------
    script
        Name of the script.
    settings
        What is run.
    threads
        CPU threads.
    inputs
        Name → input file (`provenance.of_job`).

    Raises
    ------
    UserError
        If the model cannot be loaded (`models.registry.load`), or read as it computes (`selfcheck.check`).
    """

    def __init__(self, script: str, settings: PassSettings, threads: int, inputs: Mapping[str, Path]) -> None:
        torch.set_num_threads(threads)
        self.adapter = registry.load(settings.model)
        # Steered prompts go through in full, so that no more than a few of them fit; the others share what they can.
        steered = any(each.steering for each in settings.passes)
        max_rows = ROWS_PER_SAMPLE * settings.model.batch_samples if steered else None
        self.engine = Engine(self.adapter, kernel=settings.kernel, max_rows=max_rows)
        self.settings, self.passes = settings, settings.passes_for(self.adapter.n_layers)
        self.identity, self.attributes = provenance.of_job(script, settings, inputs)
        selfcheck.check(self.adapter, settings.model, self.attributes)
        facts = ran_on(self.adapter)
        rate = settings.symbols.tokens_per_second if settings.symbols else self.adapter.tokens_per_second
        self.attributes |= facts | {"tokens_per_second": rate}
        name, (device, dtype) = settings.model.checkpoint, facts.values()
        _log.info("%s on %s in %s, %d CPU threads", name, device, dtype, threads)

    def file(self, path: Path, schema: store.Schema, **about: Any) -> store.PartedFile:
        """A result; its identity and its attributes hold what it is `about`, too."""
        identity = provenance.digest_of(self.identity, schema.name, about)
        return store.PartedFile(path, schema, identity, self.attributes | about)

    def describe(self, columns: Sequence[tuple[Pass, str]], batch: Batch) -> None:
        """Say in the log what is steered and read."""
        recording = batch.recording(0, self.adapter)
        _log.info("%s", passes.describe(self.engine, columns, recording, batch.examples[0], self.settings.wording))

    def run(
        self,
        batches: Sequence[Batch],
        results: Sequence[Any],
        work: Callable[[Batch, Heard], Sequence[Any]],
        performance: Path,
    ) -> None:
        """Work through the batches that are not there yet, join the parts, and report.

        Parameters
        ----------
        batches
            All batches of the job.
        results
            Files, which hold a part for every batch.
        work
            From a batch and what the engine hears of it to the part of each result.
        performance
            Where speed and memory are written.
        """
        saver = Saver(results, self.engine.meter)
        for batch, heard in unfinished(batches, saver, self.engine):
            saver.write(batch.number, work(batch, heard))
        saver.merge(len(batches))
        report(self.engine.meter, performance)


def ran_on(adapter: Adapter) -> dict[str, str]:
    """Where a model runs and in what its weights are held, attributes of its results."""
    return {"device": str(adapter.device), "dtype": str(adapter.model.dtype).removeprefix("torch.")}


def part_of(
    batch: Batch, heard: Heard, columns: Sequence[tuple[Pass, str]], values: np.ndarray, readout: str
) -> dict[str, np.ndarray]:
    """What a part of a file of passes holds (`store.schema.passes`); nobody's vector steers yet."""
    nobody = np.zeros((len(batch.examples), len(columns)), "S1")
    absent = [{sound["position"]: sound["label"] for sound in example.absent} for example in batch.examples]
    labels = store.texts([of_example.get(event, "") for of_example in absent for _, event in columns])
    return {
        "sample_id": store.texts([example.example_id for example in batch.examples]),
        "recording": store.texts([example.recording_id for example in batch.examples]),
        "n_audio_tokens": np.array([len(audio) for audio in heard.audio]),
        "target": nobody,
        "label": labels.reshape(nobody.shape),
        store.schema.VALUES[readout].name: values,
    }


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
