"""Sweeps: which points they have, what they reuse, how they are scored and drawn."""

import numpy as np
import pandas as pd
import plot_sweep
import pytest
import score_sweep
from plot_sweep import draw_sweep

from wheretolisten import store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.directions import DIRECTIONS
from wheretolisten.config.loading import load
from wheretolisten.config.probe import Localization, Probe, Steering
from wheretolisten.config.studies import ScoreSettings, Variation, points
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.errors import UserError
from wheretolisten.examples.shards import write_shard
from wheretolisten.files import sha256_of_file
from wheretolisten.localization.windows import find_window
from wheretolisten.statistics.sweeps import (
    COLUMNS,
    SweptAttention,
    best_heads,
    halves,
    summarize_sweep,
    swept_attention,
)
from wheretolisten.statistics.sweeps import score_sweep as score

from .stored import write_passes
from .test_figures import check_files, check_nothing_is_clipped

RATE = 6.25
N_TOKENS = 106
N_LAYERS = 4
TIMES = ((0.0, 5.0), (6.0, 11.0), (12.0, 17.0))


# ----------------------------------------------------------------------------------------------------- configuration


def test_a_point_is_the_run_with_one_key_changed():
    probe = Probe(steering=Steering(scale=0.2, layers="second_half"))
    found = points(Variation(vary="steering.scale", values=[0, 0.1, 1]), probe, 4)
    assert [point.value for point in found] == ["0", "0.1", "1"]
    assert [point.probe.steering.scale for point in found] == [0.0, 0.1, 1.0]
    assert all(point.probe.steering.layers == "second_half" for point in found)
    assert all(point.probe.localization == probe.localization for point in found)


def test_each_stands_for_every_block_once():
    found = points(Variation(vary="steering.layers", values=["all", [2], "each", "0%-50%"]), Probe(), 4)
    assert [point.value for point in found] == ["all", "block 2", "block 0", "block 1", "block 3", "0%-50%"]
    assert [point.probe.steering.layers for point in found[1:5]] == [[2], [0], [1], [3]]
    assert Variation(vary="steering.layers", values=["all", "each"]).n_points(32) == 33


@pytest.mark.parametrize(
    ("vary", "value", "expected"),
    [
        ("steering.layers", [0, 3], "blocks 0, 3"),
        ("steering.preserve_norm", False, "false"),
        ("steering.emphasis", None, "null"),
        ("localization.epsilon", 1e-6, "1e-06"),
        ("prompts.inference", "Listen.", "Listen."),
        ("readout.text_rows", "last", "last"),
    ],
)
def test_every_kind_of_value_has_a_name(vary, value, expected):
    assert [point.value for point in points(Variation(vary=vary, values=[value]), Probe(), 4)] == [expected]


def test_what_does_not_matter_to_the_passes_repeats_none(raw_config, root):
    before = load(raw_config, root)
    raw_config["steering"]["scale"] = 0.5
    raw_config["localization"]["layers"] = "all"
    raw_config["studies"]["strength"] |= {"default": False, "first": 30}
    after = load(raw_config, root)
    model = "tiny-qwen2-audio"
    same = {name: before.sweep_settings(name, model) == after.sweep_settings(name, model) for name in before.sweeps}
    # λ is what `strength` varies, and what all others that steer depend on.
    assert same["strength"]
    assert not same["steered-layers"]
    assert before.score_settings("strength") != after.score_settings("strength")
    raw_config["studies"]["heads"]["values"] = [3]
    assert load(raw_config, root).sweep_settings("heads", model) == after.sweep_settings("heads", model)
    assert load(raw_config, root).score_settings("heads") != after.score_settings("heads")
    assert before.score_settings("scored-layers") == after.score_settings("scored-layers")


def test_samples_are_the_first_ones_and_at_most_those_there_are(raw_config, root):
    raw_config["shard_seconds"] = 17 * 10
    config = load(raw_config, root)
    assert config.sweep_samples("strength") == {0: 10, 1: 10, 2: 4}
    assert sum(config.sweep_samples("heads").values()) == 48
    raw_config["examples"]["sequences-exact"]["n_samples"] = 12
    assert load(raw_config, root).sweep_samples("strength") == {0: 10, 1: 2}


