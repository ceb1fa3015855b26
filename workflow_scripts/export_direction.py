"""A label's steering direction for other programs: safetensors, and the control-vector form of repeng and llama.cpp.

Run by hand; docs/python.md has the command. The direction is the mean of the own vectors of all of the label's
events, so it serves recordings that are not in the examples; a query of the examples itself is steered by the mean
over the other recordings.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from wheretolisten import log, store
from wheretolisten.checkpoint import folder_of, read_json
from wheretolisten.config.models import Model
from wheretolisten.config.passes import PassSettings
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path, sha256_of_file
from wheretolisten.models import hub
from wheretolisten.store.attributes import read_attributes

SUFFIXES = (".safetensors", ".gguf")


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction, float32 [layer, hidden], the model that it is of, and its provenance, key → text."""

    vectors: np.ndarray
    model: Model
    origin: dict[str, str]


def main(argv: list[str] | None = None) -> None:
    """Read one label's direction and write it in every form that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directions", type=Path, required=True, help="results/directions/<examples>/<model>.h5")
    parser.add_argument("--states", type=Path, required=True, help="results/states/<examples>/<model>/<any shard>.h5")
    parser.add_argument(
        "--contrast", nargs=2, metavar=("FIRST", "SECOND"), default=["positive", "negative"], help="of these two states"
    )
    parser.add_argument("--label", required=True, help="a label of the examples")
    parser.add_argument("--output", type=Path, nargs="+", required=True, help="files to write, *.safetensors or *.gguf")
    args = parser.parse_args(argv)
    logger = log.start("export_direction")
    check_outputs(args.output)

    direction = read_direction(args.directions, args.states, args.label, tuple(args.contrast))
    hint = ""
    if any(path.suffix == ".gguf" for path in args.output):
        if len(direction.vectors) < 2:
            raise UserError(
                "--output *.gguf: control vectors leave block 0 out, and the model has no other; write *.safetensors"
            )
        hint = model_hint(direction.model)
    for path in args.output:
        with atomic_path(path) as target:
            if path.suffix == ".gguf":
                write_gguf(target, direction, hint)
            else:
                write_safetensors(target, direction)
        logger.info("%s: the mean vector of %s, from %s events", path, args.label, direction.origin["n_events"])


def check_outputs(paths: list[Path]) -> None:
    """Refuse outputs that cannot be written, before anything is read.

    Raises
    ------
    UserError
        If the form of one is not known, or its package is missing.
    """
    for path in paths:
        if path.suffix not in SUFFIXES:
            raise UserError(f"--output {path}: the form is not known; end the name in {' or '.join(SUFFIXES)}")
    if any(path.suffix == ".gguf" for path in paths):
        try:
            import gguf  # noqa: F401
        except ImportError as error:
            raise UserError("--output *.gguf needs the package gguf; install it with uv sync --group export") from error


def read_direction(directions: Path, states: Path, label: str, contrast: tuple[str, str]) -> Direction:
    """The direction of a label, from the label sums of sequences and a shard of the states they were made of.

    Raises
    ------
    UserError
        If a file is damaged or of another kind, the sums were not made of these states or of another contrast, or
        `mean_of_label` refuses the label.
    """
    found = store.read_directions(directions, [])
    made_of = {value for key, value in read_attributes(directions).items() if key.startswith("states_")}
    if sha256_of_file(states) not in made_of:
        raise UserError(
            f"{states}: {directions} was not made of it; name states of the same model and examples, and run the "
            "workflow's target directions if they were computed again"
        )
    if contrast not in found.sums:
        known = "; ".join(" ".join(each) for each in found.sums) or "none"
        raise UserError(
            f"--contrast {' '.join(contrast)}: {directions} holds no sums of it; choose from {known}, or add a method "
            "that takes its mean over others_of_label"
        )
    attributes = read_attributes(states)
    settings = PassSettings.from_json(attributes["settings"])
    mean, n_events = mean_of_label(found.sums[contrast], found.counts, found.labels, label)
    words = settings.wording.of(label, found.domains[found.labels.index(label)])
    first, second = (settings.states[name].prompt.format(label=words) for name in contrast)
    origin = {
        "model": attributes["model"],
        "checkpoint_digest": attributes["checkpoint_digest"],
        "weights": attributes["weights"],
        "label": label,
        "contrast": " - ".join(contrast),
        "n_events": str(n_events),
        "first_prompt": first,
        "second_prompt": second,
        "directions_digest": sha256_of_file(directions),
    }
    return Direction(mean, settings.model, origin)


def mean_of_label(sums: np.ndarray, counts: np.ndarray, labels: tuple[str, ...], label: str) -> tuple[np.ndarray, int]:
    """Mean vector of all events of a label, and how many these are.

    Parameters
    ----------
    sums
        Sums of own vectors by label, [label, layer, hidden].
    counts
        Events of each label, [label].
    labels
        [label].
    label
        The label that is wanted.

    Returns
    -------
    tuple
        float32 [layer, hidden], and the number of events.

    Raises
    ------
    UserError
        If there is no such label, or its vectors are not finite.
    """
    if label not in labels:
        raise UserError(f"--label {label!r}: there is no such label; choose from {', '.join(labels)}")
    row = labels.index(label)
    mean = (sums[row] / counts[row]).astype(np.float32)
    if not np.isfinite(mean).all():
        raise UserError(
            f"--label {label!r}: its vectors are not finite numbers, so they steer nothing; set the model's dtype to "
            "float32 and compute the states again"
        )
    return mean, int(counts[row])


def model_hint(model: Model) -> str:
    """Type of the model's text stack, as its config.json names it; what control-vector files say they are for.

    Raises
    ------
    UserError
        If the checkpoint is not there.
    """
    folder = folder_of(model.checkpoint)
    if model.revision and not folder.is_dir():
        folder = hub.snapshot_folder(model.checkpoint, model.revision)
    config = read_json(folder / "config.json")
    hint = config.get("text_config", {}).get("model_type") or config.get("model_type")
    if not hint:
        raise UserError(
            f"{model.checkpoint}: no model_type can be read in {folder / 'config.json'}; put the model there"
        )
    return hint


def write_safetensors(path: Path, direction: Direction) -> None:
    """Tensors `layer.<l>`, float32 [hidden], for the output of decoder block l, from 0; metadata: the origin."""
    tensors = {f"layer.{layer}": vector for layer, vector in enumerate(direction.vectors)}
    save_file(tensors, path, metadata=direction.origin | {"layers": json.dumps(list(range(len(tensors))))})


def write_gguf(path: Path, direction: Direction, hint: str) -> None:
    """Tensors `direction.<l>`, float32 [hidden], for the output of decoder block l, from 1.

    repeng and llama.cpp both count blocks from 0 and add `direction.<l>` to the output of block l. llama.cpp refuses a
    file with `direction.0` (common_control_vector_load_one), and repeng trains none, so block 0 is left out.
    """
    import gguf  # a group of its own: nothing else needs it

    architecture, layers = "controlvector", range(1, len(direction.vectors))
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string(f"{architecture}.model_hint", hint)
    writer.add_uint32(f"{architecture}.layer_count", len(layers))
    for key, value in (direction.origin | {"layers": json.dumps(list(layers))}).items():
        writer.add_string(f"where_to_listen.{key}", value)
    for layer in layers:
        writer.add_tensor(f"direction.{layer}", direction.vectors[layer])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    log.run(main)
