"""The configuration: what it accepts, and the one sentence that it refuses the rest with."""

import copy
import itertools
import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from wheretolisten.config import reference
from wheretolisten.config.directions import State
from wheretolisten.config.dump import as_yaml
from wheretolisten.config.examples import Composition
from wheretolisten.config.layers import select_layers
from wheretolisten.config.loading import load
from wheretolisten.config.passes import PassSettings, SymbolSettings
from wheretolisten.config.probe import Steering
from wheretolisten.config.prompts import PROMPTS, Wording
from wheretolisten.config.workflow import Config
from wheretolisten.errors import UserError
from wheretolisten.passes import Example, fill

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
    assert config.examples["sequences"].n_samples == 500
    assert config.examples["sequences-exact"].n_samples == 48
    assert config.steering.scale == pytest.approx(0.1)
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
    assert (ROOT / "config.yaml").read_text().count("\n") <= 120


def test_the_schema_accepts_files_that_the_configuration_accepts_and_names_wrong_keys():
    validator = jsonschema.Draft202012Validator(reference.schema())
    overlays = [parameter.values[0] for parameter in documented_overlays()]
    for text in [(ROOT / "config.yaml").read_text(), *overlays]:
        assert list(validator.iter_errors(yaml.safe_load(text))) == []
    for wrong in (
        {"steering": {"strength": 1}},
        {"studies": {"mine": {"vary": "heads", "values": ["all"], "default": "often"}}},
        {"models": {"mine": {"dtype": "float8"}}},
        {"benchmarks": {}},
    ):
        assert list(validator.iter_errors(wrong)), wrong
    assert not list(validator.iter_errors({"models": {"tiny-qwen2-audio": None}, "methods": {"vista": None}}))
    assert not list(validator.iter_errors({"prompts": {"positive_3": None}, "studies": {"heads": None}}))


def test_compositions_of_any_number_of_events(raw_config, root):
    raw_config["studies"]["steered-tokens"]["of"] = "localization"
    composition = raw_config["examples"]["sequences"]["composition"]
    composition |= {"n_events": 4, "clip_seconds": [1, 1.5], "gap_seconds": [0.5, 2], "overlap": {"n_events": 2}}
    with pytest.raises(UserError, match=r"question says 'three sound', but a sample of examples 'sequences' has 6;"):
        load(raw_config, root)
    question = "This audio contains {n} sound events{how}. When does the sound of {{label}} start?"
    ask = raw_config["direct_prompt"]
    ask["question"] = question.format(n="several", how=" in sequence")
    with pytest.raises(UserError, match=r"question says 'in sequence', but sounds of examples 'sequences' overlap; w"):
        load(raw_config, root)
    ask["question"] = question.format(n="several", how="")
    with pytest.raises(UserError, match=r"examples\.questions\.about: .* 'sequences' overlap; name sequences w"):
        load(raw_config, root)
    raw_config["examples"]["questions"]["about"] = "sequences-exact"
    with pytest.raises(UserError, match=r"reading_position: study 'localization' has no .*\(event-1, event-2, .*"):
        load(raw_config, root)
    raw_config["figures"]["reading_position"] = "event-6"
    config = load(raw_config, root)
    composed = config.examples["sequences"].composition
    assert composed.positions == tuple(f"event-{number}" for number in range(1, 7))
    assert composed.longest_seconds == 4 * 1.5 + 3 * 2
    assert Composition.from_json(composed.as_json()) == composed
    assert config.examples["sequences-exact"].composition.positions == ("begin", "middle", "end")
    assert config.examples_per_shard("sequences") == 4700 // 12
    cost = config.describe_sweep("steered-tokens", dict.fromkeys(config.models, 4))
    assert f"{2 * 24 * 6 * 3} steered passes" in cost

    # Laid over the default run, what the documentation shows is valid.
    shown = yaml.safe_load((root / "docs/examples.md").read_text().split("```yaml")[1].split("```")[0])
    default = yaml.safe_load((root / "config.yaml").read_text())
    assert load(overlaid(default, shown), root).examples["crowded"].composition.positions == composed.positions

    raw_config["sounds"]["synthetic"]["labels"] = ["dog", "cat", "cow", "hen", "bell", "horn"]
    with pytest.raises(UserError, match=r"labels: domain 'animals' has 4 label.* 'sequences' takes 6 .*domains: mixed"):
        load(raw_config, root)
    composition["domains"] = "mixed"
    raw_config["examples"]["sequences-exact"] |= {"composition": composition | {"n_events": 5}}
    with pytest.raises(UserError, match=r"labels: the list has 6 .* 'sequences-exact' takes 7 .*lower .*n_events"):
        load(raw_config, root)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("lambda", 0.1, r"lambda: unknown key"),
        ("steering/lambda", 0.1, r"^config\.yaml: steering\.lambda: unknown key"),
        ("steering/scale", "strong", r"^config\.yaml: steering\.scale: .*number.*'strong'"),
        ("steering/scale", float("nan"), r"^config\.yaml: steering\.scale"),
        ("steering/layers", [1, 1], r"^config\.yaml: steering\.layers: .*different"),
        ("steering/layers", [99], r"^config\.yaml: steering\.layers: block 99 does not exist.*has \d+ blocks"),
        ("localization/layers", [50], r"^config\.yaml: localization\.layers: block 50 does not exist"),
        ("localization/epsilon", 0, r"^config\.yaml: localization\.epsilon"),
        ("prompts/positive", "Where is the sound?", r"^config\.yaml: prompts: positive must contain \{label\}"),
        ("prompts/positive", "Where is {sound} {label}?", r"^config\.yaml: prompts: positive: cannot fill"),
        ("prompts/inference", " ", r"^config\.yaml: prompts: inference must not be empty"),
        ("random_draws", 0, r"^config\.yaml: random_draws"),
        ("examples/sequences/sounds", "esc50", r"examples\.sequences\.sounds: 'esc50' is not in sounds"),
        ("examples/sequences/n_samples", 0, r"examples\.sequences\.n_samples"),
        ("examples/sequences/composition/clip_seconds", [5.5, 4.5], r"clip_seconds must be \[shortest, longest\]"),
        ("examples/sequences/composition/clip_seconds", [6.0, 7.0], r"events of at least 6 s cannot be cut"),
        ("examples/sequences/composition/gap_noise", "brown", r"gap_noise: .*'brown'"),
        (
            "examples/Sequences",
            {"type": "sequences", "sounds": "synthetic"},
            r"examples: the name 'Sequences' becomes a folder",
        ),
        (
            "examples/..%2Fetc",
            {"type": "sequences", "sounds": "synthetic"},
            r"examples: the name '\.\.%2Fetc' becomes a folder",
        ),
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
            "examples/sequences/composition/gap_seconds",
            4,
            r"hears at most 20 s, but samples of .*'sequences' .*24\.5",
        ),
        ("steering", None, r"^config\.yaml: steering: "),
        ("prompts/positive", "{label.foo} {label}", r"positive: cannot fill"),
        ("prompts/positive", "{label} {label:.2f}", r"positive: cannot fill"),
        (
            "sounds/mine",
            {"type": "folder", "path": "no/such"},
            r"sounds\.mine\.path: 'no/such' does not exist as a folder",
        ),
        ("sounds/mine", {"type": "tape", "path": "."}, r"sounds\.mine: .*tape"),
        ("sounds/synthetic/labels", ["dog", "unicorn", "cat"], r"no procedural sound 'unicorn'"),
        ("sounds/synthetic/labels", ["dog", "cat"], r"domain 'animals' has 2 label\(s\) \(dog, cat\)"),
        (
            "sounds/mine",
            {"type": "folder", "path": ".", "domains": {"a": ["dog"], "b": ["dog"]}},
            r"sounds\.mine\.domains: label 'dog' is listed under 'a' and 'b'",
        ),
        (
            "sounds/mine",
            {"type": "folder", "path": ".", "domains": {"a": ["door_bell"], "b": ["door\u00a0bell"]}},
            r"sounds\.mine\.domains: label 'door bell' is listed under 'a' and 'b'",
        ),
        (
            "sounds/mine",
            {"type": "folder", "path": ".", "domains": {"a": ["dog"], "b": ["Dog"]}},
            r"sounds\.mine\.domains: the labels 'Dog' and 'dog' differ only in upper and lower case",
        ),
        (
            "sounds/mine",
            {"type": "folder", "path": ".", "domains": yaml.safe_load("a: [dog, no]")},
            r"sounds\.mine\.domains\.a: YAML reads a name here as false, .*put the name in quotes",
        ),
        (
            "sounds/mine",
            {"type": "sakura", "path": ".", "tracks": yaml.safe_load("2024-01-01: Animal")},
            r"sounds\.mine\.tracks: YAML reads a name here as 2024-01-01, not as text",
        ),
        ("sounds/synthetic/labels", ["dog", "dog "], r"sounds\.synthetic\.labels: label 'dog' is listed twice"),
        ("sounds/synthetic/labels", ["dog", "roster"], r"'roster'; did you mean 'rooster'\?"),
        ("sounds/synthetic/labels", yaml.safe_load("[dog, null]"), r"synthetic\.labels: YAML reads a name .* null"),
        ("wording/labels", yaml.safe_load("yes: agreement"), r"wording\.labels: YAML reads a name .* true"),
        ("wording/labels", yaml.safe_load("0: zero"), r"wording\.labels: YAML reads .* as 0, .*in quotes"),
        ("wording/labels", {"sea_waves": "a", "sea waves": "b"}, r"'sea_waves' and 'sea waves' are one"),
        ("wording/domains", {"": "{label}"}, r"wording\.domains: the name '' is empty"),
        ("sounds/mine", {"type": "folder", "path": ".", "seed": 1}, r"sounds\.mine\.seed: unknown key"),
        ("shard_seconds", 10, r"shard_seconds: 10 s is less than one recording of examples 'sequences'"),
        ("figures/overlap", "none", r"figures\.overlap: 'none' is no study that reads windows"),
        ("figures/attention_change", "localization", r"figures\.attention_change: .*'localization' do not lie at"),
        ("figures/reading_sample", 500, r"figures\.reading_sample: 500 is beyond study 'localization'"),
        ("models", {}, r"models: .*at least one"),
        ("examples/mine", {"type": "tape"}, r"examples\.mine: .*tape"),
        ("examples/mine", {"n_items": 3}, r"examples\.mine: the key type is missing; add sequences, symbolic, q"),
        (
            "examples/mine",
            {"type": "questions", "about": "other"},
            r"examples\.mine\.about: 'other' is not among the sequences .*take the questions out \(mine: null\)",
        ),
        (
            "examples/mine",
            {"type": "mmau", "path": "no.json", "audio": "rules"},
            r"examples\.mine\.path: 'no\.json' does not exist as a file",
        ),
        (
            "examples/mine",
            {"type": "mmau", "path": "config.yaml", "audio": "no"},
            r"examples\.mine\.audio: 'no' does not exist as a folder",
        ),
        (
            "examples/mine",
            {"type": "mmau", "path": "config.yaml", "audio": "rules"},
            r"hears at most 20 s, but recordings of 'mine' may last 30 s; lower its max_seconds",
        ),
        (
            "examples/mine",
            {"type": "mmau", "path": "a", "audio": "a", "splits": ["test", "test"]},
            r"examples\.mine: split 'test' is listed twice",
        ),
        ("examples/Mine", {"type": "questions", "about": "sequences"}, r"examples: the name 'Mine' becomes"),
        ("examples/questions/n_items", 0, r"examples\.questions\.n_items: "),
        (
            "examples/sequences/perturbation",
            {"against": "other", "snr_db": 40},
            r"examples\.sequences\.perturbation\.against: 'other' is not in models .* or null for random noise",
        ),
        ("examples/sequences/perturbation", {"snr_db": 40}, r"sequences\.perturbation\.against: the key is missing"),
        (
            "examples/sequences/composition/codec",
            {"format": "aac"},
            r"examples\.sequences\.composition\.codec\.format: input should be 'mp3', 'vorbis' or 'opus', not 'aac'",
        ),
        (
            "examples/sequences/composition/reverberation",
            {"rt60": 0},
            r"sequences\.composition\.reverberation\.rt60: input should be greater than or equal to 0\.05, not 0",
        ),
        ("prompts/question", "{question}", r"prompts: question must contain \{choices\}"),
        ("figures/studies", ["localization", "none"], r"figures\.studies: 'none' is no study that reads windows"),
        ("figures/studies", ["localization"] * 2, r"figures\.studies: 'localization' is listed twice; keep one"),
        ("figures/audio_share", "none", r"figures\.audio_share: 'none' is no study that reads shares \(listening\)"),
    ],
)
def test_wrong_values_are_named_with_key_and_way_out(raw_config, root, path, value, message):
    with pytest.raises(UserError, match=message) as caught:
        load(changed(raw_config, path, value), root)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("config.yaml: ")