def test_a_sweep_says_what_it_costs_and_what_it_reuses(raw_config, root):
    config = load(raw_config, root)
    layers = dict.fromkeys(config.models, 4)
    assert "no pass; windows are scored from the attention of the run" in config.describe_sweep("scored-layers", layers)
    # Two models, 24 samples, three events, seven values.
    strength = config.describe_sweep("strength", layers)
    assert f"2 job(s) that load a model, {2 * 24 * 3 * 7} steered passes; vectors and base attention" in strength
    assert f"{2 * 24 * 3 * 4} steered passes" in config.describe_sweep("steered-blocks", layers)
    prompts = config.describe_sweep("inference-prompt", layers)
    assert f"{2 * 24 * 3 * 4} steered passes and {2 * 24 * 4} base passes; vectors are" in prompts


def test_the_default_run_has_sweeps_that_follow_the_study_of_the_figure(raw_config, root):
    config = load(raw_config, root)
    default = {name for name, sweep in config.sweeps.items() if sweep.default}
    assert default == {"strength", "steered-layers", "scored-layers", "layer-weights"}
    assert {config.study_of(name) for name in config.sweeps} == {"localization-exact"}
    assert {config.sweep_examples(name) for name in config.sweeps} == {"sequences-exact"}
    assert len(config.sweeps["strength"].values) == 7
    raw_config["examples"]["sequences-exact"] = raw_config["studies"]["localization-exact"] = None
    raw_config["examples"]["sequences"]["composition"]["clip_seconds"] = [5.0, 5.0]
    raw_config["figures"]["attention_change"] = "localization"
    config = load(raw_config, root)
    assert (config.study_of("strength"), config.sweep_examples("strength")) == ("localization", "sequences")
    raw_config["studies"]["strength"] = None
    assert "strength" not in load(raw_config, root).sweeps


# ----------------------------------------------------------------------------------------------------------- scoring


def events_of(n_samples: int, sources: list[str] | None = None) -> pd.DataFrame:
    rows = [
        {
            "sample_id": f"{sample:05d}",
            "position": position,
            "label": "dog",
            "domain": "animals",
            "onset": onset,
            "offset": offset,
            "clip_id": "dog-1",
            "source": f"s{sample}-{position}" if sources is None else sources[sample],
            "duration": offset - onset,
            "sample_seconds": 17.0,
            "path": f"audio/0/{sample:05d}.flac",
            "digest": "0",
        }
        for sample in range(n_samples)
        for position, (onset, offset) in zip(POSITIONS, TIMES, strict=True)
    ]
    return pd.DataFrame(rows)


def attention_of(n_samples: int, strengths: list[list[float]], seed: int = 0) -> SweptAttention:
    """Attention in which point p of block l gains by the factor `strengths[p][l]` inside every asked event."""
    rng = np.random.default_rng(seed)
    strengths = np.array(strengths)
    base = rng.gamma(20, 1.0, (n_samples, *strengths.shape, N_TOKENS)).astype("f4")
    steered = np.repeat(base[:, None], len(POSITIONS), axis=1)
    for place, (onset, offset) in enumerate(TIMES):
        steered[:, place, ..., round(onset * RATE) : round(offset * RATE)] *= strengths[..., None].astype("f4")
    return SweptAttention(
        sample_id=np.array([f"{sample:05d}" for sample in range(n_samples)]),
        n_audio_tokens=np.full(n_samples, N_TOKENS),
        tokens_per_second=RATE,
        points=tuple(f"point {number}" for number in range(len(strengths))),
        base=base,
        steered=dict(zip(POSITIONS, np.moveaxis(steered, 1, 0), strict=True)),
    )


def test_every_value_is_scored_from_its_own_point():
    attention = attention_of(4, [[1, 1, 1, 1], [1, 1, 2, 2]])
    rows = pd.DataFrame(
        score(attention, events_of(4), Variation(vary="steering.scale", values=[0, 1]), Probe(), "m", "b")
    )
    assert len(rows) == 4 * 3 * 2
    overlap = rows.groupby("value")["overlap"].mean()
    assert overlap["point 1"] > 0.95
    nothing = rows[rows["value"] == "point 0"]
    assert nothing["tied"].all()  # nothing moved, so no window is better than another
    assert nothing["overlap"].mean() == pytest.approx(nothing["chance"].mean(), abs=0.02)


