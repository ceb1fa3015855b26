"""The engine against the naive way, side by side in one process, on a random model whose arithmetic takes the time.

Per sample, both compute what the default run asks of a model: last-token states and attention under five prompts,
attention under the inference prompt steered by three kinds of vectors for each of three events, and three answers. The
naive way is the oracle of the engine's tests: one prompt at a time through the whole model, eager, with every map and
state. The floor is plain forward passes over the tokens and audio that the engine takes through, without hooks and
readout. Peers are other libraries, used well (`peers`); they and the engine do the readings alone, without answers, in
turn and several times, because load on the machine changes what a processor second is worth.

Times are processor seconds of one thread, so that other load on the machine does not count; on idle cores they equal
wall time. `python -m tests.benchmark.measure_engine --help`, with workflow_scripts on PYTHONPATH.
"""

import argparse
import ctypes
import gc
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers

from tests.benchmark import peers
from tests.benchmark.work import Found, Work
from tests.engine.oracle import Oracle
from wheretolisten.config.models import Model
from wheretolisten.engine.attention import AttentionReader
from wheretolisten.engine.passes import Engine
from wheretolisten.models.registry import load

ROOT = Path(__file__).resolve().parents[2]
TEXT = {
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "num_hidden_layers": 16,
    "vocab_size": 8192,
}
AUDIO = {
    "d_model": 256,
    "encoder_ffn_dim": 1024,
    "encoder_attention_heads": 4,
    "encoder_layers": 2,
    "num_mel_bins": 64,
    "max_source_positions": 1500,
}
"""Sizes of the model. As in Qwen2-Audio-7B, the encoder hears 30 s at 25 tokens per second, takes about a third of the
arithmetic of the text stack on 18 s, and the head about a tenth."""

LARGEST_DIFFERENCE = 1e-5
"""Of peers to the engine, in attention, and in states as a part of the largest one."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="figures, JSON")
    parser.add_argument("--samples", type=int, default=4, help="recordings")
    parser.add_argument("--rows", type=int, default=3, help="largest batch of the engine, in prompts")
    parser.add_argument("--new-tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--vector-kinds", type=int, default=3, help="vectors that steer each event")
    parser.add_argument("--repeats", type=int, default=3, help="times that the peers are measured")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build(Path(folder) / "model")
        oracle = Oracle(checkpoint)
        adapter = load(Model(checkpoint=str(checkpoint), device="cpu", dtype="float32"))
        others = [peer(checkpoint, args.rows) for peer in peers.installed()]
    work = Work(adapter, args.samples, args.new_tokens, args.vector_kinds, time.process_time)
    engine = Engine(adapter, max_rows=args.rows)
    # What is done once and for all, like choosing kernels, happens here.
    oracle.read(work.recordings[0], work.inference)
    engine.answer(work.recordings[:1], [work.inference], None, 1)
    engine.read(work.recordings[:1], [work.inference])
    engine.meter = type(engine.meter)(adapter.device)
    ours, our_extra, found = measured(lambda: work.engine(engine, work.recordings))
    stages = engine.meter.summary()
    naive, naive_extra, expected = measured(lambda: work.naive(oracle, work.recordings))
    difference = found.largest_difference(expected)
    floor, _, _ = measured(lambda: work.floor(engine, work.recordings, args.rows))
    overhead = readout_overhead(lambda: work.engine(engine, work.recordings[:1]))
    compared = compare(work, engine, others, args.repeats)
    asking = cost_of_asking(work, engine, args.repeats)
    figures = {
        "model": f"random Qwen2-Audio, {sum(p.numel() for p in adapter.model.parameters()) / 1e6:.0f} M parameters, "
        f"text {TEXT}, audio {AUDIO}",
        "n_samples": args.samples,
        "naive_samples_per_s": args.samples / naive,
        "engine_samples_per_s": args.samples / ours,
        "ratio": naive / ours,
        "floor_ratio": ours / floor,
        "extra_memory_ratio": our_extra / naive_extra,
        "readout_overhead": overhead,
        "readings": compared,
        "asking": asking,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    print(f"vector kinds {args.vector_kinds}, rows {args.rows}, {args.new_tokens} new tokens, one thread, float32")
    print(f"largest difference in attention {difference:.1e}; answers equal: {found.answers == expected.answers}")
    print(
        f"naive {naive:.2f} s, engine {ours:.2f} s, floor {floor:.2f} s; extra memory in MB: naive "
        f"{naive_extra:.0f}, engine {our_extra:.0f}"
    )
    print(f"engine by stage (wall): {stages}")
    print(f"naive by call (processor): {work.naive_seconds}")
    print(as_table(compared))
    for name, (ratio, low, high) in asking.items():
        print(f"published method / {name}: {ratio:.2f} [{low:.2f}-{high:.2f}] times the processor seconds per query")
    if len(others) < len(peers.PEERS):
        print("not all peers were measured: the package nnsight is not installed (uv run --group peers)")


def compare(work: Work, engine: Engine, others: list[peers.Peer], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Engine and peers in turn on the same readings: median, smallest and largest of each figure, by way.

    Seconds are of the processor, per recording; the ratio is to the engine's of the same turn.

    Raises
    ------
    AssertionError
        If a peer finds something else than the engine.
    """
    ways = {"engine": lambda recordings: work.readings(engine, recordings)}
    ways |= {peer.name: lambda recordings, peer=peer: peer.find(work, recordings) for peer in others}
    for way in ways.values():
        way(work.recordings[:1])  # what is done once and for all
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    n = len(work.recordings)
    for _ in range(repeats):
        engine_run = None
        for name, way in ways.items():
            seconds, memory, found = measured(lambda way=way: way(work.recordings))
            engine_run = engine_run or (seconds, found)
            by_recording = {half: of_half / n for half, of_half in found.seconds.items()} | {"sum": seconds / n}
            difference = checked_difference(name, found, engine_run[1])
            run = {"ratio": seconds / engine_run[0], "extra_memory_mb": memory, "largest_difference": difference}
            runs[name].append(by_recording | run)
    spread = {name: {key: [run[key] for run in of_way] for key in of_way[0]} for name, of_way in runs.items()}
    return {
        name: {key: [statistics.median(values), min(values), max(values)] for key, values in of_way.items()}
        for name, of_way in spread.items()
    }


