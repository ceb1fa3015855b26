"""The engine on a GPU: both published architectures at full size with random weights, against the naive way.

Needs a checkout and Python packages, but no network, no checkpoint, no audio and no Snakemake. One command, within ten
minutes on one card of 80 GB, from the root of the checkout:

    PYTHONPATH=workflow_scripts python -m tests.benchmark.measure_gpu --output gpu.json --limit 540

Packages: torch, transformers, accelerate, h5py, pandas, scipy, safetensors, psutil, pyyaml; and, as small wheels where
they are missing, pydantic, pydantic-core, annotated-types, typing-inspection, soundfile, cffi, pycparser, soxr. On a
machine without network, fetch them on another one for its version of Python, copy them over, and install them there:

    pip download --only-binary=:all: --no-deps --python-version 3.12 --platform manylinux_2_28_x86_64 \
        --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --dest wheels \
        pydantic==2.14.3 pydantic-core==2.50.4 annotated-types==0.8.0 typing-inspection==0.4.5 \
        soundfile==0.14.0 cffi==2.1.1 pycparser==3.12 soxr==1.1.0
    pip install --no-index --no-deps --target site wheels/*.whl     # and site on PYTHONPATH, too

For each architecture, on the same synthesised recordings:

* the engine as a job runs it (loading ahead, writing behind), batch size by batch size;
* the naive way, which is the oracle of the engine's tests: one prompt at a time, eager, every map and state kept; once
  as it is, steering token after token, and once with all tokens steered at once;
* the floor: plain passes over the tokens and audio that the engine takes through, without hooks and readout.

Then agreement of the same weights in float32, which takes 34 GB. After every step the figures are written, and no
step starts that is not expected to end within --limit. `--small` runs all of it on a CPU in seconds, on tiny networks,
to show that it runs; its figures mean nothing. Another version of the engine is measured by this script with that
version's workflow_scripts on PYTHONPATH.
"""

import argparse
import contextlib
import gc
import json
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import yaml

from tests.benchmark.work import Found, Work
from tests.engine.oracle import Oracle
from wheretolisten import jobs, store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.loading import load as load_config
from wheretolisten.config.models import Model
from wheretolisten.engine import attention
from wheretolisten.engine.forward import Heard
from wheretolisten.engine.meter import Meter
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models import registry
from wheretolisten.models.adapter import Adapter
from wheretolisten.models.memory import ROWS_PER_SAMPLE
from wheretolisten.store.schema import Column, Schema

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("qwen2-audio", "audio-flamingo-3")
N_KINDS = 3
"""Vectors that steer each event; one where the figures mean nothing."""
N_BATCHES = 3
"""Of each size, so that one can be read while another is worked on; at least eight recordings."""

_TEXT_KEYS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers")
_AUDIO_KEYS = {
    "qwen2-audio": ("d_model", "encoder_ffn_dim", "encoder_attention_heads", "encoder_layers"),
    "audio-flamingo-3": ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers"),
}
_SMALL_TEXT = {"qwen2-audio": (64, 128, 4, 4, 3), "audio-flamingo-3": (64, 128, 4, 2, 3)}
_SMALL_AUDIO = (32, 64, 2, 2)
_SCHEMA = Schema(
    "where-to-listen/measure-gpu/1",
    (
        Column("states", ("sample", "prompt", "layer", "hidden"), "f4", "", "last-token states"),
        Column("attention/plain", ("sample", "prompt", "layer", "audio_token"), "f4", "", "un-steered"),
        Column("attention/steered", ("sample", "vector", "layer", "audio_token"), "f4", "", "steered"),
    ),
    "measure_gpu",
)


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="figures, JSON")
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES, help="architectures")
    parser.add_argument("--batch-samples", nargs="+", type=int, default=[1, 2, 4, 8, 16], help="recordings in a batch")
    parser.add_argument("--new-tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--limit", type=float, default=540, help="seconds after which nothing new is started")
    parser.add_argument("--profile", type=Path, help="also write where the time of a few recordings goes, by kernel")
    parser.add_argument("--small", action="store_true", help="tiny networks on the CPU: shows that the script runs")
    args = parser.parse_args(argv)
    if not args.small and not torch.cuda.is_available():
        raise SystemExit("no GPU is visible to PyTorch; run this where one is, or with --small")
    clock = Clock(torch.device("cpu" if args.small else "cuda"), args.limit)
    figures = Figures(args.output, args.small)
    figures.put("machine", machine(clock, args.small))
    with tempfile.TemporaryDirectory() as folder:
        for name in args.models:
            measure(name, args, clock, figures, Path(folder) / name)
    print(figures.table())


