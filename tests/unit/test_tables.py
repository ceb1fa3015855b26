"""Tables of overlap, from localization tables to Markdown and LaTeX."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tabulate_overlap

from wheretolisten.errors import UserError
from wheretolisten.localization.draws import draw_starts
from wheretolisten.localization.table import write_localization
from wheretolisten.statistics.names import model_name
from wheretolisten.statistics.scoring import score_answer, score_draws
from wheretolisten.statistics.summary import read_published

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
                    "source": f"{label}{rng.integers(5)}",
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
    tabulate_overlap.main(
        ["--localization", str(folder / "model.csv"), str(folder / "random.csv"), "--published", str(PUBLISHED)]
        + [f"--{name}={folder / file}" for name, file in OUTPUTS.items()]
    )
    return folder


OUTPUTS = {
    "overlap": "overlap.csv",
    "by-label": "overlap_by_label.csv",
    "markdown": "overlap.md",
    "latex": "overlap.tex",
}


def test_columns_and_rows_of_the_overlap_table(tables):
    table = pd.read_csv(tables / "overlap.csv")
    columns = "model, benchmark, method, position, overlap_pct, lift, n_queries, n_ties, n_unparsed"
    assert list(table.columns) == columns.split(", ")
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
    own, heading, published = text.partition("## Published numbers of other models on another benchmark")
    assert heading
    assert "60.87" in published
    assert "60.87" not in own
    assert "not produced by this run" in published
    assert "arXiv 2606.11400" in published
    assert "Tiny Qwen2-Audio" in own
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") in {7, 11}


def test_latex_is_escaped_and_balanced(tables):
    text = (tables / "overlap.tex").read_text()
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count(r"\begin{") == body.count(r"\end{")
    assert body.count("{") == body.count("}")
    assert body.isascii()
    assert r"main\_100\%" in body
    without_labels = re.sub(r"\\label\{[^}]*\}", "", body)
    assert not re.search(r"(?<!\\)[%_#]", without_labels)
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        for line in tabular[1].splitlines():
            if line.endswith(r"\\"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(tabular[0]) - 1


def test_tables_are_reproducible(tables, tmp_path):
    tabulate_overlap.main(
        ["--localization", str(tables / "random.csv"), str(tables / "model.csv"), "--published", str(PUBLISHED)]
        + [f"--{name}={tmp_path / file}" for name, file in OUTPUTS.items()]
    )
    for file in OUTPUTS.values():
        assert (tmp_path / file).read_bytes() == (tables / file).read_bytes()


def test_failures_are_logged_by_reason(tables, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        tabulate_overlap.main(
            ["--localization", str(tables / "model.csv"), "--published", str(PUBLISHED)]
            + [f"--{name}={tmp_path / file}" for name, file in OUTPUTS.items()]
        )
    assert "direct_prompt: 500 queries score 0" in caplog.text


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
        ("-", "\u2013"),
        ("Qwen2-Audio-7B-Instruct", "Qwen2-Audio-7B-Instruct"),
    ],
)
def test_model_names(key, name):
    assert model_name(key) == name