def test_points_that_share_the_base_pass_are_scored_as_if_each_had_it():
    attention = attention_of(3, [[1, 1, 1, 2], [1, 1, 2, 1]])
    own = SweptAttention(**vars(attention) | {"base": attention.base[:, :1].copy()})
    repeated = SweptAttention(**vars(own) | {"base": np.repeat(own.base, 2, axis=1)})
    variation = Variation(vary="steering.scale", values=[0, 1])
    scored = [
        pd.DataFrame(score(each, events_of(3), variation, Probe(), "m", "b")) for each in (own, repeated, attention)
    ]
    pd.testing.assert_frame_equal(scored[0], scored[1])
    assert not scored[0].equals(scored[2])


def test_scored_layers_cost_no_pass_and_find_the_block_that_gains():
    attention = attention_of(4, [[1, 3, 1, 1]])
    variation = Variation(vary="localization.layers", values=["each", "second_half"])
    rows = pd.DataFrame(score(attention, events_of(4), variation, Probe(), "m", "b"))
    overlap = rows.groupby("value")["overlap"].mean()
    assert set(overlap.index) == {"block 0", "block 1", "block 2", "block 3", "second_half"}
    assert overlap.idxmax() == "block 1"
    assert overlap["block 1"] > 0.95
    # The same windows as the run's own, where the value is the run's own.
    event = events_of(4).iloc[4]
    window = find_window(attention.base[1, 0], attention.steered["middle"][1, 0], 5.0, RATE, N_TOKENS, Localization())
    row = rows[(rows["value"] == "second_half") & (rows["sample_id"] == "00001") & (rows["position"] == "middle")]
    assert (event["sample_id"], event["position"]) == ("00001", "middle")
    assert row["predicted_start"].item() == pytest.approx(window.start_seconds, nan_ok=True)
    assert row["tied"].item() == window.tied


def test_heads_are_chosen_on_one_half_and_reported_on_the_other():
    # Two of three heads of the scored blocks 2 and 3 gain; [head, block].
    attention = attention_of(12, [[1, 1, 1, 1], [1, 1, 1, 3], [1, 1, 2, 1]])
    variation = Variation(vary="heads", values=[1, 2, "all"])
    rows = pd.DataFrame(score(attention, events_of(12), variation, Probe(), "m", "b"))
    assert set(rows["sample_id"]) == {f"{sample:05d}" for sample in range(6, 12)}
    assert list(dict.fromkeys(rows["value"])) == ["averaged", "1", "2", "all"]
    overlap = rows.groupby("value")["overlap"].mean()
    assert overlap[["1", "2"]].min() > 0.95
    # A head of the first half that points elsewhere in the second is chosen all the same, and is reported as it is.
    misled = attention_of(12, [[1, 1, 1, 3]])
    for steered in misled.steered.values():
        steered[6:] = misled.base[6:]
        steered[6:, ..., :5] *= 3
    rows = pd.DataFrame(score(misled, events_of(12), Variation(vary="heads", values=[1]), Probe(), "m", "b"))
    one = rows[rows["value"] == "1"].set_index("position")["overlap"]
    assert one["begin"].min() > 0.9
    assert one["end"].max() == 0.0


def test_averaged_heads_are_the_probe_as_it_is():
    attention = attention_of(6, [[1, 1, 1.5, 1], [1, 1, 1, 1.2]])
    rows = pd.DataFrame(score(attention, events_of(6), Variation(vary="heads", values=["all"]), Probe(), "m", "b"))
    averaged = rows[(rows["value"] == "averaged") & (rows["sample_id"] == "00004")].set_index("position")
    for position in POSITIONS:
        base, steered = attention.base[4].mean(axis=0), attention.steered[position][4].mean(axis=0)
        window = find_window(base, steered, 5.0, RATE, N_TOKENS, Localization())
        assert averaged.loc[position, "predicted_start"] == pytest.approx(window.start_seconds, nan_ok=True)


