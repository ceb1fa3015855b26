"""The configuration: what it accepts, and the one sentence that it refuses the rest with."""

import itertools
import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from wheretolisten.config import reference
from wheretolisten.config import workflow as configuration
from wheretolisten.config.benchmarks import Composition
from wheretolisten.config.directions import State
from wheretolisten.config.dump import as_yaml
from wheretolisten.config.layers import select_layers
from wheretolisten.config.passes import PassSettings
from wheretolisten.config.probe import Prompts, Steering
from wheretolisten.config.workflow import load
from wheretolisten.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def changed(raw, path, value):
    """Set the dotted `path` of a raw configuration."""
    *parents, last = path.split("/")
    section = raw
    for key in parents:
        section = section[key]
    section[last] = value
    return raw


def test_default_configuration_is_valid_and_full_size(raw_config, root):
    config = load(raw_config, root)
    assert config.benchmarks["sequences"].n_samples == 500
    assert config.benchmarks["sequences-exact"].n_samples == 48
    assert config.probe.steering.scale == pytest.approx(0.1)
    assert set(config.models) == {"tiny-qwen2-audio", "tiny-audio-flamingo-3"}


def test_the_reference_and_the_schema_are_those_of_the_code():
    again = "run: uv run python workflow_scripts/describe_configuration.py"
    assert (ROOT / "docs/configuration.md").read_text() == reference.as_markdown(), again
    assert (ROOT / "config.schema.json").read_text() == reference.as_json(), again
    keys = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", reference.as_markdown(), re.MULTILINE)
    assert len(keys) > 100
    for key, values, _, meaning in keys:
        assert values, key
        assert meaning, f"{key} has no description"
    assert (ROOT / "config.yaml").read_text().startswith("# yaml-language-server: $schema=config.schema.json\n")
    assert (ROOT / "config.yaml").read_text().count("\n") <= 110


def test_the_schema_accepts_files_that_the_configuration_accepts_and_names_wrong_keys():
    validator = jsonschema.Draft202012Validator(reference.schema())
    overlays = [parameter.values[0] for parameter in documented_overlays()]
    for text in [(ROOT / "config.yaml").read_text(), *overlays]:
        assert list(validator.iter_errors(yaml.safe_load(text))) == []
    for wrong in (
        {"probe": {"steering": {"strength": 1}}},
        {"sweeps": {"mine": {"vary": "heads", "default": "often"}}},
        {"models": {"mine": {"dtype": "float8"}}},
        {"benchmark": {}},
    ):
        assert list(validator.iter_errors(wrong)), wrong
    assert not list(
        validator.iter_errors({"models": {"tiny-qwen2-audio": None}, "probe": {"methods": {"vista": None}}})
    )