def test_null_takes_an_entry_out(raw_config, root):
    raw_config["models"]["tiny-audio-flamingo-3"] = None
    raw_config["methods"]["vista"] = None
    config = load(raw_config, root)
    assert list(config.models) == ["tiny-qwen2-audio"]
    assert "vista" not in config.methods


def test_perturbed_sequences_depend_on_the_model_only_whose_windows_they_move(raw_config, root):
    raw_config["examples"]["sequences"]["perturbation"] = {"against": "tiny-qwen2-audio", "snr_db": 40}
    raw_config["examples"]["sequences-exact"]["perturbation"] = {"against": None, "snr_db": 40}
    config = load(raw_config, root)
    made, drawn = (config.perturbing_settings(name) for name in ("sequences", "sequences-exact"))
    assert made.model == config.models["tiny-qwen2-audio"]
    assert (made.prompt, made.localization.n_absent) == (config.prompts["positive"], 3)
    assert drawn.model is None
    raw_config["localization"]["absent_sounds"] = 5
    changed_config = load(raw_config, root)
    assert changed_config.perturbing_settings("sequences").localization.n_absent == 5
    assert changed_config.perturbing_settings("sequences-exact") == drawn
    raw_config["examples"]["sequences"]["composition"]["heard"] = "silence"
    with pytest.raises(UserError, match="perturbation: heard: silence leaves nothing that noise could lie below"):
        load(raw_config, root)


def test_directions_may_be_made_of_the_same_events_undisturbed(raw_config, root):
    raw_config["examples"]["noisy"] = raw_config["examples"]["sequences"] | {
        "composition": raw_config["examples"]["sequences"]["composition"] | {"snr_db": 0.0, "codec": {"format": "mp3"}}
    }
    transferred = {"examples": "noisy", "methods": ["sample", "label_mean"], "states_from": "sequences"}
    raw_config["studies"]["noisy"] = transferred
    raw_config["figures"]["studies"] = ["localization", "noisy"]
    config = load(raw_config, root)
    assert config.states_examples("noisy") == config.states_examples("localization") == "sequences"
    assert config.states_of("noisy") == {}
    assert [each.name for each in config.unsteered_settings("tiny-qwen2-audio", "noisy").passes] == ["base", "prompted"]
    alone = {name: study for name, study in raw_config["studies"].items() if name in ("noisy", "localization-exact")}
    raw_config["figures"] |= {"overlap": "noisy", "studies": None, "audio_share": None}
    config = load(raw_config | {"studies": alone}, root)
    assert list(config.states_of("sequences")) == ["negative", "positive"]
    assert config.averaging_settings("sequences").contrasts == [("positive", "negative")]
    for changes, message in (
        ({"states_from": "none"}, r"noisy\.states_from: 'none' is not among the sequences \(sequences, "),
        (
            {"states_from": "sequences-exact"},
            r"'noisy' and 'sequences-exact' differ in n_samples, so that their events",
        ),
        (
            {"examples": "questions", "readout": "share", "methods": ["instruction"]},
            r"noisy\.states_from: states are kept where windows are read, and this study reads share",
        ),
    ):
        wrong = raw_config | {"studies": raw_config["studies"] | {"noisy": transferred | changes}}
        with pytest.raises(UserError, match=message):
            load(wrong, root)
    raw_config["figures"] |= {"overlap": "localization", "studies": ["localization", "localization-exact"]}
    with pytest.raises(UserError, match=r"figures\.studies: examples 'sequences' and 'sequences-exact' differ in n_sa"):
        load(raw_config, root)


EARLIER = {
    "libraries": ({"mine": {"type": "folder", "path": "."}}, "libraries is called sounds"),
    "benchmarks": ({"sequences": {"n_samples": 6}}, "benchmarks are examples of type sequences, .* belong to a study "),
    "questions": ({"mine": {"type": "procedural"}}, "questions are examples of type questions .* readout: share reads"),
    "audio_share": ({"item": "{question} {choices}"}, r"the wording of audio_share is in prompts \(question, focus, "),
    "sweeps": (
        {"strength": {"benchmark": "sequences"}},
        r"sweeps are studies \(of: a study, .* first: in place of n_s",
    ),
    "probe": (None, "the keys of probe are sections of their own"),
    "probe/prompts": ({"inference": "?"}, r"probe\.prompts is prompts, .* names of their own \(positive_1, "),
    "probe/methods": (
        {"mine": {"vector": "sample"}},
        r"probe\.methods is methods, with direction: in place of vector:",
    ),
    "probe/steering": ({"scale": 0.3}, r"probe\.steering is steering"),
    "probe/random_draws": (10, r"probe\.random_draws is random_draws"),
    "prompts/paraphrases": ({"positive": []}, r"paraphrases have names of their own \(prompts: \{positive_1: "),
    "prompts/label_wording": ({"dog": "a dog"}, r"label_wording is wording\.labels"),
    "prompts/domain_wording": ({"animals": "a {label}"}, r"domain_wording is wording\.domains"),
    "prompts/query": ("What is it?", "query is written at the end of each prompt"),
    "figures/reading_vector": ("sample", r"figures\.reading_vector is figures\.reading_method"),
}


