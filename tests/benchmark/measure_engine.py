"""The engine against the naive way, side by side in one process, on a random model whose arithmetic takes the time.

Per sample, both compute what the default run asks of a model: last-token states and attention under five prompts,
attention under the inference prompt steered by three kinds of vectors for each of three events, and three answers. The
naive way is the oracle of the engine's tests: one prompt at a time through the whole model, eager, with every map and
state. The floor is plain forward passes over the tokens and audio that the engine takes through, without hooks and
readout.

Times are processor seconds of one thread, so that other load on the machine does not count; on idle cores they equal
wall time. `python -m tests.benchmark.measure_engine --help`, with workflow_scripts on PYTHONPATH.
"""

import argparse
import ctypes
import gc
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import transformers
from transformers import DynamicCache

from tests.engine.oracle import Oracle
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.models import Model
from wheretolisten.config.probe import DirectPrompt, Prompts, Steering
from wheretolisten.engine import layout
from wheretolisten.engine.attention import AttentionReader
from wheretolisten.engine.passes import Engine, Heard
from wheretolisten.models.base import Adapter
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

LABELS = ("rooster", "dog", "rain")
SECONDS = (16.0, 18.5, 17.1, 17.8, 16.6, 18.0, 17.4, 16.3)


def main(argv: list[str] | None = None) -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="figures, JSON")
    parser.add_argument("--samples", type=int, default=4, help="recordings")
    parser.add_argument("--rows", type=int, default=3, help="largest batch of the engine, in prompts")
    parser.add_argument("--new-tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--vector-kinds", type=int, default=3, help="vectors that steer each event")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build(Path(folder) / "model")
        oracle = Oracle(checkpoint)
        adapter = load(Model(checkpoint=str(checkpoint), device="cpu", dtype="float32"))
    work = Work(adapter, args.samples, args.new_tokens, args.vector_kinds)
    engine = Engine(adapter, max_rows=args.rows)
    # What is done once and for all, like choosing kernels, happens here.
    oracle.read(work.recordings[0], work.inference)
    engine.answer(work.recordings[:1], [work.inference], None, 1)
    engine.read(work.recordings[:1], [work.inference])
    engine.meter = type(engine.meter)(adapter.device)
    ours, our_extra, found = measured(lambda: work.engine(engine, work.recordings))
    stages, engine_seconds = engine.meter.summary(), work.engine_seconds
    naive, naive_extra, expected = measured(lambda: work.naive(oracle, work.recordings))
    difference = max(float(np.abs(one - other).max()) for one, other in zip(found[0], expected[0], strict=True))
    floor, _, _ = measured(lambda: work.floor(engine, work.recordings, args.rows))
    overhead = readout_overhead(lambda: work.engine(engine, work.recordings[:1]))
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
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    print(f"vector kinds {args.vector_kinds}, rows {args.rows}, {args.new_tokens} new tokens, one thread, float32")
    print(f"largest difference in attention {difference:.1e}; answers equal: {found[1] == expected[1]}")
    print(
        f"naive {naive:.2f} s, engine {ours:.2f} s, floor {floor:.2f} s; extra memory in MB: naive "
        f"{naive_extra:.0f}, engine {our_extra:.0f}"
    )
    print(f"engine by stage (wall): {stages}")
    print(f"engine by call (processor): {engine_seconds}")
    print(f"naive by call (processor): {work.naive_seconds}")


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


