"""Shared by all of `rules/`: the checked configuration, names of files, code dependencies."""

import functools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import DeploymentMethod


def from_repository(path):
    """A relative path of the repository, as seen from the folder that Snakemake works in.

    This is another one with --directory or -s: results/ is there, and what the repository holds stays where it is.
    """
    return path if os.path.isabs(path) else os.path.relpath(os.path.join(os.path.realpath(workflow.basedir), path))


sys.path.insert(0, os.path.join(workflow.basedir, "workflow_scripts"))

from wheretolisten import cache, checkpoint, provenance, sizing
from wheretolisten.clips import listing
from wheretolisten.config import loading as configuration
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.places import place_of
from wheretolisten.config.positions import ABSENT, PATTERN
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.questions import mmau
from wheretolisten.report import figures, tables


def entries_of(settings):
    """What the user lists as examples: questions of an own set, or recordings."""
    if settings.type == "mmau":
        return mmau.read_entries(settings.path, settings.splits)[: settings.n_items]
    # Only here: it imports what planning has no use for otherwise.
    from wheretolisten.examples.recordings import list_recordings

    return list_recordings(settings)


def check_pairs():
    """Refuse pairs that some study of effects cannot be made of, before anything runs."""
    for study, settings in CONFIG.of_pairs.items():
        # Only here, as above.
        from wheretolisten.config.interruption import INTERRUPTION
        from wheretolisten.effects import pairs

        paths = CONFIG.examples_of(study).path
        try:
            if study in CONFIG.unlearnings:
                pairs.read_facts(paths)
            elif study in CONFIG.interruptions:
                pairs.split(pairs.read_pairs(paths, [INTERRUPTION]), settings.interruption)
            else:
                pairs.split(pairs.read_pairs(paths, list(settings.effects.axes)), settings.effects)
        except UserError as error:
            raise UserError(f"studies.{study}: {error}") from None


DEFAULTS = from_repository("config.yaml")
try:
    # It may be away, or put out of use by --replace-workflow-config, where another file has all keys.
    in_use = os.path.exists(DEFAULTS) and not workflow.config_settings.replace_workflow_config
    PLACES = configuration.find_places(
        [*([DEFAULTS] if in_use else []), *workflow.configfiles], workflow.config_settings.config
    )
except UserError as error:
    raise WorkflowError(str(error)) from None


configfile: DEFAULTS


# profiles/redraw: what sounds and models are made of need not be where their cached results are.
REDRAW = config.pop("redraw", False)
try:
    CONFIG = configuration.load(config, None if REDRAW else workflow.basedir, PLACES)
    ENTRIES = {
        name: entries_of(settings)
        for name, settings in CONFIG.examples.items()
        if settings.type in ("mmau", "recordings") and not REDRAW
    }
    # Not again in the jobs, which parse this file, too.
    if workflow.is_main_process and not REDRAW:
        try:
            listing.check_names(CONFIG.sounds, CONFIG.wording)
            check_pairs()
        except UserError as error:
            raise UserError(f"{place_of(str(error), PLACES)}: {error}") from None
except UserError as error:
    raise WorkflowError(str(error)) from None

# Only fetch_model talks to the model hub; the jobs inherit this, on a cluster too, where each parses this file again:
# compute nodes often have no network, and a request that hangs costs a job its time.
cache.use_offline(CONFIG.model_cache)

HUB_MODELS = [name for name, model in CONFIG.models.items() if model.revision]
TINY_MODELS = {"tiny-qwen2-audio": "qwen2_audio", "tiny-audio-flamingo-3": "audio_flamingo_3"}


def one_of(names):
    """A wildcard that is one of these names, perhaps none."""
    return "|".join(map(re.escape, names)) or "none-is-configured"


# Names become folders, so a wildcard is one of the configured names and never spans folders.
wildcard_constraints:
    sounds=one_of(CONFIG.sounds),
    examples=one_of(CONFIG.sequences),
    questions=one_of(CONFIG.questions),
    study=one_of(CONFIG.localizations),
    share=one_of(CONFIG.shares),
    listening=one_of(CONFIG.intervals),
    answers=one_of(CONFIG.choices),
    effects=one_of(CONFIG.of_pairs),
    sweep=one_of(CONFIG.sweeps),
    model=one_of(CONFIG.models),
    position=f"{PATTERN}|{ABSENT}",
    shard=r"\d+",
    tiny_model=one_of(TINY_MODELS),