@pytest.mark.parametrize(("path", "value", "told"), [(path, *each) for path, each in EARLIER.items()], ids=EARLIER)
def test_a_configuration_of_an_earlier_version_is_told_in_one_sentence_what_moved_where(
    raw_config, root, path, value, told
):
    section, _, key = path.partition("/")
    # As an overlay: Snakemake has merged it into what is there of the section.
    raw_config[section] = raw_config.get(section, {}) | {key: value} if key else value
    key = path.replace("/", ".")
    with pytest.raises(UserError) as caught:
        load(raw_config, root, {key: "my.yaml: line 3"})
    sentence = rf"my\.yaml: line 3: {key}: this is a configuration of an earlier version; {told}[^\n]*; "
    assert re.fullmatch(
        sentence + r"docs/configuration\.md lists all keys, and CHANGELOG\.md what moved where", str(caught.value)
    )
    assert str(caught.value).count("earlier version") == 1


def test_everything_that_moved_is_told_at_once(raw_config, root):
    for path, (value, _) in EARLIER.items():
        if path.startswith("probe/"):
            raw_config.setdefault("probe", {})[path.partition("/")[2]] = value
        elif "/" not in path and path != "probe":
            raw_config[path] = value
    raw_config["figures"]["reading_vector"] = "sample"
    with pytest.raises(UserError) as caught:
        load(raw_config, root)
    assert str(caught.value).startswith("config.yaml: libraries: this is a configuration of an earlier version; ")
    for path, (_, told) in EARLIER.items():
        # What stands in prompts beside probe.prompts is of no earlier version.
        if path != "probe" and not path.startswith("prompts/"):
            assert len(re.findall(told, str(caught.value))) == 1, path


@pytest.mark.parametrize(
    ("name", "template", "message"),
    [
        (
            "mine",
            "What of {sound}?",
            r"mine: cannot fill 'What of \{sound\}\?': nothing is called 'sound'; it may name",
        ),
        ("mine", "What of {label.lower}?", r"mine: cannot fill .*: nothing is called 'label\.lower'; "),
        ("mine", "What of {}?", r"mine: cannot fill .*: nothing is called ''; "),
        ("mine", "What of {label?", r"mine: cannot fill .*: .*braces that stand for themselves are doubled"),
        ("mine", "What of label}?", r"mine: cannot fill .*: .*braces that stand for themselves are doubled"),
        (
            "mine",
            "Is {label} an answer to {question}?",
            r"mine names a label and a question; nothing has both, take one",
        ),
        ("mine", "\t", r"mine must not be empty"),
        ("mine", 3, r"mine: input should be a valid string, not 3"),
        ("Mine", "What?", r"Mine: states are named after prompts; use lower-case letters, digits, '_'"),
        ("mine@none", "What?", r"mine@none: states are named after prompts"),
        (
            "inference",
            "Where is {label}?",
            r"inference is asked about whole recordings, and names \{label\}; take it out",
        ),
        ("inference", "{question}", r"inference is asked about whole recordings, and names \{question\}; take it out"),
        ("positive_7", "Where is it?", r"positive_7 must contain \{label\}"),
        ("focus", "{question}", r"focus must contain \{choices\}"),
        (
            "negative_2",
            PROMPTS["negative"],
            r"negative and negative_2 are both .*; reword or take out \(null\) one of th",
        ),
        ("positive", None, r"positive cannot be taken out; word it otherwise, or leave it as it is"),
        ("inference", None, r"inference cannot be taken out"),
    ],
)
def test_prompts_that_cannot_be_filled_are_refused_in_one_sentence(raw_config, root, name, template, message):
    raw_config["prompts"][name] = template
    with pytest.raises(UserError, match=rf"^config\.yaml: prompts[.:] ?{message}") as caught:
        load(raw_config, root)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("config.yaml") == 1


def test_braces_that_stand_for_themselves_are_doubled_in_every_prompt(raw_config, root):
    raw_config["prompts"] |= {
        "inference": "Describe {{all}} of it.",
        "positive": "What is heard in {{label}} {label}?",
        "negative": "Focus on {{all}} of it",
        "question": "{{}} {question} {choices}",
    }
    config = load(raw_config, root)
    settings = config.unsteered_settings("tiny-qwen2-audio", "sequences")
    recording = Example("00000", "00000", {}, [{"position": "begin", "label": "cat", "domain": "animals"}])
    base, prompted = settings.passes
    positive, negative = (settings.states[name] for name in ("positive", "negative"))
    assert fill(base.prompt, recording, "", settings.wording) == "Describe {all} of it."
    assert fill(negative.prompt, recording, "", settings.wording) == "Focus on {all} of it"
    for template in (prompted.prompt, positive.prompt):
        assert fill(template, recording, "begin", settings.wording) == "What is heard in {label} cat?"
    assert (negative.of_event, positive.of_event) == (False, True)
    original, *_ = config.share_settings("tiny-qwen2-audio", "listening").passes
    item = Example("a", "a", {"question": "Who {barks}?", "choices": "a dog, a cat"})
    assert fill(original.prompt, item, "", settings.wording) == "{} Who {barks}? a dog, a cat"


def test_a_prompt_of_ones_own_makes_directions_about_what_it_names(raw_config, root):
    raw_config["prompts"] |= {"call": "Call me at the {label}.", "hint": "{question} Hint: {choices}"}
    raw_config["directions"] = {
        "called": {"contrast": ["call", "negative"]},
        "hinted": {"contrast": ["hint", "question"]},
    }
    raw_config["methods"] |= {name: {"direction": name} for name in ("called", "hinted")}
    raw_config["studies"]["localization"]["methods"].append("called")
    raw_config["studies"]["listening"]["methods"].append("hinted")
    config = load(raw_config, root)
    state = config.unsteered_settings("tiny-qwen2-audio", "sequences").states["call"]
    assert state == State(prompt="Call me at the {label}.")
    assert state.of_event
    settings = config.share_settings("tiny-qwen2-audio", "listening")
    assert settings.states["hint"] == State(prompt="{question} Hint: {choices}")
    assert [each.direction.contrast for each in settings.passes if each.name == "hinted"] == [("hint", "question")]
    assert {"called", "hinted"} & set(config.methods_of("localization-exact")) == {"called"}
    raw_config["prompts"]["call"] = None
    with pytest.raises(
        UserError, match=r"directions\.called\.contrast: 'call' is no prompt \(positive, .*\); add it to pr"
    ):
        load(raw_config, root)