def test_compositions_of_any_number_of_events(raw_config, root):
    raw_config["sweeps"]["steered-tokens"]["benchmark"] = "sequences"
    composition = raw_config["benchmarks"]["sequences"]["composition"]
    composition |= {"n_events": 4, "clip_seconds": [1, 1.5], "gap_seconds": [0.5, 2], "overlap": {"n_events": 2}}
    with pytest.raises(UserError, match=r"question says 'three sound', but a sample of benchmark 'sequences' has 6;"):
        load(raw_config, root)
    question = "This audio contains {n} sound events{how}. When does the sound of {{label}} start?"
    ask = raw_config["probe"]["direct_prompt"]
    ask["question"] = question.format(n="several", how=" in sequence")
    with pytest.raises(UserError, match=r"question says 'in sequence', but sounds of benchmark 'sequences' overlap; w"):
        load(raw_config, root)
    ask["question"] = question.format(n="several", how="")
    with pytest.raises(UserError, match=r"reading_position: benchmark 'sequences' has no .*\(event-1, event-2, .*"):
        load(raw_config, root)
    raw_config["figures"]["reading_position"] = "event-6"
    with pytest.raises(UserError, match=r"questions\.sequences\.benchmark: .* 'sequences' overlap; name a benchmark w"):
        load(raw_config, root)
    raw_config["questions"]["sequences"]["benchmark"] = "sequences-exact"
    config = load(raw_config, root)
    composed = config.benchmarks["sequences"].composition
    assert composed.positions == tuple(f"event-{number}" for number in range(1, 7))
    assert composed.longest_seconds == 4 * 1.5 + 3 * 2
    assert Composition.from_json(composed.as_json()) == composed
    assert config.benchmarks["sequences-exact"].composition.positions == ("begin", "middle", "end")
    assert config.samples_per_shard("sequences") == 4700 // 12
    cost = config.describe_sweep("steered-tokens", dict.fromkeys(config.models, 4))
    assert f"{2 * 24 * 6 * 3} steered passes" in cost

    # Laid over the default run, what the documentation shows is valid.
    shown = yaml.safe_load((root / "docs/examples.md").read_text().split("```yaml")[1].split("```")[0])
    default = yaml.safe_load((root / "config.yaml").read_text())
    default["benchmarks"] |= shown["benchmarks"]
    default["probe"] |= shown["probe"]
    assert load(default, root).benchmarks["crowded"].composition.positions == composed.positions

    raw_config["libraries"]["synthetic"]["labels"] = ["dog", "cat", "cow", "hen", "bell", "horn"]
    with pytest.raises(UserError, match=r"labels: domain 'animals' has 4 label.* 'sequences' takes 6 .*domains: mixed"):
        load(raw_config, root)
    composition["domains"] = "mixed"
    raw_config["benchmarks"]["sequences-exact"] |= {"composition": composition | {"n_events": 5}}
    with pytest.raises(UserError, match=r"labels: the library has 6 .* 'sequences-exact' takes 7 .*lower .*n_events"):
        load(raw_config, root)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("lambda", 0.1, r"lambda: unknown key"),
        ("probe/steering/lambda", 0.1, r"probe\.steering\.lambda: unknown key"),
        ("probe/steering/scale", "strong", r"probe\.steering\.scale: .*number.*'strong'"),
        ("probe/steering/scale", float("nan"), r"probe\.steering\.scale"),
        ("probe/steering/layers", [1, 1], r"probe\.steering\.layers: .*different"),
        ("probe/steering/layers", [99], r"probe\.steering\.layers: block 99 does not exist.*has \d+ blocks"),
        ("probe/localization/layers", [50], r"probe\.localization\.layers: block 50 does not exist"),
        ("probe/localization/epsilon", 0, r"probe\.localization\.epsilon"),
        ("probe/prompts/positive", "Where is the sound?", r"probe\.prompts: positive must contain \{label\}"),
        ("probe/prompts/positive", "Where is {sound} {label}?", r"probe\.prompts: positive: cannot fill"),
        ("probe/prompts/inference", " ", r"probe\.prompts: inference must not be empty"),
        ("probe/random_draws", 0, r"probe\.random_draws"),
        ("benchmarks/sequences/library", "esc50", r"benchmarks\.sequences\.library: 'esc50' is not in libraries"),
        ("benchmarks/sequences/n_samples", 0, r"benchmarks\.sequences\.n_samples"),
        ("benchmarks/sequences/composition/clip_seconds", [5.5, 4.5], r"clip_seconds must be \[shortest, longest\]"),
        ("benchmarks/sequences/composition/clip_seconds", [6.0, 7.0], r"events of at least 6 s cannot be cut"),
        ("benchmarks/sequences/composition/gap_noise", "brown", r"gap_noise: .*'brown'"),
        ("benchmarks/Sequences", {"library": "synthetic"}, r"benchmarks: the name 'Sequences' becomes a folder"),
        ("benchmarks/..%2Fetc", {"library": "synthetic"}, r"benchmarks: the name '\.\.%2Fetc' becomes a folder"),
        ("models/random", {"checkpoint": "resources/tiny-qwen2-audio"}, r"'random' is the name of the random baseline"),
        ("models/other", {"checkpoint": "no/such/folder"}, r"models\.other\.checkpoint: .*neither an existing folder"),
        (
            "models/other",
            {"checkpoint": "rules"},
            r"models\.other\.checkpoint: no config\.json can be read in .*rules'",
        ),
        ("models/other", {"checkpoint": "a/b", "revision": "main"}, r"models\.other\.revision: .*'main'"),
        ("models/tiny-qwen2-audio/device", "gpu", r"models\.tiny-qwen2-audio\.device: .*'gpu'"),
        ("models/tiny-qwen2-audio/revision", "0" * 40, r"models\.tiny-qwen2-audio\.revision: .*is a folder"),
        ("models/tiny-qwen2-audio/weights", "random", r"models: 'tiny-qwen2-audio' has random weights; .*'rehearsal-'"),
        (
            "models/rehearsal-mine",
            {"checkpoint": "resources/rehearsal-qwen2-audio"},
            r"models: 'rehearsal-mine' has pretrained weights",
        ),
        (
            "models/rehearsal-mine",
            {"checkpoint": "resources/rehearsal-qwen2-audio", "weights": "random"},
            r"models: a rehearsal .* does not share a run with real models",
        ),
        (
            "models",
            {"rehearsal-mine": {"checkpoint": "a/b", "weights": "random"}},
            r"models\.rehearsal-mine\.checkpoint: 'a/b' is not an existing folder; random weights need",
        ),
        (
            "models/other",
            {"checkpoint": "a/b", "revision": "0" * 40, "device": "cpu", "device_map": "auto"},
            r"models\.other: device_map: auto spreads .* device: cpu names one place",
        ),
        (
            "benchmarks/sequences/composition/gap_seconds",
            4,
            r"hears at most 20 s, but samples of .*'sequences' .*24\.5",
        ),
        ("probe/steering", None, r"probe\.steering: "),
        ("probe/prompts/positive", "{label.foo} {label}", r"positive: cannot fill"),
        ("probe/prompts/positive", "{label} {label:.2f}", r"positive: cannot fill"),
        (
            "libraries/mine",
            {"type": "folder", "path": "no/such"},
            r"libraries\.mine\.path: 'no/such' does not exist as a folder",
        ),
        ("libraries/mine", {"type": "tape", "path": "."}, r"libraries\.mine: .*tape"),
        ("libraries/synthetic/labels", ["dog", "unicorn", "cat"], r"no procedural sound 'unicorn'"),
        ("libraries/synthetic/labels", ["dog", "cat"], r"domain 'animals' has 2 label\(s\) \(dog, cat\)"),
        (
            "libraries/mine",
            {"type": "folder", "path": ".", "domains": {"a": ["dog"], "b": ["dog"]}},
            r"libraries\.mine\.domains: label 'dog' is listed under 'a' and 'b'",
        ),
        (
            "libraries/mine",
            {"type": "folder", "path": ".", "domains": {"a": ["door_bell"], "b": ["door\u00a0bell"]}},
            r"libraries\.mine\.domains: label 'door bell' is listed under 'a' and 'b'",
        ),
        (
            "libraries/mine",
            {"type": "folder", "path": ".", "domains": {"a": ["dog"], "b": ["Dog"]}},
            r"libraries\.mine\.domains: the labels 'Dog' and 'dog' differ only in upper and lower case",
        ),
        (
            "libraries/mine",
            {"type": "folder", "path": ".", "domains": yaml.safe_load("a: [dog, no]")},
            r"libraries\.mine\.domains\.a: YAML reads a name here as false, .*put the name in quotes",
        ),
        (
            "libraries/mine",
            {"type": "sakura", "path": ".", "tracks": yaml.safe_load("2024-01-01: Animal")},
            r"libraries\.mine\.tracks: YAML reads a name here as 2024-01-01, not as text",
        ),
        ("libraries/synthetic/labels", ["dog", "dog "], r"libraries\.synthetic\.labels: label 'dog' is listed twice"),
        ("libraries/synthetic/labels", ["dog", "roster"], r"'roster'; did you mean 'rooster'\?"),
        ("libraries/synthetic/labels", yaml.safe_load("[dog, null]"), r"synthetic\.labels: YAML reads a name .* null"),
        ("probe/prompts/label_wording", yaml.safe_load("yes: agreement"), r"label_wording: YAML reads a name .* true"),
        ("probe/prompts/label_wording", yaml.safe_load("0: zero"), r"label_wording: YAML reads .* as 0, .*in quotes"),
        ("probe/prompts/label_wording", {"sea_waves": "a", "sea waves": "b"}, r"'sea_waves' and 'sea waves' are one"),
        ("probe/prompts/domain_wording", {"": "{label}"}, r"domain_wording: the name '' is empty"),
        ("libraries/mine", {"type": "folder", "path": ".", "seed": 1}, r"libraries\.mine\.seed: unknown key"),
        ("shard_seconds", 10, r"shard_seconds: 10 s is less than one sample"),
        ("figures/overlap", "none", r"figures\.overlap: 'none' is not in benchmarks"),
        ("figures/attention_change", "sequences", r"figures\.attention_change: .*'sequences' do not lie at"),
        ("figures/reading_sample", 500, r"figures\.reading_sample: 500 is beyond benchmark 'sequences'"),
        ("models", {}, r"models: .*at least one"),
        ("questions/mine", {"type": "tape"}, r"questions\.mine: .*tape"),
        ("questions/mine", {"n_items": 3}, r"questions\.mine: the key type is missing; add mmau or procedural"),
        (
            "questions/mine",
            {"type": "procedural", "benchmark": "other"},
            r"questions\.mine\.benchmark: 'other' is not in benchmarks .*take the questions out \(mine: null\)",
        ),
        (
            "questions/mine",
            {"type": "mmau", "path": "no.json", "audio": "rules"},
            r"questions\.mine\.path: 'no\.json' does not exist as a file",
        ),
        (
            "questions/mine",
            {"type": "mmau", "path": "config.yaml", "audio": "no"},
            r"questions\.mine\.audio: 'no' does not exist as a folder",
        ),
        (
            "questions/mine",
            {"type": "mmau", "path": "config.yaml", "audio": "rules"},
            r"hears at most 20 s, but recordings of questions 'mine' may last 30 s; lower max_seconds",
        ),
        (
            "questions/mine",
            {"type": "mmau", "path": "a", "audio": "a", "splits": ["test", "test"]},
            r"questions\.mine: split 'test' is listed twice",
        ),
        ("questions/Mine", {"type": "procedural", "benchmark": "sequences"}, r"questions: the name 'Mine' becomes"),
        ("questions/sequences/n_items", 0, r"questions\.sequences\.n_items: "),
        ("audio_share/item", "{question}", r"audio_share: item must contain \{choices\}"),
        ("figures/audio_share", "none", r"figures\.audio_share: 'none' is not in questions \(sequences\)"),
    ],
)
def test_wrong_values_are_named_with_key_and_way_out(raw_config, root, path, value, message):
    with pytest.raises(UserError, match=message) as caught:
        load(changed(raw_config, path, value), root)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("config.yaml: ")


