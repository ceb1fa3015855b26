"""Figures, drawn from small synthetic results through the scripts."""

import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plot_attention_change
import plot_overlap
import plot_reading
import pytest
from plot_attention_change import draw_attention_change
from plot_overlap import draw_overlap
from plot_reading import draw_reading
from plot_studies import draw_studies

from tests.unit.stored import RATE, write_passes
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.directions import DIRECTIONS
from wheretolisten.config.probe import Localization
from wheretolisten.errors import UserError
from wheretolisten.figures import style
from wheretolisten.figures.events import Event, draw_events
from wheretolisten.localization.table import METHODS
from wheretolisten.localization.windows import Window, find_window
from wheretolisten.statistics.attention import mean_attention_change, mean_share
from wheretolisten.statistics.summary import summarize_overlap
from wheretolisten.statistics.tables import write_table

N_TOKENS = 106
N_LAYERS = 4
EVENTS = [("cat", 0.0, 5.0), ("dog", 6.0, 11.0), ("cow", 12.0, 17.0)]
SETTINGS = Localization().as_json()
OWN = DIRECTIONS["sample"].as_json()


def bump(attention: np.ndarray, onset: float, offset: float) -> np.ndarray:
    other = attention.copy()
    other[..., round(onset * RATE) : round(offset * RATE)] *= 1.5
    return other


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with events.csv, two shards of un-steered and of steered passes, and one FLAC file."""
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    rows = [
        {
            "sample_id": f"{sample:05d}",
            "position": position,
            "label": label,
            "onset": onset,
            "offset": offset,
            "duration": offset - onset,
            "sample_seconds": 17.0,
            "path": "audio/sound.flac",
        }
        for sample in range(6)
        for position, (label, onset, offset) in zip(POSITIONS, EVENTS, strict=True)
    ]
    pd.DataFrame(rows).to_csv(folder / "events.csv", index=False)
    (folder / "audio").mkdir()
    times = np.arange(17 * 16_000) / 16_000
    sound = 0.3 * np.sin(2 * np.pi * (500 + 100 * np.floor(times / 6)) * times) * (times % 6 < 5)
    soundfile.write(folder / "audio" / "sound.flac", sound + 0.003 * rng.standard_normal(times.size), 16_000)
    for shard in range(2):
        base = rng.gamma(5, 1.0, (3, N_LAYERS, N_TOKENS + 4)).astype("f4")
        base[..., N_TOKENS:] = np.nan
        ids = [f"{3 * shard + i:05d}" for i in range(3)]
        prompted = [("base", ""), *(("prompted", position) for position in POSITIONS)]
        write_passes(folder / f"unsteered/{shard}.h5", prompted, np.stack([base] * 4, axis=1), N_TOKENS, ids)
        for position, (_, onset, offset) in zip(POSITIONS, EVENTS, strict=True):
            steered = np.stack([bump(base, onset, offset), base, base], axis=1)
            names = [(name, position) for name in ("sample", "label_mean", "random_direction")]
            write_passes(folder / position / f"{shard}.h5", names, steered, N_TOKENS, ids)
    return folder


def shards(folder: Path, name: str) -> list[str]:
    return [str(folder / name / f"{shard}.h5") for shard in range(2)]


def change_arguments(results: Path, target: Path, **replaced) -> list[str]:
    values = {"unsteered": shards(results, "unsteered"), "events": [str(results / "events.csv")]}
    values["steered"] = [path for position in POSITIONS for path in shards(results, position)]
    return plot_arguments(target, values | replaced)


def reading_arguments(results: Path, target: Path, **replaced) -> list[str]:
    values = {
        "unsteered": shards(results, "unsteered"),
        "attention": shards(results, "middle"),
        "events": [str(results / "events.csv")],
        "examples-folder": [str(results)],
        "sample": ["4"],
        "position": ["middle"],
        "html": [str(target.with_suffix(".html"))],
    }
    return plot_arguments(target, values | replaced)


def plot_arguments(target: Path, values: dict[str, list[str]]) -> list[str]:
    """Of one model, and of the vectors of each query's own sample unless `values` say otherwise."""
    common = {"models": ["tiny-qwen2-audio"], "settings": [SETTINGS], "method": ["sample"], "direction": [OWN]}
    common |= {suffix: [str(target.with_suffix(f".{suffix}"))] for suffix in ("pdf", "png")}
    return [word for key, words in (common | values).items() for word in (f"--{key}", *words)]


