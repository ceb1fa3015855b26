"""Shared by all of `rules/`: the checked configuration, names of files, code dependencies, resources."""

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

from wheretolisten import cache, provenance, sizing
from wheretolisten.clips import listing
from wheretolisten.config import workflow as configuration
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.places import place_of
from wheretolisten.config.positions import PATTERN
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.questions import mmau
from wheretolisten.report import figures, tables

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


# profiles/redraw: what libraries and models are made of need not be where their cached results are.
REDRAW = config.pop("redraw", False)
try:
    CONFIG = configuration.load(config, None if REDRAW else workflow.basedir, PLACES)
    ENTRIES = {
        name: mmau.read_entries(settings.path, settings.splits)[: settings.n_items]
        for name, settings in CONFIG.questions.items()
        if settings.type == "mmau" and not REDRAW
    }
    # Not again in the jobs, which parse this file, too.
    if workflow.is_main_process and not REDRAW:
        try:
            listing.check_names(CONFIG.libraries, CONFIG.probe.prompts)
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
    library=one_of(CONFIG.libraries),
    benchmark=one_of(CONFIG.benchmarks),
    questions=one_of(CONFIG.questions),
    model=one_of(CONFIG.models),
    position=PATTERN,
    shard=r"\d+",
    tiny_model=one_of(TINY_MODELS),
    sweep=one_of(CONFIG.sweeps),


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
    folder = Path(from_repository(CONFIG.models[wildcards.model].checkpoint))
    if not folder.is_dir():
        return []
    return [str(path) for path in provenance.checkpoint_files(folder)]


def library_files(wildcards):
    """Files that a clip library is made from: adding or changing one remakes the clips."""
    return [str(path) for path in listing.list_files(CONFIG.libraries[wildcards.library])]


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


def positions_of(benchmark):
    """Names of the events of its samples."""
    return CONFIG.benchmarks[benchmark].composition.positions


def shards_of(benchmark):
    return range(CONFIG.n_shards(benchmark))


def benchmark_shards(benchmark):
    return [f"results/benchmarks/{benchmark}/shards/{shard}.csv" for shard in shards_of(benchmark)]


def reading_shard(wildcards):
    """The shard that holds the sample which is drawn in detail."""
    return benchmark_shards(wildcards.benchmark)[CONFIG.shard_of(wildcards.benchmark, CONFIG.figures.reading_sample)]


def reading_states(wildcards):
    """The states of that shard."""
    shard = CONFIG.shard_of(wildcards.benchmark, CONFIG.figures.reading_sample)
    return state_shards(wildcards.model, wildcards.benchmark)[shard]


def state_shards(model, benchmark):
    return [f"results/states/{model}/{benchmark}/{shard}.h5" for shard in shards_of(benchmark)]


def unsteered_shards(model, benchmark):
    """Attention of the base and the prompted passes."""
    return attention_shards(model, benchmark, "unsteered")


# Where jobs take turns on a GPU (set-resource-scopes, as profiles/slurm has it), each event of a shard has a job of its own.
# This is known in a dry-run, too, and handed on to the jobs of a cluster, which parse this file again.
PACKED = "gpu" in workflow.resource_settings.overwrite_resource_scopes
# Benchmarks whose events are steered for in one job. Outputs of a rule cannot depend on the benchmark, so that other
# compositions have a job for each event.
TOGETHER = [name for name in CONFIG.benchmarks if not PACKED and positions_of(name) == POSITIONS]


def attention_shards(model, benchmark, position):
    return [f"results/attention/{model}/{benchmark}/{position}/{shard}.h5" for shard in shards_of(benchmark)]


def steered_shards(model, benchmark):
    """Attention of the steered passes, event by event."""
    return [path for event in positions_of(benchmark) for path in attention_shards(model, benchmark, event)]


def of_models(shards, benchmark, *position):
    """Shards of a benchmark of all models, model by model."""
    return [path for model in CONFIG.models for path in shards(model, benchmark, *position)]


def answer_shards(model, benchmark):
    return [f"results/answers/{model}/{benchmark}/{shard}.csv" for shard in shards_of(benchmark)]


def n_questions(questions):
    """Items of a question set, whether or not they can be used: known before anything runs."""
    if questions in ENTRIES:
        return len(ENTRIES[questions])
    settings = CONFIG.questions[questions]
    return settings.n_items_about(CONFIG.benchmarks[settings.benchmark].n_samples)


