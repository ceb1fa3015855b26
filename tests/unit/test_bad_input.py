"""What users get wrong: configuration, clips, tables and checkpoints. Each ends in one sentence with a way out."""

import errno
import json
import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from safetensors.numpy import save

from wheretolisten import provenance
from wheretolisten.clips import library
from wheretolisten.clips.pcm import read_clip
from wheretolisten.clips.records import Clip, read_clips
from wheretolisten.config import loading as configuration
from wheretolisten.config.models import Model
from wheretolisten.config.places import refuse_repeated_keys
from wheretolisten.config.sounds import Esc50Library, FolderLibrary, SakuraLibrary
from wheretolisten.errors import UserError
from wheretolisten.examples import read_shard
from wheretolisten.models import registry
from wheretolisten.questions.mmau import read_entries

RATE = 16_000


def is_refused(message: str, function, *arguments) -> None:
    """Whether a call ends in one short line that says what `message`, a regular expression, says."""
    with pytest.raises(UserError, match=message) as caught:
        function(*arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert len(sentence) < 700


def table(cases: list[tuple]) -> list:
    """Arguments of `parametrize`, from rows that start with their name."""
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


# ----------------------------------------------------------------------------------------------------- configuration

SEQUENCES = "examples > sequences > composition > "
EXACT = "examples > sequences-exact > composition > "

CONFIG = [
    # what is put where, and what the sentence says
    ("unknown section", "lambda", 0.1, r"lambda: unknown key; remove it or correct its spelling"),
    ("unknown key", "steering > lambda", 0.1, r"steering\.lambda: unknown key; remove it"),
    ("a key of another kind", "sounds > synthetic > path", "x", r"sounds\.synthetic\.path: unknown key"),
    ("a list for a section", "models", ["tiny"], r"models: must hold keys of its own, not \['tiny'\]"),
    ("text for a section", "steering", "strong", r"steering: must hold keys of its own, not 'strong'"),
    ("text for a whole number", "random_draws", "many", r"random_draws: .*integer.*'many'"),
    ("half a sample", "examples > sequences > n_samples", 2.5, r"examples\.sequences\.n_samples: .*integer.*2\.5"),
    (
        "yes for a number",
        "examples > sequences > n_samples",
        True,
        r"sequences: n_samples must be a number, not True",
    ),
    ("a number for a name", "models > 7", {"checkpoint": 7}, r"models\.7\.checkpoint: .*valid string, not 7"),
    (
        "a missing key",
        "examples > sequences",
        {"type": "sequences", "n_samples": 3},
        r"examples\.sequences\.sounds: the key is missing",
    ),
    ("a missing type", "sounds > mine", {"path": "."}, r"sounds\.mine: the key type is missing; add procedural"),
    ("lambda is a word", "steering > scale", "strong", r"steering\.scale: .*valid number.*'strong'"),
    ("lambda is a list", "steering > scale", [0.1], r"steering\.scale: .*valid number, not \[0\.1\]"),
    ("lambda is yes", "steering > scale", True, r"steering: scale must be a number, not True"),
    ("lambda is NaN", "steering > scale", float("nan"), r"steering\.scale: .*finite number, not nan"),
    (
        "lambda is infinite",
        "steering > scale",
        float("inf"),
        r"steering\.scale: .*finite number, not inf",
    ),
    (
        "a steered layer out of range",
        "steering > layers",
        [6],
        r"steering\.layers: block 6 does not exist; .*choose from 0 to 3",
    ),
    (
        "a scored layer out of range",
        "localization > layers",
        "4-9",
        r"localization\.layers: block 9 .*tiny-qwen2",
    ),
    (
        "no duration to try",
        "localization > unknown_durations",
        [],
        r"localization\.unknown_durations: there must be at least one; name it",
    ),
    (
        "a duration of nothing",
        "localization > unknown_durations",
        [1.0, 0],
        r"localization\.unknown_durations\.1: .*greater than 0, not 0",
    ),
    (
        "a negative layer",
        "steering > layers",
        [-1],
        r"steering\.layers: a list of blocks holds .*from 0 on",
    ),
    ("no layer", "steering > layers", [], r"steering\.layers: a list of blocks holds .*at least one"),
    ("an unknown model", "models > mine", {"checkpoint": "whisper"}, r"models\.mine\.checkpoint: 'whisper' is neither"),
    ("no model", "models", {}, r"models: there must be at least one; name it"),
    (
        "unknown sounds",
        "examples > sequences > sounds",
        "esc",
        r"'esc' is not in sounds \(synthetic, mine\); name one",
    ),
    ("a model called random", "models > random", {"checkpoint": "x"}, r"'random' is the name of the random baseline"),
    (
        "a name that leaves results",
        "models > ../up",
        {"checkpoint": "x"},
        r"models: the name '\.\./up' becomes a folder; use lower-case",
    ),
    ("a hidden name", "models > .hidden", {"checkpoint": "x"}, r"models: the name '\.hidden' becomes a folder"),
    (
        "a name with a line break",
        "models > tiny\n",
        {"checkpoint": "x"},
        r"models: the name 'tiny\\n' becomes a folder",
    ),
    (
        "no label",
        "sounds > synthetic > labels",
        [],
        r"sounds\.synthetic\.labels: there must be at least one; name it",
    ),
    (
        "a label twice",
        "sounds > synthetic > labels",
        ["dog", "cat", "dog"],
        r"labels: label 'dog' is listed twice; keep",
    ),
    (
        "an unknown label",
        "sounds > synthetic > labels",
        ["yeti"],
        r"no procedural sound 'yeti'; choose from dog, cat",
    ),
    (
        "a domain without labels",
        "sounds > mine > domains",
        {"a": []},
        r"mine\.domains: domain 'a' lists no label; add",
    ),
    ("no domain", "sounds > mine > domains", {}, r"mine\.domains: no domain is listed; list one .* or write null"),
    (
        "a label in two domains",
        "sounds > mine > domains",
        {"a": ["x"], "b": ["x"]},
        r"'x' is listed under 'a' and 'b'",
    ),
    (
        "no folder",
        "sounds > mine > path",
        "no/such",
        r"sounds\.mine\.path: 'no/such' does not exist as a folder; cor",
    ),
    (
        "backward durations",
        "examples > sequences > composition > clip_seconds",
        [5, 4],
        r"must be \[shortest, longest\]",
    ),
    ("negative durations", "examples > sequences > composition > clip_seconds", [-1, 4], r"0\.1 <= shortest"),
    (
        "one duration",
        "examples > sequences > composition > clip_seconds",
        [5],
        r"composition\.clip_seconds\.1: the value is missing; add it",
    ),
    ("a duration of NaN", SEQUENCES + "gap_seconds", float("nan"), r"gap_seconds: nan is neither"),
    ("a negative gap", SEQUENCES + "gap_seconds", -1, r"gap_seconds: -1 is neither a number"),
    ("a gap of three ends", SEQUENCES + "gap_seconds", [0, 1, 2], r"gap_seconds: \[0, 1, 2\]"),
    ("a gap that shrinks", SEQUENCES + "gap_seconds", [2, 1], r"gap_seconds: \[2, 1\] is nei"),
    ("a gap of yes", SEQUENCES + "gap_seconds", True, r"gap_seconds: True is neither"),
    ("unequal gaps in Figure 2", EXACT + "gap_seconds", [1, 2], r"figures\.attention_change: .*equal .*gap_seconds"),
    ("overlap in Figure 2", EXACT + "overlap", {}, r"direct_prompt\.question says 'three sound.* has 6; word"),
    ("one event", EXACT + "n_events", 1, r"n_events: .*2, not 1"),
    ("nine events", EXACT + "n_events", 9, r"n_events: .*8, not 9"),
    ("second sounds of no event", EXACT + "overlap", {"n_events": True}, r"overlap: n_events must be a number, not"),
    (
        "more second sounds than events",
        EXACT + "overlap",
        {"n_events": 4},
        r"overlap\.n_events: 4 events cannot have .* n_events: 3; lower it",
    ),
    ("a second sound as long as its event", EXACT + "overlap", {"fraction": 1}, r"fraction: .*less than 1, not 1"),
    ("a tick of a second sound", EXACT + "overlap", {"fraction": 0.01}, r"overlap\.fraction: .*would last 0\.05 s"),
    ("another event in the reading", "figures > reading_position", "event-1", r"has no event 'event-1' \(begin, mid"),
    (
        "longer than the clips",
        "examples > sequences > composition > clip_seconds",
        [6, 7],
        r"shorten the events or len",
    ),
    (
        "longer than models hear",
        "examples > sequences > composition > gap_seconds",
        4,
        r"hears at most 20 s.*; shorten",
    ),
    (
        "an unknown direction",
        "methods > mine",
        {"direction": "mean"},
        r"methods\.mine\.direction: there is no direction 'mean'; choose from sample, .*positive_<n>",
    ),
    (
        "a paraphrase that is not there",
        "methods > mine",
        {"direction": "positive_4"},
        r"methods\.mine\.direction: 'positive_4' is no prompt \(positive, .*\); add it to prompts, or take",
    ),
    (
        "neutral without a paraphrase",
        "prompts > negative_1",
        None,
        r"methods\.negative_1\.direction: 'negative_1' is no prompt",
    ),
    (
        "a method without a direction",
        "methods > mine",
        {"steering": {"scale": 1}},
        r"methods\.mine: it takes a direction, or a prompt that is asked instead; write one of the two",
    ),
    (
        "a method with an unknown key",
        "methods > mine",
        {"direction": "sample", "steering": {"lambda": 1}},
        r"methods\.mine\.steering\.lambda: unknown key; remove it",
    ),
    (
        "a method with a layer out of range",
        "methods > mine",
        {"direction": "sample", "steering": {"layers": [6]}},
        r"methods\.mine\.steering\.layers: block 6 does not exist; .*choose from 0 to 3",
    ),
    (
        "a method whose emphasis is not steered",
        "methods > mine",
        {"direction": "sample", "steering": {"layers": [0], "emphasis": {"layers": [3]}}},
        r"methods\.mine\.steering\.emphasis\.layers: \[3\] holds no steered block",
    ),
    (
        "a method of a bad name",
        "methods > My method",
        {"direction": "sample"},
        r"methods: the name 'My method' becomes part of a word; use lower-case",
    ),
    ("no method", "methods", {}, r"methods: there must be at least one; name it"),
    (
        "an unknown method of a study",
        "studies > localization > methods",
        ["sample", "telepathy"],
        r"studies\.localization\.methods: 'telepathy' is not in methods \(sample, .*; name one of them or add",
    ),
    (
        "a method twice of a study",
        "studies > localization > methods",
        ["sample", "silence", "sample"],
        r"studies\.localization\.methods: 'sample' is listed twice; keep one",
    ),
    (
        "no method of a study",
        "studies > localization > methods",
        [],
        r"studies\.localization\.methods: \[\] is neither all nor a list of names",
    ),
    (
        "one method without a list",
        "studies > localization > methods",
        "sample",
        r"studies\.localization\.methods: 'sample' is neither all nor a list of names",
    ),
    (
        "a drawn method that is not run",
        "figures > reading_method",
        "vista",
        r"figures\.reading_method: 'vista' is no method of study 'localization' .*; name one of these, or add it",
    ),
    (
        "a paraphrase twice",
        "prompts > negative_2",
        "Listen to the whole audio",
        r"prompts: negative_1 and negative_2 are both 'Listen to the whole audio'; reword or take out \(null\) one",
    ),
    (
        "a paraphrase without the label",
        "prompts > positive_1",
        "Where is it?",
        r"prompts: positive_1 must contain \{label\}",
    ),
    (
        "a key that no sweep varies",
        "studies > strength > vary",
        "steering.strength",
        r"studies\.strength: vary: 'steering\.strength' cannot be varied; choose one of steering\.scale, ",
    ),
    (
        "a swept value of another kind",
        "studies > strength > values",
        [0.1, "strong"],
        r"studies\.strength\.values: steering: scale: .*valid number.*'strong'",
    ),
    (
        "each of what is no block",
        "studies > strength > values",
        ["each"],
        r"studies\.strength\.values: steering: scale: .*valid number.*'each'",
    ),
    (
        "a swept block out of range",
        "studies > steered-layers > values",
        ["all", [7]],
        r"studies\.steered-layers\.values: block 7 does not exist; .*choose from 0 to 3 \(model 'tiny-qwen2-audio'\)",
    ),
    (
        "a swept value twice",
        "studies > strength > values",
        [1, 0.5, 1.0],
        r"strength: values: 1\.0 is listed twice; keep",
    ),
    (
        "a sweep without values",
        "studies > strength > values",
        [],
        r"studies\.strength\.values: there must be at least one",
    ),
    (
        "an empty prompt in a sweep",
        "studies > inference-prompt > values",
        ["Hm?", ""],
        r"inference-prompt\.values: prompts\.inference must not be empty",
    ),
    (
        "a number for a prompt in a sweep",
        "studies > inference-prompt > values",
        [3],
        r"inference-prompt\.values: prompts\.inference: 3 is no text; put it in quotes",
    ),
    (
        "no head",
        "studies > heads > values",
        [0],
        r"studies\.heads: values: 0 is no number of heads; write .* from 1 on",
    ),
    (
        "more heads than a model has",
        "studies > heads > values",
        [1, 99],
        r"studies\.heads\.values: 99 heads, but the scored blocks have 8; choose fewer",
    ),
    (
        "an unknown study of a sweep",
        "studies > heads > of",
        "esc",
        r"studies\.heads\.of: 'esc' is no study that reads windows \(localization, localization-exact\); name one",
    ),
    (
        "a sweep of a sweep",
        "studies > heads > of",
        "strength",
        r"studies\.heads\.of: 'strength' is no study that reads windows",
    ),
    (
        "a sweep of shares",
        "studies > heads > of",
        "listening",
        r"studies\.heads\.of: 'listening' is no study that reads windows",
    ),
    (
        "an unknown model of a sweep",
        "studies > heads > models",
        ["tiny"],
        r"studies\.heads\.models: 'tiny' is not configured \(tiny-qwen2-audio, tiny-audio-flamingo-3\); name one",
    ),
    ("one model of a sweep", "studies > heads > models", "tiny", r"heads\.models: 'tiny' is neither all nor a list of"),
    ("a sweep that leaves results", "studies > ../up", {"vary": "heads", "values": [1]}, r"'\.\./up' becomes a folder"),
    ("shards below one sample", "shard_seconds", 10, r"shard_seconds: 10 s is less than one recording .*; raise it"),
]


@pytest.mark.parametrize(("path", "value", "message"), table(CONFIG))
def test_configuration(raw_config, root, path, value, message):
    raw_config["sounds"]["mine"] = {"type": "folder", "path": "."}
    *parents, last = path.split(" > ")
    section = raw_config
    for key in parents:
        section = section[key]
    section[last] = value
    is_refused(rf"^config\.yaml: .*{message}", configuration.load, raw_config, root)


@pytest.mark.parametrize(
    ("text", "message"),
    table(
        [
            ("a model twice", "models:\n  a: {dtype: auto}\n  b: {}\n  a: {}\n", r"line 4: 'a' is named twice; rename"),
            ("a section twice", "figures: {}\nmodels: {}\nfigures: {}\n", r"line 3: 'figures' is named twice"),
            ("a key twice", "steering: {scale: 1, scale: 2}\n", r"line 1: 'scale' is named twice"),
        ]
    ),
)
def test_names_that_yaml_would_drop(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    is_refused(rf"mine\.yaml: {message}", refuse_repeated_keys, path)


@pytest.mark.parametrize(
    ("content", "message"),
    table(
        [
            ("empty", b"", r"the file holds no keys; write sections"),
            ("a comment", b"# nothing yet\n", r"the file holds no keys"),
            ("a list", b"- models\n", r"the file holds no keys"),
            ("a word", b"models\n", r"the file holds no keys"),
            ("a tab", b"models:\n\ta: {}\n", r"line 2: this is not YAML \(.*\); correct it, and indent by spaces"),
            ("an open bracket", b"models: [\n", r"line 2: this is not YAML"),
            ("Latin-1", "models: {}\n# caf\u00e9\n".encode("latin-1"), r"line 2: this is not UTF-8 text; save"),
            ("UTF-16", "models: {}\n".encode("utf-16"), r"line 1: this is not UTF-8 text; save"),
            ("a control character", b"models: {a: \x07}\n", r"this is not YAML"),
        ]
    ),
)
def test_files_that_are_no_configuration(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_bytes(content)
    is_refused(rf"^mine\.yaml: {message}", configuration.find_places, ["mine.yaml"])


@pytest.mark.parametrize("section", ["sounds", "examples"])
def test_an_entry_keeps_its_type(tmp_path, monkeypatch, section):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(f"{section}:\n  mine:\n    type: procedural\n    seed: 1\n")
    Path("b.yaml").write_text(f"{section}:\n  mine: {{type: other, path: x}}\n")
    sentence = rf"{section}\.mine\.type: 'mine' is of type procedural already \(a\.yaml: line 3\), .*`mine: null`"
    is_refused(rf"^b\.yaml: line 2: {sentence}", configuration.find_places, ["a.yaml", "b.yaml"])
    arguments = {section: {"mine": {"type": "other"}}}
    is_refused(rf"^--config: {sentence}", configuration.find_places, ["a.yaml"], arguments)
    # Snakemake merges overlays before it lays them over config.yaml, so that nothing takes it out in between.
    Path("none.yaml").write_text(f"{section}: {{mine: null}}\n")
    is_refused(rf"^b\.yaml: line 2: {sentence}", configuration.find_places, ["a.yaml", "none.yaml", "b.yaml"])
    # The same type is a change of its other keys.
    configuration.find_places(["a.yaml", "a.yaml"])


def test_errors_name_the_file_and_the_line_of_the_key(raw_config, root, tmp_path, monkeypatch):
    files = {
        "config.yaml": (root / "config.yaml").read_text(),
        "one.yaml": "steering: {strength: 1}\nrandom_draws: 0\n",
        "two.yaml": "models:\n  a.b:\n    checkpoint: x\n    dtype: float8\nprompts:\n  inference: ' '\n",
        "three.yaml": "sounds:\n  mine: {type: folder}\n  synthetic:\n    clips_per_label: yes\n",
    }
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        Path(name).write_text(text)
    places = configuration.find_places(list(files), {"shard_seconds": -1})
    raw_config["steering"]["strength"] = 1
    raw_config["random_draws"] = 0
    raw_config["figures"]["reading_sample"] = -1
    raw_config["prompts"]["inference"] = " "
    raw_config["models"]["a.b"] = {"checkpoint": "x", "dtype": "float8"}
    raw_config["sounds"]["mine"] = {"type": "folder"}
    raw_config["sounds"]["synthetic"]["clips_per_label"] = True
    raw_config["shard_seconds"] = -1
    with pytest.raises(UserError) as caught:
        configuration.load(raw_config, root, places)
    lines = files["config.yaml"].splitlines()
    (sample,) = [number for number, line in enumerate(lines, 1) if line.startswith("  reading_sample:")]
    for part in (
        "one.yaml: line 1: steering.strength: unknown key",
        "one.yaml: line 2: random_draws: ",
        f"config.yaml: line {sample}: figures.reading_sample: ",
        "two.yaml: line 4: models.a.b.dtype: ",
        "two.yaml: line 6: prompts: inference must not be empty",
        "three.yaml: line 2: sounds.mine.path: the key is missing; add it",
        "three.yaml: line 4: sounds.synthetic: clips_per_label must be a number",
        "--config: shard_seconds: ",
    ):
        assert part in str(caught.value)
    # What is found later, in files that the configuration names, or across sections.
    raw = {"models": {"tiny-qwen2-audio": {"checkpoint": "nowhere/to be found"}}}
    Path("four.yaml").write_text("models:\n  tiny-qwen2-audio:\n    checkpoint: nowhere/to be found\n")
    defaults = yaml.safe_load(files["config.yaml"])
    defaults["models"]["tiny-qwen2-audio"] |= raw["models"]["tiny-qwen2-audio"]
    places = configuration.find_places(["config.yaml", "four.yaml"])
    is_refused(
        r"^four\.yaml: line 3: models\.tiny-qwen2-audio\.checkpoint: ", configuration.load, defaults, root, places
    )
    defaults["methods"]["sample"] = {"direction": "positive_9"}
    is_refused(r"^config\.yaml: line \d+: methods\.sample\.direction: ", configuration.load, defaults, root, places)


def test_paths_start_from_the_repository_wherever_it_is_run(raw_config, root, tmp_path, monkeypatch):
    raw_config["sounds"]["mine"] = {"type": "folder", "path": "docs"}
    raw_config["examples"]["mine-too"] = {"type": "mmau", "path": "config.yaml", "audio": "docs", "max_seconds": 20}
    here = configuration.load(raw_config, root)
    assert here.sounds["mine"].path == "docs"
    monkeypatch.chdir(tmp_path)
    there = configuration.load(raw_config, root)
    assert there.sounds["mine"].path == there.examples["mine-too"].audio == str(root / "docs")
    assert there.examples["mine-too"].path == str(root / "config.yaml")
    # Results name a model by its checkpoint: it is the same one.
    model, study = "tiny-qwen2-audio", "localization"
    assert there.steering_settings(model, study) == here.steering_settings(model, study)
    checkpoint = here.models[model].checkpoint
    assert provenance.checkpoint_digest(checkpoint, None) == provenance.checkpoint_digest(str(root / checkpoint), None)
    raw_config["sounds"]["mine"]["path"] = "nowhere"
    is_refused(rf"'nowhere' does not exist as a folder in {root}; correct", configuration.load, raw_config, root)


def test_good_configurations_name_nothing_twice(root):
    for path in [root / "config.yaml", *root.glob("profiles/*.yaml")]:
        refuse_repeated_keys(path)


def test_layers_of_a_fetched_model_are_checked_before_any_job(raw_config, root, tmp_path):
    hub = {"checkpoint": "someone/some-model", "revision": "0" * 40}
    snapshot = tmp_path / "models--someone--some-model/snapshots" / hub["revision"]
    snapshot.mkdir(parents=True)
    shutil.copy(root / "resources/rehearsal-qwen2-audio/config.json", snapshot)
    raw_config["models"] = {"large": hub}
    raw_config["model_cache"] = str(tmp_path)
    raw_config["steering"]["layers"] = "14-29"
    configuration.load(raw_config, root)
    raw_config["steering"]["layers"] = "14-32"
    is_refused(r"layers: block 32 does not exist; .* \(model 'large'\)", configuration.load, raw_config, root)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("adapter_config.json", {}, r"there is an adapter \(adapter_config\.json\)"),
        ("config.json", {"model_type": "qwen2_audio", "quantization_config": {}}, r"the weights are quantised"),
        ("config.json", {"model_type": "whisper"}, r"models of type whisper cannot be read: it has an encoder and a"),
        (
            "config.json",
            {"model_type": "t5", "is_encoder_decoder": True, "architectures": ["T5ForConditionalGeneration"]},
            r"models of type t5 cannot be read: it has an encoder and a decoder",
        ),
        (
            "config.json",
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
            r"reads text only, and study 'localization' is about recordings \('sequences'\); take one of the two out",
        ),
    ],
)
def test_what_rules_a_fetched_model_out_is_said_before_any_job(raw_config, root, tmp_path, name, content, message):
    hub = {"checkpoint": "someone/some-model", "revision": "0" * 40}
    snapshot = tmp_path / "models--someone--some-model/snapshots" / hub["revision"]
    snapshot.mkdir(parents=True)
    raw_config["models"], raw_config["model_cache"] = {"large": hub}, str(tmp_path)
    configuration.load(raw_config, root)
    (snapshot / name).write_text(json.dumps(content))
    is_refused(rf"^config\.yaml: models\.large\.checkpoint: .*{message}", configuration.load, raw_config, root)


def test_configurations_are_checked_without_loading_anything(root):
    code = (
        "import sys, yaml; from wheretolisten.config.loading import load; "
        "load(yaml.safe_load(open('../config.yaml')), '..'); "
        "sys.exit(bool({'torch', 'transformers', 'safetensors'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root / "workflow_scripts", check=True)


# ------------------------------------------------------------------------------------------------------------- clips


def tone(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def sound(seconds: float, rate: int = RATE, channels: int = 1):
    return lambda path: soundfile.write(path, tone(seconds, rate, channels), rate)


def holed(value: float):
    signal = tone(2)
    signal[500] = value
    return lambda path: soundfile.write(path, signal, RATE, subtype="FLOAT")


def cut_off(path: Path) -> None:
    sound(2)(path)
    path.write_bytes(path.read_bytes()[:20])


CLIPS = [
    # file of the library, what is put there, and why it is left out, or how many seconds are heard
    ("missing", "x.wav", None, "does not exist"),
    ("empty", "x.wav", Path.touch, r"is empty \(0 bytes\)"),
    ("0 s", "x.wav", sound(0), r"lasts 0\.00 s, less than min_seconds \(0\.5 s\)"),
    ("short", "x.wav", sound(0.3), r"lasts 0\.30 s, less than min_seconds"),
    ("NaN", "x.wav", holed(np.nan), "holds values that are not finite numbers"),
    ("infinite", "x.wav", holed(-np.inf), "holds values that are not finite numbers"),
    ("silent", "x.wav", lambda path: soundfile.write(path, np.zeros(2 * RATE), RATE), "is silent"),
    ("cut off", "x.wav", cut_off, "cannot be read as audio"),
    ("not audio", "x.wav", lambda path: path.write_text("hello " * 99), "cannot be read as audio"),
    ("not audio, flac", "x.flac", lambda path: path.write_bytes(b"fLaC" + bytes(99)), "cannot be read as audio"),
    ("a pickle", "x.wav", lambda path: path.write_bytes(pickle.dumps([1])), "cannot be read as audio"),
    ("a folder", "x.wav", Path.mkdir, "is not a file"),
    ("an extension that is no sound's", "x.txt", lambda path: path.write_text("notes"), "cannot be read as audio"),
    ("a path outside", "../x.wav", sound(2), "lies outside .*audio"),
    ("a path outside, later", "a/../../x.wav", sound(2), "lies outside .*audio"),
    ("an absolute path", "/etc/passwd", None, "lies outside .*audio"),
    ("wav called flac", "x.flac", lambda path: soundfile.write(path, tone(2), RATE, format="WAV"), 2.0),
    ("8 channels", "x.wav", sound(2, channels=8), 2.0),
    ("192 kHz", "x.wav", sound(2, rate=192_000), 2.0),
    ("8 channels at 192 kHz", "x.flac", sound(2, rate=192_000, channels=8), 2.0),
]


@pytest.fixture
def esc50(tmp_path) -> Path:
    """Folder of a library that is a table and its audio, with four good clips."""
    (tmp_path / "audio/a").mkdir(parents=True)
    rows = [f"{label}.wav,{label}" for label in ("dog", "cat", "rain", "bell")]
    for row in rows:
        sound(1)(tmp_path / "audio" / row.split(",")[0])
    (tmp_path / "clips.csv").write_text("\n".join(["filename,category", *rows, ""]))
    return tmp_path


def prepare(folder: Path, on_bad_file: str = "skip") -> list:
    where = {"csv": str(folder / "clips.csv"), "audio": str(folder / "audio")}
    return library.prepare(Esc50Library(type="esc50", on_bad_file=on_bad_file, **where), folder / "results/audio")


@pytest.mark.parametrize(("name", "make", "expected"), table(CLIPS))
def test_clips(esc50, caplog, name, make, expected):
    if make:
        make(esc50 / "audio" / name)
    with (esc50 / "clips.csv").open("a") as rows:
        rows.write(f"{name},dog\n")
    with caplog.at_level(logging.WARNING):
        clips = prepare(esc50)
    assert [clip.source for clip in clips[:4]] == ["dog.wav", "cat.wav", "rain.wav", "bell.wav"]
    assert {path.parent for path in esc50.rglob("*.flac") if path.name != "x.flac"} == {esc50 / "results/audio"}
    if isinstance(expected, float):
        assert clips[4].n_frames == expected * RATE
        assert not caplog.messages
        return
    assert len(clips) == 4
    (warning,) = caplog.messages
    assert name in warning
    assert "\n" not in warning
    is_refused(rf"{expected}.*; repair or remove it, or set on_bad_file: skip$", prepare, esc50, "refuse")
    (esc50 / "clips.csv").write_text(f"filename,category\n{name},dog\n")
    is_refused(
        r"none of the 1 files of the clip library .*clips\.csv can be used; repair them, the log names", prepare, esc50
    )


def test_a_folder_takes_sound_and_nothing_else(esc50, caplog):
    for label in ("dog", "cat", "rain"):
        (esc50 / "sounds" / label).mkdir(parents=True)
        shutil.copy(esc50 / "audio" / f"{label}.wav", esc50 / "sounds" / label)
    for name in ("README.txt", ".DS_Store", "cover.jpg", "bark.mat", "bark.m4a"):
        (esc50 / "sounds/dog" / name).write_text("no sound")
    clips = library.prepare(FolderLibrary(type="folder", path=str(esc50 / "sounds")), esc50 / "results/audio")
    assert [clip.label for clip in clips] == ["cat", "dog", "rain"]
    # Sound in a format that nothing here reads was meant to be a clip.
    (message,) = caplog.messages
    assert "sounds/dog/bark.m4a cannot be read as audio" in message


# --------------------------------------------------------------------------------------------------------- manifests

EVENT = {"sample_id": "00000", "label": "dog", "domain": "animals", "onset": "0.0", "offset": "5.0", "clip_id": "d-1"}
EVENT |= {"source": "d", "duration": "5.0", "sample_seconds": "17.0", "path": "audio/0/00000.flac", "digest": "0"}
MANIFESTS = {
    "clips.csv": [
        {"clip_id": name, "label": name, "domain": "animals", "source": name}
        | {"path": f"audio/{name}.flac", "n_frames": "80000", "digest": "0"}
        for name in ("dog", "cat", "cow")
    ],
    "shard.csv": [
        EVENT | {"position": "begin"},
        EVENT | {"position": "middle", "onset": "6.0", "offset": "11.0"},
        EVENT | {"position": "end", "onset": "12.0", "offset": "17.0"},
    ],
    "esc50.csv": [{"filename": f"{name}.wav", "category": name} for name in ("dog", "cat", "cow")],
    "sakura/Animal/metadata.csv": [{"file": f"{name}.wav", "attribute_label": name} for name in ("dog", "cat", "cow")],
}


def without(*columns: str):
    return lambda rows: rows.drop(columns=list(columns))


def value(column: str, text: str):
    """Put `text` in the first row."""
    return lambda rows: rows.assign(**{column: [text, *rows[column][1:]]})


def first_row_twice(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rows, rows.head(1)])


def read(path: Path, audio: Path) -> None:
    """Read a manifest as the workflow does."""
    if path.name == "clips.csv":
        read_clips(path)
    elif path.name == "shard.csv":
        read_shard(path)
    elif path.name == "esc50.csv":
        settings = Esc50Library(type="esc50", csv=str(path), audio=str(audio), on_bad_file="refuse")
        library.prepare(settings, path.parent / "results")
    else:
        settings = SakuraLibrary(type="sakura", path="sakura", tracks={"animals": "Animal"}, on_bad_file="refuse")
        library.prepare(settings, path.parent / "results")


TABLE_OF_CLIPS, SHARD, ESC50, SAKURA = MANIFESTS
MANIFEST_CASES = [
    # file, what is done to its rows, and what the sentence says
    ("no labels", ESC50, without("category"), r"esc50\.csv lacks the column 'category'; it has filename; correct"),
    ("no files", SAKURA, without("file"), r"metadata\.csv lacks the column 'file'; it has attribute_label; correct"),
    ("no digests", TABLE_OF_CLIPS, without("digest"), r"clips\.csv lacks the columns digest; prepare the clips again"),
    ("no times", SHARD, without("onset", "offset"), r"shard\.csv lacks the columns onset, offset; build the examples"),
    ("a file twice", ESC50, first_row_twice, r"dog\.wav is listed twice; repair or remove it"),
    ("a clip twice", TABLE_OF_CLIPS, first_row_twice, r"clips\.csv lists clip 'dog' twice; prepare the clips again"),
    ("an event twice", SHARD, first_row_twice, r"lists sample 00000, position begin twice; build the examples again"),
    ("a slash, esc50", ESC50, value("category", "a/b"), r"dog\.wav has the label 'a/b'; a label holds no slash"),
    ("a slash, sakura", SAKURA, value("attribute_label", "../b"), r"dog\.wav has the label '\.\./b'; a label holds no"),
    (
        "a slash, clips",
        TABLE_OF_CLIPS,
        value("label", "a/b"),
        r"clips\.csv: clip 'dog' has the label 'a/b'; .*; prepare",
    ),
    ("a slash, shard", SHARD, value("label", "a/b"), r"sample 00000, position begin has the label 'a/b'; .*; build"),
    ("a line break, esc50", ESC50, value("category", "a\nb"), r"dog\.wav has the label 'a\\nb'; .*no line break"),
    (
        "a line break, clips",
        TABLE_OF_CLIPS,
        value("label", "a\nb"),
        r"clip 'dog' has the label 'a\\nb'; .*no line break",
    ),
    ("a line break, shard", SHARD, value("label", "a\nb"), r"position begin has the label 'a\\nb'; .*no line break"),
    ("an empty label", SHARD, value("label", ""), r"sample 00000, position begin has no label; build"),
    ("a path outside, esc50", ESC50, value("filename", "../dog.wav"), r"dog\.wav lies outside .*; repair or remove"),
    (
        "a path outside, clips",
        TABLE_OF_CLIPS,
        value("path", "../../a"),
        r"clip 'dog' lies outside .*: '\.\./\.\./a'; prepare",
    ),
    (
        "a path outside, shard",
        SHARD,
        value("path", "/etc/passwd"),
        r"position begin lies outside the examples: '/etc/passwd'; build",
    ),
    (
        "a time that is a word",
        SHARD,
        value("onset", "soon"),
        r"holds a time that is not a number \(.*'soon'.*'onset'\); build",
    ),
    ("a time of NaN", SHARD, value("offset", "nan"), r"lasts from 0 to nan s in a sample of 17 s; build"),
    ("an offset before the onset", SHARD, value("onset", "6"), r"lasts from 6 to 5 s in a sample of 17 s; build"),
    ("an offset after the end", SHARD, value("offset", "18"), r"lasts from 0 to 18 s in a sample of 17 s; build"),
    (
        "frames that are a word",
        TABLE_OF_CLIPS,
        value("n_frames", "many"),
        r"n_frames is not a whole number .*; prepare",
    ),
    ("an unknown position", SHARD, value("position", "last"), r"holds the position 'last', not one of begin, middle"),
    ("nothing", SHARD, None, r"shard\.csv cannot be read as a table of events \(.*\); build the examples again"),
    ("nothing, clips", TABLE_OF_CLIPS, None, r"clips\.csv cannot be read as a table of clips \(.*\); prepare"),
    ("nothing, esc50", ESC50, None, r"esc50\.csv cannot be read as a csv table \(.*\); repair it"),
]


@pytest.fixture
def manifests(esc50, monkeypatch) -> Path:
    """Folder with one good manifest of each kind."""
    monkeypatch.chdir(esc50)
    sound(1)(esc50 / "audio/cow.wav")
    for name, rows in MANIFESTS.items():
        (esc50 / name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(esc50 / name, index=False)
    shutil.copytree(esc50 / "audio", esc50 / "sakura/Animal/audio")
    return esc50


@pytest.mark.parametrize("name", MANIFESTS)
def test_good_manifests(manifests, name):
    read(manifests / name, manifests / "audio")


@pytest.mark.parametrize(("name", "change", "message"), table(MANIFEST_CASES))
def test_manifests(manifests, name, change, message):
    rows = pd.read_csv(manifests / name, dtype=str)
    (manifests / name).write_text(change(rows).to_csv(index=False) if change else "")
    is_refused(message, read, manifests / name, manifests / "audio")


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_row_that_is_too_long_ends_in_one_line(manifests, name):
    with (manifests / name).open("a") as file:
        file.write("x," * 20 + "\n")
    is_refused(rf"{Path(name).name} cannot be read as .*saw 21\); ", read, manifests / name, manifests / "audio")


def test_tables_that_the_system_refuses_are_not_called_broken(manifests, system_refuses):
    for name in MANIFESTS:
        path = manifests / name
        for number, way_out in ((errno.EACCES, "ask its owner"), (errno.ESTALE, "wait until"), (errno.EMFILE, "raise")):
            system_refuses(path, number)
            is_refused(rf"{path.name}: cannot be read, [^;]*; {way_out}", read, path, manifests / "audio")
    questions = manifests / "questions.json"
    system_refuses(questions, errno.EIO)
    is_refused(r"questions\.json: cannot be read, the system or its storage fails", read_entries, questions)


def test_recordings_that_the_system_refuses_are_not_left_out_as_broken(esc50, system_refuses):
    system_refuses(esc50 / "audio/dog.wav", errno.EMFILE)
    refused = r"dog\.wav: cannot be read, too many files are open .*; raise"
    is_refused(refused, prepare, esc50)
    is_refused(refused, read_clip, Clip("x", "dog", "all", "x", "dog.wav", 16_000, "0" * 64), esc50 / "audio")


# ------------------------------------------------------------------------------------------------------- checkpoints


def edited(name: str, **keys):
    """Set keys of a JSON file."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(content | keys))

    return change


def removed(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


def written(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def shards(*names: str):
    """An index of the weights that names files."""
    return edited("model.safetensors.index.json", weight_map={str(number): name for number, name in enumerate(names)})


def halved(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


def tensors(name: str, **arrays: np.ndarray):
    """A safetensors file."""
    return written(name, save({key.replace("__", "."): array for key, array in arrays.items()}))


def only(*changes):
    """Changes of an empty folder."""

    def change(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        for each in changes:
            each(folder)

    return change


WEIGHTS, PICKLED, INDEX = "model.safetensors", "pytorch_model.bin", r"model\.safetensors\.index\.json"
OWN_CODE = {"auto_map": {"AutoConfig": "modeling_evil.Evil", "AutoModel": "modeling_evil.Evil"}}
LORA = edited("adapter_config.json", peft_type="LORA", base_model_name_or_path="someone/base", r=4)
ADAPTER = r"there is an adapter \({}\), which would be left out: .*; merge it .*merge_and_unload\(\).*save_pretrained"
QUANTISED = (
    r"the weights are quantised \({}\); only unquantised .*: choose the checkpoint .*dtype: bfloat16, or device_map"
)
BITS = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
GPTQ = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
CHECKPOINTS = [
    # what is done to a good folder, and what the sentence says
    ("no config", removed("config.json"), r"no config\.json can be read in '.*/model'; point to a saved model"),
    ("a broken config", written("config.json", b"{"), r"no config\.json can be read in '.*/model'; point to a saved"),
    (
        "a wrong architecture",
        edited("config.json", model_type="whisper"),
        r"models of type whisper cannot be read: .*; choose",
    ),
    ("no architecture", edited("config.json", model_type=None), r"config\.json: a model of type None .* answers no"),
    (
        "code of its own",
        edited("config.json", **OWN_CODE),
        r"config\.json asks for code .*\(key auto_map\), .*; choose",
    ),
    (
        "code and architecture of its own",
        edited("config.json", model_type="evil", **OWN_CODE),
        r"config\.json asks for code that comes with the checkpoint \(key auto_map\), which is never run; choose",
    ),
    ("code of a processor", edited("processor_config.json", **OWN_CODE), r"processor_config\.json asks for code"),
    ("code of a tokenizer", edited("tokenizer_config.json", **OWN_CODE), r"tokenizer_config\.json asks for code"),
    ("no chat template", removed("chat_template.jinja"), r"no chat template in '.*/model'; add .*chat_template\.jinja"),
    ("an empty chat template", written("chat_template.jinja", b""), r"no chat template in '.*/model'; add"),
    (
        "pickled weights",
        removed(WEIGHTS),
        r"pickled \(pytorch_model\.bin\), which may run code.*; choose .*safetensors",
    ),
    ("no weights", removed(WEIGHTS, PICKLED), r"no weights file \(\*\.safetensors\); put it there, or choose another"),
    (
        "nothing but a trainer's state",
        lambda folder: [removed(WEIGHTS, PICKLED)(folder), written("optimizer.pt", b"")(folder)],
        r"no weights file \(\*\.safetensors\); put it there",
    ),
    (
        "weights by another name",
        lambda folder: (folder / WEIGHTS).rename(folder / "consolidated.safetensors"),
        rf"there is neither model\.safetensors nor {INDEX} in '.*/model', .*; rename them",
    ),
    (
        "a missing shard",
        shards(WEIGHTS, "2.safetensors"),
        rf"{INDEX} names 2\.safetensors, which is not .*; put it there",
    ),
    (
        "a shard outside",
        shards("../2.safetensors"),
        rf"{INDEX} names \.\./2\.safetensors, which is not in that folder; put",
    ),
    ("a broken index", written("model.safetensors.index.json", b"?"), rf"{INDEX} names no weights files; take it"),
    ("half of the weights", halved, r"model\.safetensors is cut off or no safetensors file; fetch it again"),
    ("a pointer for weights", written(WEIGHTS, b"version https://git-lfs"), r"; fetch it again \(with git lfs pull"),
    ("an adapter beside the weights", LORA, ADAPTER.format(r"adapter_config\.json")),
    ("nothing but an adapter", only(LORA, written("adapter_model.bin", b"")), ADAPTER.format(r"adapter_config\.json")),
    ("an adapter's weights", tensors("adapter_model.safetensors"), ADAPTER.format(r"adapter_model\.safetensors")),
    ("an adapter of older MLX", written("adapters.npz", b""), ADAPTER.format(r"adapters\.npz")),
    (
        "a variant of an adapter",
        written("adapter_model.fp16.safetensors", b""),
        ADAPTER.format(r"adapter_model.*"),
    ),
    ("an adapter for llama.cpp", written("my_lora.gguf", b""), ADAPTER.format(r"my_lora\.gguf")),
    ("what an adapter left out", written("non_lora_trainables.bin", b""), ADAPTER.format(r"non_lora_trainables\.bin")),
    (
        "an adapter by another name",
        tensors("mine.safetensors", q_proj__lora_A__weight=np.zeros((2, 2), np.float32)),
        r"mine\.safetensors holds an adapter \(tensor 'q_proj\.lora_A\.weight'\), .*; merge it",
    ),
    ("bitsandbytes", edited("config.json", **BITS), QUANTISED.format("quantization_config: bitsandbytes")),
    (
        "GPTQ in a part of the model",
        edited("config.json", text_config={"num_hidden_layers": 4} | GPTQ),
        QUANTISED.format(r"text_config\.quantization_config: gptq"),
    ),
    ("no method", edited("config.json", quantization_config={"bits": 4}), QUANTISED.format("quantization_config")),
    (
        "compressed tensors of old",
        edited("config.json", compression_config={"format": "pack-quantized"}),
        QUANTISED.format("compression_config"),
    ),
    ("a GPTQ file", edited("quantize_config.json", bits=4), QUANTISED.format(r"quantize_config\.json")),
    ("an AWQ file", edited("quant_config.json", w_bit=4), QUANTISED.format(r"quant_config\.json")),
    (
        "eight bits without a word",
        tensors(WEIGHTS, q_proj__weight=np.zeros((2, 2), np.int8)),
        QUANTISED.format(r"tensor 'q_proj\.weight' of type I8"),
    ),
    (
        "llama.cpp's file",
        only(written("model-Q4_K_M.gguf", b"GGUF")),
        r"in llama\.cpp's format \(model-Q4_K_M\.gguf\); only unquantised weights are run: choose",
    ),
    ("a pickle for weights", written(WEIGHTS, pickle.dumps({})), r"is cut off or no safetensors file; fetch it again"),
]


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path) -> Path:
    return tmp_path / "evil"


@pytest.fixture
def trapped(root, tmp_path, mark) -> Path:
    """A good checkpoint with a pickle and code beside it, both of which leave a mark."""
    folder = shutil.copytree(root / "resources/tiny-audio-flamingo-3", tmp_path / "model")
    (folder / PICKLED).write_bytes(pickle.dumps(Trap(mark)))
    (folder / "modeling_evil.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    shutil.copy(folder / WEIGHTS, tmp_path / "2.safetensors")
    return folder


def test_a_good_checkpoint_loads_and_what_lies_beside_it_stays_untouched(raw_config, root, trapped, mark, caplog):
    # Audio Flamingo 3 keeps a variant in `think`; training leaves earlier states in sub-folders.
    (trapped / "think").mkdir()
    LORA(trapped / "think")
    edited("config.json", quantization_config=None)(trapped)
    raw_config["models"] = {"mine": {"checkpoint": str(trapped)}}
    configuration.load(raw_config, root)
    with caplog.at_level(logging.WARNING):
        assert registry.load(Model(checkpoint=str(trapped), device="cpu")).n_layers == 4
    assert "the adapter in the sub-folder think is not part of the model" in caplog.text
    assert not mark.exists()
    pickle.loads((trapped / PICKLED).read_bytes())
    assert mark.exists()


@pytest.mark.parametrize(("change", "message"), table(CHECKPOINTS))
def test_checkpoints(raw_config, root, trapped, mark, change, message):
    change(trapped)
    raw_config["models"] = {"mine": {"checkpoint": str(trapped)}}
    # Before any job, and again where a model is loaded.
    is_refused(rf"^config\.yaml: models\.mine\.checkpoint: .*{message}", configuration.load, raw_config, root)
    is_refused(rf"^{trapped}: .*{message}", registry.load, Model(checkpoint=str(trapped), device="cpu"))
    assert not mark.exists()


def test_a_checkpoint_that_the_system_refuses_is_not_called_broken(raw_config, root, trapped, system_refuses):
    raw_config["models"] = {"mine": {"checkpoint": str(trapped)}}
    model = Model(checkpoint=str(trapped), device="cpu")
    for name, number, way_out in ((WEIGHTS, errno.EMFILE, "raise"), ("config.json", errno.EACCES, "ask its owner")):
        system_refuses(trapped / name, number)
        is_refused(rf"{name}: cannot be read, .*; {way_out}", configuration.load, raw_config, root)
        is_refused(rf"{name}: cannot be read, .*; {way_out}", registry.load, model)


def test_qwen2_audio_needs_no_template_of_its_own(raw_config, root, tmp_path):
    folder = shutil.copytree(root / "resources/tiny-qwen2-audio", tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    raw_config["models"] = {"mine": {"checkpoint": str(folder)}}
    configuration.load(raw_config, root)
    assert registry.load(Model(checkpoint=str(folder), device="cpu")).processor.chat_template
