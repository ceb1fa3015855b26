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


class Meter:
    """Counts seconds and tokens by stage; `peak_memory_mb` is of the whole process.

    Parameters
    ----------
    device
        Where the work is done. Work on a GPU is waited for at the end of a stage, so that it counts where it belongs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.tokens = dict.fromkeys(STAGES, 0)
        self.n_samples = 0
        self._started = time.perf_counter()

    @contextlib.contextmanager
    def stage(self, name: str, n_tokens: int = 0) -> Iterator[None]:
        """Add the time inside the context to a stage, and so many tokens (audio and text, padding not counted)."""
        started = time.perf_counter()
        try:
            yield
        finally:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self.seconds[name] += time.perf_counter() - started
            self.tokens[name] += n_tokens

    def summary(self) -> dict[str, object]:
        """Figures of the job so far, fit for JSON.

        `samples_per_s` counts all time since the meter was made, `tokens_per_s` tokens through the text stack per
        second in it. `peak_memory_mb` holds the largest resident memory of the process and, on a GPU, the largest
        memory that tensors took there; both in MB (10⁶ bytes).
        """
        wall = time.perf_counter() - self._started
        in_stack = sum(self.seconds[name] for name in ("prefill", "suffix", "steer", "answer"))
        n_tokens = sum(self.tokens.values())
        peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
        if self._device.type == "cuda":
            peak["device"] = sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count()))) / 1e6
        return {
            "n_samples": self.n_samples,
            "wall_s": round(wall, 3),
            "samples_per_s": round(self.n_samples / wall, 4),
            "tokens_per_s": round(n_tokens / in_stack, 1) if in_stack else 0.0,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "store_share": round(self.seconds["store"] / wall, 4),
            "tokens": {name: n for name, n in self.tokens.items() if n},
            "peak_memory_mb": {name: round(size, 1) for name, size in peak.items()},
        }