# Jobs run under the interpreter that runs Snakemake, whether or not its environment is activated; with conda under that
# of their rule's environment.
START = from_repository("workflow_scripts/start.py")
if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
    shell.prefix('set -euo pipefail; python() ( exec {sys.executable:q} {START:q} "$@" ); ')


# ------------------------------------------------------------------------------------------------ dependencies on code


def code(script):
    """A script, and a digest of what it and the modules it imports do: a rule's parameter, by which code reruns it."""
    return [os.path.relpath(provenance.SCRIPTS / f"{script}.py"), provenance.code_digest(script)]


def checkpoint_files(wildcards):
    """Files of a model's checkpoint, where it is a folder; a hub repository is identified by its revision."""
    return model_files(wildcards.model)


def perturbed_model_files(wildcards):
    """Those of the model whose windows perturbed sequences move; random noise has none."""
    model = CONFIG.examples[wildcards.examples].perturbation.against
    return [] if model is None else model_files(model)


def model_files(model):
    folder = Path(from_repository(CONFIG.models[model].checkpoint))
    if folder.as_posix() in checkpoint.MADE:  # by a rule, perhaps in this very run
        return [f"{folder}/model.safetensors", f"{folder}/README.md"]
    if not folder.is_dir():
        return []
    return [str(path) for path in provenance.checkpoint_files(folder)]


def sound_files(wildcards):
    """Files that clips are made from: adding or changing one remakes the clips."""
    return [str(path) for path in listing.list_files(CONFIG.sounds[wildcards.sounds])]


# Snakemake takes braces and angle brackets in an input's name for wildcards and path variables, whoever wrote them, and
# warns of blanks at its ends and of line breaks; there is no way to quote them.
UNFIT_NAME = re.compile(r"[{}<>\n]|^\s|\s$")


def by_name(paths):
    """Input function for files that users named: those whose names Snakemake reads as they are."""
    return lambda wildcards: [path for path in paths(wildcards) if not UNFIT_NAME.search(path)]


def by_digest(paths):
    """Beside `by_name`, as a parameter: digests of the other files, so that reruns follow their content, too.

    And where linked files lie: a link to another folder brings other files, which may be older than the results.
    """

    def others(wildcards):
        found = {path: (is_linked(path), bool(UNFIT_NAME.search(path))) for path in paths(wildcards)}
        return {
            path: [os.path.realpath(path)] * linked + [digest_of_file(path)] * unfit
            for path, (linked, unfit) in found.items()
            if linked or unfit
        }

    return others


def is_linked(path):
    """Whether a link lies on the way to a file; those above the working directory concern everything in it alike."""
    return os.path.realpath(path) != os.path.normpath(os.path.join(os.path.realpath(os.curdir), path))


# Remembered, because every job of a model asks for the same checkpoint.
digest_of_file = functools.cache(sha256_of_file)


# ------------------------------------------------------------------------------------------------------ names of files


def examples_of(study):
    """Name of the examples that a study asks about."""
    return CONFIG.studies[study].examples


# Sequences that some study asks about, and those whose states some study steers with.
LOCALIZED = list(dict.fromkeys(map(examples_of, CONFIG.localizations)))
STEERING = [study for study in CONFIG.localizations if CONFIG.steers(study)]
STEERED = list(dict.fromkeys(map(CONFIG.states_examples, STEERING)))
# Those in which words stand for audio.
SYMBOLIC = [name for name in CONFIG.sequences if CONFIG.symbols_of(name)]
# Those whose recordings are perturbed.
PERTURBED = [name for name, settings in CONFIG.sequences.items() if settings.perturbation]


def positions_of(examples):
    """Names of the events of its samples."""
    return CONFIG.examples[examples].composition.positions


def shards_of(examples):
    return range(CONFIG.n_shards(examples))


def example_shards(examples):
    return [f"results/examples/{examples}/shards/{shard}.csv" for shard in shards_of(examples)]


