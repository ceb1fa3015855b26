"""What the files of a checkpoint show before anything is loaded, without importing the libraries that load it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wheretolisten.errors import UserError

MODEL_TYPES = ("audioflamingo3", "qwen2_audio")
"""Values of `model_type` in config.json that have an adapter (a test compares them with the registry)."""

_INDEX = "model.safetensors.index.json"
_DESCRIPTIONS = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")


def folder_of(checkpoint: str) -> Path:
    """Folder of a checkpoint that is one. A relative path starts from the repository, wherever the job runs."""
    return Path(__file__).resolve().parents[2] / checkpoint


def check(where: str, folder: Path, weights: str = "pretrained") -> dict[str, Any]:
    """Refuse a checkpoint that cannot or must not be loaded, and return its config.json.

    Called when the configuration is read (folders), after a fetch (hub repositories), and before a model is loaded.

    Parameters
    ----------
    where
        How the error names the checkpoint.
    folder
        Folder with its files.
    weights
        `pretrained`, or `random` where the folder needs none.

    Raises
    ------
    UserError
        If config.json is missing, broken or of a type without adapter, a file asks for code that comes with the
        checkpoint, there is no chat template, or weights are missing, cut off or pickled.
    """
    types = " or ".join(MODEL_TYPES)
    config = read_json(folder / "config.json")
    if not config:
        raise UserError(
            f"{where}: no config.json can be read in {str(folder)!r}; point to a saved model of type {types}"
        )
    for name in _DESCRIPTIONS:
        if "auto_map" in read_json(folder / name):
            raise UserError(
                f"{where}: {folder / name} asks for code that comes with the checkpoint (key auto_map), which is "
                "never run; choose a checkpoint that transformers loads without"
            )
    if config.get("model_type") not in MODEL_TYPES:
        raise UserError(
            f"{where}: {folder / 'config.json'}: there is no adapter for models of type {config.get('model_type')!r}; "
            f"choose a checkpoint of type {types}"
        )
    _check_template(where, folder, config["model_type"])
    if weights == "pretrained":
        check_weights(where, [path.name for path in folder.iterdir()])
        _check_index(where, folder)
        for path in sorted(folder.glob("*.safetensors")):
            if read_header(path) is None:
                raise UserError(
                    f"{where}: {path} is cut off or no safetensors file; fetch it again (with git lfs pull, where it "
                    "is a pointer)"
                )
    return config


def check_weights(where: str, names: Iterable[str]) -> None:
    """Refuse files that hold no weights in safetensors; `names` are those at the top level of the checkpoint.

    Raises
    ------
    UserError
        If there are none, or only pickled ones.
    """
    names = sorted(names)
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
    if pickled:
        raise UserError(
            f"{where}: the weights are pickled ({pickled[0]}), which may run code when read; choose a checkpoint with "
            "safetensors, or convert them yourself and point models.<name>.checkpoint to the folder"
        )
    raise UserError(
        f"{where}: there is no weights file (*.safetensors); put it there, or choose another checkpoint or revision"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is missing or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_header(path: Path) -> dict[str, Any] | None:
    """What a safetensors file says about each tensor, by name; None if the file is cut off or something else."""
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if 8 + size > n_bytes:
            return None
        try:
            header = json.loads(file.read(size))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        except (ValueError, AttributeError, KeyError, TypeError, IndexError):
            return None
    return tensors if 8 + size + end == n_bytes else None


def _check_template(where: str, folder: Path, model_type: str) -> None:
    # transformers brings a template for Qwen2-Audio.
    if model_type == "qwen2_audio" or read_json(folder / "processor_config.json").get("chat_template"):
        return
    files = (folder / "chat_template.jinja", folder / "chat_template.json")
    if not any(file.is_file() and file.stat().st_size for file in files):
        raise UserError(f"{where}: there is no chat template in {str(folder)!r}; add the model's chat_template.jinja")


def _check_index(where: str, folder: Path) -> None:
    if not (folder / _INDEX).exists():
        return
    shards = read_json(folder / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise UserError(f"{where}: {folder / _INDEX} names no weights files; take it from the checkpoint again")
    for name in sorted(set(shards.values())):
        # A name with a folder in it could lead out of the checkpoint.
        if Path(name).name != name or not (folder / name).is_file():
            raise UserError(
                f"{where}: {folder / _INDEX} names {name}, which is not in that folder; put it there, or choose a "
                "complete checkpoint or revision"
            )
