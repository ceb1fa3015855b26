"""The map of one query's attention: store, script and figure, from synthetic masses."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plot_attention_map
import pytest
from plot_attention_map import Pass, draw_attention_map, drawn_blocks, readable

from tests.unit.stored import write_passes
from tests.unit.test_figures import (
    EVENTS,
    OWN,
    RATE,
    USERS_TEXT,
    check_files,
    check_names_lie_in_their_events,
    check_nothing_is_clipped,
)
from wheretolisten.config.constants import POSITIONS
from wheretolisten.errors import UserError
from wheretolisten.examples.shards import COLUMNS
from wheretolisten.figures.events import Event
from wheretolisten.store import read_passes

N_AUDIO = 106
TEXT = {
    "base": ["\n", "Describe", " the", " audio", ".", "<|im_end|>", "\n"],
    "prompted": ["\n", "Where", " is", " the", " sound", " of", " coût", "$", "$", "?", "<|im_end|>", "\n"],
    "steered": ["\n", "Describe", " the", " audio", ".", "<|im_end|>", "\n"],
}


def masses(n_layers: int, n_text: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.5, 0.01, (n_layers, n_text, N_AUDIO)).astype("f4")


@pytest.fixture
def stored(tmp_path):
    """A map of sample 00001 with four blocks, and the events of its study."""
    longest = max(map(len, TEXT.values()))
    attention = np.full((3, 4, longest, N_AUDIO), np.nan)
    for row, tokens in enumerate(TEXT.values()):
        attention[row, :, : len(tokens)] = masses(4, len(tokens), row)
    passes = [("base", ""), ("prompted", "middle"), ("steered", "middle")]
    tokens = list(TEXT.values())
    write_passes(
        tmp_path / "map.h5", passes, attention[None], N_AUDIO, ["00001"], readout="text", text=tokens, event="middle"
    )
    rows = [
        dict.fromkeys(COLUMNS, "")
        | {"sample_id": sample_id, "position": position, "label": label, "onset": onset, "offset": offset}
        | {"duration": offset - onset, "sample_seconds": 17.0}
        for sample_id in ("00000", "00001")
        for position, (label, onset, offset) in zip(POSITIONS, EVENTS, strict=True)
    ]
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(tmp_path / "events.csv", index=False)
    return tmp_path


def arguments(folder, name: str) -> list[str]:
    files = ["--attention", str(folder / "map.h5"), "--events", str(folder / "events.csv")]
    outputs = ["--pdf", f"{folder / name}.pdf", "--png", f"{folder / name}.png"]
    return [*files, "--method", "sample", "--direction", OWN, "--models", "tiny-qwen2-audio", *outputs]


def test_map_comes_back_pass_by_pass_without_padding(stored):
    query = read_passes([stored / "map.h5"])
    assert (query.sample_id.tolist(), query.attributes["event"]) == (["00001"], "middle")
    assert dict(zip(query.names, query.text[0], strict=True)) == TEXT
    for row, (tokens, attention) in enumerate(zip(query.text[0], query.values[0], strict=True)):
        np.testing.assert_array_equal(attention[:, : len(tokens)], masses(4, len(tokens), row))


def test_script_writes_equal_files_twice(stored):
    for name in ("a", "b"):
        plot_attention_map.main(arguments(stored, name))
        check_files(stored / name)
    for suffix in (".pdf", ".png"):
        assert (stored / f"a{suffix}").read_bytes() == (stored / f"b{suffix}").read_bytes()


def test_script_refuses_events_of_other_examples(stored):
    events = pd.read_csv(stored / "events.csv", dtype=str)
    events[events["sample_id"] == "00000"].to_csv(stored / "events.csv", index=False)
    with pytest.raises(UserError, match=r"events\.csv: sample 00001 .*map\.h5"):
        plot_attention_map.main(arguments(stored, "a"))


def draw(n_layers: int, spoiled: bool = False, labels: tuple[str, ...] = ("cat", "dog", "cow")):
    passes = [Pass(name, tokens, masses(n_layers, len(tokens), n)) for n, (name, tokens) in enumerate(TEXT.items())]
    if spoiled:
        passes[2].attention[1:] = np.nan
    events = [Event(label, onset, offset) for label, (_, onset, offset) in zip(labels, EVENTS, strict=True)]
    return draw_attention_map(passes, events, 1, RATE, 17.0, f"Tiny Qwen2-Audio, sample 00001: queried: {labels[1]}")


@pytest.mark.parametrize(("n_layers", "n_drawn"), [(2, 2), (10, 10), (32, 8)])
def test_figure_has_a_row_per_drawn_block_and_nothing_clipped(n_layers, n_drawn):
    figure = draw(n_layers)
    assert figure.get_figheight() <= 11
    rows = [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel().startswith("Block")]
    assert rows == [f"Block {block}" for block in drawn_blocks(n_layers)]
    assert len(rows) == n_drawn
    said = any("evenly spaced" in axis.get_xlabel() for axis in figure.axes)
    assert said == (n_drawn < n_layers)
    check_nothing_is_clipped(figure)


def test_every_token_is_normalised_on_one_scale_and_its_mass_stands_beside_it():
    figure = draw(3)
    meshes = [axis.collections[0] for axis in figure.axes[: 4 * 6] if axis.collections]
    assert len(meshes) == 9
    assert len({mesh.get_clim() for mesh in meshes}) == 1
    for mesh in meshes:
        np.testing.assert_allclose(mesh.get_array().sum(axis=1), 100)
    widths = [bar.get_width() for axis in figure.axes[: 4 * 6] for bar in axis.patches if bar.get_height() == 0.8]
    expected = [100 * masses(3, len(tokens), n).sum(axis=-1) for n, tokens in enumerate(TEXT.values())]
    by_block = [mass[block] for block in range(3) for mass in expected]
    np.testing.assert_allclose(widths, np.concatenate(by_block), rtol=1e-5)
    plt.close(figure)


def test_attention_that_is_not_finite_is_said_to_be():
    figure = draw(3, spoiled=True)
    said = [text for text in figure.findobj(plt.Text) if text.get_text() == "attention is not finite"]
    assert len(said) == 2
    check_nothing_is_clipped(figure)


@pytest.mark.parametrize("labels", USERS_TEXT.values(), ids=USERS_TEXT)
def test_labels_of_users_stay_in_their_events(labels):
    figure = draw(2, labels=labels)
    check_names_lie_in_their_events(figure, labels)
    check_nothing_is_clipped(figure)


def test_large_models_are_drawn_by_blocks_from_the_first_to_the_last():
    assert drawn_blocks(4) == [0, 1, 2, 3]
    assert drawn_blocks(28) == [0, 4, 8, 12, 15, 19, 23, 27]
    assert drawn_blocks(11)[0] == 0
    assert drawn_blocks(11)[-1] == 10


@pytest.mark.parametrize(
    ("token", "label"),
    [
        (" audio", "audio"),
        ("\n", "↵"),
        (".\n\n", ".↵↵"),
        ("  ", "␣␣"),
        ("<|audio_eos|>", "<|audio_eos|>"),
        ("a" * 20, "a" * 12 + "…"),
    ],
)
def test_tokens_are_readable(token, label):
    assert readable(token) == label