def test_halves_share_no_sample_and_no_recording():
    events = events_of(4, sources=["a", "b", "c", "a"])
    chosen_on, reported = halves(events)
    assert set(chosen_on["source"]) == {"b"}
    assert set(reported["source"]) == {"c", "a"}
    with pytest.raises(UserError, match=r"leave no event to choose on .*; raise first"):
        halves(events_of(2, sources=["a", "a"]))
    with pytest.raises(UserError, match="1 samples leave no event"):
        halves(events_of(1))


def test_best_heads_first_and_equals_in_order():
    assert best_heads(np.array([[0.0, 0.2], [0.5, 0.5], [1.0, 0.0], [0.9, 0.9]])).tolist() == [3, 1, 2, 0]


def test_more_heads_than_there_are_end_in_one_sentence():
    attention = attention_of(4, [[1, 1, 1, 1]])
    with pytest.raises(UserError, match="3 heads, but the scored blocks have 2; choose fewer, or all"):
        score(attention, events_of(4), Variation(vary="heads", values=[3]), Probe(), "m", "b")


def test_the_table_holds_means_chance_and_counts():
    attention = attention_of(5, [[1, 1, 2, 2]])
    rows = score(attention, events_of(5), Variation(vary="steering.scale", values=[1]), Probe(), "m", "b")
    queries = pd.DataFrame(rows).assign(sweep="strength")
    table = summarize_sweep(queries)
    assert tuple(table.columns) == COLUMNS
    assert table["position"].tolist() == [*POSITIONS, "overall"]
    assert table["n_queries"].tolist() == [5, 5, 5, 15]
    np.testing.assert_allclose(table["overlap_pct"].iloc[3], 100 * queries["overlap"].mean())
    np.testing.assert_allclose(table["overlap_pct"].iloc[:3].mean(), table["overlap_pct"].iloc[3])
    assert (table["ci_low"] <= table["overlap_pct"] + 1e-9).all()
    assert (table["overlap_pct"] <= table["ci_high"] + 1e-9).all()
    np.testing.assert_allclose(table["chance"], [20.8, 41.7, 20.8, 27.8], atol=0.1)


# ------------------------------------------------------------------------------------------------- files and figures


@pytest.fixture
def written(tmp_path):
    """A shard and the sweep's attention of it, as files."""
    write_shard(events_of(4).to_dict("records"), tmp_path / "0.csv")
    attention = attention_of(4, [[1, 1, 1, 1], [1, 1, 1.5, 1.5]])
    origin = {"model": "mine", "examples_digest": sha256_of_file(tmp_path / "0.csv")}
    passes = [(value, position) for value in ("0", "0.1") for position in POSITIONS]
    values = np.stack([attention.steered[position][:, int(value != "0")] for value, position in passes], axis=1)
    write_passes(tmp_path / "0.h5", passes, values, N_TOKENS, **origin)
    write_passes(tmp_path / "unsteered/0.h5", [("base", "")], attention.base[:, :1], N_TOKENS, **origin)
    return tmp_path


def settings_of(variation: Variation, direction: str = "sample") -> str:
    return ScoreSettings(variation=variation, probe=Probe(), direction=DIRECTIONS[direction]).as_json()


def score_arguments(folder, **replaced) -> list[str]:
    values = {
        "settings": [settings_of(Variation(vary="steering.scale", values=[0, 0.1]))],
        "sweep": ["strength"],
        "models": ["tiny-qwen2-audio"],
        "identities": ["mine"],
        "study": ["b"],
        "samples": ["3"],
        "shards": [str(folder / "0.csv")],
        "events": [str(folder / "0.csv")],
        "passes": ["sample"],
        "attention": [str(folder / "0.h5")],
        "unsteered": [str(folder / "unsteered/0.h5")],
        "steered": [],
        "output": [str(folder / "queries.csv")],
    }
    return [word for key, words in (values | replaced).items() for word in (f"--{key}", *words)]