def test_null_takes_an_entry_out(raw_config, root):
    raw_config["models"]["tiny-audio-flamingo-3"] = None
    raw_config["probe"]["methods"]["vista"] = None
    config = load(raw_config, root)
    assert list(config.models) == ["tiny-qwen2-audio"]
    assert "vista" not in config.probe.methods


def test_hub_repository_needs_a_pinned_revision(raw_config, root):
    raw_config["models"]["large"] = {"checkpoint": "someone/some-model"}
    with pytest.raises(UserError, match="add the key revision"):
        load(raw_config, root)
    raw_config["models"]["large"]["revision"] = "0123abcd" * 5
    assert load(raw_config, root).models["large"].revision == "0123abcd" * 5


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/3", "0a09522", "0123ABCD" * 5, 7012345, True, ""])
def test_a_revision_that_is_no_full_commit_is_told_what_to_write(raw_config, root, revision):
    raw_config["models"]["large"] = {"checkpoint": "someone/some-model", "revision": revision}
    with pytest.raises(UserError) as caught:
        load(raw_config, root)
    assert str(caught.value).startswith(
        f"config.yaml: models.large.revision: {revision!r} is not the full hash of a commit, and what a branch, tag or"
    )
    assert "write its 40 digits (0-9, a-f), in quotes: the repository's page lists them under" in str(caught.value)
    named = f", revision='{revision}'" if revision else ""
    assert f"print(h.model_info('someone/some-model'{named}).sha)" in str(caught.value)