class Clock:
    """Seconds of wall time, a GPU's work included, and how many of them are left."""

    def __init__(self, device: torch.device, limit: float) -> None:
        self.device, self._end = device, time.perf_counter() + limit

    def __call__(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def has(self, seconds: float) -> bool:
        """Whether so many are left."""
        return self._end - time.perf_counter() > seconds

    def measured(self, function: Callable[[], Any]) -> tuple[float, float, Any]:
        """Seconds of a call, memory that tensors took beyond what was in use before (MB), and its result.

        On a CPU memory is that of the whole process, and grows only.
        """
        gc.collect()
        before = self._memory(reset=True)
        started = self()
        result = function()
        return self() - started, self._memory() - before, result

    def _memory(self, reset: bool = False) -> float:
        if self.device.type == "cpu":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        if reset:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.max_memory_allocated(self.device) / 1e6


class Figures:
    """What was measured, written to a file whenever something is added, so that a kill loses nothing."""

    def __init__(self, path: Path, small: bool) -> None:
        self._path = path
        self.values: dict[str, Any] = {"meaningless": small, "machine": {}, "models": {}}
        path.parent.mkdir(parents=True, exist_ok=True)

    def put(self, section: str, values: dict[str, Any], name: str | None = None) -> None:
        """Add figures to a section, or to the entry `name` in it."""
        place = self.values[section] if name is None else self.values[section].setdefault(name, {})
        place.update(values)
        self._path.write_text(json.dumps(self.values, indent=2) + "\n")
        print(section, name or "", json.dumps(values), flush=True)

    def table(self) -> str:
        """The figures in Markdown, as docs/performance.md shows them."""
        models = self.values["models"]
        lines = ["| | " + " | ".join(models) + " |", "|---" * (len(models) + 1) + "|"]
        rows: dict[str, Callable[[dict[str, Any]], Any]] = {
            "parameters, billions": lambda m: m["parameters"] / 1e9,
            "time to load, s": lambda m: m["load_s"],
            "engine, samples/s": lambda m: m["best"]["samples_per_s"],
            "at so many recordings in a batch": lambda m: m["best"]["batch_samples"],
            "naive way, samples/s": lambda m: m["naive"]["samples_per_s"],
            "engine ÷ naive way": lambda m: m["ratio"],
            "engine ÷ naive way that steers all tokens at once": lambda m: m["ratio_all_at_once"],
            "engine ÷ floor, time": lambda m: m["floor_ratio"],
            "memory beyond the weights, GB": lambda m: m["best"]["extra_mb"] / 1e3,
            "… of one recording ÷ naive way, five prompts at a time": lambda m: m["extra_memory_ratio"][
                ROWS_PER_SAMPLE
            ],
            "… one prompt at a time": lambda m: m["extra_memory_ratio"][1],
            "share of the matrix peak, steered": lambda m: m["best"]["share_of_peak"]["steered"],
            "share of the matrix peak, un-steered": lambda m: m["best"]["share_of_peak"]["unsteered"],
            "tokens/s": lambda m: m["best"]["tokens_per_s"],
            "writing, share of the time": lambda m: m["best"]["store_share"],
            "samples/s without loading ahead and writing behind": lambda m: m["in_line_samples_per_s"],
            "waits for the GPU in one steered pass": lambda m: m["waits_in_a_pass"],
            "largest difference in attention": lambda m: m["agreement"]["largest_difference"],
            "largest attention": lambda m: m["agreement"]["largest_attention"],
            "largest difference in attention, float32": lambda m: m["float32"]["largest_difference"],
            "engine in bfloat16, from the naive way in float32": lambda m: m["float32"]["bfloat16_from_float32"][
                "engine"
            ],
            "naive way in bfloat16, from itself in float32": lambda m: m["float32"]["bfloat16_from_float32"]["naive"],
            "flash attention, samples/s": lambda m: m["flash"],
            "GPU minutes of the published experiment": lambda m: m["experiment"]["gpu_minutes"],
        }
        for title, value in rows.items():
            cells = []
            for model in models.values():
                try:
                    found = value(model)
                except KeyError:
                    found = "not reached"
                cells.append(f"{found:.3g}" if isinstance(found, float) else str(found))
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def machine(clock: Clock, small: bool) -> dict[str, Any]:
    """The card, its versions, and how fast it multiplies matrices in bfloat16."""
    size, repeats = (256, 2) if small else (8192, 20)
    one, other = (torch.randn(size, size, dtype=torch.bfloat16, device=clock.device) for _ in range(2))
    for _ in range(3):
        one @ other
    started = clock()
    for _ in range(repeats):
        one @ other
    seconds = (clock() - started) / repeats
    name = torch.cuda.get_device_name(clock.device) if clock.device.type == "cuda" else "CPU"
    return {
        "card": name,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "matrix_peak_tflops": 2 * size**3 / seconds / 1e12,
    }


def variant(name: str, folder: Path, small: bool) -> Path:
    """A copy of the rehearsal checkpoint of an architecture: full size or small."""
    shutil.copytree(ROOT / "resources" / f"rehearsal-{name}", folder)
    settings = json.loads((folder / "config.json").read_text())
    text, audio = settings["text_config"], settings["audio_config"]
    if small:
        text |= dict(zip(_TEXT_KEYS, _SMALL_TEXT[name], strict=True)) | {"vocab_size": 2048}
        audio |= dict(zip(_AUDIO_KEYS[name], _SMALL_AUDIO, strict=True))
    text["layer_types"] = ["full_attention"] * text["num_hidden_layers"]
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def measure(name: str, args: argparse.Namespace, clock: Clock, figures: Figures, folder: Path) -> None:
    """All figures of one architecture in bfloat16."""
    checkpoint = variant(name, folder, args.small)
    if not clock.has(60):
        return
    started = clock()
    adapter = load(checkpoint, clock.device, "bfloat16")
    n_parameters = sum(weights.numel() for weights in adapter.model.parameters())
    figures.put("models", {"parameters": n_parameters, "load_s": clock() - started}, name)

    sizes = args.batch_samples
    n_samples, n_kinds = (max(sizes), 1) if args.small else (N_BATCHES * max(sizes), N_KINDS)
    work = Work(adapter, n_samples, args.new_tokens, n_kinds, clock)
    # What is done once and for all, like choosing kernels, happens here.
    work.engine(Engine(adapter, max_rows=ROWS_PER_SAMPLE), work.recordings[:1])
    peak = figures.values["machine"]["matrix_peak_tflops"]
    by_batch: list[dict[str, Any]] = []
    for size in sizes:
        if not clock.has(20 + 2 * (by_batch[-1]["wall_s"] if by_batch else 0)):
            break
        try:
            by_batch.append(as_a_job(Job(adapter, work, size, folder), clock, peak))
        except UserError as error:
            # Memory that runs out halves the batch; only one prompt that does not fit ends here.
            figures.put("models", {"stopped_at": {"batch_samples": size, "why": str(error)}}, name)
            break
        figures.put("models", {"by_batch": by_batch}, name)
    if not by_batch:
        return
    best = max(by_batch, key=lambda entry: entry["samples_per_s"])
    figures.put("models", {"best": best}, name)
    beside = compared(checkpoint, adapter, work, clock, 1 if args.small else 2)
    for title, way in (("ratio", "naive"), ("ratio_all_at_once", "all_at_once")):
        if way in beside:
            beside[title] = best["samples_per_s"] / beside[way]["samples_per_s"]
    figures.put("models", beside, name)

    size = best["batch_samples"]
    n_rows = ROWS_PER_SAMPLE * size
    engine = Engine(adapter, max_rows=n_rows)
    if clock.has(20 + 2 * best["wall_s"]):
        taken = work.recordings[: best["n_samples"]]
        seconds, _, _ = clock.measured(lambda: work.floor(engine, taken, n_rows, size))
        floor = len(taken) / seconds
        figures.put("models", {"floor_samples_per_s": floor, "floor_ratio": floor / best["samples_per_s"]}, name)
    if clock.has(20 + 2 * best["wall_s"]):
        in_line = as_a_job(Job(adapter, work, size, folder, threads=False), clock, peak)
        figures.put("models", {"in_line_samples_per_s": in_line["samples_per_s"]}, name)
    figures.put("models", {"waits_in_a_pass": waits_in_a_pass(engine, work)}, name)
    if args.profile and clock.has(30):
        with args.profile.open("a") as file:
            file.write(f"{name}\n\n{by_kernel(engine, work, clock)}\n")
    if clock.has(20 + 2 * best["wall_s"]):
        figures.put("models", {"flash": with_flash(adapter, work, size, folder, clock, peak)}, name)
    figures.put("models", {"experiment": experiment(best, len(work.vectors) // len(POSITIONS))}, name)
    if clock.has(40):
        figures.put("models", {"float32": in_float32(checkpoint, adapter, work)}, name)


def load(checkpoint: Path, device: torch.device, dtype: str) -> Adapter:
    """An architecture with random weights, in place of the one before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return registry.load(Model(checkpoint=str(checkpoint), weights="random", device=device.type, dtype=dtype))


@dataclass(frozen=True)
class Part:
    """A batch as `jobs.unfinished` takes it."""

    number: int
    examples: list[np.ndarray]

    def recordings(self, adapter: Adapter) -> list[np.ndarray]:
        """As reading does, a copy in memory of its own."""
        return [recording.copy() for recording in self.examples]


class Job:
    """All recordings through the engine in batches, as the workflow's jobs do it: read ahead, written behind.

    Without `threads` it reads and writes in line, as jobs did before.
    """

    def __init__(
        self,
        adapter: Adapter,
        work: Work,
        size: int,
        folder: Path,
        threads: bool = True,
        kernel: str = "sdpa",
    ) -> None:
        self.engine = Engine(adapter, kernel=kernel, max_rows=ROWS_PER_SAMPLE * size)
        self.work, self.size, self._folder, self._threads = work, size, folder, threads
        self.recordings = work.recordings[: max(8, N_BATCHES * size)]

    def run(self) -> Meter:
        """Take everything through; return what the meter counted."""
        meter, size, recordings = self.engine.meter, self.size, self.recordings
        batches = [Part(n, recordings[first : first + size]) for n, first in enumerate(range(0, len(recordings), size))]
        result = store.PartedFile(self._folder / "measured.h5", _SCHEMA, "measured", {})
        saver: Any = jobs.Saver([result], meter) if self._threads else _InLine(result, meter)
        loaded = jobs.unfinished(batches, saver, self.engine) if self._threads else self._each(batches)
        for batch, heard in loaded:
            reading, steered, _ = self.work.read(self.engine, heard)
            by_sample = [
                values.reshape(len(batch.examples), -1, *values.shape[1:])
                for values in (reading.states, reading.attention, steered.attention)
            ]
            saver.write(batch.number, [dict(zip(_SCHEMA.column_names, by_sample, strict=True))])
        saver.merge(len(batches))
        return meter

    def _each(self, parts: list[Part]) -> Iterator[tuple[Part, Heard]]:
        for part in parts:
            yield part, self.engine.hear(part.recordings(self.engine.adapter))
            self.engine.meter.n_samples += len(part.examples)


class _InLine:
    """Writes at once, while everything else waits."""

    def __init__(self, result: store.PartedFile, meter: Meter) -> None:
        self._result, self._meter = result, meter

    def write(self, part: int, contents: list[dict[str, np.ndarray]]) -> None:
        with self._meter.stage("store"):
            self._result.write(part, *contents)

    def merge(self, n_parts: int) -> None:
        with self._meter.stage("store"):
            self._result.merge(n_parts)


def as_a_job(job: Job, clock: Clock, peak_tflops: float) -> dict[str, Any]:
    """What a job reports, with shares of the card's matrix peak."""
    seconds, extra, meter = clock.measured(job.run)
    summary = meter.summary()
    by_stage, tokens, n = summary["seconds"], summary["tokens"], meter.n_samples
    steered = flops_per_token(job.engine.adapter, tokens["steer"] / len(job.work.vectors) / n)
    # A recording's prefix goes through for its readings and again for its answers.
    unsteered = flops_per_token(job.engine.adapter, tokens["prefill"] / 2 / n, steered=False)
    shares = {
        "steered": steered * tokens["steer"] / by_stage["steer"],
        "unsteered": unsteered * (tokens["prefill"] + tokens["suffix"]) / (by_stage["prefill"] + by_stage["suffix"]),
    }
    return {
        "batch_samples": job.size,
        "n_samples": meter.n_samples,
        "wall_s": seconds,
        "samples_per_s": meter.n_samples / seconds,
        "tokens_per_s": summary["tokens_per_s"],
        "seconds": by_stage,
        "tokens": tokens,
        "store_share": summary["store_share"],
        "extra_mb": extra,
        "share_of_peak": {name: per_s / 1e12 / peak_tflops for name, per_s in shares.items()},
    }


def flops_per_token(adapter: Adapter, length: float, steered: bool = True) -> float:
    """Floating-point operations that a token of a prompt of `length` tokens takes in the blocks of the text stack.

    Two per weight, and 4 · heads · channels per pair of tokens in each block, of which a causal pass has half. Steered
    prompts share the block before the first vector, which is not counted, and leave the last block after its queries,
    keys and values; all else counts in full.
    """
    block = adapter.blocks[0]
    of_block = sum(weights.numel() for weights in block.parameters())
    projections = [block.get_submodule(f"self_attn.{name}_proj") for name in "qkv"]
    of_attention = sum(weights.numel() for layer in projections for weights in layer.parameters())
    pairs = 4 * projections[0].out_features * length / 2
    n_full = adapter.n_layers - 2 * steered
    return n_full * (2 * of_block + pairs) + 2 * of_attention * steered


def compared(checkpoint: Path, adapter: Adapter, work: Work, clock: Clock, n: int) -> dict[str, Any]:
    """The naive way's time, memory and findings on the first `n` recordings, beside the engine's one by one."""
    found: dict[str, Any] = {}
    taken = work.recordings[:n]
    for n_rows in (ROWS_PER_SAMPLE, 1):
        engine = Engine(adapter, max_rows=n_rows)
        _, extra, ours = clock.measured(lambda e=engine: work.each(e, taken))
        found.setdefault("extra_mb_by_rows", {})[n_rows] = extra
    for title, one_by_one in (("all_at_once", False), ("naive", True)):
        # Token after token takes many times as long.
        if not clock.has(90 if one_by_one else 30):
            continue
        with naive(adapter, one_by_one, checkpoint) as oracle:
            oracle.generate(work.recordings[0], work.inference, 1)
            seconds, naive_extra, theirs = clock.measured(lambda o=oracle: work.naive(o, taken))
        found[title] = {"samples_per_s": n / seconds, "extra_mb": naive_extra}
        by_rows = found["extra_mb_by_rows"]
        found["extra_memory_ratio"] = {rows: naive_extra and extra / naive_extra for rows, extra in by_rows.items()}
        found["agreement"] = agreement(ours, theirs)
    return found


def agreement(ours: Found, theirs: Found) -> dict[str, Any]:
    """How far two ways are apart."""
    return {
        "largest_difference": ours.largest_difference(theirs),
        "largest_attention": theirs.largest_attention,
        "equal_answers": ours.answers == theirs.answers,
    }


def in_float32(checkpoint: Path, adapter: Adapter, work: Work) -> dict[str, Any]:
    """Both ways on one recording with the same weights in bfloat16 and in float32, which the adapter has afterwards.

    In float32 they should agree; in bfloat16 the naive way in float32 is the truth for both.
    """
    # Without the shorter mantissa of TF32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    taken, found = work.recordings[:1], {}
    for dtype in ("bfloat16", "float32"):
        if dtype == "float32":
            adapter.model.float()
        engine = Engine(adapter, max_rows=ROWS_PER_SAMPLE)
        ours = work.each(engine, taken)
        with naive(adapter, False, checkpoint) as oracle:
            found[dtype] = ours, work.naive(oracle, taken)
    ours, truth = found["float32"]
    exact = agreement(ours, truth)
    return exact | {
        "n_layers": adapter.n_layers,
        "within_1e-4": exact["largest_difference"] <= 1e-4,
        "bfloat16_from_float32": {
            way: each.largest_difference(truth)
            for way, each in zip(("engine", "naive"), found["bfloat16"], strict=True)
        },
    }


@contextlib.contextmanager
def naive(adapter: Adapter, one_by_one: bool, checkpoint: Path) -> Iterator[Oracle]:
    """The oracle on the adapter's own weights; afterwards an engine has to be made anew."""
    adapter.model.set_attn_implementation("eager")
    try:
        yield Oracle(checkpoint, adapter.model, one_by_one)
    finally:
        adapter.model.set_attn_implementation("sdpa")


def waits_in_a_pass(engine: Engine, work: Work) -> int | None:
    """How often the CPU waits for the GPU in a call that steers one recording; None on a CPU."""
    if engine.adapter.device.type != "cuda":
        return None
    heard = engine.hear(work.recordings[:1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            engine.read(heard, [work.inference], None, work.vectors[:1], work.steering)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def by_kernel(engine: Engine, work: Work, clock: Clock, n: int = 4) -> str:
    """Tables of what un-steered passes, steered ones and answers of `n` recordings spend their time on."""
    heard = engine.hear(work.recordings[:n])
    calls = {
        "un-steered": lambda: work.unsteered(engine, heard),
        "steered": lambda: work.steered(engine, heard),
        "answers": lambda: work.answers(engine, heard),
    }
    tables = []
    for title, call in calls.items():
        call()
        started = clock()
        call()
        alone = clock() - started
        with torch.profiler.profile() as profiler:
            call()
            clock()
        averages = profiler.key_averages()
        key = "self_device_time_total" if clock.device.type == "cuda" else "self_cpu_time_total"
        busy = sum(getattr(event, key) for event in averages) / 1e6
        table = averages.table(sort_by=key, row_limit=40, max_name_column_width=70)
        tables.append(f"{title}: {alone:.3f} s, of which {busy:.3f} s busy\n{table}")
    return "\n\n".join(tables)


def with_flash(adapter: Adapter, work: Work, size: int, folder: Path, clock: Clock, peak: float) -> float | str:
    """Samples per second with flash attention, or why not."""
    try:
        attention.check_kernel("flash", adapter.device, adapter.model.dtype)
    except UserError as error:
        return f"not run: {str(error).partition(';')[0]}"
    return as_a_job(Job(adapter, work, size, folder, kernel="flash"), clock, peak)["samples_per_s"]


def experiment(best: dict[str, Any], n_kinds: int) -> dict[str, Any]:
    """What the default configuration would take with this model: 500 samples under all methods, 48 under more.

    Every step is scaled from its own measured seconds: encoding and un-steered passes by recordings (the recording, and
    silence of its length), steered passes by vectors, answers by their tokens.
    """
    config = load_config(yaml.safe_load((ROOT / "config.yaml").read_text()), root=None)
    per_sample = {name: seconds / best["n_samples"] for name, seconds in best["seconds"].items()}
    n_new = best["tokens"]["answer"] / best["n_samples"]
    minutes, queries = 0.0, {}
    for name, examples in config.sequences.items():
        states = config.unsteered_settings(next(iter(config.models)), name).states
        n_heard = 1 + any(state.heard == "silence" for state in states.values())
        seconds = per_sample["encode"] * (n_heard + 1) + per_sample["suffix"] * n_heard
        seconds += per_sample["answer"] * config.direct_prompt.max_new_tokens * len(POSITIONS) / n_new
        minutes += examples.n_samples * seconds / 60
    for name in config.localizations:
        n_samples, n_methods = config.examples_of(name).n_samples, len(config.methods_of(name))
        seconds = per_sample["encode"] * len(POSITIONS) + per_sample["steer"] * n_methods / n_kinds
        minutes += n_samples * seconds / 60
        queries[name] = n_samples * len(POSITIONS) * n_methods
    return {"gpu_minutes": minutes, "steered_passes": queries, "loading_not_counted": True}


if __name__ == "__main__":
    main()
