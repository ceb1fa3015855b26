"""Loading a checkpoint through the adapter of its family."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoProcessor, PretrainedConfig
from transformers.utils import logging as transformers_logging

from wheretolisten.config import Model
from wheretolisten.errors import UserError
from wheretolisten.models.audio_flamingo_3 import AudioFlamingo3Adapter
from wheretolisten.models.base import Adapter
from wheretolisten.models.qwen2_audio import Qwen2AudioAdapter

ADAPTERS: dict[str, type[Adapter]] = {
    adapter.model_type: adapter for adapter in (Qwen2AudioAdapter, AudioFlamingo3Adapter)
}
"""Adapter by the `model_type` in a checkpoint's config.json."""


def load(model: Model) -> Adapter:
    """Load a checkpoint, from a folder or from the hub, ready for inference.

    Only safetensors weights are read, and no code that comes with a checkpoint is run.

    Raises
    ------
    UserError
        If the checkpoint or one of its files is missing or broken, its type has no adapter, its weights are pickled or
        incomplete, it has no chat template, or the device does not exist.
    """
    name = model.checkpoint
    adapter_class = _find_adapter(model)
    device, dtype = _device_and_dtype(model)
    _check_weights(Path(name))
    # A progress bar would fill the log of the job with control characters.
    transformers_logging.disable_progress_bar()
    try:
        processor = AutoProcessor.from_pretrained(name, revision=model.revision)
        network, report = adapter_class.model_class.from_pretrained(
            name,
            revision=model.revision,
            dtype=dtype,
            use_safetensors=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{name}: the checkpoint cannot be loaded ({_first_line(error)}); complete its files"
        ) from error
    if report["missing_keys"]:
        # transformers would go on with random numbers in their place.
        missing = sorted(report["missing_keys"])
        raise UserError(
            f"{name}: the weights lack {len(missing)} tensors of the model, {missing[0]!r} among them; "
            "use weights and config.json of the same model"
        )
    return adapter_class(name, network.to(device), processor)


def _find_adapter(model: Model) -> type[Adapter]:
    try:
        settings, _ = PretrainedConfig.get_config_dict(model.checkpoint, revision=model.revision)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{model.checkpoint}: no config.json can be read there ({_first_line(error)}); "
            "point models.<name>.checkpoint to a saved model, or fetch it from the hub first"
        ) from error
    model_type = settings.get("model_type")
    if model_type not in ADAPTERS:
        raise UserError(
            f"{model.checkpoint}/config.json: there is no adapter for models of type {model_type!r}; "
            f"choose a checkpoint of type {' or '.join(sorted(ADAPTERS))}"
        )
    return ADAPTERS[model_type]


def _check_weights(folder: Path) -> None:
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickled:
        raise UserError(
            f"{folder}: the weights are pickled ({pickled[0]}), which may run code when read; convert to safetensors"
        )
    raise UserError(f"{folder}: there is no weights file (*.safetensors); put it there, or train or fetch the model")


def _device_and_dtype(model: Model) -> tuple[torch.device, torch.dtype]:
    name = ("cuda" if torch.cuda.is_available() else "cpu") if model.device == "auto" else model.device
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"{model.checkpoint}: device {name!r} cannot be used here ({_first_line(error)}); "
            "set models.<name>.device to cpu, or run where the device is"
        ) from error
    if model.dtype == "auto":
        return device, torch.float32 if device.type == "cpu" else torch.bfloat16
    return device, getattr(torch, model.dtype)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