def drawn(folder, vary="steering.scale", own="0.1", name="a", queries="queries.csv") -> pd.DataFrame:
    """The table that the script writes, after a look at its figure."""
    outputs = [f"--{suffix}={folder / name}.{suffix}" for suffix in ("pdf", "png")]
    table = folder / f"{name}.csv"
    files = [f"--localization={folder / queries}", f"--table={table}", *outputs]
    plot_sweep.main([*files, "--vary", vary, "--own", own])
    check_files(folder / name)
    return pd.read_csv(table, dtype={"value": str}, keep_default_na=False, na_values={"overlap_pct": [""]})


def test_attention_of_a_sweep_comes_back(written):
    passes, base = (store.read_passes([written / name], None, "mine") for name in ("0.h5", "unsteered/0.h5"))
    read = swept_attention(passes, base)
    expected = attention_of(4, [[1, 1, 1, 1], [1, 1, 1.5, 1.5]])
    assert read.points == ("0", "0.1")
    assert read.base.shape == (4, 1, N_LAYERS, N_TOKENS)
    for position in POSITIONS:
        np.testing.assert_array_equal(read.steered[position], expected.steered[position])


def test_heads_of_a_sweep_are_its_points_and_its_own_base_is_taken(tmp_path):
    passes = [("base", ""), *(("steered", position) for position in POSITIONS)]
    values = np.random.default_rng(0).random((2, 4, N_LAYERS, 6, N_TOKENS), dtype=np.float32)
    read = swept_attention(
        store.read_passes([write_passes(tmp_path / "0.h5", passes, values, N_TOKENS, readout="heads")]), None
    )
    np.testing.assert_array_equal(read.base, np.moveaxis(values[:, 0], 2, 1))
    np.testing.assert_array_equal(read.steered["end"], np.moveaxis(values[:, 3], 2, 1))


def test_scoring_and_drawing_by_script(written, caplog):
    score_sweep.main(score_arguments(written))
    queries = pd.read_csv(written / "queries.csv", dtype={"sample_id": str, "value": str})
    assert set(queries["sample_id"]) == {"00000", "00001", "00002"}  # the first three
    table = drawn(written)
    assert table["value"].tolist() == ["0"] * 4 + ["0.1"] * 4
    assert (table["n_queries"] == [3, 3, 3, 9] * 2).all()
    drawn(written, name="b")
    for suffix in (".csv", ".pdf", ".png"):
        assert (written / f"a{suffix}").read_bytes() == (written / f"b{suffix}").read_bytes()
    # Where all recordings share their sources, there is no interval.
    queries.assign(source="one").to_csv(written / "alike.csv", index=False)
    for vary in ("steering.scale", "localization.layers"):
        assert (drawn(written, vary, queries="alike.csv")[["ci_low", "ci_high"]] == "").all(axis=None)
    queries.drop(columns="overlap").to_csv(written / "queries.csv", index=False)
    with pytest.raises(UserError, match=r"queries\.csv: column overlap is missing; run score_sweep again"):
        drawn(written, "heads", "averaged")


def test_a_sweep_of_a_method_without_vectors_has_no_overlap(written, caplog):
    # The shard has one sample; in the whole study, which is larger, one of its labels is in another sample, too.
    events = events_of(2)
    events["label"] = ["cat", "dog", "cow", "hen", "dog", "pig"]
    write_shard(events, written / "all.csv")
    settings = [settings_of(Variation(vary="steering.scale", values=[0, 0.1]), "label_mean")]
    more = {"events": [str(written / "all.csv")], "settings": settings, "samples": ["1"]}
    score_sweep.main(score_arguments(written, **more))
    drawn(written, "localization.layers")
    table = drawn(written).set_index(["value", "position"]).loc["0.1"]
    assert table["n_queries"].tolist() == [0, 1, 0, 1]
    assert table["n_without_vector"].tolist() == [1, 0, 1, 2]
    assert table["overlap_pct"].isna().tolist() == [True, False, True, False]
    assert table["overlap_pct"].iloc[1] == table["overlap_pct"].iloc[3]
    assert "4 queries are not scored: no vector: no other sample has label" in caplog.text
    variation = Variation(vary="heads", values=[1], method="label_mean")
    with pytest.raises(UserError, match=r"'label_mean' has no vector for any query that heads.*no other sample has"):
        score(
            attention_of(2, [[1, 1, 1, 1]]),
            events,
            variation,
            Probe(),
            "m",
            "b",
            missing_vectors(DIRECTIONS["label_mean"], events.assign(label=[*"abcdef"])),
        )