def test_null_takes_a_prompt_out_and_it_stays_out(raw_config, root):
    raw_config["prompts"]["positive_3"] = None
    with pytest.raises(
        UserError, match=r"methods\.positive_3\.direction: 'positive_3' is no prompt \(positive, "
    ) as caught:
        load(raw_config, root)
    known = str(caught.value).partition("(")[2].partition(")")[0].split(", ")
    assert known == [name for name in PROMPTS if name != "positive_3"]
    raw_config["methods"]["positive_3"] = None
    config = load(raw_config, root)
    again = Config.from_json(config.as_json())
    # Laid over the default run, too, as the configuration that a run writes.
    laid_over = overlaid(yaml.safe_load((root / "config.yaml").read_text()), json.loads(config.as_json()))
    for each in (config, again, load(laid_over, root)):
        assert each.prompts == PROMPTS | {"positive_3": None}
        states = each.unsteered_settings("tiny-qwen2-audio", "sequences-exact").states
        assert {"positive_2", "positive_3"} & set(states) == {"positive_2"}
        assert each.as_json() == config.as_json()


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
    raw_config["sounds"] |= {
        "folder": {"type": "folder", "path": "~/sounds"},
        "esc50": {"type": "esc50", "csv": "~/esc50.csv", "audio": "~/sounds"},
        "sakura": {"type": "sakura", "path": "~/SAKURA", "tracks": {"animals": "~/Animal"}},
    }
    raw_config["examples"]["mmau"] = {"type": "mmau", "path": "~/mmau.json", "audio": "~", "max_seconds": 10}
    raw_config["models"] = {
        "mine": {"checkpoint": "~/model"},
        "large": {"checkpoint": "someone/some-model", "revision": "0123abcd" * 5},
    }
    raw_config["model_cache"] = "~/cache"
    config = load(raw_config, root)
    # What jobs, digests and results are given is the path itself.
    sounds, questions = config.sounds, config.questions["mmau"]
    assert sounds["folder"].path == sounds["esc50"].audio == f"{tmp_path}/sounds"
    assert sounds["esc50"].csv == f"{tmp_path}/esc50.csv"
    assert (sounds["sakura"].path, sounds["sakura"].tracks["animals"]) == (f"{tmp_path}/SAKURA", f"{tmp_path}/Animal")
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
    "another strength": {"steering": {"scale": 0.3, "positions": "last"}},
    "an emphasis": {
        "steering": {"emphasis": {"layers": [1, 2], "beta": 0.25}},
        "studies": {"steered-layers": None, "steered-blocks": None},
    },
    "no emphasis": {"methods": {"silence_weighted": {"steering": {"emphasis": None, "scale": 0.2}}}},
    "entries taken out": {
        "models": {"tiny-audio-flamingo-3": None},
        "prompts": {"positive_3": None},
        "steering": {"layers": "second_half"},
        "methods": {"vista": None, "no_audio": None, "positive_3": None},
        "examples": {"questions": None},
        "figures": {"audio_share": None},
        "studies": {"listening": None, "answers": None, "heads": None, "steered-blocks": None, 1: None},
    },
    "sweeps": {
        "steering": {"scale": 0.3},
        "studies": {
            "weights": {"vary": "steering.emphasis", "values": [None, {"layers": "0%-50%", "beta": 1e-5}]},
            "epsilon": {"vary": "localization.epsilon", "values": [1e-12, 1e-8], "method": "silence_weighted"},
        },
    },
    "lists of methods": {"studies": {"localization": {"methods": ["sample", "vista"]}}},
    "texts": {"prompts": {"inference": 'H\u00f6rst du \U0001f415?\u2028\t"{{}}" \\ud83d\\ude00 \x7f'}},
}


@pytest.mark.parametrize("overlay", OVERLAYS.values(), ids=OVERLAYS)
def test_the_configuration_that_a_run_writes_repeats_it(raw_config, root, overlay):
    config = load(overlaid(json.loads(json.dumps(raw_config)), overlay), root)
    written = yaml.safe_load(as_yaml(Config.from_json(config.as_json())))
    scale = config.steering.scale
    assert written["methods"]["label_mean"]["steering"]["scale"] == scale
    for raw in (written, overlaid(raw_config, written)):
        repeated = load(raw, root)
        assert repeated == config
        for model in config.models:
            for name in config.sequences:
                again, before = (each.unsteered_settings(model, name) for each in (repeated, config))
                assert again.as_json() == before.as_json()
            for name in config.localizations:
                again, before = (each.steering_settings(model, name) for each in (repeated, config))
                assert again.as_json() == before.as_json()
            for name in config.shares:
                assert repeated.share_settings(model, name).as_json() == config.share_settings(model, name).as_json()
            for name in config.sweeps:
                assert repeated.sweep_settings(name, model).as_json() == config.sweep_settings(name, model).as_json()


def test_settings_of_a_sweep_record_nothing_that_plays_no_part_in_it(raw_config, root):
    raw_config["steering"] |= {"scale": 0.3, "site": "mlp"}
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
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text()
        for block in re.finditer(r"^```ya?ml *\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: block.start()].count("\n") + 1
            yield pytest.param(block[1], id=f"{path.name}:{line}")
    for path in sorted([*(ROOT / "profiles").glob("*.yaml"), *(ROOT / "profiles/studies").glob("*.yaml")]):
        yield pytest.param(path.read_text(), id=path.name)


@pytest.mark.parametrize("text", list(documented_overlays()))
def test_every_overlay_of_the_documentation_is_accepted(raw_config, text):
    overlay = yaml.safe_load(text)
    assert set(overlay) <= set(raw_config)
    load(overlaid(raw_config, overlay), None)


def test_documented_commands_take_no_target_for_a_configuration_file():
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "config.yaml"]
    paths += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "profiles").rglob("*.yaml")]
    commands = [
        line for path in paths for line in re.findall(r"snakemake [^`\n]*--configfile[^`\n]*", path.read_text())
    ]
    assert len(commands) > 10
    for command in commands:
        arguments = command.partition("--configfile")[2].partition("#")[0].split()
        files = itertools.takewhile(lambda word: not word.startswith("-"), arguments)
        assert all(re.fullmatch(r"[\w./-]+\.yaml[,;:.]?|…", name) for name in files), command


@pytest.mark.parametrize(
    ("overlay", "problem"),
    [
        (
            {"studies": {"own": {"examples": "own"}}},
            "windows is read about sequences, and 'own' are of type recordings",
        ),
        (
            {"studies": {"own": {"examples": "sequences", "readout": "intervals"}}},
            "intervals is read about recordings, and 'sequences' are of type sequences",
        ),
        (
            {"studies": {"own": {"examples": "own", "readout": "intervals", "methods": ["sample"]}}},
            r"read by asking, \[prompt_matched\], or by steering, \[matched\]",
        ),
        ({"examples": {"own": {"names": "names.tsv"}}}, "there are no events whose labels they could name"),
        ({"examples": {"own": {"audio": "nowhere"}}}, "examples.own.audio: 'nowhere' does not exist as a folder"),
        ({"examples": {"own": {"csv": "nothing.csv"}}}, "examples.own.csv: 'nothing.csv' does not exist as a file"),
    ],
)
def test_studies_of_ones_own_recordings_that_cannot_be_right_are_refused(raw_config, overlay, problem):
    own = {"examples": {"own": {"type": "recordings", "audio": "resources"}}}
    with pytest.raises(UserError, match=problem):
        load(overlaid(overlaid(raw_config, own), overlay), ROOT)


def test_the_published_models_are_pinned_and_not_part_of_the_default(raw_config, root, tmp_path):
    overlay = yaml.safe_load((root / "profiles/paper.yaml").read_text())
    overlay["sounds"]["sakura"]["path"] = str(tmp_path)
    assert not any(model.revision for model in load(raw_config, root).models.values())
    config = load(overlaid(raw_config, overlay), root)
    assert {model.checkpoint: len(model.revision) for model in config.models.values()} == {
        "Qwen/Qwen2-Audio-7B-Instruct": 40,
        "nvidia/audio-flamingo-3-hf": 40,
    }
    assert config.examples["sequences"].n_samples == 500
    assert not config.rehearsal


def test_the_rehearsal_is_one_shard_of_full_size_models(raw_config, root):
    config = load(overlaid(raw_config, yaml.safe_load((root / "profiles/rehearsal.yaml").read_text())), root)
    assert config.rehearsal
    assert {name: config.n_shards(name) for name in config.examples} == {"rehearsal": 1}
    assert all(model.weights == "random" for model in config.models.values())


def symbolic(**keys):
    return {"type": "symbolic", "sounds": "synthetic", "n_samples": 8} | keys


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"noise": -1}, r"noise: input should be greater than or equal to 0, not -1"),
        ({"tokens_per_second": 50}, r"tokens_per_second: input should be less than or equal to 25, not 50"),
        ({"composition": {"gap_noise": "pink"}}, r"composition\.gap_noise: symbolic examples have no audio that it"),
        ({"composition": {"heard": "noise"}}, r"composition\.heard: symbolic examples have no audio that it could"),
        ({"composition": {"loudness": "rms"}}, r"composition\.loudness: symbolic examples have no audio that it could"),
        ({"composition": {"overlap": {"level_db": -6}}}, r"composition\.overlap\.level_db: symbolic examples have no"),
        (
            {"composition": {"clip_seconds": [0.1, 0.2]}, "tokens_per_second": 4},
            r"tokens_per_second: events of 0\.1 s are shorter than half a token at 4 tokens per second; raise it, or",
        ),
        ({"sounds": "none"}, r"sounds: 'none' is not in sounds \(synthetic\)"),
    ],
)
def test_symbolic_examples_that_make_no_sense_are_refused(raw_config, root, keys, message):
    raw_config["examples"]["words"] = symbolic(**keys)
    with pytest.raises(UserError, match=rf"^config\.yaml: examples\.words[.:] ?{message}") as caught:
        load(raw_config, root)
    assert "\n" not in str(caught.value)


