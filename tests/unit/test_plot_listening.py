"""Figures of audio-specialist heads: what is drawn is what the tables hold, and nothing is clipped."""

import numpy as np
import pandas as pd
import plot_listening
import pytest
from matplotlib.patches import Rectangle
from plot_listening import draw_heads, draw_signals

from tests.unit.test_figures import check_files, check_nothing_is_clipped
from wheretolisten.errors import UserError
from wheretolisten.figures import style

SPECIALISTS = [(2, 1), (3, 0)]
TITLE = "Tiny, study listening"


def correlations(n_layers: int, n_heads: int) -> np.ndarray:
    found = np.random.default_rng(1).normal(0, 0.08, (n_layers, n_heads))
    for layer, head in SPECIALISTS:
        found[layer, head] = 0.4
    found[0, 0] = np.nan
    return found


def answers(n_items: int) -> tuple[dict, dict, dict]:
    """Signals of two sets of heads, that of the first higher by 0.1 for right answers; and areas."""
    rng = np.random.default_rng(2)
    right = rng.random(n_items) < 0.7
    signals = {
        "Specialist heads": np.clip(rng.normal(0.35, 0.08, n_items) + 0.1 * right, 0, 1),
        "Random heads": np.clip(rng.normal(0.3, 0.08, n_items), 0, 1),
    }
    areas = {"Specialist heads": (0.81, 0.74, 0.88), "Random heads": (0.5, 0.42, 0.58)}
    return signals, dict.fromkeys(signals, right), areas


@pytest.mark.parametrize(("n_layers", "n_heads"), [(4, 4), (32, 32), (30, 9)])
def test_map_shows_every_correlation_where_it_is_and_frames_the_specialists(n_layers, n_heads):
    values = correlations(n_layers, n_heads)
    figure = draw_heads(values, SPECIALISTS, "Tiny Qwen2-Audio, study listening")
    axis = figure.axes[0]
    (image,) = axis.images
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), values)
    limit = np.nanmax(np.abs(values))
    assert image.get_clim() == (-limit, limit)  # no correlation is white
    frames = [patch.get_xy() for patch in axis.patches if isinstance(patch, Rectangle)]
    assert frames == [(head - 0.5, layer - 0.5) for layer, head in SPECIALISTS]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("Head", "Decoder block")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Specialist (2 heads)", "No correlation"]
    check_nothing_is_clipped(figure)


def test_map_without_any_correlation_says_so():
    figure = draw_heads(np.full((4, 4), np.nan), [], "A title")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Specialist (0 heads)", "No correlation"]
    check_nothing_is_clipped(figure)


def test_every_item_is_a_dot_of_its_kind():
    signals, correct, areas = answers(60)
    figure = draw_signals(signals, correct, areas, "Tiny Qwen2-Audio, study listening")
    for axis, (name, signal) in zip(figure.axes, signals.items(), strict=True):
        dots = [line.get_xdata() for line in axis.lines if line.get_marker() == "."]
        for drawn, kind in zip(dots, (~correct[name], correct[name]), strict=True):
            np.testing.assert_allclose(drawn, 100 * signal[kind])
        assert [label.get_text() for label in axis.get_yticklabels()] == [
            f"Wrong (n = {(~correct[name]).sum()})",
            f"Right (n = {correct[name].sum()})",
        ]
    assert figure.axes[0].get_title() == "Specialist heads: AUC 0.81 (0.74 to 0.88)"
    check_nothing_is_clipped(figure)
    # Where all answers are right there is nothing to tell apart.
    all_right = {"Specialist heads": np.ones(60, bool)}
    nothing = {"Specialist heads": (np.nan, np.nan, np.nan)}
    figure = draw_signals({"Specialist heads": signals["Specialist heads"]}, all_right, nothing, "A title")
    assert figure.axes[0].get_title() == "Specialist heads: all answers alike"
    check_nothing_is_clipped(figure)


def test_script_draws_what_the_tables_hold_and_equal_figures_are_equal_files(tmp_path):
    of_whom = {"model": "tiny", "study": "listening"}
    values = correlations(4, 4)
    heads = pd.DataFrame(
        [
            {
                "layer": layer,
                "head": head,
                "correlation": values[layer, head],
                "specialist": (layer, head) in SPECIALISTS,
            }
            for layer, head in np.ndindex(4, 4)
        ]
    ).assign(**of_whom)
    signals, correct, areas = answers(40)
    items = pd.concat(
        pd.DataFrame({"heads": name, "item_id": range(40), "signal": signal, "correct": correct[name].astype(int)})
        for name, signal in signals.items()
    )
    of_heads = pd.DataFrame([(name, *area) for name, area in areas.items()], columns=["heads", *plot_listening.AREAS])
    arguments = ["--study", "listening"]
    tables = {"heads": heads.astype({"specialist": int}), "signals": items, "areas": of_heads}
    for name, table in tables.items():
        table.assign(**of_whom).to_csv(tmp_path / f"{name}.csv", index=False)
        arguments += [f"--{name}", str(tmp_path / f"{name}.csv")]
    figures = {"heads": draw_heads(values, SPECIALISTS, TITLE), "signals": draw_signals(signals, correct, areas, TITLE)}
    for name, figure in figures.items():
        style.save(figure, tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    paths = {suffix: [str(tmp_path / f"written-{name}.{suffix}") for name in figures] for suffix in ("pdf", "png")}
    files = ["--pdf", *paths["pdf"], "--png", *paths["png"]]
    plot_listening.main([*arguments, "--models", "tiny", *files])
    for name in figures:
        check_files(tmp_path / f"written-{name}")
        assert (tmp_path / f"written-{name}.png").read_bytes() == (tmp_path / f"{name}.png").read_bytes()
    with pytest.raises(UserError, match=r"heads\.csv: model 'large' has no rows of study 'listening'; name one"):
        plot_listening.main([*arguments, "--models", "large", *files])
