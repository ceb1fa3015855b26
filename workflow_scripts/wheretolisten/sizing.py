"""What a job asks of the machine, from what it has to do. Light functions; the rules in `rules/` call them."""

import math
from dataclasses import dataclass
from pathlib import Path

from wheretolisten.checkpoint import made, read_header, read_json, text_stack_of

_OVERHEAD_MB = 2500
"""Python, torch and one batch of a small model, in MB (measured: about 1 GB; the rest is headroom)."""

_USUAL_PARAMETERS = 8_400_000_000
"""Assumed where no weights are: Qwen2-Audio-7B has 8.40 billion parameters, Audio Flamingo 3 has 8.27 billion."""

_USUAL_LAYERS = 32
"""Blocks of the text stack, assumed where config.json does not say: Qwen2-Audio-7B has 32, Audio Flamingo 3 has 28."""

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def memory_mb(weight_bytes: int, attempt: int) -> int:
    """Main memory of a job that loads a model, in MB: the weights once, overhead, half as much again per retry."""
    return int((weight_bytes / 1e6 + _OVERHEAD_MB) * (1 + 0.5 * (attempt - 1)))


def weight_bytes(folder: Path, dtype: str, device: str) -> int:
    """Bytes that the weights in a folder take up in a job, whatever precision the files have.

    Parameters
    ----------
    folder
        Checkpoint; where it holds no weights (not fetched yet, or a rehearsal), a large model's size is assumed, but of
        one that the workflow makes its own.
    dtype, device
        As in the configuration: `auto` is float32 on the device `cpu` and bfloat16 otherwise.
    """
    to_make = made(folder)
    usual = _USUAL_PARAMETERS if to_make is None else to_make.n_parameters
    n_parameters = sum(map(_n_parameters, folder.glob("*.safetensors"))) or usual
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    return n_parameters * _BYTES[dtype]


def _n_parameters(path: Path) -> int:
    """Number of parameters in a safetensors file, from its header; 0 for a broken one, which is refused elsewhere."""
    return sum(math.prod(tensor["shape"]) for tensor in (read_header(path) or {}).values())


def n_layers(folder: Path) -> int:
    """Blocks of a checkpoint's text stack, or a usual number of them where its config.json does not say."""
    to_make = made(folder)
    text_stack = text_stack_of(read_json(folder / "config.json") if to_make is None else to_make.description) or {}
    return text_stack.get("num_hidden_layers") or _USUAL_LAYERS


_START_MINUTES = 15
"""For Python, and for a large model's weights on their way from network storage to the card."""

_AUDIO_TOKENS_PER_SECOND = 25
_PROMPT_TOKENS = 64
"""Audio tokens per second of most families, the most of any; tokens of a prompt around the audio, on the safe side."""

_NEW_TOKEN = 10
"""A generated token takes as long as so many of a prompt: all weights are read again for a few rows of one token."""


@dataclass(frozen=True)
class Work:
    """What a job takes through a model.

    Attributes
    ----------
    samples
        Recordings.
    seconds
        Duration of the longest of them.
    passes
        How often the audio of each goes through the text stack.
    prompts
        What is asked about each.
    new_tokens
        Tokens of the answer to each prompt, at most.
    """

    samples: int
    seconds: float
    passes: int
    prompts: int
    new_tokens: int = 0

    @property
    def tokens(self) -> float:
        """Tokens through the text stack, generated ones weighted by the time that they take."""
        audio = self.seconds * _AUDIO_TOKENS_PER_SECOND * self.passes
        return self.samples * (audio + self.prompts * (_PROMPT_TOKENS + _NEW_TOKEN * self.new_tokens))


def runtime_minutes(work: Work, tokens_per_second: float, attempt: int) -> int:
    """Time limit of a job that runs a model, in minutes: a quarter hour to start up, and twice what its tokens take.

    Doubled with every retry.
    """
    return math.ceil((_START_MINUTES + 2 * work.tokens / tokens_per_second / 60) * 2 ** (attempt - 1))


def doubled(amount: int, attempt: int) -> int:
    """Memory (MB) or time limit (minutes) of a job without a model: `amount`, doubled with every retry."""
    return amount * 2 ** (attempt - 1)


def gpus(device: str) -> int:
    """GPUs of a job that loads a model, from the model's `device`: none for cpu, else one.

    A number without meaning on one machine, where Snakemake limits no resource that it was not given; on a cluster it
    chooses the partition.
    """
    return 0 if device == "cpu" else 1
