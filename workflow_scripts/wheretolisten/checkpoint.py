"""What the files of a checkpoint show before anything is loaded, without importing the libraries that load it."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wheretolisten.errors import UserError
from wheretolisten.files import refusals_named
from wheretolisten.models.families import ENCODER_DECODER, FAMILIES, REFUSED

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_DESCRIPTIONS = ("config.json", "processor_config.json", "preprocessor_config.json", "tokenizer_config.json")

_LANGUAGE = ("ForCausalLM", "LMHeadModel")
_GENERATIVE = ("ForConditionalGeneration", *_LANGUAGE)
"""How the names of architectures end that answer prompts."""

_TRAINING_STATE = ("optimizer", "scheduler", "scaler", "rng_state", "training_args")
"""How the names of files start that a trainer leaves beside weights."""

# What PEFT writes, with its predecessors' and MLX's names; transformers reads none of them beside full weights, or only
# where PEFT is installed (transformers#34733).
_ADAPTER_FILE = re.compile(
    r"adapter_config\.json|([\w.-]+[_.-])?(adapters?|lora)([_.-][\w.-]+)?\.(safetensors|bin|pt|pth|ckpt|npz|gguf|h5|msgpack)",
    re.IGNORECASE,
)
# Merged weights in shards may be named after what was merged; what is in them is looked at in any case.
_SHARD = re.compile(r"(?!adapter).*-\d{5}-of-\d{5}\.safetensors", re.IGNORECASE)
_ADAPTER_TENSOR = re.compile(r"(^|\.)(lora_|base_model\.|base_layer\.)")
_MERGE = (
    "merge it into the weights with PEFT (merge_and_unload(), then save_pretrained()) and point "
    "models.<name>.checkpoint to the folder that this writes; if the weights are merged already, take the adapter's "
    "files out"
)

# bitsandbytes, GPTQ, AWQ, fp8, ...; compressed-tensors and MLX have had names of their own.
_QUANTISED_KEYS = ("quantization_config", "compression_config", "quantization")
_QUANTISED_FILE = re.compile(r"((hf_)?quant|quantize|quantization)_(config|map)\.json|quanto_qmap\.json")
_FLOATS = ("F64", "F32", "F16", "BF16")
_UNQUANTISED = (
    "only unquantised weights are run: choose the checkpoint that this one was made from; if memory is short, set "
    "dtype: bfloat16, or device_map: auto for several cards"
)


@dataclass(frozen=True)
class Made:
    """What is known of a checkpoint that a rule of this workflow makes, before it has made it.

    Attributes
    ----------
    description
        What matters of its config.json before a job loads it.
    n_parameters
        Parameters of all its tensors.
    """

    description: Mapping[str, Any]
    n_parameters: int


_SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "max_position_embeddings": 8192,
}
_DUPLEX = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_SMALL = Made(
    {
        "architectures": ["SmallQwen2AudioForConditionalGeneration"],
        "model_type": "small_qwen2_audio",
        "text_config": _SMOLLM2,
    },
    145_677_209,
)
MADE = {
    "results/checkpoints/smollm2-135m-instruct": Made(_SMOLLM2, 134_515_008),
    "results/checkpoints/small-qwen2-audio": _SMALL,
    "results/checkpoints/small-qwen2-audio-held-out": _SMALL,
    "results/checkpoints/tiny-duplex": Made(_DUPLEX, 156_992),
}
"""By folder. A run whose models name one makes it first (rules/models.smk, rules/training.smk)."""


def folder_of(checkpoint: str) -> Path:
    """Folder of a checkpoint that is one. A relative path starts from the repository, wherever the job runs."""
    return Path(__file__).resolve().parents[2] / checkpoint


def made(folder: Path) -> Made | None:
    """What is known of a checkpoint that the workflow has yet to make; None of any other, and when it is there."""
    if folder.is_dir():
        return None
    return next((known for path, known in MADE.items() if folder_of(path) == Path(os.path.abspath(folder))), None)


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
        As `check_names` and `check_description`; if there is no chat template, or weights are missing, cut off,
        pickled, quantised or those of an adapter.
    """
    with refusals_named(folder):
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if weights == "pretrained":
        check_names(where, names)
        _check_format(where, names)
    config = check_description(where, folder)
    if not reads_text_only(config):
        _check_template(where, folder, config["model_type"])
    if weights == "pretrained":
        check_weights(where, names)
        _check_index(where, folder, "transformers_weights" in config)
        for path in sorted(folder.glob("*.safetensors")):
            _check_tensors(where, path)
    return config