def test_a_sweep_without_passes_reads_the_attention_of_its_study(written):
    digest = sha256_of_file(written / "0.csv")
    attention = attention_of(4, [[1, 1, 1, 1.5]])
    origin, base = {"model": "mine", "examples_digest": digest}, attention.base[:, 0]
    write_passes(written / "unsteered/0.h5", [("base", "")], base[:, None], N_TOKENS, **origin)
    files = []
    for position in POSITIONS:
        # The method that is asked for is the second; the others move nothing.
        values = np.stack([base, attention.steered[position][:, 0], base], axis=1)
        names = [(name, position) for name in ("sample", "label_mean", "random_direction")]
        files.append(write_passes(written / position / "0.h5", names, values, N_TOKENS, **origin))
    variation = Variation(vary="localization.layers", values=["all", "each"], method="label_mean")
    more = {"settings": [settings_of(variation)], "passes": ["label_mean"], "steered": list(map(str, files))}
    score_sweep.main(score_arguments(written, attention=[], **more))
    table = (
        drawn(written, "localization.layers", "all").query("position == 'overall'").set_index("value")["overlap_pct"]
    )
    assert table["block 3"] > 90
    assert table["block 1"] == pytest.approx(27.8, abs=1)


def table_of(values: list[str], n_models: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"model": f"tiny-model-{model}", "sweep": "s", "value": value, "position": position, "overlap_pct": overlap}
        | {"ci_low": overlap - 5, "ci_high": overlap + 4, "chance": 20.8, "n_queries": 24}
        for model in range(n_models)
        for value in values
        for position in (*POSITIONS, "overall")
        for overlap in [rng.uniform(10, 95)]
    ]
    return pd.DataFrame(rows)


def test_numbers_are_drawn_as_lines_with_bands_and_zero_is_shown():
    table = table_of(["1", "0", "0.01", "0.1"])
    figure = draw_sweep(table, "steering.scale", "0.1")
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "0.01", "0.1", "1"]
    overall = next(line for line in axis.lines if line.get_color() == "#000000" and len(line.get_xdata()) == 4)
    assert overall.get_xdata().tolist() == [0, 0.01, 0.1, 1]
    expected = table[(table["model"] == "tiny-model-0") & (table["position"] == "overall")].set_index("value")
    np.testing.assert_allclose(overall.get_ydata(), expected.loc[["0", "0.01", "0.1", "1"], "overlap_pct"])
    assert len(axis.collections) == 4
    check_nothing_is_clipped(figure)


@pytest.mark.parametrize(("n_values", "n_models"), [(1, 1), (2, 2), (9, 3)])
def test_other_values_are_drawn_as_dots_from_top_to_bottom(n_values, n_models):
    values = ["a prompt that is so long that it needs several lines of its own", *map(str, "bcdefghi")][:n_values]
    figure = draw_sweep(table_of(values, n_models), "prompts.inference", values[-1])
    labels = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    assert labels == values
    heights = [tick for tick in figure.axes[0].get_yticks()]
    assert heights == sorted(heights, reverse=True)
    assert len([axis for axis in figure.axes if axis.get_title()]) == n_models
    check_nothing_is_clipped(figure)


def test_the_wording_of_a_prompt_is_no_reason_to_read_it_as_something_else(tmp_path):
    rows = score(
        attention_of(4, [[1, 1, 2, 2]]), events_of(4), Variation(vary="steering.scale", values=[1]), Probe(), "m", "b"
    )
    queries = pd.DataFrame(rows).assign(sweep="s")
    both = pd.concat([queries.assign(value=value) for value in ("NA", "null")])
    both.to_csv(tmp_path / "queries.csv", index=False)
    assert list(dict.fromkeys(drawn(tmp_path, "prompts.inference", "null")["value"])) == ["NA", "null"]
