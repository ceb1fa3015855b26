"""The report, and redrawing it from cached results where neither torch nor audio is."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml

from wheretolisten.config import loading as configuration

from .conftest import MODEL, Copy

pytestmark = pytest.mark.workflow

CATEGORIES = {"Localization", "Controls", "Attention", "Answers", "Sweeps", "Run"}
SWEEPS = ("strength", "scored-layers")
KINDS = ("attention_change", "attention_map", "audio_share", "reading", "references", "specificity")
TABLES = (
    "overlap.md",
    "overlap_by_label.csv",
    "comparisons.md",
    "metrics.md",
    "unknown_duration.md",
    "specificity.csv",
    "detection.csv",
)
TABLES += ("choices.csv", "choices_by_group.csv", "listening_signal.csv")
TABLES += ("audio_share.csv", "audio_share_second_half.csv", *(f"sweeps/{sweep}.csv" for sweep in SWEEPS))
PAGES = ("run.html", *(f"tables/{table}.html" for table in TABLES))
FIGURES = (
    "overlap",
    *(f"{kind}/{MODEL}" for kind in KINDS),
    *(f"sweeps/{sweep}" for sweep in SWEEPS),
    *(f"listening/answers/{MODEL}-{kind}" for kind in ("heads", "signals")),
)
ITEMS = {*(f"results/report/{name}" for name in PAGES), *(f"results/figures/{name}.png" for name in FIGURES)}
ITEMS.add(f"results/figures/reading/{MODEL}.html")
COUNTS = {"overlap": "the 6 recordings", "attention_change": "the 2 recordings", "reading": "n = 1"}
COUNTS |= {"attention_map": "n = 1", "references": "n = 1", "tables": "sequences (6), sequences-exact (2)."}
"""What a caption says about the number of recordings, by figure."""

REDRAWN = dict.fromkeys(
    ("tabulate_scores", "tabulate_audio_share", "tabulate_choices", "plot_overlap", "plot_listening"), 1
)
REDRAWN |= dict.fromkeys(("summarize_run", "render_tables"), 1)
REDRAWN |= {"plot_sweeps": 1} | {f"plot_{kind}": 1 for kind in KINDS}

ATTENTION = ("unsteered", "passes", "choices", "maps")
CACHED = (*ATTENTION, "heads", "scores", "unknown_duration", "detection", "events")
"""Folders of results that tables, figures and report are made from; those of them that hold what passes left."""

REDRAW = ("--workflow-profile", "profiles/redraw")


def check_report(path: Path) -> None:
    """A report is one zip that holds every item with its caption, and asks nothing of a network."""
    with zipfile.ZipFile(path) as file:
        names = set(file.namelist())
        page = file.read(f"{path.stem}/report.html").decode()
        parts = {
            name: json.loads(re.search(rf'<script id="{name}">\s*var {name} = (.*);\n', page)[1])
            for name in ("results", "categories")
        }
        assert set(parts["results"]) == ITEMS
        for name, item in parts["results"].items():
            shown = file.read(f"{path.stem}/{item['data_uri']}")
            assert shown.startswith(b"\x89PNG" if name.endswith(".png") else b"<!doctype html>")
            assert item["labels"]["item"]
            assert len(item["caption"]) > 100
            assert "{{" not in item["caption"]
            if (kind := name.split("/")[2].removesuffix(".png")) in COUNTS:
                assert COUNTS[kind] in " ".join(item["caption"].split())
        assert len(names) == len(ITEMS) + 1
    assert set(parts["categories"]) == CATEGORIES
    assert {path for sub in parts["categories"].values() for paths in sub.values() for path in paths} == ITEMS
    assert not re.search(r"<script[^>]+src=|<link[ >]|@import|url\(http", page.partition("<body>")[0])
    assert not re.search(r"<script[^>]+src=[^>]*></script>\s*\n", page)


def attention_files(copy: Copy) -> list[Path]:
    """What the passes of a run left."""
    return [path for name in ATTENTION for path in (copy.folder / "results" / name).rglob("*.h5")]


def test_the_report_is_one_file_with_every_table_and_figure(finished_run, tmp_path):
    finished_run.run("--report", str(tmp_path / "report.zip"))
    check_report(tmp_path / "report.zip")


def test_the_summary_tells_what_was_run(finished_run, root):
    folder = finished_run.folder / "results/report"
    coverage = pd.read_csv(folder / "coverage.csv")
    answered = coverage[coverage["study"] == "localization"]
    assert (answered["n_queries"] == 18).all()
    assert len(answered) == 1 + 11
    parts = coverage[["n_answered", "n_unparsed", "n_failed", "n_without_vector", "n_skipped"]].sum(axis=1)
    assert (parts == coverage["n_queries"]).all()
    throughput = pd.read_csv(folder / "throughput.csv").set_index(["model", "rule"])
    assert set(throughput.index.get_level_values("model")) == {MODEL}
    steering = throughput.loc[(MODEL, "steer_events")]
    # Two shards and one.
    assert steering[["n_jobs", "n_measured", "n_samples"]].tolist() == [3, 3, 6 + 2]
    assert steering[["samples_per_s", "tokens_per_s", "seconds_steer", "job_s", "peak_host_mb"]].gt(0).all()
    origins = pd.read_csv(folder / "origins.csv")
    assert set(origins["file"]) == {
        str(path.relative_to(finished_run.folder)) for path in attention_files(finished_run)
    }
    assert set(origins["device"]) == {"cpu"}
    resolved = yaml.safe_load((folder / "config.yaml").read_text())
    assert configuration.load(resolved, root).examples["sequences"].n_samples == 6


def test_timings_that_change_or_are_lost_redo_nothing(changed_copy):
    for number, path in enumerate((changed_copy.folder / "results/performance").rglob("*.*")):
        if number % 2:
            path.write_text("{}")
        else:
            path.unlink()
    assert changed_copy.planned() == {}
    shutil.rmtree(changed_copy.folder / "results/performance")
    shutil.rmtree(changed_copy.folder / "results/report")
    assert changed_copy.planned("results/report/run.html") == {"summarize_run": 1}
    changed_copy.run("results/report/run.html")
    throughput = pd.read_csv(changed_copy.folder / "results/report/throughput.csv")
    files = attention_files(changed_copy)
    # A job writes all events of a shard, and what is steered for absent sounds.
    others = ("middle", "end", "absent")
    jobs = {path.parent.with_suffix("") if path.parent.name in others else path for path in files}
    assert throughput["n_jobs"].sum() == len({path for path in jobs if path.suffix == ".h5"}) > 3 + 3 + 1
    assert (throughput["n_measured"] == 0).all()


def test_rules_that_redraw_are_those_of_tables_figures_and_report(root):
    allowed = set(yaml.safe_load((root / "profiles/redraw/profile.yaml").read_text())["allowed-rules"])
    found = {
        name
        for path in (root / "rules").glob("*.smk")
        for name, body in re.findall(
            r"^(?:use )?rule (?:\w+ as )?(\w+)(?: with)?:\n(.*?)(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL
        )
        if re.search(r'output:.*("results/(tables|figures|report)/|drawn\(|table_files\().*\n    log:', body, re.DOTALL)
    }
    assert found >= {"tabulate_scores", "plot_reading", "plot_sweep", "summarize_run", "render_tables"}
    targets = {"all", "tables", "figures", "audio_share", "listening", "effects", "sweeps"}
    assert allowed == found | targets, "correct allowed-rules in profiles/redraw/profile.yaml"


@pytest.fixture
def cached_copy(finished_run: Copy, clean_copy: Copy, monkeypatch, tmp_path) -> Copy:
    """A new clone with the cached results of a run and nothing else of it, where torch cannot be imported."""
    source, target = finished_run.folder / "results", clean_copy.folder / "results"
    for name in CACHED:
        shutil.copytree(source / name, target / name)
    for name in ("torch", "transformers", "accelerate"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        (tmp_path / "broken" / name / "__init__.py").write_text("raise ImportError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    return clean_copy


def test_cached_results_alone_give_tables_figures_and_report(cached_copy, finished_run, tmp_path):
    # Neither the recordings nor the checkpoints of the run are here.
    overlay = {"sounds": {"elsewhere": {"type": "folder", "path": "not/here"}}}
    assert "does not exist" in cached_copy.run("--dry-run", overlay=overlay, fails=True)
    assert cached_copy.planned(*REDRAW, overlay=overlay) == REDRAWN
    cached = {path: path.read_bytes() for path in (cached_copy.folder / "results").rglob("*.*")}

    cached_copy.run(*REDRAW, overlay=overlay)
    assert cached_copy.tables() == finished_run.tables()
    for name in FIGURES:
        path = f"results/figures/{name}.png"
        # A reading has no spectrogram without the recording.
        if "reading" not in name:
            assert (cached_copy.folder / path).read_bytes() == (finished_run.folder / path).read_bytes()
    assert {path: path.read_bytes() for path in cached} == cached
    assert not {"sounds", "examples", "states", "directions", "answers"} & {
        path.name for path in (cached_copy.folder / "results").iterdir()
    }
    assert cached_copy.planned(*REDRAW, overlay=overlay) == {}

    cached_copy.run(*REDRAW, "--report", str(tmp_path / "report.zip"), overlay=overlay)
    check_report(tmp_path / "report.zip")


def test_a_cached_result_that_is_missing_is_named_and_not_computed(cached_copy):
    missing = Path(f"results/passes/localization-exact/{MODEL}/begin/0.h5")
    (cached_copy.folder / missing).unlink()
    output = cached_copy.run(*REDRAW, fails=True)
    assert "MissingInputException" in output
    assert str(missing) in output
    assert not (cached_copy.folder / missing).exists()
    # Tables need windows only.
    for name in ATTENTION:
        shutil.rmtree(cached_copy.folder / "results" / name)
    tables = ("overlap.csv", "comparisons.csv", "metrics.csv", "specificity.csv", "sweeps/strength.csv")
    planned = cached_copy.planned(*REDRAW, *(f"results/tables/{table}" for table in tables))
    assert planned == {"tabulate_scores": 1, "plot_sweeps": 1}