def state_shards(model, examples):
    return [f"results/states/{examples}/{model}/{shard}.h5" for shard in shards_of(examples)]


def frame_shards(model, examples):
    """What the text stack is given of the audio, averaged over frames."""
    return [f"results/frames/{examples}/{model}/{shard}.h5" for shard in shards_of(examples)]


def unsteered_shards(model, examples):
    """Attention of the base and the prompted passes."""
    return [f"results/unsteered/{examples}/{model}/{shard}.h5" for shard in shards_of(examples)]


def clips_of(examples):
    """Table of the clips that examples are made of, whose labels may be absent from a sample."""
    return f"results/sounds/{CONFIG.examples[examples].sounds}/clips.csv"


def answer_shards(model, examples):
    return [f"results/answers/{examples}/{model}/{shard}.csv" for shard in shards_of(examples)]


# Where jobs take turns on a GPU (set-resource-scopes, as profiles/slurm has it), each event of a shard has a job of its own.
# This is known in a dry-run, too, and handed on to the jobs of a cluster, which parse this file again.
PACKED = "gpu" in workflow.resource_settings.overwrite_resource_scopes


def event_shards(model, study, position):
    """Attention of the steered passes about one event."""
    return [f"results/passes/{study}/{model}/{position}/{shard}.h5" for shard in shards_of(examples_of(study))]


def steered_events(study):
    """Folders of a study's steered passes: events, and absent sounds where some method is held against them."""
    return [*positions_of(examples_of(study)), *([ABSENT] if CONFIG.steers_absent(study) else [])]


# Studies whose events are steered for in one job. Outputs of a rule cannot depend on the study, so that there is another one
# for those without absent sounds where others have them, and other compositions have a job for each event.
EVENTS_TOGETHER = [
    *POSITIONS,
    *([ABSENT] if any(CONFIG.steers_absent(study) for study in CONFIG.localizations) else []),
]
TOGETHER = [study for study in CONFIG.localizations if not PACKED and steered_events(study) == EVENTS_TOGETHER]
TOGETHER_WITHOUT_ABSENT = [
    study
    for study in CONFIG.localizations
    if not PACKED and study not in TOGETHER and steered_events(study) == list(POSITIONS)
]


def steered_shards(model, study):
    """Attention of the steered passes, event by event; none where a study only asks."""
    events = steered_events(study) if CONFIG.steers(study) else []
    return [path for event in events for path in event_shards(model, study, event)]


def of_models(shards, *names):
    """Shards of all models, model by model."""
    return [path for model in CONFIG.models for path in shards(model, *names)]


def inputs_of(study, model, shard):
    """What steered passes about a shard of a study's examples start from."""
    examples, source = examples_of(study), CONFIG.states_examples(study)
    return {
        "clips": clips_of(examples),
        "shard": f"results/examples/{examples}/shards/{shard}.csv",
        "states_shard": f"results/examples/{source}/shards/{shard}.csv",
        "states": f"results/states/{source}/{model}/{shard}.h5",
        "directions": f"results/directions/{source}/{model}.h5",
    }


def steered_inputs(wildcards):
    return inputs_of(wildcards.study, wildcards.model, wildcards.shard)


def mapped_inputs(wildcards):
    """Those of the shard that holds the sample which is drawn in detail."""
    shard = CONFIG.shard_of(examples_of(wildcards.study), CONFIG.figures.reading_sample)
    return inputs_of(wildcards.study, wildcards.model, shard)


def swept_inputs(wildcards):
    return inputs_of(CONFIG.study_of(wildcards.sweep), wildcards.model, wildcards.shard)


def sweep_files(wildcards):
    """What a sweep is scored from, model by model: attention of its own, or that of its study where it has no passes."""
    sweep, examples = wildcards.sweep, CONFIG.sweep_examples(wildcards.sweep)
    study, models, passes = CONFIG.study_of(sweep), CONFIG.sweep_models(sweep), CONFIG.studies[sweep].passes
    first = slice(len(CONFIG.sweep_samples(sweep)))  # shards that hold the first samples
    unsteered = [path for model in models for path in unsteered_shards(model, examples)[first]]
    events = steered_events(study) if CONFIG.methods[CONFIG.studies[sweep].method].steers else []
    steered = [path for model in models for event in events for path in event_shards(model, study, event)[first]]
    return {
        "shards": example_shards(examples)[first],
        "attention": swept_shards(sweep),
        "unsteered": unsteered if passes != "all" else [],
        "steered": steered if passes == "none" else [],
    }


