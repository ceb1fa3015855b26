"""Share of attention to audio: from HDF5 to tables and Figure 1."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plot_audio_share
import pytest
import tabulate_audio_share
from plot_audio_share import draw_audio_share

from tests.unit.stored import write_passes
from wheretolisten import store
from wheretolisten.config import loading as configuration
from wheretolisten.errors import UserError
from wheretolisten.statistics.audio_share import STATISTICS, summarize_by_layer, summarize_second_half
from wheretolisten.statistics.intervals import clustered_interval

N_LAYERS = 4
CONDITIONS = ("original", "prompt_only", "audio_silence", "audio_none", "instruction")
MODEL = "someone/model@abc"


def shares(n_items: int, seed: int = 0) -> np.ndarray:
    """[item, condition, layer]: conditions share an item's level; the instruction adds 0.1 to the second half."""
    rng = np.random.default_rng(seed)
    share = (
        0.3 + 0.1 * rng.standard_normal((n_items, 1, N_LAYERS)) + 0.005 * rng.standard_normal((n_items, 5, N_LAYERS))
    )
    share[:, 1:, 0] = share[:, :1, 0]
    share[:, CONDITIONS.index("instruction"), N_LAYERS // 2 :] += 0.1
    return share.astype(np.float32)


def write_shares(path: Path, share: np.ndarray, first: int = 0) -> Path:
    numbers = range(first, first + len(share))
    return write_passes(
        path,
        [(name, "") for name in CONDITIONS],
        share,
        100,
        [f"frøg-{number}" for number in numbers],
        [f"audio/{number // 2}.wav" for number in numbers],
        "share",
        "analyze_attention",
        model=MODEL,
    )


@pytest.fixture
def results(tmp_path) -> dict[str, Path]:
    """Two shards of one model's shares, and where the tables go."""
    folder = tmp_path / "study-1" / "mine" / "all"
    share = shares(12)
    return {
        "shares": [write_shares(folder / "0.h5", share[:8]), write_shares(folder / "1.h5", share[8:], 8)],
        "by_layer": tmp_path / "audio_share.csv",
        "second_half": tmp_path / "audio_share_second_half.csv",
    }


def tabulate(results, model: str = MODEL) -> None:
    paths = [str(path) for path in results["shares"]]
    tables = ["--by-layer", str(results["by_layer"]), "--second-half", str(results["second_half"])]
    tabulate_audio_share.main(["--shares", *paths, "--models", json.dumps({"mine": model}), *tables])


def test_shards_come_back_joined(results):
    result = store.read_passes(results["shares"])
    assert result.sample_id.tolist() == [f"frøg-{number}" for number in range(12)]
    assert result.recording[-1] == "audio/5.wav"
    assert result.names == CONDITIONS
    np.testing.assert_array_equal(result.values, shares(12))


def test_shares_of_another_model_are_refused(results):
    with pytest.raises(
        UserError, match=r"made with the model someone/model@abc, this run has other.*analyze_attention"
    ):
        tabulate(results, "other")


def test_a_shard_without_usable_items_is_passed_over_and_a_set_without_any_is_named(results):
    empty = write_shares(results["shares"][0].with_name("2.h5"), shares(12)[:0])
    tabulate(results | {"shares": [*results["shares"], empty]})
    assert (pd.read_csv(results["second_half"])["n"] == 12).all()
    with pytest.raises(
        UserError,
        match=r"no item of study 'study-1' can be used; .* results/logs/analyze_attention/study-1/mine/ names",
    ):
        tabulate(results | {"shares": [empty]})


def test_differences_are_paired_and_intervals_clustered_by_recording():
    share, audio_ids = shares(40), [f"{number // 2}.wav" for number in range(40)]
    table = summarize_by_layer(share, CONDITIONS, audio_ids).set_index(["condition", "layer"])
    assert list(table.columns) == list(STATISTICS)
    assert len(table) == 5 * N_LAYERS
    row = table.loc[("instruction", 3)]
    values, original = share[:, 4, 3].astype(float), share[:, 0, 3].astype(float)
    assert row["mean"] == pytest.approx(values.mean())
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(clustered_interval(values, np.array(audio_ids)))
    assert row["difference"] == pytest.approx((values - original).mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(
        clustered_interval(values - original, np.array(audio_ids))
    )
    # What the conditions have in common cancels: the paired interval is much narrower.
    assert row["difference_high"] - row["difference_low"] < 0.2 * (row["ci_high"] - row["ci_low"])
    assert (table.loc["original", ["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
    assert (table["n"] == 40).all()


def test_the_second_half_is_averaged_before_items_are_compared():
    share = shares(40)
    table = summarize_second_half(share, CONDITIONS, np.arange(40).astype(str)).set_index("condition")
    expected = (share[:, 4, 2:].astype(float) - share[:, 0, 2:]).mean()
    assert table.loc["instruction", "difference"] == pytest.approx(expected, abs=1e-6)
    assert table.loc["instruction", "difference_low"] > 0.09
    assert table.loc["audio_none", "difference_low"] < 0.01


def test_tables_and_figure_are_written(results, tmp_path, caplog):
    with caplog.at_level("INFO"):
        tabulate(results)
    assert "Mine, study-1, instruction: +" in caplog.text
    table = pd.read_csv(results["by_layer"])
    assert list(table.columns) == ["model", "study", "condition", "layer", *STATISTICS]
    assert len(table) == 5 * N_LAYERS
    half = pd.read_csv(results["second_half"])
    assert list(half.columns) == ["model", "study", "condition", *STATISTICS]
    outputs = [tmp_path / "a.pdf", tmp_path / "a.png"]
    arguments = ["--table", str(results["by_layer"]), "--models", "mine", "--pdf", str(outputs[0]), "--png"]
    plot_audio_share.main([*arguments, str(outputs[1]), "--study", "study-1"])
    assert outputs[0].read_bytes().startswith(b"%PDF")
    assert outputs[1].stat().st_size > 10_000
    with pytest.raises(UserError, match="model 'mine' has no shares of study 'others'"):
        plot_audio_share.main([*arguments, str(outputs[1]), "--study", "others"])
    table.drop(columns="ci_low").to_csv(results["by_layer"], index=False)
    with pytest.raises(UserError, match="column ci_low is missing; run tabulate_audio_share again"):
        plot_audio_share.main([*arguments, str(outputs[1]), "--study", "study-1"])


def test_the_figure_has_names_for_the_passes_of_the_default_run(raw_config, root):
    passes = configuration.load(raw_config, root).share_settings("tiny-qwen2-audio", "listening").passes
    assert sorted(each.name for each in passes) == sorted(plot_audio_share.CONDITIONS)


def test_the_figure_draws_every_condition_with_its_band():
    table = summarize_by_layer(shares(20), CONDITIONS, np.arange(20).astype(str))
    figure = draw_audio_share(table, "Mine")
    share, difference = figure.axes
    assert set(plot_audio_share.CONDITIONS) == set(CONDITIONS)
    for axis, column, names in (
        (share, "mean", CONDITIONS),
        (difference, "difference", CONDITIONS[1:]),
    ):
        lines = {line.get_label(): line for line in axis.lines}
        assert len(axis.collections) == len(names)
        for name in names:
            rows = table[table["condition"] == name]
            drawn = lines[plot_audio_share.CONDITIONS[name][0]]
            np.testing.assert_allclose(drawn.get_ydata(), 100 * rows[column])
    assert "n = 20 questions" in figure._suptitle.get_text()
    plt.close(figure)


def test_the_figure_draws_methods_of_ones_own_too():
    names = ("original", "hint", "instruction", "instruction_strong", "neutral")
    table = summarize_by_layer(shares(20), names, np.arange(20).astype(str))
    figure = draw_audio_share(table, "Mine")
    share, difference = figure.axes
    looks = [(line.get_color(), line.get_marker()) for line in share.lines]
    assert len(set(looks)) == len(share.lines) == len(share.collections) == len(names)
    assert len(difference.collections) == len(names) - 1
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == ["Question as it is", "Steering, instruction", "Steering, hint"]
    assert set(labels[3:]) == {"Steering, instruction strong", "Steering, neutral"}
    plt.close(figure)