def question_range(questions, shard):
    """First item of a shard, and the item after its last."""
    size = CONFIG.items_per_shard(questions)
    return shard * size, min((shard + 1) * size, n_questions(questions))


def question_folder(questions):
    """Where the audio paths of a question set start."""
    settings = CONFIG.questions[questions]
    return f"results/benchmarks/{settings.benchmark}" if settings.type == "procedural" else settings.audio


def question_file(wildcards):
    settings = CONFIG.questions[wildcards.questions]
    return [
        f"results/questions/{wildcards.questions}/questions.json" if settings.type == "procedural" else settings.path
    ]


def question_audio(wildcards):
    """What the audio of a shard's items depends on: files of the user, or the table of a benchmark, which knows its own."""
    folder = question_folder(wildcards.questions)
    if wildcards.questions not in ENTRIES:
        return [f"{folder}/events.csv"]
    entries = ENTRIES[wildcards.questions][slice(*question_range(wildcards.questions, int(wildcards.shard)))]
    paths = {os.path.join(folder, str(entry.get("audio_id"))) for entry in entries if isinstance(entry, dict)}
    return sorted(path for path in paths if os.path.isfile(path))


def audio_share_shards(model, questions):
    folder = Path(f"results/attention/{model}/audio_share/{questions}")
    if REDRAW:
        # The user's file of questions may be elsewhere; the cached shares hold all that is drawn.
        return sorted(str(path) for path in folder.glob("*.h5"))
    n_shards = math.ceil(n_questions(questions) / CONFIG.items_per_shard(questions))
    return [str(folder / f"{shard}.h5") for shard in range(n_shards)]


def direction_of(method):
    """What a method steers with, as JSON."""
    return CONFIG.probe.direction_of(CONFIG.probe.methods[method]).as_json()


READING_DIRECTION = direction_of(CONFIG.figures.reading_vector)
LOCALIZATIONS = [
    f"results/localization/{model}/{benchmark}.csv"
    for model in ["random", *CONFIG.models]
    for benchmark in CONFIG.benchmarks
]
# Windows that did not know the event's duration; random ones are in each model's table, on its grid of audio tokens.
UNKNOWN_DURATIONS = expand(
    "results/localization/unknown_duration/{model}/{benchmark}.csv", model=CONFIG.models, benchmark=CONFIG.benchmarks
)


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


SHOWN_TABLES = list(tables.SCORES)
FIGURES = [path for name in figures.FIGURES if name != "audio_share" for path in figure_files(name)]
AUDIO_SHARE = []
if CONFIG.questions and not CONFIG.rehearsal:
    SHOWN_TABLES += tables.AUDIO_SHARES
    AUDIO_SHARE += table_files(tables.AUDIO_SHARES)
if CONFIG.figures.audio_share and not CONFIG.rehearsal:
    AUDIO_SHARE += figure_files("audio_share")
    FIGURES += figure_files("audio_share")
REHEARSAL = []
if CONFIG.rehearsal:
    # Random weights have heard nothing: the run ends with windows, and the tables and figures of real runs stay as
    # they are.
    SHOWN_TABLES, FIGURES, REHEARSAL = [], [], LOCALIZATIONS


# -------------------------------------------------------------------------------------------------------------- sweeps


def sweep_inputs(wildcards):
    """What the passes of a sweep start from."""
    benchmark = CONFIG.sweep_benchmark(wildcards.sweep)
    return {
        "shard": f"results/benchmarks/{benchmark}/shards/{wildcards.shard}.csv",
        "states": f"results/states/{wildcards.model}/{benchmark}/{wildcards.shard}.h5",
        "directions": f"results/directions/{wildcards.model}/{benchmark}.h5",
    }


def sweep_files(wildcards):
    """What a sweep is scored from, model by model: attention of its own, or that of the run where it has no passes."""
    sweep, benchmark = wildcards.sweep, CONFIG.sweep_benchmark(wildcards.sweep)
    shards, models = CONFIG.sweep_samples(sweep), CONFIG.sweep_models(sweep)
    own = swept_shards(sweep)
    needed = {"none": ["unsteered", *positions_of(benchmark)], "steered": ["unsteered"], "all": []}[
        CONFIG.sweeps[sweep].passes
    ]
    return {
        "shards": expand("results/benchmarks/{benchmark}/shards/{shard}.csv", benchmark=benchmark, shard=shards),
        "attention": own,
        "of_run": [
            path
            for model in models
            for kind in needed
            for path in expand(
                "results/attention/{model}/{benchmark}/{kind}/{shard}.h5",
                model=model,
                benchmark=benchmark,
                kind=kind,
                shard=shards,
            )
        ],
    }