def cost_of_asking(work: Work, engine: Engine, repeats: int) -> dict[str, list[float]]:
    """How many times as long the published method takes as asking: median, smallest and largest ratio, by way.

    In turn, so that load on the machine concerns all alike; processor seconds of the windows of three queries.
    """
    ways = {
        f"asking, {n} absent sound{'s' if n > 1 else ''}": lambda n=n: work.asking(engine, work.recordings, n)
        for n in range(1, len(work.absent) + 1)
    }
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        published, _, _ = measured(lambda: work.published(engine, work.recordings))
        for name, way in ways.items():
            ratios[name].append(published / measured(way)[0])
    return {name: [statistics.median(of_way), min(of_way), max(of_way)] for name, of_way in ratios.items()}


def checked_difference(name: str, found: Found, expected: Found) -> float:
    """Largest difference in attention.

    Raises
    ------
    AssertionError
        If attention or states differ by more than rounding.
    """
    attention = found.largest_difference(expected)
    pairs = zip(found.states, expected.states, strict=True)
    states = np.max([np.abs(ours - theirs).max() / np.abs(theirs).max() for ours, theirs in pairs])
    if not np.max([attention, states]) <= LARGEST_DIFFERENCE:  # true of NaN, too
        raise AssertionError(f"{name}: attention differs by {attention:.1e}, states by {states:.1e} of the largest")
    return attention


def as_table(compared: dict[str, dict[str, list[float]]]) -> str:
    """The comparison in Markdown, as docs/performance.md shows it."""
    lines = [
        "| readings | un-steered s | steered s | sum s | ÷ engine | memory, MB | largest difference |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, way in compared.items():
        seconds = " | ".join(f"{way[half][0]:.2f}" for half in ("un-steered", "steered", "sum"))
        ratio, low, high = way["ratio"]
        lines.append(
            f"| {name} | {seconds} | {ratio:.2f} [{low:.2f}–{high:.2f}] | {way['extra_memory_mb'][0]:.0f} | "
            f"{way['largest_difference'][2]:.0e} |"
        )
    return "\n".join(lines)


def build(folder: Path) -> Path:
    """A Qwen2-Audio with random weights at 25 audio tokens per second, saved with the tiny model's processor."""
    shutil.copytree(ROOT / "resources" / "tiny-qwen2-audio", folder)
    (folder / "model.safetensors").unlink()
    settings = json.loads((folder / "config.json").read_text())
    settings["text_config"] |= TEXT | {"layer_types": ["full_attention"] * TEXT["num_hidden_layers"]}
    settings["audio_config"] |= AUDIO
    (folder / "config.json").write_text(json.dumps(settings))
    processor = json.loads((folder / "processor_config.json").read_text())
    processor["feature_extractor"] |= {
        "feature_size": AUDIO["num_mel_bins"],
        "hop_length": 160,
        "n_fft": 400,
        "chunk_length": 30,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
    config = transformers.AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    transformers.Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    return folder


def readout_overhead(function: Callable[[], object]) -> float:
    """Time that a call spends in reading attention, as a share of the rest of it."""
    reading, read = 0.0, AttentionReader.read

    def timed(*arguments: object) -> object:
        nonlocal reading
        started = time.process_time()
        found = read(*arguments)
        reading += time.process_time() - started
        return found

    with mock.patch.object(AttentionReader, "read", timed):
        started = time.process_time()
        function()
    return reading / (time.process_time() - started - reading)


def measured(function: Callable[[], object]) -> tuple[float, float, object]:
    """Processor seconds of a call, the memory that it took at most beyond what was in use before (MB), its result."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak of resident memory
    before, started = _resident("VmRSS"), time.process_time()
    result = function()
    return time.process_time() - started, _resident("VmHWM") - before, result


def _resident(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
