"""Tables of overlap, from localization tables to Markdown and LaTeX."""

import logging
import re
from pathlib import Path

import compare_studies
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tabulate_scores
from plot_overlap import draw_overlap
from plot_specificity import draw_specificity

from wheretolisten.errors import UserError
from wheretolisten.localization.draws import draw_starts
from wheretolisten.localization.table import read_localization, write_localization
from wheretolisten.localization.windows import Window, without_vector
from wheretolisten.report import layout, page
from wheretolisten.report import tables as descriptions
from wheretolisten.report.names import method_name, model_name
from wheretolisten.statistics import summary
from wheretolisten.statistics.coverage import count_coverage
from wheretolisten.statistics.detection import QUERIES
from wheretolisten.statistics.intervals import Dependence, estimate
from wheretolisten.statistics.scoring import score_answer, score_draws, score_window
from wheretolisten.statistics.specificity import summarize_specificity
from wheretolisten.statistics.summary import (
    COLUMNS,
    COMPARISON_COLUMNS,
    METRIC_COLUMNS,
    read_published,
    summarize_overlap,
)
from wheretolisten.statistics.tables import write_table

PUBLISHED = Path(__file__).parents[2] / "resources" / "published_overlap.csv"


def make_events(n_samples: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    events = []
    for sample in range(n_samples):
        durations = rng.uniform(4.5, 5.5, 3)
        onset = 0.0
        for position, label, duration in zip(
            ("begin", "middle", "end"), rng.permutation(["cat", "dog", "cow"]), durations, strict=True
        ):
            events.append(
                {
                    "sample_id": f"{sample:05d}",
                    "position": position,
                    "label": label,
                    "domain": "animals",
                    "source": f"{label}{rng.integers(200)}",
                    "onset": onset,
                    "offset": onset + duration,
                    "duration": duration,
                    "sample_seconds": durations.sum() + 2,
                }
            )
            onset += duration + 1
    return events


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    events = make_events(500)
    answers = ["0.00", "none"]
    rows = [
        score_answer(event, answers[event["position"] == "end"], "tiny-qwen2-audio", "main_100%") for event in events
    ]
    rows += [
        dict(row, method="steering_sample", overlap=0.5, parsed=True, failure="", tied=i % 3 == 0)
        for i, row in enumerate(rows)
    ]
    write_localization(rows, folder / "model.csv")
    draws = [
        score_draws(
            event,
            draw_starts(0, event["sample_id"], event["position"], event["sample_seconds"], event["duration"], 100),
            "-",
            "main_100%",
        )
        for event in events
    ]
    write_localization(draws, folder / "random.csv")
    tabulate(folder, folder / "model.csv", folder / "random.csv")
    return folder


def tabulate(folder: Path, *localizations: Path) -> None:
    """Write all tables of localization tables into a folder."""
    windows = ["--localizations", *map(str, localizations), "--unknown-durations", *map(str, localizations)]
    write_table(pd.DataFrame(columns=list(QUERIES)), folder / "detected.csv")
    windows += ["--detections", str(folder / "detected.csv")]
    tabulate_scores.main([*windows, "--published", str(PUBLISHED), "--other-event", "--tables", str(folder)])


def test_columns_and_rows_of_the_overlap_table(tables):
    table = pd.read_csv(tables / "overlap.csv")
    assert list(table.columns) == list(COLUMNS)
    assert list(table["method"][::4]) == ["random", "direct_prompt", "steering_sample"]
    assert list(table["position"][:4]) == ["begin", "middle", "end", "overall"]


def test_random_row_reproduces_the_published_baseline(tables):
    table = pd.read_csv(tables / "overlap.csv").set_index(["method", "position"])
    random = table.loc["random"]
    np.testing.assert_allclose(random["overlap_pct"], [20.8, 41.6, 20.8, 27.7], atol=0.7)
    np.testing.assert_allclose(random["lift"], 0, atol=0.7)
    chance = random["overlap_pct"] - random["lift"]
    np.testing.assert_allclose(chance, [20.81, 41.61, 20.81, 27.74], atol=0.3)


def test_values_and_counts(tables):
    table = pd.read_csv(tables / "overlap.csv").set_index(["method", "position"])
    direct, steered = table.loc["direct_prompt"], table.loc["steering_sample"]
    np.testing.assert_allclose(direct["overlap_pct"], [100, 0, 0, 100 / 3], atol=1e-3)
    assert direct["n_unparsed"].tolist() == [0, 0, 500, 500]
    assert direct["n_queries"].tolist() == [500, 500, 500, 1500]
    assert steered["n_ties"].tolist() == [500, 0, 0, 500]
    assert steered["overlap_pct"].tolist() == [50.0] * 4


def test_intervals_effects_and_tests_of_the_overlap_table(tables):
    table = pd.read_csv(tables / "overlap.csv", keep_default_na=False, na_values=[""]).set_index(["method", "position"])
    assert (table["ci_low"] <= table["overlap_pct"]).all()
    assert (table["ci_high"] >= table["overlap_pct"]).all()
    assert table.loc[("direct_prompt", "middle"), "ci_high"] > 0
    of_random, of_direct, steered = (table.loc[name] for name in ("random", "direct_prompt", "steering_sample"))
    for name in ("effect_vs_random", "effect_vs_random_low", "d_vs_random", "p_vs_random"):
        assert of_random[name].isna().all()
        assert of_direct[name].notna().all()
    for name in ("effect_vs_direct", "effect_vs_direct_high", "d_vs_direct", "p_vs_direct"):
        assert of_random[name].isna().all()
        assert of_direct[name].isna().all()
    np.testing.assert_allclose(steered["effect_vs_random"], steered["lift"])
    np.testing.assert_allclose(steered["effect_vs_direct"], [-50, 50, 50, 50 / 3], atol=1e-3)
    assert (steered["p_vs_random"] < 0.05).all()
    assert of_direct["effect_vs_random"]["overall"] == pytest.approx(100 / 3 - 27.8, abs=0.5)
    # The recordings of 600 clips are fewer than independent ones.
    assert (steered["n_clusters"] < 200).all()


def test_p_values_are_corrected_over_all_tests_of_a_study(tables, monkeypatch):
    uncorrected = []
    monkeypatch.setattr(summary, "holm", lambda p: uncorrected.append(p) or p)
    localization = read_localization([tables / "model.csv"])
    summary.summarize_overlap(pd.concat([localization, localization.assign(study="other")], ignore_index=True))
    # Two methods against chance, one against the direct answers, at three positions and overall, twice.
    assert [p.size for p in uncorrected] == [12, 12]
    assert min(p.min() for p in uncorrected) == pytest.approx(1 / 20_000)


def test_comparisons_of_methods(tables, tmp_path):
    rng = np.random.default_rng(1)
    steered = read_localization([tables / "model.csv"]).query("method == 'steering_sample'")
    noisy = steered.assign(overlap=(steered["overlap"] - 0.1 * rng.random(len(steered))).clip(0, 1))
    rows = [steered, steered.assign(method="steering_other_label"), noisy.assign(method="prompt_only")]
    rows.append(noisy.assign(method="steering_random_direction", overlap=noisy["overlap"].to_numpy()[::-1]))
    write_localization(pd.concat(rows, ignore_index=True), tmp_path / "model.csv")
    tabulate(tmp_path, tmp_path / "model.csv")
    table = pd.read_csv(tmp_path / "comparisons.csv")
    assert list(table.columns) == list(COMPARISON_COLUMNS)
    pairs = list(dict.fromkeys(zip(table["method"], table["other"], strict=True)))
    assert pairs == [
        ("steering_random_direction", "prompt_only"),
        ("steering_sample", "prompt_only"),
        ("steering_sample", "steering_random_direction"),
        ("steering_other_label", "prompt_only"),
        ("steering_other_label", "steering_random_direction"),
    ]
    row = table.query("method == 'steering_sample' and other == 'prompt_only' and position == 'overall'").iloc[0]
    difference = 100 * (steered["overlap"].to_numpy() - noisy["overlap"].to_numpy())
    assert row["difference"] == pytest.approx(difference.mean(), abs=1e-4)
    assert row["effect_size"] == pytest.approx(difference.mean() / difference.std(ddof=1), abs=1e-4)
    found = estimate(difference[None], Dependence(steered["sample_id"].to_numpy(), steered["source"].to_numpy()))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx([end[0] for end in found.interval()], abs=1e-4)
    assert row["p"] == pytest.approx(1 / 20_000)
    assert row["p"] < row["p_holm"] < 0.05
    assert row["n_queries"] == 1500
    assert "Steering, other label" in (tmp_path / "comparisons.md").read_text()
    check_latex((tmp_path / "comparisons.tex").read_text())


def test_metrics_hold_every_measure_with_its_unit_and_what_is_missing(tables):
    table = pd.read_csv(tables / "metrics.csv")
    assert list(table.columns) == list(METRIC_COLUMNS)
    cells = table.set_index(["method", "metric", "position"]).sort_index(
        level=["method", "metric"], sort_remaining=False
    )
    np.testing.assert_allclose(cells.loc[("direct_prompt", "iou"), "value"], [100, 0, 0, 100 / 3], atol=1e-3)
    errors = cells.loc[("direct_prompt", "absolute_onset_error")]
    assert errors["n"].tolist() == [500, 500, 0, 1000]
    assert errors["n_missing"].tolist() == [0, 0, 500, 500]
    assert errors["value"]["middle"] == pytest.approx(6, abs=0.1)
    assert errors[["value", "ci_low"]].loc["end"].isna().all()
    assert cells.loc[("direct_prompt", "onset_error"), "value"]["middle"] == -errors["value"]["middle"]
    drawn = cells.loc["random"]
    assert drawn.loc["hit", "value"]["overall"] == pytest.approx(18.5, abs=1)
    assert drawn.loc["onset_error", "value"]["begin"] > 0 > drawn.loc["onset_error", "value"]["end"]
    assert set(zip(table["metric"], table["unit"], strict=True)) == {
        ("iou", "%"),
        ("hit", "%"),
        ("pointing", "%"),
        ("onset_error", "s"),
        ("absolute_onset_error", "s"),
    }
    text = (tables / "metrics.md").read_text()
    assert re.search(r"Direct prompt +\| +33\.3 .* -2\.99 \| .* 500 \|", text)
    check_latex((tables / "metrics.tex").read_text())
    # Of the same windows, the other table has the same numbers under another title.
    assert (tables / "unknown_duration.csv").read_bytes() == (tables / "metrics.csv").read_bytes()
    assert "without knowing how long" in (tables / "unknown_duration.md").read_text()


def test_labels_add_up_to_the_whole(tables):
    whole = pd.read_csv(tables / "overlap.csv").set_index(["method", "position"])
    parts = pd.read_csv(tables / "overlap_by_label.csv")
    assert set(parts["label"]) == {"cat", "cow", "dog"}
    for key, group in parts.groupby(["method", "position"]):
        assert group["n_queries"].sum() == whole.loc[key, "n_queries"]
        mean = np.average(group["overlap_pct"], weights=group["n_queries"])
        assert mean == pytest.approx(whole.loc[key, "overlap_pct"], abs=1e-3)


def test_published_rows_stand_apart_under_a_heading(tables):
    text = (tables / "overlap.md").read_text()
    own, heading, published = text.partition("## Published numbers of other models on other recordings")
    assert heading
    assert "60.87" in published
    assert "60.87" not in own
    assert "not produced by this run" in published
    assert "arXiv 2606.11400" in published
    assert "Tiny Qwen2-Audio" in own
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") in {7, 11}
    line = next(line for line in own.splitlines() if "Steering, own vector" in line)
    assert r"50.0\* [50.0, 50.0]" in line


def check_latex(text: str) -> None:
    """Escaped, balanced, and with the announced number of columns in every line."""
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count(r"\begin{") == body.count(r"\end{")
    assert body.count("{") == body.count("}")
    assert body.isascii()
    assert r"main\_100\%" in body
    without_labels = re.sub(r"\\label\{[^}]*\}", "", body)
    assert not re.search(r"(?<!\\)[%_#]", without_labels)
    assert not re.search(r"(?<!\$)[<>]", without_labels)
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        for line in tabular[1].splitlines():
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(tabular[0]) - 1


def test_latex_is_escaped_and_balanced(tables):
    check_latex((tables / "overlap.tex").read_text())


def test_names_in_tables_are_text():
    names = ["a|b", r"a\|b\\", "*a* _b_ `c`", "<b>x</b> &amp;", "[a](b) [c]: d", "$x^2$ ~{50%}~ #", "[1.0, 2.0] \n x"]
    table = pd.DataFrame({"Model": names, "Other|name": [name[::-1] for name in names]})
    section = layout.Section("Study _a_ | *b*", "tab:x", table, "Of <i>$x$</i>.", n_words=2)
    about = descriptions.Table("x", "Localization", "A & B", "p < 0.05")
    text = layout.as_markdown(about, [section])
    assert "p < 0.05" in text
    assert r"| \*a\* \_b\_ \`c\` " in text
    assert r"\<b>x\</b> \&amp;" in text
    assert r"[a]\(b) [c]\: d" in text
    blocks = page.from_markdown(text)
    shown = table.map(lambda cell: " ".join(cell.split()))
    assert blocks == [
        page.heading("A & B", 1),
        page.paragraph("p < 0.05"),
        page.heading("Study _a_ | *b*"),
        page.table(shown),
        page.paragraph("Of <i>$x$</i>."),
    ]
    latex = layout.as_latex(about, [section])
    assert r"\$x\textasciicircum{}2\$ \textasciitilde{}\{50\%\}\textasciitilde{} \#" in latex
    assert r"a\textbackslash{}$|$b\textbackslash{}\textbackslash{} &" in latex
    assert "\n{[}1.0, 2.0]" in latex


def test_tables_are_all_written_reproducible_and_log_failures_by_reason(tables, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        tabulate(tmp_path, tables / "random.csv", tables / "model.csv")
    names = {file for table in descriptions.SCORES for file in table.files}
    assert {path.name for path in tmp_path.iterdir()} == names | {"detected.csv"}
    for name in names:
        assert (tmp_path / name).read_bytes() == (tables / name).read_bytes()
    assert "direct_prompt: 500 queries score 0" in caplog.text


@pytest.fixture(scope="module")
def with_gaps(tmp_path_factory):
    """Tables of methods that have a vector for every query, for some (not for cats) and for none, and their folder."""
    folder = tmp_path_factory.mktemp("gaps")
    events = make_events(20)
    rows, found = [], Window(31, 6.25, np.ones(5), np.array([2]))
    for event in events:
        lost = without_vector("no other sample has label 'cat'", 6.25)
        rows += [
            score_answer(event, "none", "tiny", "main"),
            score_window(event, found, "prompt_only", "tiny", "main"),
            score_window(event, found, "steering_sample", "tiny", "main"),
            score_window(event, lost if event["label"] == "cat" else found, "steering_label_mean", "tiny", "main"),
            score_window(event, lost, "steering_absent_label", "tiny", "main"),
        ]
        rows.append(score_draws(event, np.array([0.0, 5.0]), "-", "main"))
    write_localization(rows, folder / "all.csv")
    return folder, read_localization([folder / "all.csv"])


def test_a_query_without_a_vector_is_left_out_and_counted_but_no_answer_scores_0(with_gaps, caplog):
    folder, localization = with_gaps
    tabulate(folder, folder / "all.csv")
    table = pd.read_csv(folder / "overlap.csv").set_index(["method", "position"])
    none, some, own, direct = (
        table.loc[method]
        for method in ("steering_absent_label", "steering_label_mean", "steering_sample", "direct_prompt")
    )
    assert none["n_queries"].tolist() == [0] * 4
    assert none["n_without_vector"].tolist() == [20, 20, 20, 60]
    assert none.drop(columns=["model", "study"]).filter(regex="^(?!n_)").isna().all(axis=None)
    assert some.loc["overall", ["n_queries", "n_without_vector"]].tolist() == [40, 20]
    kept = localization[(localization["method"] == "steering_sample") & (localization["label"] != "cat")]
    assert some.loc["overall", "overlap_pct"] == pytest.approx(100 * kept["overlap"].mean(), abs=1e-3)
    assert some.loc["overall", "lift"] == pytest.approx(100 * (kept["overlap"] - kept["chance"]).mean(), abs=1e-3)
    alone = summary.summarize_overlap(pd.concat([kept, localization[localization["method"] == "random"]]))
    alone = alone[(alone["method"] == "steering_sample") & (alone["position"] == "overall")].iloc[0]
    for name in ("ci_low", "ci_high", "n_clusters"):
        assert some.loc["overall", name] == pytest.approx(alone[name], abs=1e-3)
    assert own["n_without_vector"].tolist() == [0] * 4
    assert direct.loc["overall", ["overlap_pct", "n_queries", "n_unparsed", "n_without_vector"]].tolist() == [
        0,
        60,
        60,
        0,
    ]
    by_label = pd.read_csv(folder / "overlap_by_label.csv").query("method == 'steering_label_mean' and label == 'cat'")
    assert by_label["overlap_pct"].isna().all()
    assert by_label["n_without_vector"].sum() == 40
    text = (folder / "overlap.md").read_text()
    assert re.search(r"Steering, absent label +\|( +– \|){5} +0 \| +0 \| +0 \| +60 \|", text)
    assert "No vector: queries for which the method has none" in text
    chance = re.search(r"expected to cover .* ([0-9.]+) % overall", text)[1]
    assert float(chance) == pytest.approx(100 * localization["chance"].mean(), abs=0.01)
    assert "Steering, absent label & -- & -- & -- & -- & --" in (folder / "overlap.tex").read_text()
    assert (
        "steering_absent_label: 60 queries are left out: no vector: no other sample has label 'cat': 60" in caplog.text
    )
    assert "steering_absent_label: 60 queries score 0" not in caplog.text
    assert "direct_prompt: 60 queries score 0" in caplog.text


def test_studies_are_compared_with_the_first_on_the_same_queries(tables, tmp_path):
    found = read_localization([tables / "model.csv"]).query("method == 'steering_sample'")
    rng = np.random.default_rng(2)
    lost = 0.3 * rng.random(len(found))
    # The first study has its rows in another order, and a method that the other has not.
    clean = found.assign(study="clean")[::-1]
    noisy = found.assign(study="noise", overlap=(found["overlap"] - lost).clip(0, 1))
    rows = [
        noisy,
        clean,
        clean.assign(method="prompt_only"),
        *(each.assign(method=name) for each in (clean, noisy) for name in ("random", "frame_probe")),
    ]
    write_localization(pd.concat(rows, ignore_index=True), tmp_path / "model.csv")
    arguments = ["--localizations", str(tmp_path / "model.csv"), "--output", str(tmp_path / "studies.csv")]
    compare_studies.main([*arguments, "--studies", "clean", "noise"])
    table = pd.read_csv(tmp_path / "studies.csv")
    assert list(table.columns) == list(COMPARISON_COLUMNS)
    assert set(zip(table["study"], table["method"], table["other"], strict=True)) == {
        ("noise", "steering_sample", "clean")
    }
    row = table.query("position == 'overall'").iloc[0]
    difference = 100 * (noisy["overlap"].to_numpy() - found["overlap"].to_numpy())
    assert row["difference"] == pytest.approx(difference.mean(), abs=1e-4)
    expected = estimate(difference[None], Dependence(found["sample_id"].to_numpy(), found["source"].to_numpy()))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx([end[0] for end in expected.interval()], abs=1e-4)
    assert row["p_holm"] < 0.05


def test_methods_are_compared_and_measured_where_there_are_vectors(with_gaps):
    folder, localization = with_gaps
    tabulate(folder, folder / "all.csv")
    table = pd.read_csv(folder / "comparisons.csv").query("position == 'overall'").set_index("method")
    assert table["n_queries"].to_dict() == {
        "steering_sample": 60,
        "steering_label_mean": 40,
        "steering_absent_label": 0,
    }
    assert table.loc["steering_absent_label", ["difference", "ci_low", "effect_size", "p", "p_holm"]].isna().all()
    assert table.loc["steering_label_mean", "difference"] == 0
    assert re.search(
        r"absent label +\| Prompt only +\| +– \| +n/a \| +n/a \| +0 \|", (folder / "comparisons.md").read_text()
    )

    cells = pd.read_csv(folder / "metrics.csv").query("position == 'overall'").set_index(["method", "metric"])
    assert cells.loc[("steering_absent_label", "iou"), ["n", "n_missing", "n_without_vector"]].tolist() == [0, 0, 60]
    assert np.isnan(cells.loc[("steering_absent_label", "iou"), "value"])
    assert cells.loc[("steering_label_mean", "hit"), ["n", "n_missing", "n_without_vector"]].tolist() == [40, 0, 20]
    assert cells.loc[("direct_prompt", "onset_error"), ["n", "n_missing", "n_without_vector"]].tolist() == [0, 60, 0]
    assert "No vector" in (folder / "metrics.md").read_text()

    coverage = count_coverage(localization).set_index("method")
    columns = ["n_queries", "n_answered", "n_unparsed", "n_failed", "n_without_vector"]
    assert coverage.loc["steering_label_mean", columns].tolist() == [60, 40, 0, 0, 20]
    assert coverage.loc["direct_prompt", columns].tolist() == [60, 0, 60, 0, 0]


def test_no_bar_stands_for_a_method_without_vectors(with_gaps):
    _, localization = with_gaps
    rows = localization[localization["model"] != "-"].replace(
        {"steering_absent_label": "steering_random_direction", "steering_sample": "steering_other"}
    )
    figure = draw_overlap(summarize_overlap(rows))
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert len(heights) == 3 * 4  # direct_prompt, prompt_only, label_mean
    assert np.isfinite(heights).all()
    texts = [text.get_text() for text in figure.findobj(plt.Text)]
    assert texts.count("–") == 4
    assert any("Dash: no query has a vector." in text for text in texts)
    plt.close(figure)

    events = rows[rows["method"].str.startswith("steering_")]
    table = summarize_specificity(events)
    none = table[table["method"] == "steering_random_direction"]
    assert none["share"].isna().all()
    assert set(zip(none["n"], none["n_without_vector"], strict=True)) == {(0, 20)}
    some = table[table["method"] == "steering_label_mean"]
    assert some.groupby("position")["share"].sum().tolist() == pytest.approx([1, 1, 1])
    assert (some["n"] + some["n_without_vector"] == 20).all()
    figure = draw_specificity(table, "Tiny")
    assert [text.get_text() for text in figure.findobj(plt.Text)].count("–") == 9
    plt.close(figure)


def test_published_table_is_complete_and_checked(tmp_path):
    published = read_published(PUBLISHED)
    assert len(published) == 5 * 4
    for _, rows in published.groupby(["model", "method"]):
        values = rows.set_index("position")["overlap_pct"]
        assert values["overall"] == pytest.approx(values[["begin", "middle", "end"]].mean(), abs=0.02)
    published.drop(columns="source").to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(UserError, match="source"):
        read_published(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("tiny-qwen2-audio", "Tiny Qwen2-Audio"),
        ("tiny_audio_flamingo_3", "Tiny Audio Flamingo 3"),
        ("smollm2-135m-instruct", "Smollm2 135M Instruct"),
        ("-", "\u2013"),
        ("Qwen2-Audio-7B-Instruct", "Qwen2-Audio-7B-Instruct"),
    ],
)
def test_model_names(key, name):
    assert model_name(key) == name


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("random", "Random window"),
        ("direct_prompt", "Direct prompt"),
        ("prompt_only", "Prompt only"),
        ("steering", "Steering"),
        ("steering_sample", "Steering, own vector"),
        ("steering_random_direction", "Steering, random direction"),
        ("steering_other_label", "Steering, other label"),
        ("steering_positive_1", "Steering, positive 1"),
    ],
)
def test_method_names(method, name):
    assert method_name(method) == name