def swept_shards(sweep):
    """Attention of a sweep's own passes, model by model."""
    if CONFIG.studies[sweep].passes == "none":
        return []
    models, shards = CONFIG.sweep_models(sweep), CONFIG.sweep_samples(sweep)
    return expand("results/passes/{sweep}/{model}/all/{shard}.h5", sweep=sweep, model=models, shard=shards)


def sweep_figures(sweeps):
    return expand("results/figures/sweeps/{sweep}.{suffix}", sweep=sweeps, suffix=["pdf", "png"])


def n_items(study):
    """Questions or own recordings that a study reads, whether or not they can be used: known before anything runs."""
    examples = examples_of(study)
    if examples in ENTRIES:
        return len(ENTRIES[examples])
    settings = CONFIG.examples[examples]
    return settings.n_items_about(CONFIG.examples[settings.about].n_samples)


def item_range(study, shard):
    """First item of a shard, and the item after its last."""
    size = CONFIG.examples_per_shard(examples_of(study))
    return shard * size, min((shard + 1) * size, n_items(study))


def item_shards(study, folder, suffix):
    """Files of all shards of a study's items in a folder."""
    if REDRAW:
        # The user's own files may be elsewhere; the cached ones hold all that is drawn.
        return sorted(str(path) for path in Path(folder).glob(f"*{suffix}"))
    n_shards = math.ceil(n_items(study) / CONFIG.examples_per_shard(examples_of(study)))
    return [f"{folder}/{shard}{suffix}" for shard in range(n_shards)]


def question_folder(study):
    """Where the audio paths of a study's questions start."""
    settings = CONFIG.examples_of(study)
    return f"results/examples/{settings.about}" if settings.type == "questions" else settings.audio


def asking_study(wildcards):
    """The study of shares or of choices that a job asks questions for."""
    return wildcards.get("share") or wildcards.answers


def question_file(wildcards):
    study = asking_study(wildcards)
    settings, of_run = CONFIG.examples_of(study), f"results/examples/{examples_of(study)}/questions.json"
    return [of_run if settings.type == "questions" else settings.path]


def question_audio(wildcards):
    """What the audio of a shard's items depends on: files of the user, or the table of sequences, which knows its own."""
    study = asking_study(wildcards)
    folder, questions = question_folder(study), examples_of(study)
    if questions not in ENTRIES:
        return [f"{folder}/events.csv"]
    entries = ENTRIES[questions][slice(*item_range(study, int(wildcards.shard)))]
    paths = {os.path.join(folder, str(entry.get("audio_id"))) for entry in entries if isinstance(entry, dict)}
    return sorted(path for path in paths if os.path.isfile(path))


def share_shards(model, study):
    return item_shards(study, f"results/passes/{study}/{model}/all", ".h5")


def choice_shards(model, study):
    return item_shards(study, f"results/choices/{study}/{model}/methods", ".h5")


def steered_choice_shards(model, study):
    """The same under what heads add, where any are looked for."""
    if not CONFIG.studies[study].choosing.n_heads:
        return []
    return item_shards(study, f"results/choices/{study}/{model}/heads", ".h5")


def question_events(study):
    """Table of the events that a study's questions are about, which knows what recordings have in common; or none."""
    return [f"{question_folder(study)}/events.csv"] if CONFIG.examples_of(study).type == "questions" else []


def tabulated_choices():
    """What every study of choices is tabulated from."""
    return {
        study: {
            "choosing": settings.choosing.model_dump(mode="json"),
            "models": {
                name: {
                    "identity": model.identity,
                    "methods": choice_shards(name, study),
                    "heads": steered_choice_shards(name, study),
                    "selected": f"results/heads/{study}/{name}.json",
                }
                for name, model in CONFIG.models.items()
            },
        }
        for study, settings in CONFIG.choices.items()
    }


