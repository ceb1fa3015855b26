"""The summary of a run: coverage, time and memory, origins, and the page that shows them."""

import hashlib
import json
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import h5py
import pandas as pd
import pytest
import render_tables
import summarize_run
import yaml
from docutils.core import publish_parts

from wheretolisten import provenance, store
from wheretolisten.config import loading as configuration
from wheretolisten.config.dump import as_yaml
from wheretolisten.config.effects import EffectSettings
from wheretolisten.config.models import Model
from wheretolisten.errors import UserError
from wheretolisten.localization.table import read_localization, write_localization
from wheretolisten.report import figures, page, tables
from wheretolisten.statistics.coverage import count_coverage
from wheretolisten.statistics.origins import find_differences, read_origins
from wheretolisten.statistics.scoring import score_answer, score_draws
from wheretolisten.statistics.throughput import Job, find_jobs, summarize_throughput
from wheretolisten.store.schema import digest_of_attributes

MODELS = ("tiny-qwen2-audio", "tiny-audio-flamingo-3")
EVENT = {"label": "dog", "domain": "animals", "source": "a", "onset": 1.0, "offset": 2.0, "duration": 1.0}
EVENT |= {"sample_seconds": 5.0}


class Outline(HTMLParser):
    """Text of every cell, by table and row, and every address that a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tables, self.addresses = [], [], []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


def rows_of(method: str, n_samples: int, **changes) -> list[dict]:
    events = [EVENT | {"sample_id": f"{n:05d}", "position": p} for n in range(n_samples) for p in ("begin", "end")]
    return [score_answer(event, "1.0", MODELS[0], "localization") | {"method": method} | changes for event in events]


def write_result(path: Path, **changes) -> None:
    """A result file that says how it was made, and nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    attributes = {"script": "extract_activations", "device": "cpu", "dtype": "float32", "checkpoint": "here"}
    attributes |= {"revision": "", "checkpoint_digest": "c" * 64, "weights": "pretrained", "git_commit": "abc"}
    attributes |= {"code_digest": "1", "versions": json.dumps({"python": "3.11.7", "torch": "2.15.0"})} | changes
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        file.attrs["attributes_digest"] = digest_of_attributes(attributes)


