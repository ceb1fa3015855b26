"""The workflow in a fresh copy of the repository: what it plans, other sounds, questions and models, refusals.

Each test works in a copy of its own, so that they run in any order and on any worker.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from .conftest import MODEL
from .test_workflow import ALL_METHODS, CONFIG

pytestmark = pytest.mark.workflow


def test_dry_run_of_the_default_shows_every_stage_within_seconds(clean_copy, monkeypatch):
    # Of a user who has no home directory that can be written, as in a container.
    monkeypatch.setenv("HOME", str(clean_copy.folder / "Snakefile/home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    started = time.monotonic()
    plan = clean_copy.planned(overlay={"examples": {"sequences": {"n_samples": 500}}, "shard_seconds": 4700})
    assert time.monotonic() - started < 20
    assert plan["extract_activations"] == 2 + 1
    assert plan["steer_events"] == plan["extract_activations"]
    # Every script but those that are not part of a run, and the ways in which two of them are used.
    scripts = {path.stem for path in (clean_copy.folder / "workflow_scripts").glob("*.py")}
    scripts -= {"train_tiny_models", "fetch_models", "export_direction", "describe_configuration", "start"}
    scripts -= {"steer_attention", "plot_sweep", "check_model", "tabulate_checks", "convert_smollm2"}
    scripts -= {"fit_small_projector", "convert_small_qwen2_audio"}
    scripts -= {"listen", "evaluate_listening", "listen_recordings", "tabulate_intervals"}
    scripts -= {"steer_texts", "unlearn_facts", "tabulate_effects", "plot_effects"}
    scripts -= {"interrupt_streams", "train_tiny_duplex", "tabulate_robustness", "plot_decay"}
    scripts -= {"perturb_sequences", "compare_studies", "plot_studies"}
    ways = {"steer_events", "steer_by_heads", "sweep_attention", "map_attention", "prompt_directly", "plot_sweeps"}
    assert set(plan) == scripts | ways


def test_jobs_grow_with_shards_and_not_with_samples(clean_copy):
    # The longest sample lasts 18.5 s.
    few, many, more_shards = (
        clean_copy.planned(overlay={"examples": {"sequences": {"n_samples": n}}, "shard_seconds": 18.5 * n / shards})
        for n, shards in ((500, 2), (100_000, 2), (100_000, 4))
    )
    assert many == few
    by_shard = {"compose_sequences": 1, "extract_activations": 1, "prompt_directly": 1, "steer_events": 1}
    assert {rule: n - many[rule] for rule, n in more_shards.items() if n != many[rule]} == (
        {rule: 2 * n for rule, n in by_shard.items()}
    )


def test_bad_configuration_ends_in_one_sentence_before_any_job(clean_copy):
    output = clean_copy.run(overlay={"steering": {"strength": 1}}, fails=True)
    assert "overlay.yaml: line 2: steering.strength: unknown key; remove it or correct its spelling" in output
    overlay = {"sounds": {"synthetic": {"type": "folder", "path": "resources"}}}
    output = clean_copy.run(overlay=overlay, fails=True)
    assert re.search(r"overlay.yaml: line 3: .* is of type procedural already \(config.yaml: line \d+\)", output)
    assert "take that one out with `synthetic: null`" in output
    overlay = {"figures": {"overlap": "sequences"}, "benchmarks": {"sequences": {"n_samples": 30}}}
    overlay |= {"probe": {"methods": {"weak": {"vector": "silence"}}, "random_draws": 5}}
    output = clean_copy.run(overlay=overlay, fails=True)
    sentence = r"overlay\.yaml: line 3: benchmarks: this is a configuration of an earlier version; benchmarks are .*; "
    sentence += r"probe\.methods is methods, .*; probe\.random_draws is random_draws; .* CHANGELOG\.md what moved where"
    assert re.search(sentence, output)
    assert "Traceback" not in output
    (clean_copy.folder / "config.yaml").write_text("models:\n\ttiny: {}\n")
    output = clean_copy.run(fails=True)
    assert "config.yaml: line 2: this is not YAML" in output
    assert "Traceback" not in output
    assert not (clean_copy.folder / "results").exists()


def test_the_readme_s_own_sounds_run_from_another_folder_without_an_activated_environment(clean_copy, tmp_path):
    readme = (clean_copy.folder / "README.md").read_text()
    overlay = next(text for text in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "type: folder" in text)
    sounds = clean_copy.folder / yaml.safe_load(overlay)["sounds"]["mine"]["path"]
    rng = np.random.default_rng(0)
    for label in ("door", "kettle", "piano", "rain"):
        (sounds / label).mkdir(parents=True)
        for name in ("a.wav", "b.wav"):
            soundfile.write(sounds / label / name, rng.normal(0, 0.1, 24_000), 16_000)
    elsewhere = tmp_path / "another folder"
    elsewhere.mkdir()
    (elsewhere / "my.yaml").write_text(overlay)
    # A python that no job should take.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text("#!/bin/sh\nexit 97\n")
    (tmp_path / "bin/python").chmod(0o755)
    environment = {"HOME": os.environ["HOME"], "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}

    def run(*arguments, cwd):
        command = [sys.executable, "-m", "snakemake", "--configfile", "my.yaml", *arguments]
        run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        return run.returncode, run.stdout + run.stderr

    snakefile = str(clean_copy.folder / "Snakefile")
    code, output = run("--snakefile", snakefile, "--", "examples", cwd=elsewhere)
    assert code == 0, output
    events = pd.read_csv(elsewhere / "results/examples/sequences/events.csv", dtype=str)
    assert len(events) == 3 * 30
    assert set(events["label"]) == {"door", "kettle", "piano", "rain"}
    assert not (clean_copy.folder / "results").exists()

    # The same run, as the folder of one started in the clone; everything that follows finds its files.
    shutil.copy(elsewhere / "my.yaml", clean_copy.folder)
    code, output = run("--directory", str(elsewhere), "--dry-run", cwd=clean_copy.folder)
    assert code == 0, output
    assert not re.search(r"^(prepare_clips|compose_sequences) ", output, re.MULTILINE)
    assert re.search(r"^extract_activations +4$", output, re.MULTILINE)

    # What fails says so last, in one sentence.
    for path in sounds.glob("*/*.wav"):
        path.write_bytes(b"no sound")
    code, output = run("--snakefile", snakefile, "--", "examples", cwd=elsewhere)
    assert code != 0
    lines = output.strip().splitlines()
    log = (elsewhere / "results/logs/prepare_clips/mine.log").read_text().strip().splitlines()
    assert "log: results/logs/prepare_clips/mine.log" in lines[-2]
    assert lines[-1].strip() == log[-1].partition(" ERROR ")[2] != ""
    assert "--settings" not in output
    assert "Traceback" not in output


def test_the_esc50_profile_runs_on_real_recordings(clean_copy, esc10):
    overlay = yaml.safe_load((clean_copy.folder / "profiles/esc50.yaml").read_text())
    overlay["sounds"]["esc50"] |= {
        "csv": str(esc10 / "clips.csv"),
        "audio": str(esc10 / "audio"),
        "source_column": "freesound_id",
    }
    # The other family than in the other tests.
    overlay["models"] = {MODEL: None, "tiny-audio-flamingo-3": {"checkpoint": "resources/tiny-audio-flamingo-3"}}
    overlay |= {"shard_seconds": 120, "studies": dict.fromkeys(("strength", "scored-layers"))}
    clean_copy.run("tables", overlay=overlay)
    events = pd.read_csv(clean_copy.folder / "results/examples/sequences/events.csv", dtype=str)
    assert len(events) == 18
    recordings = pd.read_csv(esc10 / "clips.csv", dtype=str)
    assert set(events["source"]) <= set(recordings["freesound_id"])
    assert set(events["label"]) <= set(recordings["category"].str.replace("_", " "))
    table = pd.read_csv(clean_copy.folder / "results/tables/overlap.csv")
    assert set(table["method"]) == ALL_METHODS
    assert set(table["model"]) == {"-", "tiny-audio-flamingo-3"}
    assert clean_copy.planned("tables", overlay=overlay) == {}


# Snakemake would take parts of such names for wildcards and path variables, and a shell parts of them for its own.
ODD_LABELS = ["{sounds}", "<unk>", "-$HOME %s * ? \"quoted' `ls` ; #&"]
ODD_NAMES = [*ODD_LABELS, "<results>", "{3F2504E0}", " {blank} ", "~\\n", "two\nlines"]


def test_another_file_of_a_label_remakes_the_clips_whatever_it_is_called(clean_copy):
    root, sounds, audio = clean_copy.folder, clean_copy.folder / "sounds <a> {b}", clean_copy.folder / "audio{c}"
    sounds.mkdir()
    audio.mkdir()
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(16_000 * 5) / 16_000)
    # The labels are links to folders, as data sets are put together without copying them.
    for label in ("bell", "dog", *ODD_LABELS):
        (root / "elsewhere" / label).mkdir(parents=True)
        (sounds / label).symlink_to(root / "elsewhere" / label)
        soundfile.write(sounds / label / "a.wav", tone, 16_000)
    (sounds / "dog/loop").symlink_to(sounds)
    for name in ODD_NAMES:
        soundfile.write(sounds / "dog" / f"{name}.wav", tone, 16_000)
        soundfile.write(audio / f"{name}.wav", tone, 16_000)
    rows = ["filename,category", "{sounds}.wav,dog", "<unk>.wav,<cat>", "<results>.wav,{bell}"]
    (root / "<sounds> {x}.csv").write_text("\n".join(rows))
    listed = {"type": "esc50", "csv": "<sounds> {x}.csv", "audio": audio.name}
    overlay = {
        "sounds": {"synthetic": None, "mine": {"type": "folder", "path": sounds.name}, "listed": listed},
        "examples": {"sequences": {"sounds": "mine"}, "sequences-exact": {"sounds": "listed"}},
    }
    clean_copy.run("examples", overlay=overlay)
    clips = pd.read_csv(root / "results/sounds/mine/clips.csv")
    assert {f"dog/{name}.wav" for name in ODD_NAMES} <= set(clips["source"])
    assert set(clips["label"]) == {"bell", "dog", *ODD_LABELS}
    assert set(pd.read_csv(root / "results/sounds/listed/clips.csv")["label"]) == {"dog", "<cat>", "{bell}"}
    shutil.copytree(root / "resources/tiny-qwen2-audio", root / "-{model} <a>")
    overlay |= {"models": {MODEL: {"checkpoint": "-{model} <a>"}}}
    plan = clean_copy.planned(overlay=overlay)
    assert plan["plot_reading"] == 1
    assert "prepare_clips" not in plan
    # A link that leads to another folder, whose files of the same names are older than the clips.
    shutil.copytree(root / "elsewhere/bell", root / "elsewhere/another bell")
    os.utime(root / "elsewhere/another bell/a.wav", (0, 0))
    (sounds / "bell").unlink()
    (sounds / "bell").symlink_to(root / "elsewhere/another bell")
    assert clean_copy.planned("results/sounds/mine/clips.csv", overlay=overlay) == {"prepare_clips": 1}
    # A file behind a link, and the content of one whose name Snakemake would take for a pattern.
    soundfile.write(root / "elsewhere/dog/new.wav", tone, 16_000)
    soundfile.write(audio / "{sounds}.wav", tone[::2], 16_000)
    plan = clean_copy.planned("examples", overlay=overlay)
    assert plan["prepare_clips"] == 2
    assert plan["compose_sequences"] == 3


def test_questions_of_ones_own_are_read_shard_by_shard(clean_copy):
    folder = clean_copy.folder / "-mine {q} <a>"
    folder.mkdir()
    shutil.copytree(clean_copy.folder / "resources/tiny-qwen2-audio", clean_copy.folder / "-{model} <a>")
    rng = np.random.default_rng(0)
    entries = []
    for number in range(3):
        soundfile.write(folder / f"{{{number}}}.wav", rng.normal(0, 0.1, (2 * 44_100, 2)), 44_100)
        entries.append(
            {"id": f"id-{number}", "audio_id": f"./{{{number}}}.wav", "question": "Which sound comes first?"}
            | {"choices": ["dog", "cat"], "answer": "dog", "split": "test-mini", "category": ["a", "b"]}
        )
    entries.append(entries[0] | {"id": "id-3", "audio_id": "lost.wav"})
    (folder / "<mine>.json").write_text(json.dumps(entries))
    mine = {"type": "mmau", "path": f"{folder.name}/<mine>.json", "audio": folder.name, "max_seconds": 20.0}
    overlay = {
        "examples": {"questions": None, "mine": mine},
        "studies": {"listening": None, "answers": None, "heard": {"examples": "mine", "readout": "share"}},
        "models": {MODEL: {"checkpoint": "-{model} <a>"}},
        "figures": {"audio_share": "heard"},
        "shard_seconds": 60,
    }
    clean_copy.run("audio_share", overlay=overlay)
    results = clean_copy.folder / "results"
    # Of the four items, three fill a shard.
    log = (results / f"logs/analyze_attention/heard/{MODEL}/1.log").read_text()
    assert "skipped: item id-3: -mine {q} <a>/lost.wav does not exist" in log
    table = pd.read_csv(results / "tables/audio_share.csv")
    assert set(table["study"]) == {"heard"}
    # All methods that fit: what they are made of names no label.
    methods = {*CONFIG["studies"]["listening"]["methods"], "neutral"}
    assert set(table["condition"]) == {"original", "prompt_only"} | methods
    assert (table["n"] == 3).all()
    assert not (results / "examples").exists()

    soundfile.write(folder / "lost.wav", rng.normal(0, 0.1, 16_000), 16_000)
    steps = {"tabulate_audio_share": 1, "plot_audio_share": 1}
    assert clean_copy.planned("audio_share", overlay=overlay) == {"analyze_attention": 1} | steps
    overlay["examples"]["mine"] |= {"n_items": 3}
    assert clean_copy.planned("audio_share", overlay=overlay) == steps
    overlay["examples"]["mine"] |= {"splits": ["dev"]}
    output = clean_copy.run("--dry-run", overlay=overlay, fails=True)
    assert "-mine {q} <a>/<mine>.json has no item of the splits dev; its splits are test-mini: correct splits" in output


def test_a_rehearsal_runs_the_real_rules_and_makes_no_tables(clean_copy):
    overlay = yaml.safe_load((clean_copy.folder / "profiles/rehearsal.yaml").read_text())
    overlay["examples"]["rehearsal"]["n_samples"] = 2
    for model in overlay["models"].values():
        if model is None:
            continue
        # The real configuration with the sizes of a toy; the processor and everything else stays.
        path = clean_copy.folder / model["checkpoint"] / "config.json"
        config = json.loads(path.read_text())
        config["text_config"] |= {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
        config["text_config"] |= {
            "num_key_value_heads": 2,
            "num_hidden_layers": 2,
            "layer_types": ["full_attention"] * 2,
        }
        audio = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
        audio |= {"encoder_layers": 1, "d_model": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
        config["audio_config"] |= {key: size for key, size in audio.items() if key in config["audio_config"]}
        path.write_text(json.dumps(config))
    clean_copy.run(overlay=overlay)
    results = clean_copy.folder / "results"
    for model in ("rehearsal-qwen2-audio", "rehearsal-audio-flamingo-3"):
        windows = pd.read_csv(results / f"scores/localization/{model}.csv")
        assert set(windows["model"]) == {model}
        assert set(windows["method"]) >= {"direct_prompt", "steering_sample"}
        log = (results / f"logs/extract_activations/rehearsal/{model}/0.log").read_text()
        assert "REHEARSAL" in log
        with h5py.File(results / f"states/rehearsal/{model}/0.h5") as file:
            assert file.attrs["weights"] == "random"
        # Un-steered passes, answers, and steering.
        assert len(list(results.glob(f"performance/*/*/{model}/**/0.tsv"))) == 3
    assert not (results / "tables").exists()
    assert not (results / "figures").exists()


def test_models_that_were_not_fetched_end_in_one_sentence(clean_copy, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    overlay = {"models": {"far": {"checkpoint": "someone/far", "revision": "0" * 40}}}
    assert re.search(r"^fetch_model +1$", clean_copy.run("--dry-run", "fetch_models", overlay=overlay), re.MULTILINE)
    output = clean_copy.run("results/states/sequences-exact/far/0.h5", overlay=overlay, fails=True)
    assert "extract_activations" in output
    log = (clean_copy.folder / "results/logs/extract_activations/sequences-exact/far/0.log").read_text()
    assert re.search(r"ERROR someone/far at revision 0+ is not, .* uv run snakemake fetch_models", log)
    assert "Traceback" not in log