def test_what_symbolic_examples_cannot_be_used_for_is_refused(raw_config, root):
    raw_config["examples"]["words"] = symbolic()
    raw_config["examples"]["questions"]["about"] = "words"
    with pytest.raises(UserError, match=r"questions\.about: 'words' are symbolic, and questions are about recordings;"):
        load(raw_config, root)
    raw_config["examples"]["questions"]["about"] = "sequences"
    raw_config["studies"]["listening"]["examples"] = "words"
    with pytest.raises(UserError, match=r"readout: share is read about questions, and 'words' are of type symbolic"):
        load(raw_config, root)


def test_a_model_without_ears_runs_where_all_studies_are_about_symbolic_examples(raw_config, root, tmp_path):
    description = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 4}
    hub = {"checkpoint": "someone/text", "revision": "0" * 40}
    snapshot = tmp_path / f"models--someone--text/snapshots/{hub['revision']}"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(description | {"max_position_embeddings": 200}))
    raw_config |= {"models": {"text": hub}, "model_cache": str(tmp_path)}
    raw_config["examples"]["words"] = symbolic(composition={"clip_seconds": [5.0, 5.0]})
    raw_config["studies"] = {"words": {"examples": "words"}}
    raw_config["figures"] |= {"attention_change": "words", "overlap": "words", "audio_share": None}
    config = load(raw_config, root)
    assert {"sample", "absent_label", "silence"} <= set(config.methods_of("words"))
    settings = [
        config.unsteered_settings("text", "words"),
        config.direct_settings("text", "words"),
        config.steering_settings("text", "words"),
        config.map_settings("text"),
    ]
    for each in settings:
        assert each.symbols == SymbolSettings(tokens_per_second=6.25, noise=1.0, seed=2606)
        assert PassSettings.from_json(each.as_json()) == each
    # 17 s at 12.5 tokens per second are 213 tokens.
    raw_config["examples"]["words"]["tokens_per_second"] = 12.5
    with pytest.raises(UserError, match=r"reads at most 200 tokens, but samples of 'words' have up to 213; lower tok"):
        load(raw_config, root)
    raw_config["examples"]["words"]["tokens_per_second"] = 6.25
    raw_config["studies"]["heard"] = {"examples": "sequences"}
    with pytest.raises(UserError, match=r"'someone/text' reads text only, and study 'heard' is about recordings"):
        load(raw_config, root)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (
            {"effects": {"layers": ["30%-60%", [4]]}},
            r"studies\.texts\.effects\.layers: block 4 does not exist; .*has 4 bl",
        ),
        (
            {"effects": {"arms": {"mean": {"layers": "2-7"}}}},
            r"studies\.texts\.effects\.arms\.mean\.layers: block 7 does not exist; .* \(model 'text'\)",
        ),
        (
            {"effects": {"arms": {"mean": {"steering": {"emphasis": {"layers": [3], "beta": 0.5}}}}}},
            r"effects\.arms\.mean\.steering: emphasis\.layers: \[3\] holds no steered block; name one of \[1, 2\]",
        ),
        (
            {"readout": "unlearning", "unlearning": {"block": 4}},
            r"studies\.texts\.unlearning\.block: block 4 does not exist; the text stack has 4 blocks",
        ),
        ({"readout": "unlearning", "unlearning": {"block": 3}}, None),
        ({"effects": {"layers": ["25%-100%"]}}, None),
    ],
)
def test_blocks_of_effects_are_those_of_the_model(raw_config, root, tmp_path, study, message):
    description = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 4}
    hub = {"checkpoint": "someone/text", "revision": "0" * 40}
    snapshot = tmp_path / f"models--someone--text/snapshots/{hub['revision']}"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(description))
    raw_config |= {"models": {"text": hub}, "model_cache": str(tmp_path)}
    raw_config["examples"]["texts"] = {"type": "pairs", "path": "resources/studies/facts.csv"}
    effects = {"axes": {"forget": {"positive": ["x"], "negative": ["y"]}}, "arms": {"mean": {}}, "layers": ["1-2"]}
    study = {"examples": "texts", "readout": "effects"} | study
    if study["readout"] == "effects":
        study["effects"] = effects | study["effects"]
    raw_config["studies"] = {"texts": study}
    raw_config["figures"] |= {"attention_change": None, "overlap": None, "audio_share": None}
    if message is None:
        assert load(raw_config, root).studies["texts"].examples == "texts"
        return
    with pytest.raises(UserError, match=message):
        load(raw_config, root)


def test_shards_cover_all_samples_once_and_adding_samples_moves_none(raw_config, root):
    few = load(raw_config, root)
    raw_config["examples"]["sequences"]["n_samples"] = 1234
    many = load(raw_config, root)
    ranges = [many.shard_range("sequences", shard) for shard in range(many.n_shards("sequences"))]
    assert [index for first, stop in ranges for index in range(first, stop)] == list(range(1234))
    full = [few.shard_range("sequences", shard) for shard in range(few.n_shards("sequences") - 1)]
    assert ranges[: len(full)] == full
    longest = many.examples["sequences"].composition.longest_seconds
    assert longest == pytest.approx(18.5)
    assert max(stop - first for first, stop in ranges) * longest <= many.shard_seconds


def test_sections_survive_the_command_line(raw_config, root):
    settings = load(raw_config, root).steering_settings("tiny-qwen2-audio", "localization")
    assert PassSettings.from_json(settings.as_json()) == settings
    (own,) = [each for each in json.loads(settings.as_json())["passes"] if each["name"] == "sample"]
    assert own["steering"]["scale"] == pytest.approx(0.1)
    assert own["direction"] == {"contrast": ["positive", "negative"], "over": "own", "control": None}
    with pytest.raises(UserError, match="--settings"):
        PassSettings.from_json("{}")


def test_steering_settings_hold_nothing_that_extraction_depends_on_alone(raw_config, root):
    before = load(raw_config, root)
    raw_config["steering"]["scale"] = 0.5
    after = load(raw_config, root)
    model = "tiny-qwen2-audio"
    assert before.unsteered_settings(model, "sequences") == after.unsteered_settings(model, "sequences")
    direct = [config.direct_settings(model, "sequences").as_json() for config in (before, after)]
    assert direct[0] == direct[1]
    assert before.steering_settings(model, "localization") != after.steering_settings(model, "localization")


def test_default_methods_are_headline_controls_on_the_large_study_and_all_that_fit_on_the_small_one(raw_config, root):
    config = load(raw_config, root)
    few = {"sample", "label_mean", "random_direction", "other_label", "absent_label", "silence"}
    assert set(config.methods_of("localization")) == few | {"prompt_matched", "matched"}
    of_questions = ["audio_silence", "audio_none", "instruction"]
    assert list(config.methods_of("listening")) == of_questions
    assert list(config.methods_of("localization-exact")) == [
        name for name in config.methods if name not in of_questions
    ]
    assert len(config.methods_of("localization-exact")) == 19


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (
            {"examples": "other"},
            r"mine\.examples: 'other' is not in examples \(sequences, .*, questions\); .* take the study out \(mine: n",
        ),
        (
            {"examples": "sequences", "readout": "share"},
            r"mine\.readout: share is read about questions, and 'sequences' are of type sequences; name other examples",
        ),
        (
            {"examples": "questions", "methods": ["instruction"]},
            r"mine\.readout: windows is read about sequences, and 'questions' are of type questions; .* another r",
        ),
        (
            {"examples": "sequences", "readout": "text"},
            r"mine\.readout: input should be 'windows', 'share', .*, 'unlearning' or 'interruption', not 'text'",
        ),
        ({"examples": "sequences", "methods": ["none"]}, r"mine\.methods: 'none' is not in methods \(sample, .*add it"),
        ({"examples": "sequences", "methods": "some"}, r"mine\.methods: 'some' is neither all nor a list of names"),
        ({"examples": "sequences", "methods": []}, r"mine\.methods: \[\] is neither all nor a list of names"),
        ({"examples": "sequences", "methods": ["sample"] * 2}, r"mine\.methods: 'sample' is listed twice; keep one"),
        (
            {"examples": "sequences", "methods": ["sample", "instruction"]},
            r"mine\.methods: 'instruction' needs examples with \{choices\}, which 'sequences' have not; take it out",
        ),
        (
            {"examples": "questions", "readout": "share", "methods": ["instruction", "silence"]},
            r"mine\.methods: 'silence' needs examples with \{label\}, which 'questions' have not; take it out",
        ),
        (
            {"examples": "questions", "readout": "share", "methods": ["random_direction"]},
            r"mine\.methods: 'random_direction' needs examples with \{label\}",
        ),
        (
            {"examples": "questions", "readout": "share", "methods": ["instruction", "original"]},
            r"mine\.methods: 'original' is the name of a pass that is not steered; give the method another one",
        ),
        ({"examples": "sequences", "benchmark": "sequences"}, r"mine\.benchmark: unknown key"),
        ({"readout": "windows"}, r"mine\.examples: the key is missing; add it"),
        ({"examples": "sequences", "readout": "choices"}, r"mine\.readout: choices is read about questions, and 'seq"),
        (
            {"examples": "questions", "readout": "choices", "choosing": {"prompt": "positive"}},
            r"mine\.choosing\.prompt: 'positive' is no prompt that names \{question\} \(question, asked, focus, ",
        ),
        (
            {
                "examples": "questions",
                "readout": "choices",
                "choosing": {"instructed": "focus_asked", "permute": "rows"},
            },
            r"mine\.choosing\.permute: the prompt 'focus_asked' shows no \{choices\}, which could be permuted; set",
        ),
        (
            {"examples": "questions", "readout": "choices", "choosing": {"n_heads": [0]}},
            r"mine\.choosing\.n_heads\.0: 0 is too small|mine\.choosing\.n_heads\.0",
        ),
        (
            {"examples": "questions", "readout": "share", "choosing": {"n_heads": [4]}},
            r"mine\.choosing: it is about readout: choices, and this study reads share; take it out, or",
        ),
        ("sequences", r"mine: must hold keys of its own, not 'sequences'"),
    ],
)
def test_studies_that_do_not_fit_are_refused_in_one_sentence(raw_config, root, study, message):
    raw_config["methods"]["original"] = {"direction": "neutral"}
    raw_config["studies"]["mine"] = study
    with pytest.raises(UserError, match=rf"^config\.yaml: studies\.{message}") as caught:
        load(raw_config, root)
    assert "\n" not in str(caught.value)