def choice_figures(studies):
    return [
        f"results/figures/listening/{study}/{model}-{figure}.{suffix}"
        for study in studies
        for model in CONFIG.models
        for figure in ("heads", "signals")
        for suffix in ("pdf", "png")
    ]


def effect_files(wildcards):
    """Tables of the user that a study of effects depends on."""
    pairs, study = CONFIG.examples_of(wildcards.effects).path, CONFIG.studies[wildcards.effects]
    return [*pairs, *getattr(study, study.readout).files.values()]


def tabulated_effects():
    """What every study of effects is tabulated from."""
    return {
        study: {model: f"results/effects/{study}/{model}.csv" for model in CONFIG.models} for study in CONFIG.of_pairs
    }


def robust_tables():
    """Tables of how far effects carry, where some study asks for them."""
    asked = [study.effects for study in CONFIG.effects.values()]
    return [
        *([tables.ADDITIVITY] if any(effects.sums for effects in asked) else []),
        *([tables.BREAKING] if any(effects.every_strength for effects in asked) else []),
        *([tables.DECAY] if any(effects.decay for effects in asked) else []),
        *([tables.TRANSFER] if any(len(effects.axes) > 1 for effects in asked) else []),
    ]


def effect_figures(studies):
    drawn_of = [f"effects/{study}" for study in studies]
    drawn_of += [
        f"decay/{study}" for study in studies if study in CONFIG.effects and CONFIG.effects[study].effects.decay
    ]
    return [
        f"results/figures/{drawn}/{model}.{suffix}"
        for drawn in drawn_of
        for model in CONFIG.models
        for suffix in ("pdf", "png")
    ]


def recording_files(wildcards):
    """What the intervals of a shard depend on: recordings of the user, and the tables that say what is asked about them."""
    settings = CONFIG.examples_of(wildcards.listening)
    listed = ENTRIES[examples_of(wildcards.listening)][slice(*item_range(wildcards.listening, int(wildcards.shard)))]
    tables = [table for table in (settings.csv, settings.events, settings.names) if table]
    return [*(os.path.join(settings.audio, each.path) for each in listed), *tables]


def interval_shards(model, study):
    return item_shards(study, f"results/intervals/{study}/{model}", ".csv")


def direction_of(method):
    """What a method steers with, as JSON."""
    return CONFIG.direction_of(CONFIG.methods[method]).as_json()


# The shard that holds the sample which is drawn in detail.
if CONFIG.localizations:
    READING_SHARD = CONFIG.shard_of(examples_of(CONFIG.figures.overlap), CONFIG.figures.reading_sample)
    READING_DIRECTION = direction_of(CONFIG.figures.reading_method)


def reading_unsteered(model):
    return [unsteered_shards(model, examples_of(CONFIG.figures.overlap))[READING_SHARD]]


def reading_steered(model):
    """The passes of all events, and of absent sounds, in the shard of the sample that is drawn in detail."""
    study = CONFIG.figures.overlap
    return [event_shards(model, study, event)[READING_SHARD] for event in steered_events(study)]


DETECTIONS = [f"results/detection/{study}/{model}.csv" for model in CONFIG.models for study in CONFIG.localizations]
LOCALIZATIONS = [
    f"results/scores/{study}/{model}.csv" for model in ["random", *CONFIG.models] for study in CONFIG.localizations
]
# Windows that did not know the event's duration; random ones are in each model's table, on its grid of audio tokens.
UNKNOWN_DURATIONS = [
    f"results/unknown_duration/{study}/{model}.csv" for model in CONFIG.models for study in CONFIG.localizations
]
MAPS = []
if CONFIG.localizations:
    MAPS = expand("results/maps/{study}/{model}.h5", study=CONFIG.figures.overlap, model=CONFIG.models)


# Studies of intervals in recordings of which it is known what they hold.
SCORED_INTERVALS = [study for study in CONFIG.intervals if CONFIG.examples_of(study).events]


def table_files(described):
    return [f"results/tables/{name}" for table in described for name in table.files]


