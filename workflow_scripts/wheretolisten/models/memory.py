"""How much memory a model needs, known from its config before a byte of weights is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import PretrainedConfig

from wheretolisten.config.constants import POSITIONS
from wheretolisten.errors import UserError

ROWS_PER_SAMPLE = 2 + len(POSITIONS)
"""Most rows in a pass for one sample: inference prompt, p− and one p+ per position. Jobs that steer keep to it."""

_TEXT_TOKENS = 128

_SYMBOLS = 750
"""Audio tokens of a model without ears: 30 s of words at the highest rate that examples may have, 25 per second."""

_AUDIO_PARTS = ("audio_config", "encoder_config", "acoustic_tokenizer_encoder_config", "audio_encoder_config")
"""Where configs describe what hears."""


@dataclass(frozen=True)
class Demand:
    """Memory of a model, in bytes: its weights, and what one more sample in a pass takes at most."""

    weights: int
    per_sample: int

    def total(self, batch_samples: int) -> int:
        """Memory with `batch_samples` samples in a pass, in bytes."""
        return self.weights + batch_samples * self.per_sample

    def samples_that_fit(self, free: int) -> int:
        """Most samples in a pass that `free` bytes allow; 0 or less if not even one."""
        return (free - self.weights) // self.per_sample


def estimate(config: PretrainedConfig, model_class: type, dtype: torch.dtype) -> Demand:
    """What a model will need, from its config; the weights are counted exactly, on the meta device.

    A sample is 30 s of audio, or one window of a Whisper-like tower, and 128 text tokens under five prompts. It holds
    keys and values of all blocks (2 · blocks · key-value heads · head size per token and row), the largest block's
    intermediate values, the attention of the text rows in float32, the logits of the last token in float32, and the
    audio part's largest block. Everything is added up although not all of it lives at the same time, so that the sum
    is an upper estimate; allocator and libraries take some more.

    Parameters
    ----------
    config
        Config of the whole model.
    model_class
        The class that the config belongs to.
    dtype
        Precision that the weights will have.
    """
    with torch.device("meta"):
        n_parameters = sum(weights.numel() for weights in model_class(config).parameters())
    size, text = dtype.itemsize, config.get_text_config(decoder=True)
    tower, n_audio_tokens = _audio_part(config, size)
    n_heads = text.num_attention_heads
    n_kv_heads = getattr(text, "num_key_value_heads", None) or n_heads
    head = _head_dim(text)
    inner = _largest(text, "intermediate_size", "moe_intermediate_size") or 4 * text.hidden_size
    n_tokens = n_audio_tokens + _TEXT_TOKENS

    cache = 2 * text.num_hidden_layers * n_kv_heads * head * n_tokens * size
    block = (4 * text.hidden_size + 3 * inner + 2 * (n_heads + n_kv_heads) * head) * n_tokens * size
    attention = n_heads * _TEXT_TOKENS * n_tokens * 4
    logits = text.vocab_size * 4
    return Demand(
        weights=n_parameters * size, per_sample=ROWS_PER_SAMPLE * (cache + block + attention + logits) + tower
    )


def _audio_part(config: PretrainedConfig, size: int) -> tuple[int, int]:
    """Bytes of the audio part's largest block for one sample, 0 without ears; and audio tokens of the sample."""
    parts = [getattr(config, name, None) for name in _AUDIO_PARTS]
    audio = next((part for part in parts if part is not None), None)
    if audio is None:
        return 0, _SYMBOLS
    # Positions of the tower, of which every second is a token at most.
    positions = _largest(audio, "max_source_positions") or 1500
    width = _largest(audio, "hidden_size", "d_model", "hidden_dim", "output_dim") or 1280
    inner = _largest(audio, "intermediate_size", "encoder_ffn_dim") or 4 * width
    n_bins = _largest(audio, "num_mel_bins", "input_dim", "input_feat_size", "input_size") or 128
    # Mel frames come at twice the rate of the tower's positions; one byte per pair of positions is the mask.
    tower = (2 * (n_bins + width) + 4 * width + 2 * inner) * positions * size + positions**2
    return tower, positions // 2


def _head_dim(config: PretrainedConfig) -> int:
    """Channels of an attention head of a text stack; of the widest where blocks differ."""
    layers = getattr(config, "per_layer_config", None)
    widths = [getattr(layer, "head_dim", None) for layer in layers] if layers else [getattr(config, "head_dim", None)]
    known = [width for width in widths if width]
    return max(known, default=config.hidden_size // config.num_attention_heads)


def _largest(config: PretrainedConfig, *names: str) -> int:
    """Largest of the numbers that a config has under these names, of several in a list; 0 if there is none."""
    found = [getattr(config, name, None) for name in names]
    numbers = [number for each in found for number in (each if isinstance(each, list | tuple) else [each])]
    return max((number for number in numbers if isinstance(number, int)), default=0)


def check(demand: Demand, name: str, dtype: torch.dtype, device: torch.device, spread: bool, batch_samples: int) -> int:
    """Compare what a model needs with the memory that is free; return the free bytes.

    On a card a batch that is too large raises an error that can be caught, so one sample has to fit there. In main
    memory the kernel kills the job without a word, so the whole batch has to.

    Parameters
    ----------
    demand
        From `estimate`.
    name
        How the error calls the model.
    dtype
        Precision of the weights.
    device
        Where the model goes.
    spread
        Whether the model is spread over all cards.
    batch_samples
        Samples in a pass.

    Raises
    ------
    UserError
        If it does not fit, with the numbers and the ways out.
    """
    on_card = device.type == "cuda"
    free = free_memory(device, spread)
    needed = demand.total(1 if on_card else batch_samples)
    if needed <= free:
        return free
    ways = []
    if demand.samples_that_fit(free) >= 1:
        ways.append(f"set batch_samples to {demand.samples_that_fit(free)}")
    if dtype.itemsize > 2:
        ways.append(f"set dtype: bfloat16 (weights {_gb(demand.weights * 2 // dtype.itemsize)})")
    if on_card and not spread:
        ways.append("take a larger card, or spread the model over several with device_map: auto")
    else:
        ways.append("take more or larger cards" if on_card else "ask for more memory, or run on a GPU")
    raise UserError(
        f"{name} needs about {_gb(needed)} ({_gb(demand.weights)} weights in {str(dtype).removeprefix('torch.')}, "
        f"{_gb(demand.per_sample)} for each sample in a pass), but {'all cards' if spread and on_card else device} "
        f"{'have' if spread and on_card else 'has'} {_gb(free)} free; {', or '.join(ways)}"
    )


def free_memory(device: torch.device, spread: bool = False) -> int:
    """Free bytes on a device; with `spread`, on all cards together.

    In main memory the limit of the job's control group counts as well: a cluster gives a job a part of the machine.
    """
    if device.type == "cuda":
        cards: list[Any] = list(range(torch.cuda.device_count())) if spread else [device]
        return sum(torch.cuda.mem_get_info(card)[0] for card in cards)
    return min([psutil.virtual_memory().available, *_control_group_rooms()])


def _control_group_rooms(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Bytes that each control group (version 2) around this process leaves it; none where there is no limit."""
    try:
        own = next(line[3:] for line in proc.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    rooms = []
    folder = root / own.strip().lstrip("/")
    for group in (folder, *folder.parents):
        try:
            limit = (group / "memory.max").read_text().strip()
            used = int((group / "memory.current").read_text())
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit != "max":
            # Cached files count as used, and are given up when memory is short.
            rooms.append(max(0, int(limit) - used + int(statistics.get("inactive_file", 0))))
    return rooms


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"