def test_a_study_s_name_becomes_a_folder(raw_config, root):
    raw_config["studies"]["My study"] = {"examples": "sequences"}
    with pytest.raises(
        UserError, match=r"^config\.yaml: studies: the name 'My study' becomes a folder; use lower-case"
    ):
        load(raw_config, root)


def test_all_methods_are_those_that_fit_the_examples(raw_config, root):
    raw_config["studies"]["mine"] = {"examples": "questions", "readout": "share"}
    raw_config["studies"]["none"] = {"examples": "sequences"}
    config = load(raw_config, root)
    # That of the two generic instructions names neither a sound nor a question.
    assert set(config.methods_of("mine")) == {"neutral", "audio_silence", "audio_none", "instruction"}
    assert set(config.methods_of("none")) == set(config.methods) - {"audio_silence", "audio_none", "instruction"}
    raw_config["methods"] = {name: raw_config["methods"][name] for name in ("sample", "silence")}
    for study in ("listening", "localization"):
        raw_config["studies"][study] |= {"methods": "all"}
    raw_config["studies"] |= {"listening": None, "answers": None}
    with pytest.raises(
        UserError, match=r"studies\.mine\.methods: no method fits examples 'questions'; .*\(mine: null\)"
    ):
        load(raw_config, root)


def test_studies_about_the_same_examples_share_states(raw_config, root):
    model = "tiny-qwen2-audio"
    raw_config["studies"]["localization"]["methods"] = ["sample", "silence"]
    one = load(raw_config, root)
    assert list(one.states_of("sequences")) == ["negative", "positive", "positive@silence"]
    assert one.averaging_settings("sequences").contrasts == []
    raw_config["studies"]["mine"] = {"examples": "sequences", "methods": ["label_mean", "no_audio", "positive_2"]}
    both = load(raw_config, root)
    union = ["negative", "positive", "positive@none", "positive@silence", "positive_2"]
    assert list(both.states_of("sequences")) == list(both.unsteered_settings(model, "sequences").states) == union
    assert both.averaging_settings("sequences").contrasts == [("positive", "negative")]
    # Each has passes of its own: the first is not run again.
    assert both.steering_settings(model, "localization") == one.steering_settings(model, "localization")
    names = [each.name for each in both.steering_settings(model, "mine").passes]
    assert names == ["label_mean", "no_audio", "positive_2"]
    assert both.unsteered_settings(model, "sequences-exact") == one.unsteered_settings(model, "sequences-exact")
    # Nor do other examples: what no study asks about has no states.
    raw_config["examples"]["unused"] = raw_config["examples"]["sequences"]
    assert load(raw_config, root).states_of("unused") == {}


def test_a_method_changes_the_steering_that_it_names_and_no_more(raw_config, root):
    raw_config["steering"] |= {"scale": 0.3, "layers": "second_half"}
    methods = load(raw_config, root).methods_of("localization-exact")
    assert methods["sample"].steering == Steering(scale=0.3, layers="second_half")
    assert methods["silence_weighted"].steering == Steering(
        scale=0.3, layers="second_half", emphasis={"layers": "44%-94%", "beta": 0.5}
    )
    vista = {"site": "mlp", "normalisation": "state", "gate": "opposed", "scale": 0.1}
    assert methods["vista"].steering == Steering(layers="second_half", **vista)


def test_weights_of_silence_are_those_of_avs_in_qwen2_audio(raw_config, root):
    steering = load(raw_config, root).methods_of("localization-exact")["silence_weighted"].steering
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
    raw_config["studies"]["localization"]["methods"].append("shuffled_labels")
    raw_config["methods"]["weak"] = {"direction": "silence", "steering": {"scale": 0.01}}
    raw_config["prompts"]["positive_1"] = "Where is {label}?"
    assert load(raw_config, root).unsteered_settings(model, "sequences").as_json() == before
    raw_config["studies"]["localization"]["methods"].append("positive_1")
    states = load(raw_config, root).unsteered_settings(model, "sequences").states
    assert states["positive_1"] == State(prompt="Where is {label}?")
    assert states["positive@silence"] == State(prompt=config.prompts["positive"], heard="silence")
    assert set(states) == own | {"positive@silence", "positive_1"}


def test_a_contrast_of_ones_own_needs_yaml_alone(raw_config, root):
    raw_config["directions"] = {"mine": {"contrast": ["positive_2", "negative_1@silence"]}}
    raw_config["directions"]["mine_of_others"] = {
        "contrast": ["positive_2", "negative_1@silence"],
        "over": "others_of_label",
    }
    raw_config["methods"] |= {name: {"direction": name} for name in ("mine", "mine_of_others")}
    raw_config["studies"]["localization"]["methods"] += ["mine", "mine_of_others"]
    config = load(raw_config, root)
    states = config.unsteered_settings("tiny-qwen2-audio", "sequences").states
    assert states["negative_1@silence"] == State(prompt="Listen to the whole audio", heard="silence")
    assert ("positive_2", "negative_1@silence") in config.averaging_settings("sequences").contrasts
    passes = {each.name: each for each in config.steering_settings("tiny-qwen2-audio", "localization").passes}
    assert passes["mine"].direction.contrast == ("positive_2", "negative_1@silence")
    for state in ("quiet", "negative_4"):
        raw_config["directions"]["unused"] = {"contrast": ["positive", state]}
        told = (
            rf"directions\.unused\.contrast: '{state}' is no prompt \(positive, .*\); add it to prompts, or take what"
        )
        with pytest.raises(UserError, match=told):
            load(raw_config, root)
    for control in ({"control": "other_event"}, {"control": "absent_label", "over": "others_of_label"}):
        raw_config["directions"]["unused"] = {"contrast": ["negative_1", "negative"]} | control
        with pytest.raises(UserError, match=r"unused\.control: \w+ takes another label, and the contrast names none"):
            load(raw_config, root)
    raw_config["directions"] = {"silence": {"contrast": ["positive", "negative"]}}
    with pytest.raises(UserError, match=r"directions: 'silence' is there already; give yours another name"):
        load(raw_config, root)


def test_order_of_methods_does_not_matter(raw_config, root):
    before = load(raw_config, root).steering_settings("tiny-qwen2-audio", "localization").as_json()
    raw_config["studies"]["localization"]["methods"].reverse()
    raw_config["methods"] = dict(reversed(raw_config["methods"].items()))
    assert load(raw_config, root).steering_settings("tiny-qwen2-audio", "localization").as_json() == before


def test_wording_of_labels():
    wording = Wording(labels={"dog": "a barking dog"})
    assert wording.of("dog", "animals") == "a barking dog"
    assert wording.of("cat", "animals") == "cat"
    assert wording.of("French", "languages") == "French speech"


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
    before = load(raw_config, root).direct_settings("tiny-qwen2-audio", "sequences").as_json()
    raw_config["prompts"]["inference"] = "What is this?"
    assert load(raw_config, root).direct_settings("tiny-qwen2-audio", "sequences").as_json() == before
    raw_config["wording"]["labels"] = {"dog": "a dog"}
    assert load(raw_config, root).direct_settings("tiny-qwen2-audio", "sequences").as_json() != before


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
        ("upper_half", "'upper_half' is none of all, second_half, last, a list of blocks, a range such as 14-29"),
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
    raw_config[section]["layers"] = layers
    with pytest.raises(UserError, match=re.escape(f"config.yaml: {section}.layers: {message}")) as error:
        load(raw_config, root)
    assert str(error.value).count("config.yaml") == str(error.value).count("layers:") == 1