def check_names(where: str, names: Iterable[str]) -> None:
    """Refuse a checkpoint of which only a part would be read, or other than it is meant, as the names of files show.

    `names` are those at the top level. Adapters in sub-folders are left alone: repositories and training runs keep
    other models and earlier states there, and the weights at the top are whole without them.

    Raises
    ------
    UserError
        If there is an adapter (LoRA or the like), or the weights are quantised.
    """
    names = sorted(names)
    for name in names:
        if _ADAPTER_FILE.fullmatch(name) and not _SHARD.fullmatch(name):
            raise UserError(
                f"{where}: there is an adapter ({name}), which would be left out: the results would be those of the "
                f"model without it; {_MERGE}"
            )
        if _QUANTISED_FILE.fullmatch(name):
            raise UserError(f"{where}: the weights are quantised ({name}); {_UNQUANTISED}")


def check_description(where: str, folder: Path) -> dict[str, Any]:
    """Refuse a checkpoint that the files which describe it rule out, and return its config.json.

    Raises
    ------
    UserError
        If config.json is missing, broken or of a type that is no model of language or cannot be right, a file asks for
        code that comes with the checkpoint, or the weights are quantised.
    """
    config = read_json(folder / "config.json")
    if not config:
        raise UserError(f"{where}: no config.json can be read in {str(folder)!r}; point to a saved model")
    for name in _DESCRIPTIONS:
        if "auto_map" in read_json(folder / name):
            raise UserError(
                f"{where}: {folder / name} asks for code that comes with the checkpoint (key auto_map), which is "
                "never run; choose a checkpoint that transformers loads without"
            )
    model_type = config.get("model_type")
    reason = REFUSED.get(model_type) or (ENCODER_DECODER if config.get("is_encoder_decoder") else None)
    if reason:
        raise UserError(f"{where}: models of type {model_type} cannot be read: {reason}; choose another checkpoint")
    known = model_type in FAMILIES or (model_type and architecture_of(config).endswith(_GENERATIVE))
    if not known:
        raise UserError(
            f"{where}: {folder / 'config.json'}: a model of type {model_type!r} (architecture "
            f"{architecture_of(config) or 'not named'!r}) answers no prompts; choose an audio-language model or a "
            "language model"
        )
    if (key := _quantised_key(config)) is not None:
        raise UserError(f"{where}: {folder / 'config.json'}: the weights are quantised ({key}); {_UNQUANTISED}")
    return config


def architecture_of(config: Mapping[str, Any]) -> str:
    """The first of a config.json's architectures; empty if it names none."""
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""


def reads_text_only(config: Mapping[str, Any]) -> bool:
    """Whether a config.json describes a language model without ears; its eyes are left alone."""
    if not config or config.get("model_type") in FAMILIES:
        return False  # one that was not fetched yet says nothing
    return architecture_of(config).endswith(_LANGUAGE) or not any("audio" in key for key in config)


def text_stack_of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a config.json says of the text stack; None where it leaves it to the class's defaults."""
    if reads_text_only(config) or "num_hidden_layers" in config:
        return dict(config)
    for part in (config, config.get("thinker_config")):
        if isinstance(part, Mapping) and isinstance(part.get("text_config"), Mapping):
            return dict(part["text_config"])
    return None


def longest_audio(folder: Path, config: Mapping[str, Any]) -> float | None:
    """Seconds that a checkpoint hears as a whole, from its files and the table of families; None: no end is known."""
    known = FAMILIES.get(config.get("model_type"))
    if known is not None and known.max_seconds is not None:
        return known.max_seconds
    processor = read_json(folder / "preprocessor_config.json") | read_json(folder / "processor_config.json")
    extractor = processor.get("feature_extractor", processor)
    return processor.get("max_audio_len", extractor.get("chunk_length") if isinstance(extractor, dict) else None)