class Work:
    """What is asked about each recording, done in three ways."""

    def __init__(self, adapter: Adapter, n_samples: int, new_tokens: int, n_kinds: int) -> None:
        rng = np.random.default_rng(0)
        self.recordings = [
            rng.normal(0, 0.1, round(SECONDS[n % len(SECONDS)] * 16_000)).astype(np.float32) for n in range(n_samples)
        ]
        prompts = Prompts()
        positive = [prompts.positive_for(label, "") for label in LABELS]
        self.prompts = [prompts.inference, prompts.negative_with_query(), *positive]
        self.questions = [DirectPrompt().question_for(label, 5.0) for label in LABELS]
        self.inference, self.new_tokens, self.steering = prompts.inference, new_tokens, Steering()
        n_steered = len(POSITIONS) * n_kinds
        self.vectors = rng.normal(size=(n_steered, adapter.n_layers, adapter.hidden_size)).astype(np.float32)
        self.engine_seconds: dict[str, float] = {}
        self.naive_seconds = {"states and attention": 0.0, "steered": 0.0, "answers": 0.0}

    def engine(self, engine: Engine, recordings: list[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
        clock = [time.process_time()]
        heard = engine.hear(recordings)
        clock.append(time.process_time())
        index = range(len(recordings))
        reading = engine.read(
            heard, self.prompts * len(index), np.repeat(index, len(self.prompts)).tolist(), want_states=True
        )
        clock.append(time.process_time())
        steered = engine.read(
            heard,
            [self.inference] * len(self.vectors) * len(index),
            np.repeat(index, len(self.vectors)).tolist(),
            np.concatenate([self.vectors] * len(index)),
            self.steering,
        )
        clock.append(time.process_time())
        answers = engine.answer(
            heard, self.questions * len(index), np.repeat(index, len(self.questions)).tolist(), self.new_tokens
        )
        clock.append(time.process_time())
        seconds = np.diff(clock).tolist()
        self.engine_seconds = dict(zip(("encoder", *self.naive_seconds), seconds, strict=True))
        n_audio = [reading.n_audio_tokens[:: len(self.prompts)][n] for n in index]
        by_sample = [
            values.reshape(len(index), -1, *values.shape[1:]) for values in (reading.attention, steered.attention)
        ]
        return [values[n][..., : n_audio[n]] for n in index for values in by_sample], answers

    def naive(self, oracle: Oracle, recordings: list[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
        layers = tuple(range(len(oracle.blocks)))
        masses, answers, clock = [], [], time.process_time
        for recording in recordings:
            started = clock()
            masses.append(np.stack([oracle.read(recording, prompt).attention for prompt in self.prompts]))
            read = clock()
            scale = self.steering.scale
            masses.append(
                np.stack(
                    [oracle.read(recording, self.inference, "all", v, scale, layers).attention for v in self.vectors]
                )
            )
            steered = clock()
            answers += [oracle.generate(recording, question, self.new_tokens) for question in self.questions]
            times = (read - started, steered - read, clock() - steered)
            for name, seconds in zip(self.naive_seconds, times, strict=True):
                self.naive_seconds[name] += seconds
        return masses, answers

    @torch.inference_mode()
    def floor(self, engine: Engine, recordings: list[np.ndarray], n_rows: int) -> None:
        """The same tokens and audio through the same modules, and nothing else: no hooks, no readout, no branches."""
        adapter, stack = engine.adapter, engine.adapter.text_stack
        implementation = stack.config._attn_implementation
        stack.set_attn_implementation("sdpa")
        try:
            for start in range(0, len(recordings), n_rows):
                audio = adapter.encode(recordings[start : start + n_rows])
                for prompts, n_steps in ((self.prompts, 0), (self.questions, self.new_tokens - 1)):
                    self._behind_prefix(
                        engine, Heard(tuple(recordings[start : start + n_rows]), tuple(audio)), prompts, n_steps
                    )
                rows = [n for n in range(len(audio)) for _ in self.vectors]
                inputs = adapter.prepare(recordings[start : start + n_rows], [self.inference] * len(audio))
                for first in range(0, len(rows), n_rows):
                    chosen = rows[first : first + n_rows]
                    queries = layout.queries_of(inputs, inputs.text_start, None)
                    queries = [queries[n] for n in chosen]
                    whole = layout.arrange([[(n, 0, len(query.ids))] for n, query in enumerate(queries)], queries)
                    stack(inputs_embeds=adapter.embed(whole.input_ids, [audio[n] for n in chosen]), use_cache=False)
        finally:
            stack.set_attn_implementation(implementation)

    def _behind_prefix(self, engine: Engine, heard: Heard, prompts: list[str], n_steps: int) -> None:
        adapter, stack, n = engine.adapter, engine.adapter.text_stack, len(heard.audio)
        inputs = adapter.prepare(heard.recordings, prompts * n, np.repeat(range(n), len(prompts)).tolist())
        queries = layout.queries_of(inputs, inputs.last if n_steps else inputs.text_start, None)
        groups = layout.share_prefixes(queries)
        heads = [queries[group.queries[0]] for group in groups]
        shared = layout.arrange([[(row, 0, group.n_shared)] for row, group in enumerate(groups)], heads)
        cache = DynamicCache()
        stack(inputs_embeds=adapter.embed(shared.input_ids, heard.audio), past_key_values=cache, use_cache=True)
        rows = [[(q, group.n_shared, len(queries[q].ids)) for q in group.queries] for group in groups]
        behind = layout.arrange(rows, queries)
        owner, positions, ids = behind.owner, behind.position_ids, behind.input_ids
        for step in range(n_steps + 1):
            states = stack(
                inputs_embeds=adapter.embed(ids, []),
                attention_mask=layout.block_mask(owner, groups, ids.shape[1]),
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            if n_steps:
                ids = adapter.model.lm_head(states[:, -len(prompts) :]).argmax(dim=-1).clamp(max=99)
                owner = torch.cat([owner, torch.arange(n * len(prompts)).view(n, -1)], dim=1)
                positions = positions[:, -1:].expand(-1, len(prompts)) + step


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
