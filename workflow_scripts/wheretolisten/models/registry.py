"""Loading a checkpoint behind the adapter."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate.utils.memory import should_reduce_batch_size
from safetensors import SafetensorError
from transformers import AutoProcessor, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from wheretolisten import checkpoint
from wheretolisten.config.models import Model
from wheretolisten.errors import UserError
from wheretolisten.files import refusal
from wheretolisten.models import hub, memory, small
from wheretolisten.models.adapter import Adapter
from wheretolisten.models.families import Family, family_of

_log = logging.getLogger(__name__)


def load(model: Model) -> Adapter:
    """Load a checkpoint, from a folder or from the cache of the hub, ready for inference.

    Only safetensors weights are read, no code that comes with a checkpoint is run, and no network is used. With random
    weights, the architecture of the folder's config.json is filled with numbers that are the same in every job.

    Raises
    ------
    UserError
        If the checkpoint or one of its files is missing or broken or was not fetched, its files rule it out (see
        `checkpoint.check`), the device does not exist, or its memory does not suffice.
    """
    name, folder = model.checkpoint, checkpoint.folder_of(model.checkpoint)
    if model.revision and not folder.is_dir():
        folder = hub.snapshot_folder(name, model.revision)
    # A progress bar would fill the log of the job with control characters.
    transformers_logging.disable_progress_bar()
    description = checkpoint.check(name, folder, model.weights)
    family = family_of(description["model_type"])
    _check_packages(name, family)
    model_class = _class_of(name, family, description)
    for adapter in sorted(folder.glob("*/adapter_config.json")):
        _log.warning("%s: the adapter in the sub-folder %s is not part of the model", name, adapter.parent.name)
    device, dtype = _device_and_dtype(model)
    try:
        config = model_class.config_class.from_pretrained(folder, local_files_only=True)
        demand = memory.estimate(config, model_class, dtype)
        free = memory.check(demand, name, dtype, device, model.device_map is not None, model.batch_samples)
        _log.info(
            "%s: %.2f GB weights and at most %.2f GB for each sample in a pass; %.1f GB are free",
            *(name, demand.weights / 1e9, demand.per_sample / 1e9, free / 1e9),
        )
        if device.type == "cuda" and demand.samples_that_fit(free) < model.batch_samples:
            _log.warning("%s: %d samples may be too many for the card", name, model.batch_samples)
        loader = AutoTokenizer if checkpoint.reads_text_only(description) else AutoProcessor
        processor = loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        network, report = _load_network(model_class, folder, config, dtype, device, model)
    except (OSError, ValueError, RuntimeError, SafetensorError, MemoryError) as error:
        if isinstance(error, MemoryError) or should_reduce_batch_size(error):
            raise UserError(
                f"{name}: memory ran out while the checkpoint was loaded ({_first_line(error)}); end other programs "
                "that use it, or take a larger card or more memory"
            ) from error
        raise refusal(folder, error) or UserError(
            f"{name}: the checkpoint cannot be loaded ({_first_line(error)}); complete its files"
        ) from error
    if report["missing_keys"] and model.weights == "pretrained":
        # transformers would go on with random numbers in their place.
        missing = sorted(report["missing_keys"])
        raise UserError(
            f"{name}: the weights lack {len(missing)} tensors of the model, {missing[0]!r} among them; "
            "use weights and config.json of the same model"
        )
    if "disk" in set(getattr(network, "hf_device_map", {}).values()):
        # transformers would go on and read these blocks from the disk again in every pass.
        raise UserError(
            f"{name}: device_map: {model.device_map} leaves parts of the model without room; take more or larger cards"
        )
    return Adapter(name, network, processor, family)


def _class_of(name: str, family: Family, description: dict[str, Any]) -> type:
    """The class that loads a checkpoint.

    Raises
    ------
    UserError
        If this version of transformers has none.
    """
    named = family.class_name or checkpoint.architecture_of(description)
    found = small.CLASSES.get(named) or getattr(transformers, named, None)
    if found is None:
        raise UserError(
            f"{name}: transformers {transformers.__version__} has no class {named!r}, which config.json asks for; "
            "choose another checkpoint"
        )
    return found


def _check_packages(name: str, family: Family) -> None:
    """Refuse a type whose processor needs what is not installed.

    Raises
    ------
    UserError
        Naming the packages.
    """
    missing = [package for package in family.packages if importlib.util.find_spec(package) is None]
    if missing:
        packages = " and ".join({"PIL": "pillow"}.get(package, package) for package in missing)
        way_out = "install them with uv sync --group families"
        if {"torchaudio", "mistral_common"} & set(missing):
            way_out = "install a version that fits the other packages (docs/models.md)"
        raise UserError(f"{name}: processors of models of type {family.model_type} need {packages}; {way_out}")


def _load_network(
    model_class: type,
    folder: Path,
    config: PretrainedConfig,
    dtype: torch.dtype,
    device: torch.device,
    model: Model,
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The model on its device or devices, and what transformers reports about its weights."""
    # Straight to its place: main memory need not hold the model on its way to a card.
    placement: dict[str, Any] = {"device_map": {"": device}}
    if model.device_map:
        # Only cards are offered where there are any: a block in main memory would be copied for every pass.
        places: dict[int | str, torch.device] = {"cpu": device}
        if device.type == "cuda":
            places = {card: torch.device("cuda", card) for card in range(torch.cuda.device_count())}
        # What is left is for the passes.
        room = {name: int(0.9 * memory.free_memory(place)) for name, place in places.items()}
        placement = {"device_map": model.device_map, "max_memory": room}
    arguments = {
        "config": config,
        "dtype": dtype,
        "output_loading_info": True,
        "local_files_only": True,
        **placement,
    }
    if model.weights == "pretrained":
        return model_class.from_pretrained(folder, use_safetensors=True, **arguments)
    _log.warning("REHEARSAL: %s has random weights; it shows time and memory, and its results mean nothing", folder)
    # The table of missing weights would list them all.
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with torch.random.fork_rng():
            # The jobs of a run must meet the same model.
            torch.manual_seed(0)
            return model_class.from_pretrained(None, state_dict={}, **arguments)
    finally:
        transformers_logging.set_verbosity(level)


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