def check_weights(where: str, names: Iterable[str]) -> None:
    """Refuse files that hold no weights in safetensors; `names` are those at the top level of the checkpoint.

    Raises
    ------
    UserError
        If there are none, or only pickled or quantised ones.
    """
    names = sorted(names)
    _check_format(where, names)
    if any(name.endswith(".safetensors") for name in names):
        return
    pickled = [
        name
        for name in names
        if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl")) and not name.startswith(_TRAINING_STATE)
    ]
    if pickled:
        raise UserError(
            f"{where}: the weights are pickled ({pickled[0]}), which may run code when read; choose a checkpoint with "
            "safetensors, or convert them yourself and point models.<name>.checkpoint to the folder"
        )
    raise UserError(
        f"{where}: there is no weights file (*.safetensors); put it there, or choose another checkpoint or revision"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is missing or holds something else.

    Raises
    ------
    UserError
        If the operating system does not let it be read.
    """
    try:
        with refusals_named(path):
            content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def read_header(path: Path) -> dict[str, Any] | None:
    """What a safetensors file says about each tensor, by name; None if the file is cut off or something else.

    Raises
    ------
    UserError
        If the operating system does not let it be read.
    """
    with refusals_named(path), path.open("rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
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


def _check_format(where: str, names: Iterable[str]) -> None:
    gguf = sorted(name for name in names if name.lower().endswith(".gguf"))
    if gguf and not any(name.endswith(".safetensors") for name in names):
        raise UserError(f"{where}: the weights are in llama.cpp's format ({gguf[0]}); {_UNQUANTISED}")


def _quantised_key(config: Mapping[str, Any]) -> str | None:
    """The key that says that weights are quantised, with the method that it names; None if there is none.

    It may stand in the section of a part of the model, too.
    """
    for key, value in config.items():
        if key in _QUANTISED_KEYS and value is not None:
            method = value.get("quant_method") if isinstance(value, dict) else None
            return f"{key}: {method}" if method else key
        if isinstance(value, dict) and (found := _quantised_key(value)) is not None:
            return f"{key}.{found}"
    return None


def _check_tensors(where: str, path: Path) -> None:
    """Refuse a safetensors file that is broken, or holds what would not be read as it is meant."""
    tensors = read_header(path)
    if tensors is None:
        raise UserError(
            f"{where}: {path} is cut off or no safetensors file; fetch it again (with git lfs pull, where it is a "
            "pointer)"
        )
    for name, tensor in tensors.items():
        if _ADAPTER_TENSOR.search(name):
            raise UserError(
                f"{where}: {path} holds an adapter (tensor {name!r}), which would be left out: the results would be "
                f"those of the model without it; {_MERGE}"
            )
        if "weight" in name and tensor.get("dtype") not in _FLOATS:
            # transformers would take the numbers as they are, without their scales.
            raise UserError(
                f"{where}: {path}: the weights are quantised (tensor {name!r} of type {tensor.get('dtype')}); "
                f"{_UNQUANTISED}"
            )


def _check_template(where: str, folder: Path, model_type: str) -> None:
    # transformers brings a template for Qwen2-Audio, and a package that of Voxtral.
    if model_type in ("qwen2_audio", "voxtral") or read_json(folder / "processor_config.json").get("chat_template"):
        return
    files = (folder / "chat_template.jinja", folder / "chat_template.json")
    if not any(file.is_file() and file.stat().st_size for file in files):
        raise UserError(f"{where}: there is no chat template in {str(folder)!r}; add the model's chat_template.jinja")


def _check_index(where: str, folder: Path, names_another_file: bool) -> None:
    if not (folder / _INDEX).exists():
        if not names_another_file and not (folder / _WEIGHTS).exists():
            raise UserError(
                f"{where}: there is neither {_WEIGHTS} nor {_INDEX} in {str(folder)!r}, and transformers reads no "
                "weights of another name; rename them, or choose a complete checkpoint or revision"
            )
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