def test_decoding_steps_have_their_strengths():
    def strengths(decoding):
        steps = map(Steering(scale=0.4, decoding=decoding).at_step, range(4))
        return [None if step is None else step.scale for step in steps]

    assert Steering().decoding == "all"
    assert strengths("all") == [0.4] * 4
    assert strengths("none") == [None] * 4
    assert strengths({"first": 2}) == [0.4, 0.4, None, None]
    assert strengths({"first": 3, "decay": 0.5}) == [0.4, 0.2, 0.1, None]
    assert Steering.from_json(Steering(decoding={"first": 3}).as_json()) == Steering(decoding={"first": 3})
    assert select_layers("last", 6) == [5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoding": "some"}, "steering.decoding: 'some' is none of none, all, and a window such as {first: 3}"),
        ({"decoding": 3}, "steering.decoding: 3 is none of none, all"),
        ({"decoding": {"first": 0}}, "steering.decoding: first: input should be greater than or equal to 1, not 0"),
        ({"decoding": {"decay": 0.5}}, "steering.decoding: first: the key is missing; add it"),
        ({"decoding": {"first": 2, "decay": 2}}, "steering.decoding: decay: 2 is neither a number above 0 and at most"),
        (
            {"operator": "set", "decoding": {"first": 2, "decay": 0.5}},
            "steering: decoding.decay lets λ go to 0, which operator 'set' does not take for no steering",
        ),
        ({"site": "final_norm"}, "steering: site final_norm lies behind the last block; set layers: last"),
    ],
)
def test_wrong_decoding_ends_in_one_sentence(raw_config, root, settings, message):
    raw_config["steering"] |= settings
    with pytest.raises(UserError, match="^" + re.escape(f"config.yaml: {message}")) as error:
        load(raw_config, root)
    assert str(error.value).count(";") <= 1


@pytest.mark.parametrize("key", ["operator", "site", "positions", "normalisation", "gate"])
def test_unknown_kinds_of_steering_end_in_one_sentence(raw_config, root, key):
    raw_config["steering"][key] = "heart"
    with pytest.raises(UserError, match=rf"^config\.yaml: steering\.{key}: input should be .*, not 'heart'$"):
        load(raw_config, root)


@pytest.mark.parametrize("operator", ["ablate", "set", "scale"])
def test_what_belongs_to_adding_is_refused_with_another_operator(raw_config, root, operator):
    for key, value, unset in (
        ("normalisation", "unit", "none"),
        ("gate", "opposed", "none"),
        ("emphasis", {"layers": [0]}, "null"),
    ):
        message = f"{key} says how a vector is added, which operator '{operator}' does not do; set {key}: {unset}, or"
        changes = {"steering": {"operator": operator, key: value}}
        with pytest.raises(UserError, match=re.escape(f"config.yaml: steering: {message}") + " operator: add$"):
            load(raw_config | changes, root)
        # What a method changes, and what it takes from the section, do not fit together.
        taken_out = {"direction": "sample", "steering": {"operator": operator}}
        changes = {"steering": {key: value}, "methods": raw_config["methods"] | {"taken_out": taken_out}}
        where = "config.yaml: methods: taken_out.steering: "
        with pytest.raises(UserError, match=re.escape(where + message)) as error:
            load(raw_config | changes, root)
        assert "\n" not in str(error.value)


def test_methods_in_the_documentation_of_steering_are_valid(raw_config, root):
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/steering.md").read_text(), re.DOTALL)
    documented = yaml.safe_load(block)["methods"]
    raw_config["methods"] |= documented
    methods = load(raw_config, root).methods
    without, at_attention = (methods[name].steering for name in documented)
    assert (without.operator, without.scale, without.preserve_norm) == ("ablate", 1, False)
    assert (at_attention.operator, at_attention.site) == ("add", "attention")


def test_a_study_that_reads_attention_steers_nothing_behind_it(raw_config, root):
    raw_config["methods"]["late"] = {"direction": "sample", "steering": {"site": "final_norm", "layers": "last"}}
    message = "config.yaml: methods.late.steering.site: studies read attention, which comes before the final_norm; set"
    with pytest.raises(UserError, match=re.escape(message)):
        load(raw_config, root)


@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_vectors_of_block_outputs_steer_no_heads_or_neurons(raw_config, root, site):
    # Heads are often as wide as the residual stream: nothing would fail.
    message = f"site: the vectors of this workflow are of block outputs, not of {site}; set site to block,"
    methods = raw_config["methods"]
    for key, changes in (
        ("steering", {"steering": {"site": site}, "methods": {"sample": {"direction": "sample"}}}),
        (
            "methods.inside.steering",
            {"methods": methods | {"inside": {"direction": "sample", "steering": {"site": site}}}},
        ),
    ):
        with pytest.raises(UserError, match=re.escape(f"config.yaml: {key}.{message}")):
            load(raw_config | changes, root)
    raw_config["studies"] |= {"sites": {"vary": "steering.site", "values": ["block", "attention", site]}}
    with pytest.raises(UserError, match=re.escape(f"studies.sites.values: {message}")):
        load(raw_config, root)
    raw_config["studies"]["sites"]["values"].pop()
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
    raw_config["steering"] |= {"layers": [0, 1], "emphasis": {"layers": [3]}}
    with pytest.raises(UserError, match=r"steering\.emphasis\.layers: \[3\] holds no steered block; .*\[0, 1\]"):
        load(raw_config, root)


def test_a_study_of_shares_depends_on_what_is_read_and_not_on_how_many_items_there_are(raw_config, root):
    before = load(raw_config, root).share_settings("tiny-qwen2-audio", "listening")
    assert (before.splits, before.on_bad_item) == (None, "refuse")
    assert before.max_seconds == pytest.approx(18.5)
    raw_config["examples"]["questions"]["n_items"] = 7
    raw_config["prompts"]["inference"] = "What is this?"
    config = load(raw_config, root)
    assert config.share_settings("tiny-qwen2-audio", "listening") == before
    assert config.examples_per_shard("questions") == 254
    raw_config["steering"]["scale"] = 0.2
    assert load(raw_config, root).share_settings("tiny-qwen2-audio", "listening") != before


def test_questions_can_be_left_out(raw_config, root):
    raw_config["examples"]["questions"] = None
    with pytest.raises(
        UserError, match=r"listening\.examples: 'questions' is not in examples \(sequences, sequences-e"
    ):
        load(raw_config, root)
    raw_config["studies"] |= {"listening": None, "answers": None}
    with pytest.raises(UserError, match=r"'listening' is no study that reads shares \(there is none\); .* null for no"):
        load(raw_config, root)
    raw_config["figures"]["audio_share"] = None
    config = load(raw_config, root)
    assert config.questions == config.shares == config.choices == {}


# ---------------------------------------------------------------------------------------------------- absent references


@pytest.mark.parametrize(
    ("name", "method", "message"),
    [
        ("mine", {}, r"methods\.mine.*takes a direction, or a prompt that is asked instead"),
        ("prompt_mine", {"direction": "sample", "prompt": "positive"}, r"a direction, or a prompt"),
        ("prompt_mine", {"prompt": "positive", "steering": {"scale": 1}}, r"steering: a prompt that is asked steers"),
        ("mine", {"prompt": "positive"}, r"methods\.mine: .* starts with prompt_ and is not prompt_only; rename it"),
        ("prompt_only", {"prompt": "positive"}, r"is not prompt_only; rename it"),
        ("prompt_mine", {"direction": "sample"}, r"methods\.prompt_mine: only what is asked and not steered"),
        ("prompt_mine", {"prompt": "negative"}, r"'negative' is no prompt that names \{label\} \(positive, positive_1"),
        ("prompt_mine", {"prompt": "where"}, r"'where' is no prompt .*; name one of these, or add it to prompts"),
        (
            "mine",
            {"direction": "sample", "localization": {"layers": [9]}},
            r"methods\.mine\.localization\.layers: block 9",
        ),
        (
            "mine",
            {"direction": "sample", "localization": {"absent_sounds": 2, "absent_mistaken": 3}},
            r"absent_mistaken: 3 of 2 absent sounds cannot be present; lower it",
        ),
    ],
)
def test_methods_that_neither_ask_nor_steer_are_refused(raw_config, root, name, method, message):
    raw_config["methods"][name] = method
    with pytest.raises(UserError, match=message) as refused:
        load(raw_config, root)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        (["positive@absent@label", "negative"], r"names no state; write a prompt, and behind it @silence or @none, @l"),
        (["positive@absent0", "negative"], r"names no state"),
        (
            ["negative@label", "positive"],
            r"'negative@label': the prompt 'negative' names no \{label\}; take @label out",
        ),
        (["positive", "negative@absent"], r"names no \{label\}; take @absent out"),
        (["positive@absent", "positive@absent"], r"differ in nothing"),
    ],
)
def test_states_that_cannot_be_had_are_refused(raw_config, root, contrast, message):
    raw_config["directions"]["mine"] = {"contrast": contrast}
    with pytest.raises(UserError, match=message):
        load(raw_config, root)