def swept_shards(sweep):
    """Attention of a sweep's own passes."""
    if CONFIG.sweeps[sweep].passes == "none":
        return []
    models, shards = CONFIG.sweep_models(sweep), CONFIG.sweep_samples(sweep)
    return expand("results/attention/{model}/sweeps/{sweep}/{shard}.h5", model=models, sweep=sweep, shard=shards)


def sweep_figures(sweeps):
    return expand("results/figures/sweeps/{sweep}.{suffix}", sweep=sweeps, suffix=["pdf", "png"])


# A rehearsal has no figures.
SWEEPS = [] if CONFIG.rehearsal else list(CONFIG.sweeps)
DEFAULT_SWEEPS = [sweep for sweep in SWEEPS if CONFIG.sweeps[sweep].default]
SHOWN_TABLES += map(tables.of_sweep, DEFAULT_SWEEPS)
TABLES = table_files(SHOWN_TABLES)
FIGURES += sweep_figures(DEFAULT_SWEEPS)
PAGES = [f"results/report/tables/{table.shown}.html" for table in SHOWN_TABLES]
PAGES += [] if CONFIG.rehearsal else ["results/report/run.html"]
# Captions of the report, which reads this and nothing that would redraw a figure when its caption is worded better.
config["captions"] = figures.captions(CONFIG)


def announced_sweeps(wildcards):
    """Figures of all sweeps. Asking for them says what each costs and reuses, in a dry-run too, which has no onstart."""
    n_layers = {name: sizing.n_layers(model_folder(name)) for name in CONFIG.models}
    for sweep in SWEEPS:
        print(CONFIG.describe_sweep(sweep, n_layers), file=sys.stderr)
    return sweep_figures(SWEEPS)


# ----------------------------------------------------------------------------------------------------------- resources


def model_folder(name):
    model = CONFIG.models[name]
    if model.revision:
        return cache.snapshot_folder(model.checkpoint, model.revision)
    return Path(from_repository(model.checkpoint))


def model_mem_mb(wildcards, attempt):
    model = CONFIG.models[wildcards.model]
    return sizing.memory_mb(sizing.weight_bytes(model_folder(wildcards.model), model.dtype, model.device), attempt)


def longest_seconds(benchmark):
    return CONFIG.benchmarks[benchmark].composition.longest_seconds


def samples_of(wildcards):
    """Number and longest duration (s) of a shard's samples."""
    first, stop = CONFIG.shard_range(wildcards.benchmark, int(wildcards.shard))
    return stop - first, longest_seconds(wildcards.benchmark)


def extraction_work(wildcards):
    # The recording and, for some states, silence of its length.
    states = CONFIG.unsteered_settings(wildcards.model, wildcards.benchmark).states.values()
    n_events = len(positions_of(wildcards.benchmark))
    n_prompts = 1 + n_events + sum(n_events if state.of_event else 1 for state in states)
    return sizing.Work(*samples_of(wildcards), 1 + any(state.heard == "silence" for state in states), n_prompts)


def steering_work(wildcards):
    n_events = len(POSITIONS) if wildcards.benchmark in TOGETHER else 1
    n_passes = len(CONFIG.methods_of(wildcards.benchmark)) * n_events
    return sizing.Work(*samples_of(wildcards), n_passes, n_passes)


def answers_work(wildcards):
    return sizing.Work(
        *samples_of(wildcards), 1, len(positions_of(wildcards.benchmark)), CONFIG.probe.direct_prompt.max_new_tokens
    )


def map_work(wildcards):
    return sizing.Work(1, longest_seconds(wildcards.benchmark), 3, 3)


def analysis_work(wildcards):
    # Four conditions and what their vectors are made of: the focus on all of it, silence, no audio.
    first, stop = question_range(wildcards.questions, int(wildcards.shard))
    return sizing.Work(stop - first, CONFIG.longest_recording(wildcards.questions), 7, 8)


def sweep_work(wildcards):
    # Every position under every value, and every value without steering.
    n_points = CONFIG.sweeps[wildcards.sweep].n_points(sizing.n_layers(model_folder(wildcards.model)))
    n_passes = n_points * (len(positions_of(CONFIG.sweep_benchmark(wildcards.sweep))) + 1)
    n_samples = CONFIG.sweep_samples(wildcards.sweep)[int(wildcards.shard)]
    return sizing.Work(n_samples, longest_seconds(CONFIG.sweep_benchmark(wildcards.sweep)), n_passes, n_passes)


