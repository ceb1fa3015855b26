"""Directions for other programs: what is written is what the workflow steers with, and says where it comes from."""

import json
import re
import sys
import textwrap
from pathlib import Path

import export_direction
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from wheretolisten import provenance, store
from wheretolisten.config.models import Model
from wheretolisten.config.passes import PassSettings
from wheretolisten.config.prompts import PROMPTS, Wording, state_of
from wheretolisten.config.sections import Section
from wheretolisten.errors import UserError

MODEL = Model(checkpoint="resources/tiny-qwen2-audio")
LABELS, N_LAYERS, N_HIDDEN = ("cat", "dog"), 3, 8


def write(path: Path, schema: store.Schema, attributes: dict, columns: dict) -> Path:
    """A result file; columns that are left out hold one row of zeros."""
    sizes = {"layer": N_LAYERS, "hidden": N_HIDDEN, "event": 3}
    zeros = {
        column.name: np.zeros([sizes.get(axis, 1) for axis in column.axes], column.dtype) for column in schema.columns
    }
    result = store.PartedFile(path, schema, "identity", attributes)
    result.write(0, zeros | columns)
    result.merge(1)
    return path


CONTRAST = ("positive", "negative")
STATES = store.schema.states({"positive": True, "negative": False})


@pytest.fixture
def results(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """Label sums, the states that they were made of, and the sums [label, layer, hidden]; cat's are not finite."""
    states = {name: state_of(PROMPTS, name) for name in CONTRAST}
    settings = PassSettings(model=MODEL, states=states, wording=Wording(domains={"pets": "a {label}"}))
    _, attributes = provenance.of_job("extract_activations", settings, {})
    states = write(tmp_path / "0.h5", STATES, attributes, {})
    sums = np.random.default_rng(0).normal(size=(len(LABELS), N_LAYERS, N_HIDDEN))
    sums[0, 1, 2] = np.inf
    _, attributes = provenance.of_job("average_vectors", Section(), {"states_0": states})
    columns = {"label": np.array(LABELS, "S"), "domain": np.array(["pets", "pets"], "S"), "count": np.array([4, 7])}
    directions = write(
        tmp_path / "directions.h5",
        store.schema.directions([CONTRAST]),
        attributes | {"model": MODEL.identity, "examples_digests": [], "contrasts": [CONTRAST]},
        columns | {"sum/positive/negative": sums, "shuffled_sum/positive/negative": sums},
    )
    return directions, states, sums


def export(results: tuple, label: str, *outputs: Path, contrast: tuple[str, str] = CONTRAST) -> None:
    directions, states, _ = results
    arguments = ["--directions", directions, "--states", states, "--label", label, "--contrast", *contrast]
    export_direction.main([str(argument) for argument in [*arguments, "--output", *outputs]])


def provenance_of(layers: list[int]) -> dict[str, str]:
    return {
        "model": "resources/tiny-qwen2-audio",
        "checkpoint_digest": provenance.checkpoint_digest(MODEL.checkpoint, None),
        "weights": "pretrained",
        "label": "dog",
        "contrast": "positive - negative",
        "n_events": "7",
        "first_prompt": "Which part of the audio has the sound of a dog?",
        "second_prompt": "Focus on the entire audio",
        "layers": json.dumps(layers),
    }


def test_safetensors_hold_the_mean_of_every_block_and_its_provenance(results, root, tmp_path, monkeypatch):
    export(results, "dog", tmp_path / "dog.safetensors")
    written = load_file(tmp_path / "dog.safetensors")
    with safe_open(tmp_path / "dog.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    assert {name: (vector.shape, vector.dtype.name) for name, vector in written.items()} == (
        {f"layer.{layer}": ((N_HIDDEN,), "float32") for layer in range(N_LAYERS)}
    )
    assert metadata.items() >= provenance_of([0, 1, 2]).items()
    # As docs/python.md reads it.
    programs = re.findall(
        r"^  ```python\n(.*?)```", (root / "docs" / "python.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (program,) = [each for each in programs if "safetensors" in each]
    monkeypatch.chdir(tmp_path)
    names = {"np": np}
    exec(compile(textwrap.dedent(program), "docs/python.md", "exec"), names)
    np.testing.assert_array_equal(names["direction"], (results[2][1:] / 7).astype(np.float32))


def test_gguf_holds_the_same_vectors_under_the_names_of_repeng_and_llama_cpp(results, tmp_path):
    gguf = pytest.importorskip("gguf", reason="control vectors need the package gguf: uv sync --group export")
    export(results, "dog", tmp_path / "dog.gguf")
    reader = gguf.GGUFReader(tmp_path / "dog.gguf")
    # As llama.cpp demands: float32, one axis, none of block 0.
    assert [tensor.tensor_type for tensor in reader.tensors] == [gguf.GGMLQuantizationType.F32] * (N_LAYERS - 1)
    written = {tensor.name: tensor.data for tensor in reader.tensors}
    assert written.keys() == {"direction.1", "direction.2"}
    for layer in (1, 2):
        np.testing.assert_array_equal(written[f"direction.{layer}"], (results[2][1, layer] / 7).astype(np.float32))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "controlvector"
    assert fields["controlvector.model_hint"] == "qwen2"
    assert fields["controlvector.layer_count"] == 2
    assert {f"where_to_listen.{key}": value for key, value in provenance_of([1, 2]).items()}.items() <= fields.items()


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(results, tmp_path, monkeypatch):
    target = tmp_path / "out" / "dog.safetensors"
    for label, outputs, sentence in (
        ("yeti", [target], r"--label 'yeti': there is no such label; choose from cat, dog"),
        ("cat", [target], r"--label 'cat': its vectors are not finite numbers"),
        ("dog", [target, tmp_path / "dog.npz"], r"dog\.npz: the form is not known; end the name in \.safetensors or"),
    ):
        with pytest.raises(UserError, match=sentence):
            export(results, label, *outputs)
    with pytest.raises(
        UserError, match=r"--contrast positive_1 negative: .* holds no sums of it; choose from positive neg"
    ):
        export(results, "dog", target, contrast=("positive_1", "negative"))
    write(results[1], STATES, {"model": "another"}, {})
    with pytest.raises(UserError, match=r"0\.h5: .*directions\.h5 was not made of it; name states of the same model"):
        export(results, "dog", target)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match=r"needs the package gguf; install it with uv sync --group export"):
        export(results, "dog", target, tmp_path / "dog.gguf")
    assert not target.parent.exists()
    assert not list(tmp_path.glob("*.gguf"))