def test_figures_of_steering_and_sweeps_of_it_take_methods_that_steer(raw_config, root):
    raw_config["figures"]["reading_method"] = "matched"
    with pytest.raises(UserError, match=r"reading_method: 'matched' does not steer, or is held against absent sounds"):
        load(raw_config, root)
    raw_config["figures"]["reading_method"] = "sample"
    sweep = {"vary": "steering.scale", "values": [0, 1], "method": "prompt_matched"}
    raw_config["studies"]["mine"] = sweep
    with pytest.raises(
        UserError, match=r"studies\.mine\.method: 'prompt_matched' steers nothing, and steering\.scale n"
    ):
        load(raw_config, root)
    raw_config["studies"]["mine"] = sweep | {"vary": "localization.absent_sounds", "values": [1, 5]}
    config = load(raw_config, root)
    # Passes are made for the largest value of a sweep that needs none of its own.
    (base, prompted) = config.unsteered_settings("tiny-qwen2-audio", "sequences-exact").passes
    assert (base.absent, prompted.name, prompted.absent) == (0, "prompted", 5)
    assert config.unsteered_settings("tiny-qwen2-audio", "sequences").passes[1].absent == 3


def test_methods_that_differ_in_their_reference_share_passes_and_states_serve_what_is_made_of_them(raw_config, root):
    raw_config["directions"] = {"against_absent": {"contrast": ["positive", "positive@absent5"]}}
    raw_config["methods"] |= {
        "held": {"direction": "sample", "localization": {"reference": "absent", "absent_sounds": 2}},
        "held_too": {"direction": "sample", "localization": {"reference": "absent", "absent_sounds": 4}},
        "alone": {"direction": "against_absent", "localization": {"reference": "absent", "absent_average": "median"}},
        "prompt_other": {"prompt": "positive_1", "localization": {"reference": "absent", "absent_sounds": 1}},
    }
    chosen = ["sample", "held", "held_too", "alone", "prompt_matched", "prompt_other"]
    raw_config["studies"]["localization"]["methods"] = chosen
    config = load(raw_config, root)
    passes = config.steering_settings("tiny-qwen2-audio", "localization").passes
    assert [(each.name, each.absent) for each in passes] == [("alone", 3), ("sample", 4)]
    rows = config.scoring_settings("localization").methods
    assert {name: row.passes for name, row in rows.items()} == {
        "prompt_only": "prompted",
        "prompt_matched": "prompted",
        "prompt_other": "prompted_positive_1",
        "steering_alone": "alone",
        "steering_held": "sample",
        "steering_held_too": "sample",
        "steering_sample": "sample",
    }
    assert rows["steering_sample"].localization == config.localization
    assert rows["steering_alone"].localization.absent_average == "median"
    unsteered = config.unsteered_settings("tiny-qwen2-audio", "sequences")
    assert {each.name: each.absent for each in unsteered.passes} == {
        "base": 0,
        "prompted": 3,
        "prompted_positive_1": 1,
    }
    # What the section says holds for the prompt that is always asked, too.
    raw_config["localization"] |= {"reference": "absent", "absent_sounds": 7}
    raw_config["methods"]["sample"]["localization"] = {"reference": "base"}
    everywhere = load(raw_config, root)
    assert everywhere.unsteered_settings("tiny-qwen2-audio", "sequences").passes[1].absent == 7
    assert everywhere.scoring_settings("localization").methods["prompt_only"].localization.n_absent == 7
    # Five others for each of three absent sounds.
    assert {name: state.absent for name, state in unsteered.states.items()} == {"negative": 0, "positive": 6}
    assert config.steers("localization")
    assert config.steers_absent("localization")
    assert config.holds_against_absent("localization")


def test_a_study_that_only_asks_has_no_states_no_directions_and_no_steered_passes(raw_config, root):
    raw_config["examples"]["others"] = raw_config["examples"]["sequences"] | {"n_samples": 9}
    raw_config["studies"]["asking"] = {"examples": "others", "methods": ["prompt_matched"], "direct_prompt": False}
    config = load(raw_config, root)
    assert not config.steers("asking")
    assert config.steering_settings("tiny-qwen2-audio", "asking").passes == []
    settings = config.unsteered_settings("tiny-qwen2-audio", "others")
    assert settings.states == {}
    assert [each.name for each in settings.passes] == ["base", "prompted"]
    assert list(config.scoring_settings("asking").methods) == ["prompt_only", "prompt_matched"]


AXES = {"short": {"positive": ["Be brief."], "negative": ["Be long."]}}
NO_WINDOWS = {
    "examples": {"sequences": None, "sequences-exact": None, "questions": None},
    "figures": {"attention_change": None, "overlap": None, "audio_share": None},
}


def without_windows(raw_config, study):
    """The default configuration with one study of pairs in the place of all that are about recordings."""
    taken_out = dict.fromkeys(raw_config["studies"])
    pairs = {"words": {"type": "pairs", "path": "words.csv"}}
    overlay = NO_WINDOWS | {"studies": taken_out | {"mine": {"examples": "words"} | study}}
    return overlaid(copy.deepcopy(raw_config), overlay | {"examples": NO_WINDOWS["examples"] | pairs})


def test_a_run_may_have_no_study_of_windows(raw_config):
    effects = {"axes": AXES, "arms": {"mean": {}}}
    raw = without_windows(raw_config, {"readout": "effects", "effects": effects})
    config = load(raw, None)
    assert list(config.effects) == ["mine"]
    assert config.effect_settings("tiny-qwen2-audio", "mine").pairs == ["words.csv"]
    assert load(json.loads(config.as_json()), None) == config
    config = load(without_windows(raw_config, {"readout": "unlearning", "unlearning": {"epochs": 3}}), None)
    assert config.unlearning_settings("tiny-qwen2-audio", "mine").unlearning.epochs == 3
    config = load(without_windows(raw_config, {"readout": "interruption", "interruption": {"windows": [5]}}), None)
    assert config.interruption_settings("tiny-qwen2-audio", "mine").interruption.windows == [5]
    assert list(config.of_pairs) == ["mine"]
    raw["figures"]["overlap"] = "localization"
    with pytest.raises(UserError, match=r"figures\.attention_change: None is no study that reads windows"):
        load(raw, None)


@pytest.mark.parametrize(
    ("study", "problem"),
    [
        ({"readout": "effects"}, r"mine\.effects\.axes: there are none; name one at least"),
        ({"readout": "effects", "effects": {"axes": AXES}}, r"mine\.effects\.arms: there are none"),
        (
            {"readout": "effects", "methods": ["sample"], "effects": {"axes": AXES, "arms": {"mean": {}}}},
            r"mine\.methods: what steers pairs are effects\.arms, not methods; take methods out",
        ),
        (
            {"readout": "unlearning", "effects": {"axes": AXES}},
            r"mine\.effects: it is about readout: effects, and this study reads unlearning; take it out",
        ),
        (
            {"readout": "effects", "interruption": {"windows": [5]}},
            r"mine\.interruption: it is about readout: interruption, and this study reads effects; take it out",
        ),
        (
            {"readout": "interruption", "interruption": {"windows": [5, 3]}},
            "windows: write each once, the lowest first",
        ),
        ({"readout": "unlearning", "unlearning": {"strength": 2.0}}, "strength: 2 is none of strengths; name one"),
        ({"readout": "windows"}, r"mine\.readout: windows is read about sequences, and 'words' are of type pairs"),
        (
            {"readout": "effects", "effects": {"axes": AXES, "arms": {"A b": {}}}},
            r"mine\.effects\.arms: use lower-case letters, digits, '\.', '_', '-' for 'A b'",
        ),
    ],
)
def test_studies_of_pairs_that_cannot_be_right_are_refused(raw_config, study, problem):
    with pytest.raises(UserError, match=problem):
        load(without_windows(raw_config, study), None)