def lay_out(figure) -> None:
    """Put everything where drawing puts it, once: finding places takes most of the time that drawing takes."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def check_nothing_is_clipped(figure) -> None:
    """Every visible text lies inside the figure."""
    lay_out(figure)
    width, height = figure.canvas.get_width_height()
    for text in figure.findobj(plt.Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            assert box.x0 >= -1, text.get_text()
            assert box.y0 >= -1, text.get_text()
            assert box.x1 <= width + 1, text.get_text()
            assert box.y1 <= height + 1, text.get_text()
    plt.close(figure)


def check_files(target: Path) -> None:
    assert target.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    image = plt.imread(target.with_suffix(".png"))
    assert image[..., :3].std() > 0.05


USERS_TEXT = {
    "signs": ["Ba$$in", "a_b^c", r"50% {x} \n"],
    "AudioSet": [
        "Male speech, man speaking",
        "Domestic animals, pets, and more of a kind that never seems to end",
        "Heavy metal, rock music, electric guitar (distorted)",
    ],
    "scripts": ["собака", "狗叫", "🐶" * 25],
}
"""Labels that users have."""


def check_names_lie_in_their_events(figure, labels) -> None:
    """The names of the events, each whole or ending in an ellipsis, do not reach beyond their stretches of time."""
    lay_out(figure)
    for label, (_, onset, offset) in zip(labels, EVENTS, strict=True):
        names = [text for text in figure.findobj(plt.Text) if text.get_position() == ((onset + offset) / 2, 0.5)]
        assert names
        for name in names:
            shown = "".join(name.get_text().split())
            assert shown.removesuffix("…") == "".join(label.split())[: len(shown.removesuffix("…"))]
            assert shown.endswith("…") or len(shown) == len("".join(label.split()))
            box = name.axes.transData.transform([(onset, 0), (offset, 1)])
            extent = name.get_window_extent()
            assert box[0, 0] <= extent.x0 < extent.x1 <= box[1, 0]
            assert box[0, 1] - 1 <= extent.y0 < extent.y1 <= box[1, 1] + 1


def overlap_rows(models, n_samples: int = 20) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "model": model,
            "study": "main",
            "method": method,
            "sample_id": f"{sample:05d}",
            "position": position,
            "label": "cat",
            "domain": "animals",
            "source": f"{sample}-{position}",
            "onset": 0.0,
            "offset": 5.0,
            "predicted_start": 0.0,
            "predicted_end": 5.0,
            "overlap": rng.uniform() if (method, position) != ("direct_prompt", "end") else 0.0,
            "chance": 0.4 if position == "middle" else 0.2,
            "tied": False,
            "parsed": True,
            "failure": "",
        }
        for model in models
        for method in METHODS
        if method != "random"
        for sample in range(n_samples)
        for position in POSITIONS
    ]


def test_every_method_has_a_name_and_a_colour():
    assert tuple(style.METHOD_COLOURS) == METHODS
    assert len(set(style.METHOD_COLOURS.values())) == len(METHODS)


def test_other_methods_have_colours_of_their_own():
    methods = [*METHODS, *(f"steering_{number}" for number in range(8))]
    colours = style.method_colours(methods)
    assert len({colours[method] for method in methods}) == len(methods)
    assert {method: colours[method] for method in METHODS} == style.METHOD_COLOURS


def test_overlap_script_writes_equal_files_whatever_the_user_has_set(tmp_path, monkeypatch):
    table = pd.DataFrame(overlap_rows(["tiny-qwen2-audio", "模型"]))
    write_table(summarize_overlap(table), tmp_path / "overlap.csv")
    arguments = ["--table", str(tmp_path / "overlap.csv")]
    # What a notebook or a matplotlibrc has set in this process, and what the user's environment would set in a job's.
    monkeypatch.setitem(plt.rcParams, "savefig.bbox", "tight")
    own = tmp_path / "own"
    own.mkdir()
    (own / "matplotlibrc").write_bytes("text.usetex: True\nfont.size: 30  # größer".encode("latin-1"))
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(own / "matplotlibrc")}
    for name in ("a", "b"):
        outputs = ["--pdf", str(tmp_path / f"{name}.pdf"), "--png", str(tmp_path / f"{name}.png")]
        if name == "a":
            plot_overlap.main([*arguments, "--study", "main", *outputs])
        else:
            command = [sys.executable, plot_overlap.__file__, *arguments, "--study", "main", *outputs]
            log = subprocess.run(command, env=os.environ | backend, cwd=own, check=True, capture_output=True, text=True)
            # One line for all characters that no font has, and none by matplotlib.
            assert log.stderr.count("模") <= 1
            assert "Glyph" not in log.stderr
        check_files(tmp_path / name)
    for suffix in (".pdf", ".png"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    with pytest.raises(UserError, match="other"):
        plot_overlap.main([*arguments, "--study", "other", *outputs])


def test_lines_break_at_spaces_or_within_words_and_end_in_an_ellipsis():
    def fits(line):
        return len(line) <= 6

    assert style.break_lines("one two three", fits) == ["one", "two", "three"]
    assert style.break_lines("a b c\td", fits) == ["a b c", "d"]
    assert style.break_lines("abcdefghijklm no", fits) == ["abcdef", "ghijkl", "m no"]
    assert style.break_lines("one two three", fits, 2) == ["one", "two…"]
    assert style.break_lines("abcdefghijklm", fits, 1) == ["abcde…"]
    assert style.break_lines("", fits, 1) == [""]
    assert style.break_lines("ab c", lambda line: False, 2) == ["a", "…"]


def test_long_names_of_models_do_not_run_into_each_other():
    names = ["a-model-whose-name-is-as-long-as-a-sentence-and-then-goes-on-to-end-in", "x" * 90]
    figure = draw_overlap(summarize_overlap(pd.DataFrame(overlap_rows(names, 4))))
    figure.canvas.draw()
    first, second = (axis.title.get_window_extent() for axis in figure.axes if axis.get_title())
    assert first.x1 < second.x0
    check_nothing_is_clipped(figure)


@pytest.mark.parametrize("n_models", [1, 2, 3])
def test_overlap_figure_has_a_panel_per_model_and_nothing_clipped(n_models):
    table = summarize_overlap(pd.DataFrame(overlap_rows([f"model-{n}" for n in range(n_models)])))
    figure = draw_overlap(table)
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == [f"Model {n}" for n in range(n_models)]
    check_nothing_is_clipped(figure)


def test_overlap_bars_and_chance_stand_at_their_values():
    table = summarize_overlap(pd.DataFrame(overlap_rows(["model"])))
    other = table[table["method"] == "steering_sample"].assign(method="steering_other_label")
    figure = draw_overlap(pd.concat([table, other]))
    heights = sorted(bar.get_height() for bar in figure.axes[0].patches)
    np.testing.assert_allclose(heights, sorted(table["overlap_pct"]))
    levels = {round(float(line.get_ydata()[0]), 1) for line in figure.axes[0].lines if line.get_linestyle() == "--"}
    assert {20.0, 40.0, 26.7} <= levels
    plt.close(figure)


def test_studies_stand_side_by_side_at_their_values_in_the_order_given():
    rows = pd.concat(
        [
            summarize_overlap(pd.DataFrame(overlap_rows(["tiny-qwen2-audio"], 8)).assign(study=study))
            for study in ("clean", "noise-20", "mp3")
        ],
        ignore_index=True,
    )
    table = rows[(rows["position"] == "overall") & (rows["model"] != "-")].copy()
    table.loc[table["study"] == "mp3", ["overlap_pct", "ci_low", "ci_high"]] *= 0.5
    table.loc[table["study"] == "mp3", "lift"] = table["overlap_pct"] - 20.0
    figure = draw_studies(table, ["mp3", "clean"])
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ["mp3", "clean"]
    points = [container.lines[0].get_xydata()[0] for container in axis.containers]
    expected = table[table["study"].isin(["mp3", "clean"])]
    assert sorted(y for _, y in points) == pytest.approx(sorted(expected["overlap_pct"]))
    of_mp3 = sorted(y for x, y in points if x < 0.5)
    assert of_mp3 == pytest.approx(sorted(table.loc[table["study"] == "mp3", "overlap_pct"]))
    levels = [
        line.get_ydata()[0] for line in axis.lines if line.get_linestyle() == "--" and len(set(line.get_ydata())) == 1
    ]
    assert levels[0] == pytest.approx(20)
    check_nothing_is_clipped(figure)


def test_second_sounds_are_named_below_the_events_around_them():
    events = [Event("cat", 0.0, 2.0), Event("dog", 3.0, 5.0), Event("bell", 3.5, 4.5), Event("cow", 5.0, 6.0)]
    _, axis = plt.subplots()
    axis.set_xlim(0, 6)
    names = draw_events(axis, events, 2, "#c8c8c8", 8)
    assert [name.get_position()[1] for name in names] == [0.5, 0.75, 0.25, 0.5]
    assert [name.get_color() for name in names].count("white") == 1
    assert names[2].get_color() == "white"
    plt.close()


@pytest.mark.parametrize(
    ("script", "arguments_of"), [(plot_attention_change, change_arguments), (plot_reading, reading_arguments)]
)
def test_a_script_draws_every_model_and_equal_figures_are_equal_files(script, arguments_of, results, tmp_path):
    arguments = arguments_of(results, tmp_path / "a")
    lengths = {"--unsteered": 2, "--attention": 2, "--steered": 6}
    suffixes = [suffix for suffix in ("pdf", "png", "html") if f"--{suffix}" in arguments]
    twice = {
        word.removeprefix("--"): 2 * arguments[n + 1 : n + 1 + lengths[word]]
        for n, word in enumerate(arguments)
        if word in lengths
    }
    twice |= {suffix: [str(tmp_path / f"{name}.{suffix}") for name in "ab"] for suffix in suffixes}
    script.main(arguments_of(results, tmp_path / "a", models=["tiny-qwen2-audio"] * 2, **twice))
    check_files(tmp_path / "a")
    for suffix in suffixes:
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_attention_change_refuses_shards_of_other_samples(results, tmp_path):
    steered = [*shards(results, "begin"), *shards(results, "middle"), shards(results, "end")[0]]
    arguments = change_arguments(results, tmp_path / "a", steered=steered)
    with pytest.raises(UserError, match=r"end/0\.h5.*other samples"):
        plot_attention_change.main(arguments)


def test_attention_change_refuses_events_that_differ(results, tmp_path):
    events = pd.read_csv(results / "events.csv", dtype={"sample_id": str})
    events.loc[4, "onset"] += 0.5
    events.to_csv(tmp_path / "events.csv", index=False)
    with pytest.raises(UserError, match="middle"):
        plot_attention_change.main(change_arguments(results, tmp_path / "a", events=[str(tmp_path / "events.csv")]))


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_attention_change_figure_is_centred_and_not_clipped(scale):
    change = scale * np.random.default_rng(0).normal(0, 0.02, (3, N_TOKENS)) - 0.01 * scale
    times = [(onset, offset) for _, onset, offset in EVENTS]
    title = (
        "Tiny Qwen2-Audio: a title that is long enough for a model and a method whose names are $very$ long and no less"
    )
    figure = draw_attention_change(change, POSITIONS, times, RATE, title, 48)
    low, high = figure.axes[0].collections[0].get_clim()
    assert low == -high
    assert figure.axes[0].get_xlim()[1] == pytest.approx(17.0)
    check_nothing_is_clipped(figure)


def test_attention_change_is_found_where_it_was_planted_and_sums_to_zero():
    base = np.random.default_rng(0).uniform(0.5, 1.5, (8, N_LAYERS, N_TOKENS))
    base[3] *= 1000  # loud samples weigh no more than others
    change, n_samples = mean_attention_change(base, bump(base, 6.0, 11.0), [2, 3])
    assert n_samples == 8
    assert change.sum() == pytest.approx(0, abs=1e-9)
    inside = np.zeros(N_TOKENS, dtype=bool)
    inside[round(6 * RATE) : round(11 * RATE)] = True
    assert change[inside].min() > 0 > change[~inside].max()


def test_attention_change_leaves_out_samples_without_attention():
    base = np.ones((3, N_LAYERS, N_TOKENS))
    steered = base.copy()
    steered[0, 2, 5] = np.nan
    steered[1, 3] = 0
    change, n_samples = mean_attention_change(base, steered, [2, 3])
    assert n_samples == 1
    np.testing.assert_allclose(change, 0, atol=1e-12)


def test_mean_share_averages_blocks_with_equal_weights():
    attention = np.array([[9.0, 1.0], [1.0, 1.0], [30.0, 10.0]])
    np.testing.assert_allclose(mean_share(attention, [1, 2]), [0.625, 0.375])


def test_reading_without_audio_or_its_library(results, tmp_path, monkeypatch, caplog):
    plot_reading.main(reading_arguments(results, tmp_path / "a", **{"examples-folder": [str(tmp_path)]}))
    check_files(tmp_path / "a")
    assert "no spectrogram" in caplog.text
    real_import = builtins.__import__

    def without_soundfile(name, *rest, **named):
        if name == "soundfile":
            raise ImportError(name)
        return real_import(name, *rest, **named)

    assert page_of(tmp_path / "a")["audio"] is None
    monkeypatch.delitem(sys.modules, "soundfile")
    monkeypatch.setattr(builtins, "__import__", without_soundfile)
    plot_reading.main(reading_arguments(results, tmp_path / "b"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def page_of(target: Path) -> dict:
    page = target.with_suffix(".html").read_text()
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def test_the_page_of_a_reading_has_what_the_figure_draws(results, tmp_path):
    plot_reading.main(reading_arguments(results, tmp_path / "a"))
    page = page_of(tmp_path / "a")
    assert page["truth"] == [{"onset": o, "offset": f, "label": label} for label, o, f in EVENTS]
    assert len(page["audio"]) > 10_000
    (sound,) = page["sounds"]
    (interval,) = sound["intervals"]
    assert (interval["onset"], interval["offset"]) == (
        round(6 * RATE) / RATE,
        round(11 * RATE) / RATE,
    )  # as `bump` has it
    times, change = np.array(sound["curve"]["seconds"]), np.array(sound["curve"]["change"])
    inside = (times > 6) & (times < 11)
    # Half as much again inside, and everything divided by the larger sum: the same constant everywhere.
    np.testing.assert_allclose(change[inside] - change[~inside].mean(), np.log2(1.5), atol=6e-3)
    assert np.mean(sound["curve"]["base"]) == pytest.approx(1, abs=1e-3)
    assert [layer["layer"] for layer in sound["layers"]] == [2, 3]


def test_figures_say_that_there_is_no_vector(results, tmp_path, caplog):
    events = pd.read_csv(results / "events.csv", dtype={"sample_id": str}).assign(domain="animals")
    events.to_csv(tmp_path / "events.csv", index=False)
    absent = {
        "events": [str(tmp_path / "events.csv")],
        "direction": [DIRECTIONS["absent_label"].as_json()],
    }  # all labels are in every sample
    with caplog.at_level("INFO"):
        plot_reading.main(reading_arguments(results, tmp_path / "a", **absent))
        plot_attention_change.main(change_arguments(results, tmp_path / "b", **absent))
    assert "sample 00004, middle: no vector" in caplog.text
    assert "begin: sample has no vector for any sample: no label of domain 'animals' is absent from the" in caplog.text
    for name in ("a", "b"):
        check_files(tmp_path / name)
    assert page_of(tmp_path / "a")["sounds"][0]["reason"].startswith(
        "no vector: no label of domain 'animals' is absent"
    )
    change = np.ones((3, N_TOKENS))
    change[1] = np.nan
    figure = draw_attention_change(change, POSITIONS, [(o, f) for _, o, f in EVENTS], RATE, "A title", 0)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no vector"]
    assert figure.axes[0].collections[0].get_clim() == (-1, 1)
    check_nothing_is_clipped(figure)


def test_reading_of_an_unknown_sample_is_refused(results, tmp_path):
    with pytest.raises(UserError, match="sample 99"):
        plot_reading.main(reading_arguments(results, tmp_path / "a", sample=["99"]))
    with pytest.raises(UserError, match=r"unsteered/0\.h5.*00004"):
        plot_reading.main(reading_arguments(results, tmp_path / "a", unsteered=shards(results, "unsteered")[:1]))


@pytest.mark.parametrize("case", ["found", "tied", "failed"])
def test_reading_figure_is_not_clipped(case):
    base = np.random.default_rng(0).gamma(5, 1.0, (N_LAYERS, N_TOKENS))
    other = bump(base, 12.0, 17.0) if case == "found" else base
    window = find_window(base, other, 5.0, RATE, N_TOKENS, Localization())
    assert window.tied == (case != "found")
    if case == "failed":
        window = Window(31, RATE, failure="attention is not finite")
    shares = [mean_share(attention, [2, 3]) for attention in (base, other)]
    if case == "failed":
        shares[1][:] = np.nan
    figure = draw_reading(
        np.random.default_rng(0).normal(0, 0.1, 17 * 16_000),
        [Event(*event) for event in EVENTS],
        2,
        *shares,
        window,
        17.0,
        "Tiny Qwen2-Audio, sample 00004: where is the sound of cow? Overlap 98 %",
    )
    texts = [text.get_text() for text in figure.findobj(plt.Text)]
    expected = {"found": "chosen window", "tied": "windows tie: none chosen", "failed": "attention is not finite"}
    assert any(expected[case] in text for text in texts)
    check_nothing_is_clipped(figure)


@pytest.mark.parametrize("labels", USERS_TEXT.values(), ids=USERS_TEXT)
def test_labels_of_users_are_read_as_they_are(labels, tmp_path, caplog):
    attention = np.random.default_rng(0).gamma(5, 1.0, (N_LAYERS, N_TOKENS))
    share = mean_share(attention, [2, 3])
    window = find_window(attention, bump(attention, 6.0, 11.0), 5.0, RATE, N_TOKENS, Localization())
    events = [Event(label, onset, offset) for label, (_, onset, offset) in zip(labels, EVENTS, strict=True)]
    title = f"Tiny Qwen2-Audio, sample 00004: where is the sound of {labels[1]}? Overlap 98 %"
    sound = np.random.default_rng(0).normal(0, 0.1, 17 * 16_000)
    figure = draw_reading(sound, events, 1, share, share, window, 17.0, title)
    assert figure.axes[0].get_title().replace("\n", " ") == title
    check_names_lie_in_their_events(figure, labels)
    check_nothing_is_clipped(figure)
    style.save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    check_files(tmp_path / "a")
    if labels == USERS_TEXT["scripts"]:
        (said,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        # Fonts of this machine may have some of them.
        assert "no font at hand has the characters" in said
        assert "б" not in said
        assert "a.pdf" in said
    else:
        assert not caplog.records
