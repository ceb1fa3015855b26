"""Where the time of a job goes."""

import contextlib
import resource
import time
from collections.abc import Iterator

import torch

STAGES = ("encode", "prefill", "suffix", "steer", "answer", "store")
"""Audio encoder; shared prefixes; un-steered prompts behind them (or in full); steered prompts; generated tokens and
the prompts they answer; writing of results. Prefixes that go through together with what is read behind them count with
it in time, and by themselves in tokens."""


_ON_HOST = frozenset({"store"})
"""Stages that never use a GPU."""


class Meter:
    """Counts seconds and tokens by stage; `peak_memory_mb` is of the whole process.

    Parameters
    ----------
    device
        Where the work is done. A GPU notes the time when it comes to the beginning and the end of a stage, and nobody
        waits for it before the figures are asked for.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self.tokens = dict.fromkeys(STAGES, 0)
        self.n_samples = 0
        self._started = time.perf_counter()

    @contextlib.contextmanager
    def stage(self, name: str, n_tokens: int = 0) -> Iterator[None]:
        """Add the time inside the context to a stage, and so many tokens (audio and text, padding not counted)."""
        on_gpu = self._device.type == "cuda" and name not in _ON_HOST
        started = self._event() if on_gpu else time.perf_counter()
        try:
            yield
        finally:
            if on_gpu:
                self._events.append((name, started, self._event()))
            else:
                self._seconds[name] += time.perf_counter() - started
            self.tokens[name] += n_tokens

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage so far; waits for a GPU to end what it was given."""
        if self._events:
            torch.cuda.synchronize(self._device)
        for name, started, ended in self._events:
            self._seconds[name] += started.elapsed_time(ended) / 1000
        self._events.clear()
        return dict(self._seconds)

    def summary(self) -> dict[str, object]:
        """Figures of the job so far, fit for JSON.

        `samples_per_s` counts all time since the meter was made, `tokens_per_s` tokens through the text stack per
        second in it. `peak_memory_mb` holds the largest resident memory of the process and, on a GPU, the largest
        memory that tensors took there; both in MB (10⁶ bytes).
        """
        by_stage = self.seconds
        wall = time.perf_counter() - self._started
        in_stack = sum(by_stage[name] for name in ("prefill", "suffix", "steer", "answer"))
        n_tokens = sum(self.tokens.values())
        peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
        if self._device.type == "cuda":
            peak["device"] = sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count()))) / 1e6
        return {
            "n_samples": self.n_samples,
            "wall_s": round(wall, 3),
            "samples_per_s": round(self.n_samples / wall, 4),
            "tokens_per_s": round(n_tokens / in_stack, 1) if in_stack else 0.0,
            "seconds": {name: round(seconds, 3) for name, seconds in by_stage.items()},
            "store_share": round(by_stage["store"] / wall, 4),
            "tokens": {name: n for name, n in self.tokens.items() if n},
            "peak_memory_mb": {name: round(size, 1) for name, size in peak.items()},
        }
