"""The workflow as a user meets it: what runs, what does not run again, and what a killed run costs."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from wheretolisten import store
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.probe import row_of
from wheretolisten.statistics.summary import COLUMNS

from .conftest import MODEL, Copy, contents, kill

pytestmark = pytest.mark.workflow

CONFIG = yaml.safe_load((Path(__file__).resolve().parents[2] / "config.yaml").read_text())
METHODS = {
    "random",
    "direct_prompt",
    "frame_probe",
    "prompt_only",
    *map(row_of, CONFIG["studies"]["localization"]["methods"]),
}
# Those about questions steer for no event.
ALL_METHODS = METHODS | set(map(row_of, CONFIG["methods"].keys() - CONFIG["studies"]["listening"]["methods"]))
FIGURES = ("attention_change", "attention_map", "audio_share", "reading", "references", "specificity")


def test_tables_hold_every_method_position_and_model(finished_run):
    table = pd.read_csv(finished_run.folder / "results/tables/overlap.csv")
    assert list(table.columns) == list(COLUMNS)
    for study, methods in (("localization", METHODS), ("localization-exact", ALL_METHODS)):
        assert set(table.loc[table["study"] == study, "method"]) == methods
    assert set(table["model"]) == {MODEL, "-"}
    assert set(table["position"]) == {"begin", "middle", "end", "overall"}
    overall = table[(table["position"] == "overall") & (table["study"] == "localization")]
    assert (overall["n_queries"] + overall["n_without_vector"] == 18).all()
    # So few samples share few labels, and a mean, like what is trained, needs another sample of the label.
    lacking = set(overall.loc[overall["n_without_vector"] > 0, "method"])
    assert lacking == {"steering_label_mean", "frame_probe"}
    assert overall["overlap_pct"].between(0, 100).all()
    unknown = pd.read_csv(finished_run.folder / "results/tables/unknown_duration.csv")
    assert set(unknown["method"]) == ALL_METHODS - {"direct_prompt"}
    assert set(unknown["model"]) == {MODEL}
    markdown = (finished_run.folder / "results/tables/overlap.md").read_text()
    assert "60.87" in markdown
    assert "published" in markdown.lower()


def test_every_result_is_there_and_no_parts_are_left(finished_run):
    results = finished_run.folder / "results"
    for name in (
        "overlap",
        *(f"{kind}/{MODEL}" for kind in FIGURES),
    ):
        assert (results / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / "figures" / f"{name}.png").stat().st_size > 10_000
    assert len(list(results.glob("unsteered/sequences/*/*.h5"))) == 2
    # By event, and about absent sounds.
    assert len(list(results.glob("passes/localization/*/*/*.h5"))) == 4 * 2
    assert not list(results.rglob("*.parts"))


def test_the_map_shows_the_attention_that_is_scored(finished_run):
    results = finished_run.folder / "results"
    query, unsteered, steered = (
        store.read_passes([results / f"{name}.h5"])
        for name in (
            f"maps/localization/{MODEL}",
            f"unsteered/sequences/{MODEL}/0",
            f"passes/localization/{MODEL}/middle/0",
        )
    )
    assert (query.sample_id, query.attributes["event"]) == (unsteered.sample_id[:1], "middle")
    assert query.passes == (("base", ""), ("prompted", "middle"), ("steered", "middle"))
    scored = (unsteered.of("base"), unsteered.of("prompted", "middle"), steered.of("sample", "middle"))
    for of_pass, tokens, expected in zip(query.values[0], query.text[0], scored, strict=True):
        n_tokens = unsteered.n_audio_tokens[0]
        of_pass = of_pass[:, : len(tokens)].sum(axis=1)
        np.testing.assert_allclose(of_pass, expected[0, :, :n_tokens], rtol=0, atol=1e-5)


def test_specificity_follows_the_event_whose_vector_steered(finished_run):
    results = finished_run.folder / "results"
    table = pd.read_csv(results / "tables/specificity.csv")
    assert set(table["model"]) == {MODEL}
    keys = ["model", "study", "method", "reference"]
    assert set(table.loc[table["reference"] == "steered", "method"]) == {"steering_other_label"}
    shares = table[table["n"] > 0].groupby([*keys, "position"])["share"].sum()
    np.testing.assert_allclose(shares, 1, atol=1e-5)
    assert table.loc[table["n"] == 0, "share"].isna().all()
    # Of six samples, each event is queried six times, and its vector steers six times, where there is one.
    assert (table.loc[table["study"] == "localization", ["n", "n_without_vector"]].sum(axis=1) == 6).all()
    assert (table.loc[table["reference"] == "steered", "n_without_vector"] == 0).all()

    windows = pd.read_csv(results / f"scores/localization/{MODEL}.csv", dtype={"sample_id": str})
    other = windows[windows["method"] == "steering_other_label"].set_index(["position", "sample_id"])
    landed = {position: [] for position in POSITIONS}
    for position in POSITIONS:
        attention = store.read_passes(sorted((results / f"passes/localization/{MODEL}/{position}").glob("*")))
        targets = attention.target[:, attention.passes.index(("other_label", position))]
        for sample_id, target in zip(attention.sample_id, targets, strict=True):
            assert target != position
            event, window = other.loc[target, sample_id], other.loc[position, sample_id]
            covered = min(window["predicted_end"], event["offset"]) - max(window["predicted_start"], event["onset"])
            landed[target].append(covered > (window["predicted_end"] - window["predicted_start"]) / 2)
    for position in POSITIONS:
        row = (table["reference"] == "steered") & (table["position"] == position) & (table["landed_on"] == position)
        row &= table["study"] == "localization"
        assert table.loc[row, "share"].item() == pytest.approx(np.mean(landed[position]), abs=1e-5)


def test_logs_say_what_was_steered_and_read(finished_run):
    log = finished_run.folder / f"results/logs/steer_events/localization/{MODEL}/0.log"
    text = log.read_text()
    assert re.search(r"steering adds 0\.1 times the vector", text)
    assert "every token of the prompt, audio included" in text


def test_every_job_that_runs_a_model_says_where_its_time_went(finished_run):
    results = finished_run.folder / "results"
    stages = {
        "extract_activations": {"encode", "suffix", "store"},
        "steer_events": {"encode", "prefill", "steer", "store"},
        "sweep_attention": {"encode", "steer", "store"},
        "map_attention": {"encode", "suffix", "steer", "store"},
        "prompt_directly": {"encode", "prefill", "answer", "store"},
        "analyze_attention": {"encode", "suffix", "steer", "store"},
    }
    for rule, used in stages.items():
        files = list((results / "performance" / rule).rglob("*.json"))
        assert len(files) == len(list((results / "logs" / rule).rglob("*.log"))) > 0
        for path in files:
            summary = json.loads(path.read_text())
            assert {name for name, seconds in summary["seconds"].items() if seconds > 0} == used
            # What is read un-steered goes through together with the prefix that it shares. Of the steered passes those
            # that leave the audio alone, which the method `matched` does, share one, and keep it.
            assert ("prefill" in summary["tokens"]) == (rule != "sweep_attention")
            assert summary["n_samples"] > 0
            assert summary["samples_per_s"] > 0
            assert summary["tokens_per_s"] > 0
            assert summary["peak_memory_mb"]["host"] > 0
    assert "samples/s" in next((results / "logs/prompt_directly").rglob("*.log")).read_text()


def test_second_run_does_nothing(finished_run):
    assert "Nothing to be done" in finished_run.run("--dry-run")


def test_touching_every_file_and_describing_code_changes_nothing(changed_copy):
    for path in changed_copy.folder.glob("workflow_scripts/**/*.py"):
        append(path, '\n"""What is said here is known now."""\n# edited\n')
    now = time.time()
    for number, path in enumerate(sorted(changed_copy.folder.rglob("*"), reverse=True)):
        if ".snakemake" not in path.parts:
            os.utime(path, (now + number, now + number))
    assert changed_copy.planned() == {}


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_editing_a_figure_redraws_it_and_nothing_else(changed_copy):
    scripts = changed_copy.folder / "workflow_scripts"
    append(scripts / "plot_overlap.py", "\nEDITED = True\n")
    # What is said about figures draws none.
    captions = scripts / "wheretolisten/report/figures.py"
    captions.write_text(captions.read_text().replace("An example, not evidence", "An example and no evidence"))
    assert changed_copy.planned() == {"plot_overlap": 1}
    append(scripts / "wheretolisten/figures/style.py", "\nEDITED = True\n")
    # The job that draws a sweep writes its table, too, which has a page.
    others = {"plot_sweeps": 1, "render_tables": 1, "plot_listening": 1}
    assert changed_copy.planned() == {"plot_overlap": 1} | others | {f"plot_{kind}": 1 for kind in FIGURES}


def test_editing_the_engine_repeats_the_passes_but_no_audio(changed_copy):
    append(changed_copy.folder / "workflow_scripts/wheretolisten/engine/injection.py", "\nEDITED = True\n")
    plan = changed_copy.planned()
    assert plan["steer_events"] == 3
    assert not {"prepare_clips", "compose_sequences"} & set(plan)


def test_another_strength_repeats_steering_and_what_follows(changed_copy):
    plan = changed_copy.planned(overlay={"steering": {"scale": 0.2}})
    assert plan["steer_events"] == 3
    assert {"map_attention", "localize_events", "tabulate_scores", "plot_overlap"} <= set(plan)
    untouched = {"prepare_clips", "compose_sequences", "extract_activations", "average_vectors", "prompt_directly"}
    assert not untouched & set(plan)


def test_another_method_repeats_steering_where_it_answers_and_what_follows(changed_copy):
    methods = {"weak": {"direction": "silence", "steering": {"scale": 0.02}}}
    plan = changed_copy.planned(overlay={"methods": methods})
    assert plan["steer_events"] == 1
    assert plan["localize_events"] == 1
    assert {"tabulate_scores", "plot_specificity"} <= set(plan)
    untouched = {"prepare_clips", "compose_sequences", "extract_activations", "average_vectors", "prompt_directly"}
    assert not (untouched | {"map_attention"}) & set(plan)


def test_a_method_that_needs_another_state_extracts_it_where_it_answers(changed_copy):
    methods = [*CONFIG["studies"]["localization"]["methods"], "no_audio"]
    plan = changed_copy.planned(overlay={"studies": {"localization": {"methods": methods}}})
    assert plan["extract_activations"] == 2
    assert plan["steer_events"] == 2


def test_a_second_study_about_the_same_examples_needs_yaml_alone_and_its_own_passes_alone(changed_copy):
    # Both methods are made of states that the other study left; a study that only asks steers nothing.
    methods = ["sample", "silence_weighted"]
    asking = {"examples": "sequences", "methods": ["prompt_matched"], "direct_prompt": False}
    overlay = {"studies": {"weighted": {"examples": "sequences", "methods": methods}, "asking": asking}}
    plan = changed_copy.planned(overlay=overlay)
    # Of all studies there is one set of tables, whose rows some figures draw; the summary states the configuration.
    twice = ("steer_events_without_absent", "localize_events", "score_random")
    once = ("tabulate_scores", "plot_overlap")
    once += ("plot_specificity", "render_tables", "summarize_run")
    assert plan == dict.fromkeys(twice, 2) | dict.fromkeys(once, 1)

    def overlaps() -> pd.DataFrame:
        keys = ["study", "model", "method", "position"]
        return pd.read_csv(results / "tables/overlap.csv").set_index(keys).sort_index()

    results = changed_copy.folder / "results"
    before, table = contents(changed_copy.folder), overlaps()
    changed_copy.run("results/tables/overlap.csv", overlay=overlay)
    after = contents(changed_copy.folder)
    changed = {name for name in before if after.get(name) != before[name]}
    assert {name.split("/")[0] for name in changed} == {"tables"}
    new = after.keys() - before.keys()
    assert {name.split("/")[0] for name in new} == {"passes", "scores", "unknown_duration", "detection", "events"}
    assert all(re.match(r"\w+/(weighted|asking)[/.]", name) for name in new)
    assert not any(name.startswith("passes/asking") for name in new)
    found = overlaps()
    rows = {"random", "direct_prompt", "frame_probe", "prompt_only", *(f"steering_{name}" for name in methods)}
    assert set(found.loc["weighted"].index.get_level_values("method")) == rows
    rows = {"random", "frame_probe", "prompt_only", "prompt_matched"}
    assert set(found.loc["asking"].index.get_level_values("method")) == rows
    pd.testing.assert_frame_equal(found.drop(["weighted", "asking"]), table)
    # The same vector about the same recordings finds the same windows, whichever study steers with it.
    windows = []
    for study in ("localization", "weighted"):
        queries = pd.read_csv(results / f"scores/{study}/{MODEL}.csv", dtype={"sample_id": str, "failure": str})
        windows.append(queries[queries["method"] == "steering_sample"].drop(columns="study").reset_index(drop=True))
    assert len(windows[0]) == 18
    pd.testing.assert_frame_equal(*windows)


def test_another_window_weighting_loads_no_model(changed_copy):
    plan = changed_copy.planned(overlay={"localization": {"layer_weights": "uniform"}})
    assert "localize_events" in plan
    passes = {"extract_activations", "steer_events", "map_attention", "prompt_directly"}
    assert not (passes | {"average_vectors"}) & set(plan)


def test_another_model_runs_alone(changed_copy):
    source = changed_copy.folder / f"resources/{MODEL}"
    shutil.copytree(source, changed_copy.folder / "mine")
    plan = changed_copy.planned(overlay={"models": {"mine": {"checkpoint": "mine"}}})
    assert plan["extract_activations"] == 3
    assert plan["steer_events"] == 3
    assert not {"prepare_clips", "compose_sequences", "score_random"} & set(plan)


def test_more_samples_leave_finished_shards_alone(changed_copy):
    overlay = {"examples": {"sequences": {"n_samples": 9}}}
    plan = changed_copy.planned(overlay=overlay)
    assert plan["compose_sequences"] == 1
    before = (changed_copy.folder / "results/examples/sequences/shards/0.csv").read_bytes()
    changed_copy.run("examples", overlay=overlay)
    assert (changed_copy.folder / "results/examples/sequences/shards/0.csv").read_bytes() == before
    assert changed_copy.planned("states", overlay=overlay) == {"extract_activations": 1}


def test_a_job_killed_in_the_middle_keeps_the_parts_it_finished(finished_run, changed_copy):
    for kind in ("states", "unsteered", "frames"):
        (changed_copy.folder / f"results/{kind}/sequences/{MODEL}/0.h5").unlink()
    process = changed_copy.start("states")
    deadline = time.monotonic() + 300
    # Two of three parts of a shard: the job is in the middle of its work.
    part = changed_copy.folder / f"results/states/sequences/{MODEL}/0.h5.parts/000001.h5"
    while not part.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill(process)
    assert not (changed_copy.folder / f"results/states/sequences/{MODEL}/0.h5").exists()

    changed_copy.run("--unlock")
    changed_copy.run("states")
    assert (
        "are there already"
        in (changed_copy.folder / f"results/logs/extract_activations/sequences/{MODEL}/0.log").read_text()
    )
    assert contents(changed_copy.folder) == contents(finished_run.folder)


def test_figures_are_redrawn_where_torch_is_not_installed(finished_run, changed_copy, monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    for name in ("torch", "transformers"):
        (broken / name).mkdir(parents=True)
        (broken / name / "__init__.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    shutil.rmtree(changed_copy.folder / "results/figures")
    shutil.rmtree(changed_copy.folder / "results/tables")
    before = Copy(changed_copy.folder).planned("tables", "figures")
    once = ("tabulate_scores", "tabulate_audio_share", "tabulate_choices", "plot_listening")
    once += tuple(f"plot_{kind}" for kind in ("overlap", *FIGURES))
    assert before == dict.fromkeys(once, 1) | {"plot_sweeps": 1}
    # With the recordings, whose spectrograms are part of a reading; all others are redrawn from cached results alone
    # (test_report.py).
    reading = changed_copy.folder / f"results/figures/reading/{MODEL}.png"
    changed_copy.run("results/figures/overlap.png", str(reading.relative_to(changed_copy.folder)))
    assert (changed_copy.folder / "results/figures/overlap.png").exists()
    assert reading.read_bytes() == (finished_run.folder / reading.relative_to(changed_copy.folder)).read_bytes()