def write_figures(path: Path, wall: float, tokens: int, tokens_per_s: float, device_mb: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    peak = {"host": 500.0} | ({} if device_mb is None else {"device": device_mb})
    figures = {"n_samples": 10, "wall_s": wall, "tokens_per_s": tokens_per_s, "seconds": {"encode": 1.0, "steer": 2.0}}
    path.with_suffix(".json").write_text(json.dumps(figures | {"tokens": {"steer": tokens}, "peak_memory_mb": peak}))
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    path.with_suffix(".tsv").write_text(header + f"{wall + 5}\t0:00:10\t100\t1\t1\t1\t0\t0\t50\t{wall}\n")


def test_coverage_counts_what_became_of_every_query(tmp_path):
    tied = rows_of("steering_sample", 2, tied=True)
    failed = rows_of("prompt_only", 2)
    failed[0]["failure"] = failed[1]["failure"] = "attention is not finite"
    failed[2]["failure"] = "the event is longer than the audio"
    unparsed = [score_answer(EVENT | {"sample_id": "00000", "position": "end"}, "no idea", MODELS[0], "localization")]
    draws = [score_draws(row | EVENT, [0.5], "-", "localization") for row in rows_of("random", 3)]
    write_localization([*tied, *failed, *unparsed, *draws], tmp_path / "all.csv")
    table = count_coverage(read_localization([tmp_path / "all.csv"])).set_index("method")
    assert table.loc["random", ["n_queries", "n_answered", "n_skipped"]].tolist() == [6, 6, 0]
    counts = ["n_answered", "n_tied", "n_unparsed", "n_failed", "n_skipped"]
    assert table.loc["steering_sample", counts].tolist() == [4, 4, 0, 0, 2]
    assert table.loc["direct_prompt", counts].tolist() == [0, 0, 1, 0, 5]
    assert table.loc["prompt_only", counts].tolist() == [1, 0, 0, 3, 2]
    assert table.loc["prompt_only", "failures"] == "attention is not finite: 2; the event is longer than the audio: 1"
    parts = table[["n_answered", "n_unparsed", "n_failed", "n_skipped"]].sum(axis=1)
    assert (parts == table["n_queries"]).all()


def test_throughput_is_summed_over_jobs_and_tells_what_is_missing(tmp_path):
    write_figures(tmp_path / "steer_attention/localization/tiny-qwen2-audio/begin/0", 4.0, 100, 50.0, device_mb=900.0)
    write_figures(tmp_path / "steer_attention/localization/tiny-qwen2-audio/begin/1", 6.0, 300, 300.0, device_mb=700.0)
    write_figures(tmp_path / "localize_events/localization/tiny-qwen2-audio", 1.0, 1, 1.0)
    (tmp_path / "localize_events/localization/tiny-qwen2-audio.json").unlink()
    write_figures(tmp_path / "steer_attention/localization/a-model-of-an-earlier-run/begin/0", 4.0, 100, 50.0)
    jobs = find_jobs(tmp_path, MODELS)
    lost = Job("steer_attention", "localization", "tiny-qwen2-audio", "begin/2")
    table = summarize_throughput(jobs | {lost}, tmp_path).set_index("rule")
    steering, localizing = table.loc["steer_attention"], table.loc["localize_events"]
    assert steering[["n_jobs", "n_measured", "n_samples"]].tolist() == [3, 2, 20]
    # 400 tokens in 2 + 1 s.
    expected = {"wall_s": 10, "samples_per_s": 2, "tokens_per_s": 400 / 3, "job_s": 20, "cpu_s": 10}
    expected |= {"peak_host_mb": 500, "peak_device_mb": 900, "seconds_encode": 2, "seconds_steer": 4}
    assert steering[list(expected)].astype(float).to_dict() == pytest.approx(expected)
    assert localizing[["model", "n_jobs", "n_measured", "job_s"]].tolist() == [MODELS[0], 1, 1, 6]
    assert localizing["peak_host_mb"] == pytest.approx(104.8576)
    assert localizing[["n_samples", "wall_s", "samples_per_s", "tokens_per_s"]].isna().all()


def test_figures_that_were_cut_off_count_as_missing(tmp_path):
    job = Job("steer_attention", "localization", MODELS[0], "begin/0")
    job.path(tmp_path).parent.mkdir(parents=True)
    for suffix, text in ((".json", '{"n_samples": 1'), (".tsv", "")):
        job.path(tmp_path).with_suffix(suffix).write_text(text)
    row = summarize_throughput(find_jobs(tmp_path, MODELS), tmp_path).iloc[0]
    assert row[["n_jobs", "n_measured"]].tolist() == [1, 0]


def test_files_that_were_computed_elsewhere_are_named(tmp_path):
    folder = tmp_path / "states/sequences/tiny-qwen2-audio"
    for shard in range(3):
        write_result(folder / f"{shard}.h5")
    # Another rule has other code, and another commit may have the same.
    other = tmp_path / "passes/localization/tiny-qwen2-audio/begin/0.h5"
    write_result(other, script="steer_attention", code_digest="2", git_commit="abd")
    alike = read_origins(sorted(tmp_path.rglob("*.h5")), tmp_path)
    assert alike["rule"].value_counts().to_dict() == {"extract_activations": 3, "steer_attention": 1}
    assert alike.groupby("study").size().to_dict() == {"localization": 1, "sequences": 3}
    assert set(alike["model"]) == {"tiny-qwen2-audio"}
    assert find_differences(alike).empty

    write_result(folder / "1.h5", device="cuda:0", code_digest="3", versions=json.dumps({"python": "3.12.1"}))
    differences = find_differences(read_origins(sorted(tmp_path.rglob("*.h5")), tmp_path))
    named = differences[differences["files"] == str(folder / "1.h5")].set_index("fact")["value"].to_dict()
    assert named == {"device": "cuda:0", "code of extract_activations": "3", "python": "3.12.1", "torch": ""}
    assert differences.set_index(["fact", "value"]).loc[("device", "cpu"), "n_files"] == 3


def test_tables_say_where_they_come_from_beside_them(tmp_path):
    settings = EffectSettings(
        model=Model(checkpoint="resources/tiny-qwen2-audio"),
        pairs="resources/studies/facts.csv",
        effects={"arms": {"second": {}, "first": {}}, "axes": {}},
    )
    (tmp_path / "pairs.csv").write_text("id\n")
    _, attributes = provenance.of_job("steer_texts", settings, {"pairs": tmp_path / "pairs.csv"})
    path = tmp_path / "effects/words/text.json"
    store.write_origin(path, attributes | {"device": "cpu", "dtype": "float32"})
    said = json.loads(path.read_text())
    assert said["versions"] == provenance.versions()
    # Arms stand in the order of the configuration, and their file, too.
    assert list(EffectSettings.from_json(settings.as_json()).effects.arms) == ["second", "first"]
    assert said["settings"]["effects"]["arms"].keys() == {"second", "first"}
    assert said["pairs_digest"] == hashlib.sha256(b"id\n").hexdigest()
    (row,) = read_origins([path], tmp_path).itertuples()
    assert (row.model, row.study, row.rule, row.device) == ("text", "words", "steer_texts", "cpu")
    assert (row.checkpoint_digest, row.numpy) == (said["checkpoint_digest"], said["versions"]["numpy"])
    path.write_text(path.read_text()[:100])
    with pytest.raises(
        UserError, match=r"text\.json: the file is damaged \(.*\); delete it \(rm .*text\.json\) and run"
    ):
        read_origins([path], tmp_path)


def test_a_damaged_file_is_refused_by_name(tmp_path):
    path = tmp_path / "states/b/m/0.h5"
    write_result(path)
    with h5py.File(path, "a") as file:
        file.attrs["device"] = "cuda"
    with pytest.raises(UserError, match=r"0\.h5: the file is damaged \(its attributes have changed\); delete it"):
        read_origins([path], tmp_path)


def test_the_configuration_as_yaml_is_the_configuration(raw_config, root):
    raw_config["steering"]["emphasis"] = {"layers": [1, 2], "beta": 0.5}
    for name, study in raw_config["studies"].items():
        if study.get("vary") == "steering.layers":  # some of their values steer none of these blocks
            raw_config["studies"][name] = None
    raw_config["prompts"]["positive_1"] = "Where is {label}, {{in}} words?"
    raw_config["wording"]["labels"] = {"null": 'a "quoted": word', "yes": "été", "y": "x", "1": "one"}
    config = configuration.load(raw_config, root)
    text = as_yaml(config)
    assert yaml.safe_load(text) == config.model_dump(mode="json")
    assert configuration.load(yaml.safe_load(text), root) == config
    keys = [line.split(":")[0] for line in text.splitlines() if not line.startswith(" ")]
    assert keys == sorted(keys)


def test_a_configuration_is_read_where_the_files_it_names_are_not(raw_config, tmp_path):
    raw_config["sounds"]["synthetic"] = {"type": "folder", "path": "far/away"}
    raw_config["models"]["tiny-qwen2-audio"]["checkpoint"] = "a/folder/on/the/cluster"
    with pytest.raises(UserError, match="does not exist"):
        configuration.load(raw_config, tmp_path)
    assert configuration.load(raw_config, None).models["tiny-qwen2-audio"].identity == "a/folder/on/the/cluster"


def test_the_page_holds_every_part_and_needs_nothing_else(raw_config, root, tmp_path):
    raw_config["examples"]["sequences"]["n_samples"] = 10
    config = configuration.load(raw_config, root)
    write_localization(rows_of("steering_sample", 2), tmp_path / "model.csv")
    write_result(tmp_path / "results/unsteered/sequences/tiny-qwen2-audio/0.h5")
    write_result(tmp_path / "results/unsteered/sequences/tiny-qwen2-audio/7.h5", device="of a larger run before")
    write_figures(tmp_path / "results/performance/prompt_directly/sequences/tiny-qwen2-audio/0", 4.0, 100, 50.0)
    names = {"resolved": "config.yaml", "coverage": "coverage.csv", "throughput": "throughput.csv"}
    names |= {"origins": "origins.csv", "page": "run.html"}
    summarize_run.main(
        [
            *(f"--config={config.as_json()}", f"--localization={tmp_path / 'model.csv'}"),
            *(f"--results={tmp_path / 'results'}", *(f"--{key}={tmp_path / name}" for key, name in names.items())),
        ]
    )
    text = (tmp_path / "run.html").read_text()
    outline = Outline(text)
    coverage, time, stages, origins = outline.tables
    assert coverage[1][:5] == ["Tiny Qwen2-Audio", "localization", "Steering, own vector", "4", "4"]
    assert [row[:4] for row in time[1:]] == [
        ["Tiny Qwen2-Audio", "extract_activations", "1", "0"],
        ["Tiny Qwen2-Audio", "prompt_directly", "1", "1"],
    ]
    assert "1 of 2 jobs left no figures" in text
    assert stages[1][-2:] == ["1", "2"]
    assert ["Device", "cpu"] in origins
    assert "come from the same checkpoint" in text
    assert outline.addresses == []
    assert len(pd.read_csv(tmp_path / "origins.csv")) == 1
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == config.model_dump(mode="json")


def test_a_table_becomes_a_page_that_holds_the_table(tmp_path):
    (tmp_path / "a.md").write_text(
        "# Title\n\nA note,\non two lines.\n\n| Model | % |\n| --- | --: |\n| a\\|b <i> | 98.1\\* [97, 98.9] |\n"
    )
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/b.csv").write_text("label,n\nnull,3\nNA,\n")
    names = ("a.md", "sweeps/b.csv")
    render_tables.main(["--tables", str(tmp_path), "--names", *names, "--pages", str(tmp_path / "pages")])
    pages = {name: (tmp_path / "pages" / f"{name}.html").read_text() for name in names}
    for name in names:
        assert Outline(pages[name]).addresses == [page.download(tmp_path / name).split('"')[1]]
    assert Outline(pages["a.md"]).tables == [[["Model", "%"], ["a|b <i>", "98.1* [97, 98.9]"]]]
    assert "<p>A note, on two lines.</p>" in pages["a.md"]
    # A csv does not say itself what it shows.
    about = tables.of_sweep("b")
    assert page.heading(about.title, 1) + "\n" + page.paragraph(about.note) in pages["sweeps/b.csv"]
    assert Outline(pages["sweeps/b.csv"]).tables == [[["label", "n"], ["null", "3"], ["NA", ""]]]
    assert '<td>a|b &lt;i&gt;</td><td class="number">98.1* [97, 98.9]</td>' in pages["a.md"]


def test_tables_are_described_once_and_found_by_their_files():
    described = [*tables.SCORES, *tables.AUDIO_SHARES, *tables.CHOICES, tables.of_sweep("strength")]
    files = [file for table in described for file in table.files]
    assert len(set(files)) == len(files)
    for table in described:
        assert table.shown in table.files
        assert [tables.described(file) for file in table.files] == [table] * len(table.files)
    with pytest.raises(KeyError):
        tables.described("another.csv")


def test_captions_are_filled_and_hold_no_markup_of_users(raw_config, root):
    raw_config["prompts"]["inference"] = "What *is* `this`_ | {{x}}?\\"
    captions = figures.captions(configuration.load(raw_config, root))
    further = ("sweep", "sweeps", "listening", "effects", "decay")
    assert set(captions) == {f"plot_{name}" for name in (*figures.FIGURES, *further)}
    assert all(len(caption) > 100 and "{config" not in caption for caption in captions.values())
    html = publish_parts(captions["plot_attention_change"], writer="html")["body"]
    assert "What *is* `this`_ | {x}?\\" in unescape(html)
    assert "the 48 recordings of study localization-exact" in " ".join(html.split())


def test_every_result_leads_to_the_job_that_wrote_it(raw_config, root, tmp_path):
    config, model = configuration.load(raw_config, root), MODELS[0]
    jobs = {
        f"unsteered/sequences/{model}/0": Job("extract_activations", "sequences", model, "0"),
        f"passes/localization/{model}/middle/1": Job("steer_events", "localization", model, "1"),
        f"maps/localization/{model}": Job("map_attention", "localization", model),
        f"passes/strength/{model}/all/0": Job("sweep_attention", "strength", model, "0"),
        f"passes/listening/{model}/all/2": Job("analyze_attention", "listening", model, "2"),
        f"choices/answers/{model}/heads/1": Job("choose_answers", "answers", model, "heads/1"),
    }
    for name in jobs:
        write_result(tmp_path / f"{name}.h5")
    # Neither parts of a job that runs, nor what another model or an earlier run left.
    for name in (
        f"passes/strength/{model}/all/0.parts/0",
        "passes/strength/other/all/0",
        f"passes/older/{model}/all/0",
    ):
        write_result(tmp_path / f"{name}.h5")
    assert summarize_run._result_files(tmp_path, config) == sorted(tmp_path / f"{name}.h5" for name in jobs)
    for name, job in jobs.items():
        assert summarize_run._job_of(Path(f"{name}.h5"), tmp_path, config) == job
    # On a cluster every event has a job of its own.
    write_figures(tmp_path / f"steer_attention/localization/{model}/middle/1", 4.0, 100, 50.0)
    result = Path(f"passes/localization/{model}/middle/1.h5")
    assert summarize_run._job_of(result, tmp_path, config) == (
        Job("steer_attention", "localization", model, "middle/1")
    )