def test_an_unpinned_hub_repository_is_told_how_to_pin(raw_config, root):
    raw_config["models"]["r1-aqa"] = {"checkpoint": "mispeech/r1-aqa", "revision": None}
    with pytest.raises(UserError, match=r"print\(h\.model_info\('mispeech/r1-aqa'\)\.sha\)"):
        load(raw_config, root)


def test_the_home_folder_may_be_written_as_a_tilde_in_every_path(raw_config, root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("sounds", "SAKURA", "model"):
        (tmp_path / folder).mkdir()
    for file in ("esc50.csv", "mmau.json"):
        (tmp_path / file).touch()
    shutil.copytree(root / "resources/tiny-qwen2-audio", tmp_path / "model", dirs_exist_ok=True)
    raw_config["libraries"] |= {
        "folder": {"type": "folder", "path": "~/sounds"},
        "esc50": {"type": "esc50", "csv": "~/esc50.csv", "audio": "~/sounds"},
        "sakura": {"type": "sakura", "path": "~/SAKURA", "tracks": {"animals": "~/Animal"}},
    }
    raw_config["questions"]["mmau"] = {"type": "mmau", "path": "~/mmau.json", "audio": "~", "max_seconds": 10}
    raw_config["models"] = {
        "mine": {"checkpoint": "~/model"},
        "large": {"checkpoint": "someone/some-model", "revision": "0123abcd" * 5},
    }
    raw_config["model_cache"] = "~/cache"
    config = load(raw_config, root)
    # What jobs, digests and results are given is the path itself.
    libraries, questions = config.libraries, config.questions["mmau"]
    assert libraries["folder"].path == libraries["esc50"].audio == f"{tmp_path}/sounds"
    assert libraries["esc50"].csv == f"{tmp_path}/esc50.csv"
    assert (libraries["sakura"].path, libraries["sakura"].tracks["animals"]) == (
        f"{tmp_path}/SAKURA",
        f"{tmp_path}/Animal",
    )
    assert (questions.path, questions.audio, config.model_cache) == (
        *(f"{tmp_path}/mmau.json", str(tmp_path), f"{tmp_path}/cache"),
    )
    assert config.models["mine"].identity == f"{tmp_path}/model"
    assert config.models["large"].checkpoint == "someone/some-model"
    assert "~" not in config.as_json()
    raw_config["models"]["mine"]["checkpoint"] = "~/nothing"
    with pytest.raises(UserError, match=f"models.mine.checkpoint: '{tmp_path}/nothing' is neither an existing folder"):
        load(raw_config, root)


def overlaid(raw, overlay):
    """Merge as Snakemake merges configuration files."""
    for key, value in overlay.items():
        raw[key] = overlaid(raw[key], value) if isinstance(value, dict) and isinstance(raw.get(key), dict) else value
    return raw


OVERLAYS = {
    "another strength": {"probe": {"steering": {"scale": 0.3, "positions": "last"}}},
    "an emphasis": {
        "probe": {"steering": {"emphasis": {"layers": [1, 2], "beta": 0.25}}},
        "sweeps": {"steered-layers": None, "steered-blocks": None},
    },
    "no emphasis": {"probe": {"methods": {"silence_weighted": {"steering": {"emphasis": None, "scale": 0.2}}}}},
    "entries taken out": {
        "models": {"tiny-audio-flamingo-3": None},
        "probe": {"steering": {"layers": "second_half"}, "methods": {"vista": None, "no_audio": None}},
        "questions": {"sequences": None},
        "figures": {"audio_share": None},
        "sweeps": {"heads": None, "steered-blocks": None, 1: None},
    },
    "sweeps": {
        "probe": {"steering": {"scale": 0.3}},
        "sweeps": {
            "weights": {"vary": "steering.emphasis", "values": [None, {"layers": "0%-50%", "beta": 1e-5}]},
            "epsilon": {"vary": "localization.epsilon", "values": [1e-12, 1e-8], "method": "silence_weighted"},
        },
    },
    "lists of methods": {"benchmarks": {"sequences": {"methods": ["sample", "vista"]}}},
    "texts": {"probe": {"prompts": {"inference": 'H\u00f6rst du \U0001f415?\u2028\t"{}" \\ud83d\\ude00 \x7f'}}},
}


@pytest.mark.parametrize("overlay", OVERLAYS.values(), ids=OVERLAYS)
def test_the_configuration_that_a_run_writes_repeats_it(raw_config, root, overlay):
    config = load(overlaid(json.loads(json.dumps(raw_config)), overlay), root)
    written = yaml.safe_load(as_yaml(configuration.Config.from_json(config.as_json())))
    scale = config.probe.steering.scale
    assert written["probe"]["methods"]["label_mean"]["steering"]["scale"] == scale
    for raw in (written, overlaid(raw_config, written)):
        repeated = load(raw, root)
        assert repeated == config
        for model in config.models:
            for name in config.benchmarks:
                assert (
                    repeated.steering_settings(model, name).as_json() == config.steering_settings(model, name).as_json()
                )
            for name in config.sweeps:
                assert repeated.sweep_settings(name, model).as_json() == config.sweep_settings(name, model).as_json()


def test_settings_of_a_sweep_record_nothing_that_plays_no_part_in_it(raw_config, root):
    raw_config["probe"]["steering"] |= {"scale": 0.3, "site": "mlp"}
    config = load(raw_config, root)
    settings = config.sweep_settings("strength", "tiny-qwen2-audio")
    (steered,) = json.loads(settings.as_json())["passes"]
    assert steered["prompt"] == "Describe the audio."
    assert steered["steering"]["site"] == "mlp"
    assert "scale" not in steered["steering"]
    assert [each.steering.scale for each in settings.passes_for(4)][:3] == [0, 0.01, 0.03]
    assert type(settings).from_json(settings.as_json()) == settings
    assert set(json.loads(config.score_settings("strength").as_json())["probe"]) == {"localization"}


def documented_overlays():
    """YAML blocks of the documentation, by file and line, and the overlays that are shipped.

    A block of a Snakemake profile has another info string, `yaml profile`.
    """
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text()
        for block in re.finditer(r"^```ya?ml *\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: block.start()].count("\n") + 1
            yield pytest.param(block[1], id=f"{path.name}:{line}")
    for path in sorted((ROOT / "profiles").glob("*.yaml")):
        yield pytest.param(path.read_text(), id=path.name)


@pytest.mark.parametrize("text", list(documented_overlays()))
def test_every_overlay_of_the_documentation_is_accepted(raw_config, text):
    overlay = yaml.safe_load(text)
    assert set(overlay) <= set(raw_config)
    load(overlaid(raw_config, overlay), None)


def test_documented_commands_take_no_target_for_a_configuration_file():
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config.yaml"]
    paths += [*(ROOT / "docs").glob("*.md"), *(ROOT / "profiles").rglob("*.yaml")]
    commands = [
        line for path in paths for line in re.findall(r"snakemake [^`\n]*--configfile[^`\n]*", path.read_text())
    ]
    assert len(commands) > 10
    for command in commands:
        arguments = command.partition("--configfile")[2].partition("#")[0].split()
        files = itertools.takewhile(lambda word: not word.startswith("-"), arguments)
        assert all(re.fullmatch(r"[\w./-]+\.yaml[,;:.]?|…", name) for name in files), command


def test_the_published_models_are_pinned_and_not_part_of_the_default(raw_config, root, tmp_path):
    overlay = yaml.safe_load((root / "profiles/paper.yaml").read_text())
    overlay["libraries"]["sakura"]["path"] = str(tmp_path)
    assert not any(model.revision for model in load(raw_config, root).models.values())
    config = load(overlaid(raw_config, overlay), root)
    assert {model.checkpoint: len(model.revision) for model in config.models.values()} == {
        "Qwen/Qwen2-Audio-7B-Instruct": 40,
        "nvidia/audio-flamingo-3-hf": 40,
    }
    assert config.benchmarks["sequences"].n_samples == 500
    assert not config.rehearsal


def test_the_rehearsal_is_one_shard_of_full_size_models(raw_config, root):
    config = load(overlaid(raw_config, yaml.safe_load((root / "profiles/rehearsal.yaml").read_text())), root)
    assert config.rehearsal
    assert {name: config.n_shards(name) for name in config.benchmarks} == {"rehearsal": 1}
    assert all(model.weights == "random" for model in config.models.values())


def test_shards_cover_all_samples_once_and_adding_samples_moves_none(raw_config, root):
    few = load(raw_config, root)
    raw_config["benchmarks"]["sequences"]["n_samples"] = 1234
    many = load(raw_config, root)
    ranges = [many.shard_range("sequences", shard) for shard in range(many.n_shards("sequences"))]
    assert [index for first, stop in ranges for index in range(first, stop)] == list(range(1234))
    full = [few.shard_range("sequences", shard) for shard in range(few.n_shards("sequences") - 1)]
    assert ranges[: len(full)] == full
    longest = many.benchmarks["sequences"].composition.longest_seconds
    assert longest == pytest.approx(18.5)
    assert max(stop - first for first, stop in ranges) * longest <= many.shard_seconds


def test_sections_survive_the_command_line(raw_config, root):
    settings = load(raw_config, root).steering_settings("tiny-qwen2-audio", "sequences")
    assert PassSettings.from_json(settings.as_json()) == settings
    (own,) = [each for each in json.loads(settings.as_json())["passes"] if each["name"] == "sample"]
    assert own["steering"]["scale"] == pytest.approx(0.1)
    assert own["direction"] == {"contrast": ["positive", "negative"], "over": "own", "control": None}
    with pytest.raises(UserError, match="--settings"):
        PassSettings.from_json("{}")


def test_steering_settings_hold_nothing_that_extraction_depends_on_alone(raw_config, root):
    before = load(raw_config, root)
    raw_config["probe"]["steering"]["scale"] = 0.5
    after = load(raw_config, root)
    model, benchmark = "tiny-qwen2-audio", "sequences"
    assert before.unsteered_settings(model, benchmark) == after.unsteered_settings(model, benchmark)
    assert before.direct_settings(model).as_json() == after.direct_settings(model).as_json()
    assert before.steering_settings(model, benchmark) != after.steering_settings(model, benchmark)


def test_default_methods_are_headline_controls_on_the_large_benchmark_and_all_on_the_small_one(raw_config, root):
    config = load(raw_config, root)
    few = ["sample", "label_mean", "random_direction", "other_label", "absent_label", "silence"]
    assert list(config.methods_of("sequences")) == few
    assert list(config.methods_of("sequences-exact")) == list(config.probe.methods)
    assert len(config.probe.methods) == 17


def test_a_method_changes_the_steering_that_it_names_and_no_more(raw_config, root):
    raw_config["probe"]["steering"] |= {"scale": 0.3, "layers": "second_half"}
    methods = load(raw_config, root).methods_of("sequences-exact")
    assert methods["sample"].steering == Steering(scale=0.3, layers="second_half")
    assert methods["silence_weighted"].steering == Steering(
        scale=0.3, layers="second_half", emphasis={"layers": "44%-94%", "beta": 0.5}
    )
    vista = {"site": "mlp", "normalisation": "state", "gate": "opposed", "scale": 0.1}
    assert methods["vista"].steering == Steering(layers="second_half", **vista)


def test_weights_of_silence_are_those_of_avs_in_qwen2_audio(raw_config, root):
    steering = load(raw_config, root).methods_of("sequences-exact")["silence_weighted"].steering
    scales = steering.scales(32)
    assert [layer for layer, scale in scales.items() if scale > steering.scale] == list(range(14, 30))


def test_only_states_that_a_method_needs_are_extracted(raw_config, root):
    model = "tiny-qwen2-audio"
    config = load(raw_config, root)
    own = {"positive", "negative"}
    assert set(config.unsteered_settings(model, "sequences").states) == own | {"positive@silence"}
    expected = {f"{name}_{number}" for name in ("positive", "negative") for number in (1, 2, 3)}
    expected |= own | {"positive@silence", "positive@none"}
    assert set(config.unsteered_settings(model, "sequences-exact").states) == expected

    before = config.unsteered_settings(model, "sequences").as_json()
    raw_config["benchmarks"]["sequences"]["methods"].append("shuffled_labels")
    raw_config["probe"]["methods"]["weak"] = {"vector": "silence", "steering": {"scale": 0.01}}
    raw_config["probe"]["prompts"]["paraphrases"]["positive"] = ["Where is {label}?", *["{label} " * n for n in (2, 3)]]
    assert load(raw_config, root).unsteered_settings(model, "sequences").as_json() == before
    raw_config["benchmarks"]["sequences"]["methods"].append("positive_1")
    states = load(raw_config, root).unsteered_settings(model, "sequences").states
    assert states["positive_1"] == State(prompt="Where is {label}?")
    assert states["positive@silence"] == State(prompt=config.probe.prompts.positive, heard="silence")
    assert set(states) == own | {"positive@silence", "positive_1"}


def test_a_contrast_of_ones_own_needs_yaml_alone(raw_config, root):
    raw_config["probe"]["directions"] = {"mine": {"contrast": ["positive_2", "negative_1@silence"]}}
    raw_config["probe"]["directions"]["mine_of_others"] = {
        "contrast": ["positive_2", "negative_1@silence"],
        "over": "others_of_label",
    }
    raw_config["probe"]["methods"] |= {name: {"vector": name} for name in ("mine", "mine_of_others")}
    raw_config["benchmarks"]["sequences"]["methods"] += ["mine", "mine_of_others"]
    config = load(raw_config, root)
    states = config.unsteered_settings("tiny-qwen2-audio", "sequences").states
    assert states["negative_1@silence"] == State(prompt="Listen to the whole audio", heard="silence")
    assert ("positive_2", "negative_1@silence") in config.averaging_settings("sequences").contrasts
    passes = {each.name: each for each in config.steering_settings("tiny-qwen2-audio", "sequences").passes}
    assert passes["mine"].direction.contrast == ("positive_2", "negative_1@silence")
    for state, told in (("quiet", "'quiet' is no instruction; write negative"), ("negative_4", "negative_4 is needed")):
        raw_config["probe"]["directions"]["unused"] = {"contrast": ["positive", state]}
        with pytest.raises(UserError, match=rf"directions\.unused\.contrast: {told}"):
            load(raw_config, root)
    for control in ({"control": "other_event"}, {"control": "absent_label", "over": "others_of_label"}):
        raw_config["probe"]["directions"]["unused"] = {"contrast": ["negative_1", "negative"]} | control
        with pytest.raises(UserError, match=r"unused\.control: \w+ takes another label, and the contrast names none"):
            load(raw_config, root)
    raw_config["probe"]["directions"] = {"silence": {"contrast": ["positive", "negative"]}}
    with pytest.raises(UserError, match=r"directions: 'silence' is there already; give yours another name"):
        load(raw_config, root)


def test_order_of_methods_does_not_matter(raw_config, root):
    before = load(raw_config, root).steering_settings("tiny-qwen2-audio", "sequences").as_json()
    raw_config["benchmarks"]["sequences"]["methods"].reverse()
    raw_config["probe"]["methods"] = dict(reversed(raw_config["probe"]["methods"].items()))
    assert load(raw_config, root).steering_settings("tiny-qwen2-audio", "sequences").as_json() == before


def test_wording_of_labels():
    wording = Prompts(label_wording={"dog": "a barking dog"}).wording
    assert wording.of("dog", "animals") == "a barking dog"
    assert wording.of("cat", "animals") == "cat"
    assert wording.of("French", "languages") == "French speech"


def test_query_is_appended_to_both_instructions_word_for_word():
    prompts = Prompts(query="What is heard in {label}?", negative="Focus on {all} of it")
    negative, positive = (prompts.state(name) for name in ("negative", "positive"))
    assert negative.prompt.format() == "Focus on {all} of it What is heard in {label}?"
    assert positive.prompt.format(label="cat").endswith("the sound of cat? What is heard in {label}?")
    assert (negative.of_event, positive.of_event) == (False, True)


@pytest.mark.parametrize(
    ("layers", "n_layers", "expected"),
    [("all", 4, [0, 1, 2, 3]), ("second_half", 4, [2, 3]), ("second_half", 5, [2, 3, 4]), ([3, 0], 4, [0, 3])],
)
def test_select_layers(layers, n_layers, expected):
    assert select_layers(layers, n_layers) == expected


def test_published_checkpoints_that_leave_out_defaults_are_accepted(raw_config, root, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_audio", "text_config": {"vocab_size": 156032}}')
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    raw_config["models"]["downloaded"] = {"checkpoint": str(tmp_path)}
    assert load(raw_config, root).models["downloaded"].checkpoint == str(tmp_path)


def test_direct_prompting_depends_on_no_other_prompt(raw_config, root):
    before = load(raw_config, root).direct_settings("tiny-qwen2-audio").as_json()
    raw_config["probe"]["prompts"]["inference"] = "What is this?"
    assert load(raw_config, root).direct_settings("tiny-qwen2-audio").as_json() == before
    raw_config["probe"]["prompts"]["label_wording"] = {"dog": "a dog"}
    assert load(raw_config, root).direct_settings("tiny-qwen2-audio").as_json() != before


@pytest.mark.parametrize(
    ("layers", "n_layers", "expected"),
    [
        ("1-3", 6, [1, 2, 3]),
        ("0-0", 6, [0]),
        ("50%-100%", 5, [2, 3, 4]),
        ("0%-34%", 6, [0, 1]),
        ("25%-50%", 32, list(range(8, 16))),
    ],
)
def test_ranges_of_layers(layers, n_layers, expected):
    assert select_layers(layers, n_layers) == expected


def test_ranges_that_the_model_does_not_hold_are_refused():
    with pytest.raises(UserError, match="block 7 does not exist; the text stack has 6 blocks"):
        select_layers("5-7", 6)
    with pytest.raises(UserError, match="10%-20% holds none of the 4 blocks"):
        select_layers("10%-20%", 4)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("upper_half", "'upper_half' is none of all, second_half, a list of blocks, a range such as 14-29"),
        ("1-50%", "'1-50%' is none of all"),
        ("3-1", "'3-1' holds no block; write the lower end first"),
        ("50%-120%", "'50%-120%' holds no block"),
        (["a"], "a list of blocks holds different numbers from 0 on"),
        ([1, 1], "a list of blocks holds different numbers from 0 on"),
        (3, "3 is none of all"),
    ],
)
@pytest.mark.parametrize("section", ["steering", "localization"])
def test_unknown_layers_end_in_one_sentence(raw_config, root, section, layers, message):
    raw_config["probe"][section]["layers"] = layers
    with pytest.raises(UserError, match=re.escape(f"config.yaml: probe.{section}.layers: {message}")) as error:
        load(raw_config, root)
    assert str(error.value).count("config.yaml") == str(error.value).count("layers:") == 1


@pytest.mark.parametrize("key", ["operator", "site", "positions", "normalisation", "gate"])
def test_unknown_kinds_of_steering_end_in_one_sentence(raw_config, root, key):
    raw_config["probe"]["steering"][key] = "heart"
    with pytest.raises(UserError, match=rf"^config\.yaml: probe\.steering\.{key}: input should be .*, not 'heart'$"):
        load(raw_config, root)


@pytest.mark.parametrize("operator", ["ablate", "set", "scale"])
def test_what_belongs_to_adding_is_refused_with_another_operator(raw_config, root, operator):
    for key, value, unset in (
        ("normalisation", "unit", "none"),
        ("gate", "opposed", "none"),
        ("emphasis", {"layers": [0]}, "null"),
    ):
        message = f"{key} says how a vector is added, which operator '{operator}' does not do; set {key}: {unset}, or"
        probe = raw_config["probe"] | {"steering": {"operator": operator, key: value}}
        with pytest.raises(UserError, match=re.escape(f"config.yaml: probe.steering: {message}") + " operator: add$"):
            load(raw_config | {"probe": probe}, root)
        # What a method changes, and what it takes from the probe, do not fit together.
        probe = raw_config["probe"] | {"steering": {key: value}, "methods": {}}
        probe["methods"] = raw_config["probe"]["methods"] | {
            "taken_out": {"vector": "sample", "steering": {"operator": operator}}
        }
        where = "config.yaml: probe.methods: taken_out.steering: "
        with pytest.raises(UserError, match=re.escape(where + message)) as error:
            load(raw_config | {"probe": probe}, root)
        assert "\n" not in str(error.value)


def test_methods_in_the_documentation_of_steering_are_valid(raw_config, root):
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/steering.md").read_text(), re.DOTALL)
    documented = yaml.safe_load(block)["probe"]["methods"]
    raw_config["probe"]["methods"] |= documented
    methods = load(raw_config, root).probe.methods
    without, at_attention = (methods[name].steering for name in documented)
    assert (without.operator, without.scale, without.preserve_norm) == ("ablate", 1, False)
    assert (at_attention.operator, at_attention.site) == ("add", "attention")


@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_vectors_of_block_outputs_steer_no_heads_or_neurons(raw_config, root, site):
    # Heads are often as wide as the residual stream: nothing would fail.
    message = f"site: the vectors of this workflow are of block outputs, not of {site}; set site to block,"
    methods = raw_config["probe"]["methods"]
    for key, probe in (
        ("steering", {"steering": {"site": site}, "methods": {"sample": {"vector": "sample"}}}),
        (
            "methods.inside.steering",
            {"methods": methods | {"inside": {"vector": "sample", "steering": {"site": site}}}},
        ),
    ):
        with pytest.raises(UserError, match=re.escape(f"config.yaml: probe: {key}.{message}")):
            load(raw_config | {"probe": raw_config["probe"] | probe}, root)
    raw_config["sweeps"] = {"sites": {"vary": "steering.site", "values": ["block", "attention", site]}}
    with pytest.raises(UserError, match=re.escape(f"sweeps.sites.values: {message}")):
        load(raw_config, root)
    raw_config["sweeps"]["sites"]["values"].pop()
    load(raw_config, root)


def test_emphasis_weighs_layers_as_avs_does():
    # AVS on Qwen2-Audio: blocks 14-29 of 32, β = 0.5, λ = 0.05.
    scales = Steering(scale=0.05, emphasis={"layers": "14-29", "beta": 0.5}).scales(32)
    assert scales[14] == scales[29] == pytest.approx(0.05 * (1 + 16 / 16 * 0.5))
    assert scales[13] == scales[30] == pytest.approx(0.05 * 0.5)
    assert sum(scales.values()) == pytest.approx(32 * 0.05)
    some = Steering(scale=1.0, layers=[0, 1, 2, 5], emphasis={"layers": [5, 7], "beta": 0.2}).scales(8)
    assert some == pytest.approx({0: 0.8, 1: 0.8, 2: 0.8, 5: 1 + 0.2 * 3})
    assert Steering(emphasis={"layers": "all"}).scales(4) == pytest.approx(dict.fromkeys(range(4), 0.1))
    assert Steering().scales(3) == {0: 0.1, 1: 0.1, 2: 0.1}


def test_an_emphasis_on_blocks_that_are_not_steered_is_refused(raw_config, root):
    raw_config["probe"]["steering"] |= {"layers": [0, 1], "emphasis": {"layers": [3]}}
    with pytest.raises(UserError, match=r"probe\.steering\.emphasis\.layers: \[3\] holds no steered block; .*\[0, 1\]"):
        load(raw_config, root)


def test_an_analysis_depends_on_what_is_read_and_not_on_how_many_items_there_are(raw_config, root):
    before = load(raw_config, root).analysis_settings("tiny-qwen2-audio", "sequences")
    assert (before.splits, before.on_bad_item) == (None, "refuse")
    assert before.max_seconds == pytest.approx(18.5)
    raw_config["questions"]["sequences"]["n_items"] = 7
    raw_config["probe"]["prompts"]["inference"] = "What is this?"
    config = load(raw_config, root)
    assert config.analysis_settings("tiny-qwen2-audio", "sequences") == before
    assert config.items_per_shard("sequences") == 254
    raw_config["probe"]["steering"]["scale"] = 0.2
    assert load(raw_config, root).analysis_settings("tiny-qwen2-audio", "sequences") != before


def test_questions_can_be_left_out(raw_config, root):
    raw_config["questions"]["sequences"] = None
    with pytest.raises(UserError, match=r"'sequences' is not in questions \(there are none\); .* null for no figure"):
        load(raw_config, root)
    raw_config["figures"]["audio_share"] = None
    assert load(raw_config, root).questions == {}