def figure_files(name):
    files = figures.FIGURES[name].files(CONFIG.models).values()
    return expand("results/figures/{file}.{suffix}", file=files, suffix=["pdf", "png"])


def drawn(name):
    """Outputs of the rule that draws a figure, of which the report shows the PNG."""
    figure = figures.FIGURES[name]
    outputs = {"pdf": [], "png": []}
    for model, file in figure.files(CONFIG.models).items():
        labels = {"item": figure.title} | ({"model": model} if model else {})
        png = report(
            f"results/figures/{file}.png", caption="report/figure.rst", category=figure.category, labels=labels
        )
        outputs["pdf"].append(f"results/figures/{file}.pdf")
        outputs["png"].append(png)
    return outputs


SHOWN_TABLES, FIGURES = [], []
if CONFIG.localizations:
    SHOWN_TABLES += tables.SCORES
    FIGURES += [path for name in figures.ALWAYS for path in figure_files(name)]
AUDIO_SHARE = []
if CONFIG.shares and not CONFIG.rehearsal:
    SHOWN_TABLES += tables.AUDIO_SHARES
    AUDIO_SHARE += table_files(tables.AUDIO_SHARES)
CHOICES = []
if CONFIG.choices and not CONFIG.rehearsal:
    SHOWN_TABLES += tables.CHOICES
    CHOICES += table_files(tables.CHOICES) + choice_figures(CONFIG.choices)
    FIGURES += choice_figures(CONFIG.choices)
EFFECT_VALUES = [path for models in tabulated_effects().values() for path in models.values()]
EFFECTS = []
if tabulated_effects() and not CONFIG.rehearsal:
    SHOWN_TABLES += [*tables.EFFECTS, *robust_tables()]
    EFFECTS += table_files([*tables.EFFECTS, *robust_tables()]) + effect_figures(tabulated_effects())
    FIGURES += effect_figures(tabulated_effects())
INTERVALS = []
if CONFIG.intervals and not CONFIG.rehearsal:
    own = [*tables.INTERVALS, *(tables.SOUND_EVENTS if SCORED_INTERVALS else ())]
    SHOWN_TABLES += own
    INTERVALS += table_files(own)
if CONFIG.figures.audio_share and not CONFIG.rehearsal:
    AUDIO_SHARE += figure_files("audio_share")
    FIGURES += figure_files("audio_share")
if CONFIG.localizations and CONFIG.holds_against_absent(CONFIG.figures.overlap):
    FIGURES += figure_files("references")
if CONFIG.figures.studies:
    FIGURES += figure_files("studies")
    SHOWN_TABLES.append(tables.STUDIES)
REHEARSAL = []
if CONFIG.rehearsal:
    # Random weights have heard nothing: the run ends with windows, and the tables and figures of real runs stay as
    # they are.
    SHOWN_TABLES, FIGURES, REHEARSAL, EFFECT_VALUES = [], [], LOCALIZATIONS, []

# A rehearsal has no figures.
SWEEPS = [] if CONFIG.rehearsal else list(CONFIG.sweeps)
DEFAULT_SWEEPS = [sweep for sweep in SWEEPS if CONFIG.studies[sweep].default]
SHOWN_TABLES += map(tables.of_sweep, DEFAULT_SWEEPS)
TABLES = table_files(SHOWN_TABLES)
FIGURES += sweep_figures(DEFAULT_SWEEPS)
PAGES = [f"results/report/tables/{table.shown}.html" for table in SHOWN_TABLES]
PAGES += [] if CONFIG.rehearsal else ["results/report/run.html"]
# For the report, which reads this and nothing that would redraw a figure when its caption is worded better: captions, and
# the configuration with every key.
config["captions"], config["checked"] = figures.captions(CONFIG), CONFIG.model_dump(mode="json")


def announced_sweeps(wildcards):
    """Figures of all sweeps. Asking for them says what each costs and reuses, in a dry-run too, which has no onstart."""
    n_layers = {name: sizing.n_layers(model_folder(name)) for name in CONFIG.models}
    for sweep in SWEEPS:
        print(CONFIG.describe_sweep(sweep, n_layers), file=sys.stderr)
    return sweep_figures(SWEEPS)