def time_for(work):
    """Time limit (minutes) of a job, from what it takes through a model."""
    return lambda wildcards, attempt: sizing.runtime_minutes(work(wildcards), CONFIG.tokens_per_second, attempt)


def model_gpus(wildcards):
    return sizing.gpus(CONFIG.models[wildcards.model].device)


def doubled(amount):
    return lambda wildcards, attempt: sizing.doubled(amount, attempt)


# ------------------------------------------------------------------------------------------------------- on a cluster

if workflow.remote_exec:
    # Snakemake does not hand --keep-going on to its jobs, and has no option for it. Without it, a shard that fails
    # would keep the shards that are packed with it from running.
    JobScheduler.keepgoing = property(lambda self: True, lambda self, value: None)


def refuse_orphans():
    """Stop before the first job if jobs of a killed run still work in this folder: they would write the same files."""
    if workflow.local_exec:
        return
    recover = Path(workflow.basedir) / "profiles/slurm/recover.sh"
    orphans = subprocess.run([recover, "--list"], capture_output=True, text=True, check=True).stdout.split()
    if orphans:
        raise WorkflowError(
            f"{len(orphans)} jobs of an earlier run still work in this folder ({' '.join(orphans[:10])}); "
            "cancel them with profiles/slurm/recover.sh or wait for their end, then start again"
        )


# ------------------------------------------------------------------------------------------------------------ messages


def where_to_look():
    places = {f"results/tables/{table.shown}": table.look for table in tables.SCORES if table.look}
    places |= {f"results/figures/{figure.place}": figure.look for figure in (*figures.FIGURES.values(), figures.SWEEP)}
    places |= {
        "results/report/run.html": "what was run: coverage, time and memory, versions, configuration",
        "results/tiny_models/": "retrained models with their cards and scores",
        "results/fetched_models/": "files of fetched checkpoints with their digests",
        "results/performance/": "time and peak memory of every job",
        "results/logs/": "one log per job",
    }
    lines = [f"  {path:<34}  {what}\n" for path, what in places.items() if os.path.exists(path)]
    return "\nDone. Look at\n" + "".join(lines)


def failed_jobs():
    """Two lines per job whose inputs are there and whose outputs are not: which it is, and the last line of its log."""
    lines = []
    for job in sorted(workflow.dag.needrun_jobs(), key=str):
        missing = [path for path in job.output if not os.path.exists(path)]
        if missing and all(map(os.path.exists, job.input)):
            limits = f"{job.resources.get('runtime')} min, {job.resources.get('mem_mb')} MB, attempt {job.attempt}"
            lines.append(
                f"    {job.rule.name} {missing[0]}  ({limits}; log: {job.log[0]})\n      {last_line(job.log[0])}\n"
            )
    return lines


def last_line(log):
    """What a job said last: the sentence that it ended with, if it came to say one."""
    if not os.path.exists(log):
        return "It left no log: the run ended before it, or it could not be started"
    lines = Path(log).read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "Its log is empty: it was ended from outside")
    return re.sub(r"^\d\d:\d\d:\d\d ERROR ", "", last.strip())


def ended_by_slurm():
    if workflow.local_exec:
        return ""
    return "            (where a limit or scancel ended the job, .snakemake/slurm_logs/<rule or group>/ says so)\n"


def full_disk():
    # A job whose log is on the full disk, too, may not have been able to say it.
    free = shutil.disk_usage("results").free // 1_000_000 if os.path.exists("results") else math.inf
    if free >= 10:
        return ""
    return f"  Disk:     results/ is full ({free} MB free); make room first\n"


def what_to_do(log):
    failed = failed_jobs()
    return (
        "\nThe run stopped before its end; nothing finished is lost.\n"
        f"  All:      {' '.join(log)}\n"
        f"{full_disk()}"
        "  Go on:    the same command again; it continues where it stopped\n"
        f"  Missing:  {len(failed)} results whose inputs are there (limits of the last attempt), and how their logs end\n"
        f"{ended_by_slurm()}"
        f"{''.join(failed[:20])}{'    ...' + chr(10) if len(failed) > 20 else ''}"
    )


def without_command(record):
    """Take a failed command, with all its settings, out of a message; `--quiet host --printshellcmds` shows it."""
    if isinstance(record.msg, str):
        record.msg = re.sub(r"(?s)Command '.*set -euo pipefail;.*' (returned|died)", r"Its command \1", record.msg)
    return True


logger.addFilter(without_command)
