"""The whole configuration, as in config.yaml."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from wheretolisten import cache, checkpoint
from wheretolisten.config.benchmarks import Benchmark
from wheretolisten.config.directions import Direction
from wheretolisten.config.layers import select_layers
from wheretolisten.config.libraries import Library, ProceduralLibrary
from wheretolisten.config.models import REHEARSAL, Model, pinning_command
from wheretolisten.config.passes import Answers, ItemSettings, Pass, PassSettings, conditions
from wheretolisten.config.places import keys_of_arguments, place_of, refuse_repeated_keys
from wheretolisten.config.probe import Method, Probe, Steering, literal
from wheretolisten.config.questions import AudioShare, MmauQuestions, ProceduralQuestions, QuestionSet
from wheretolisten.config.sections import Section, UserPath, problems_of
from wheretolisten.config.settings import AveragingSettings, QuestionSettings
from wheretolisten.config.sweeps import (
    HEADS,
    ScoreSettings,
    Sweep,
    check_values,
    describe,
    of_score,
    own_value,
    value_name,
)
from wheretolisten.errors import UserError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen"),
)

# Folders of results/localization beside those of models, and of results/attention/<model> beside those of benchmarks.
NAMED_ENTRIES = tuple(
    tuple(key.split("."))
    for key in ("libraries", "benchmarks", "models", "probe.directions", "probe.methods", "questions", "sweeps")
)
"""Where named entries are, which an overlay adds to, and takes out with null."""

_TAKEN = {"models": {"events", "sweeps", "unknown_duration"}, "benchmarks": {"audio_share", "sweeps"}}


class Figures(Section):
    """Which benchmark and sample the figures show."""

    attention_change: str = Field(
        description="benchmark of Figure 2; the events of all its samples must lie at the same times"
    )
    overlap: str = Field(description="benchmark of the bars of overlap by position")
    reading_sample: int = Field(0, ge=0, description="index of the sample whose reading is drawn")
    reading_position: str = Field("middle", description="position of the event that is queried there")
    reading_vector: str = Field("sample", description="method of probe.methods whose steering is drawn")
    audio_share: str | None = Field(None, description="question set of Figure 1; null: not drawn")


class Config(Section):
    """The whole configuration, as in config.yaml."""

    libraries: dict[str, Library] = Field(min_length=1, description="where sounds come from")
    benchmarks: dict[str, Benchmark] = Field(min_length=1, description="what is asked")
    models: dict[str, Model] = Field(min_length=1, description="who listens")
    probe: Probe = Field(Probe(), description="how a model is steered, read and asked")
    questions: dict[str, QuestionSet] = Field(default_factory=dict, description="questions with choices")
    audio_share: AudioShare = Field(AudioShare(), description="how attention to the audio is measured")
    figures: Figures = Field(description="what is drawn")
    sweeps: dict[str, Sweep] = Field(default_factory=dict, description="the probe with one key changed, value by value")
    shard_seconds: float = Field(4500, gt=0, description="audio that one job handles, in seconds")
    tokens_per_second: float = Field(
        2000, gt=0, description="tokens that a job takes through a model per second; time limits follow from it"
    )
    model_cache: UserPath | None = Field(
        None, description="cache of fetched checkpoints; null: HF_HUB_CACHE, or hub in HF_HOME"
    )

    _taken_out: list[tuple[str, ...]] = PrivateAttr(default_factory=list)

    @model_validator(mode="wrap")
    @classmethod
    def _take_out(cls, raw: Any, check: ModelWrapValidatorHandler["Config"]) -> "Config":
        # An overlay is merged into config.yaml key by key; null is how it takes an entry out.
        taken_out = []
        for path in NAMED_ENTRIES:
            entries = raw
            for key in path:
                entries = entries.get(key) if isinstance(entries, dict) else None
            if isinstance(entries, dict):
                names = [name for name, entry in entries.items() if entry is None]
                taken_out += [(*path, str(name)) for name in names]
                raw = _changed(raw, path, {name: entry for name, entry in entries.items() if name not in names})
        config = check(raw)
        config._taken_out = sorted(taken_out)
        return config

    @model_serializer(mode="wrap")
    def _with_what_was_taken_out(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Laid over config.yaml, too, it is this configuration.
        values = dump(self)
        for path in self._taken_out:
            values = _changed(values, path, None)
        return values

    @model_validator(mode="after")
    def _check_across(self) -> "Config":
        for section in ("libraries", "benchmarks", "models", "questions", "sweeps"):
            for name in getattr(self, section):
                if not _NAME.fullmatch(name):
                    raise ValueError(
                        f"{section}: the name {name!r} becomes a folder; use lower-case letters, digits, '.', '_', '-'"
                    )
        if "random" in self.models:
            raise ValueError("models: 'random' is the name of the random baseline; choose another name")
        for section, taken in _TAKEN.items():
            for name in taken & set(getattr(self, section)):
                raise ValueError(
                    f"{section}: {name!r} names other results beside those of {section}; choose another name"
                )
        for name, model in self.models.items():
            if (model.weights == "random") != name.startswith(REHEARSAL):
                raise ValueError(
                    f"models: {name!r} has {model.weights} weights; a model whose name starts with {REHEARSAL!r} has "
                    "random ones, and no other model has: rename it, or change its key weights"
                )
        if len({model.weights for model in self.models.values()}) > 1:
            raise ValueError(
                "models: a rehearsal with random weights does not share a run with real models "
                f"({', '.join(self.models)}); take out (name: null) the ones or the others"
            )
        for name, benchmark in self.benchmarks.items():
            if benchmark.library not in self.libraries:
                raise ValueError(
                    f"benchmarks.{name}.library: {benchmark.library!r} is not in libraries "
                    f"({', '.join(self.libraries)}); name one of them or add it"
                )
            library = self.libraries[benchmark.library]
            shortest = benchmark.composition.clip_seconds[0]
            if isinstance(library, ProceduralLibrary) and library.clip_seconds[1] < shortest:
                raise ValueError(
                    f"benchmarks.{name}.composition.clip_seconds: events of at least {shortest:g} s cannot be cut from "
                    f"library {benchmark.library!r}, whose clips last at most {library.clip_seconds[1]:g} s; "
                    "shorten the events or lengthen the clips"
                )
            if isinstance(library, ProceduralLibrary):
                _check_labels(name, benchmark, library)
            if benchmark.composition.longest_seconds > self.shard_seconds:
                raise ValueError(
                    f"shard_seconds: {self.shard_seconds:g} s is less than one sample of benchmark {name!r} "
                    f"({benchmark.composition.longest_seconds:g} s); raise it"
                )
            _check_direct_question(name, benchmark, self.probe.direct_prompt.question)
            if benchmark.methods != "all":
                for method in benchmark.methods:
                    if method not in self.probe.methods:
                        raise ValueError(
                            f"benchmarks.{name}.methods: {method!r} is not in probe.methods "
                            f"({', '.join(self.probe.methods)}); name one of them or add it"
                        )
        for key in ("attention_change", "overlap"):
            chosen = getattr(self.figures, key)
            if chosen not in self.benchmarks:
                raise ValueError(
                    f"figures.{key}: {chosen!r} is not in benchmarks ({', '.join(self.benchmarks)}); name one of them"
                )
            if self.figures.reading_vector not in self.methods_of(chosen):
                raise ValueError(
                    f"figures.reading_vector: {self.figures.reading_vector!r} does not answer benchmark {chosen!r} "
                    f"({', '.join(self.methods_of(chosen))}), which is drawn; name one of these, or add it to "
                    f"benchmarks.{chosen}.methods"
                )
        if not self.benchmarks[self.figures.attention_change].composition.equal:
            raise ValueError(
                f"figures.attention_change: the events of benchmark {self.figures.attention_change!r} do not lie at "
                "the same times in all samples, but the figure averages over samples position by position; name one "
                "with equal clip_seconds and gap_seconds, without overlap"
            )
        positions = self.benchmarks[self.figures.overlap].composition.positions
        if self.figures.reading_position not in positions:
            raise ValueError(
                f"figures.reading_position: benchmark {self.figures.overlap!r} has no event "
                f"{self.figures.reading_position!r} ({', '.join(positions)}); name one of these"
            )
        if self.figures.reading_sample >= self.benchmarks[self.figures.overlap].n_samples:
            raise ValueError(
                f"figures.reading_sample: {self.figures.reading_sample} is beyond benchmark {self.figures.overlap!r}, "
                f"which has {self.benchmarks[self.figures.overlap].n_samples} samples; lower it"
            )
        self._check_sweeps()
        return self

    @model_validator(mode="after")
    def _check_questions(self) -> "Config":
        for name, questions in self.questions.items():
            if isinstance(questions, ProceduralQuestions) and questions.benchmark not in self.benchmarks:
                raise ValueError(
                    f"questions.{name}.benchmark: {questions.benchmark!r} is not in benchmarks "
                    f"({', '.join(self.benchmarks)}); name one of them, or take the questions out ({name}: null)"
                )
            if isinstance(questions, ProceduralQuestions) and self.benchmarks[questions.benchmark].composition.overlap:
                raise ValueError(
                    f"questions.{name}.benchmark: they ask which sound comes next, and sounds of "
                    f"{questions.benchmark!r} overlap; name a benchmark without overlap, or take the questions "
                    f"out ({name}: null)"
                )
            if self.longest_recording(name) > self.shard_seconds:
                raise ValueError(
                    f"shard_seconds: {self.shard_seconds:g} s is less than one recording of questions {name!r} "
                    f"({self.longest_recording(name):g} s); raise it"
                )
        if self.figures.audio_share is not None and self.figures.audio_share not in self.questions:
            raise ValueError(
                f"figures.audio_share: {self.figures.audio_share!r} is not in questions "
                f"({', '.join(self.questions) or 'there are none'}); name one of them, or null for no figure"
            )
        return self

    def _check_sweeps(self) -> None:
        for name, sweep in self.sweeps.items():
            for key, chosen, known in (
                ("models", self.sweep_models(name), self.models),
                ("benchmark", [self.sweep_benchmark(name)], self.benchmarks),
            ):
                unknown = [each for each in chosen if each not in known]
                if unknown:
                    raise ValueError(
                        f"sweeps.{name}.{key}: {unknown[0]!r} is not configured ({', '.join(known)}); name one of them"
                    )
            methods = self.methods_of(self.sweep_benchmark(name))
            if sweep.method not in methods:
                raise ValueError(
                    f"sweeps.{name}.method: {sweep.method!r} is not among the methods of benchmark "
                    f"{self.sweep_benchmark(name)!r} ({', '.join(methods)}); name one of them"
                )
            try:
                check_values(name, sweep.variation, self.sweep_probe(name), {})
            except UserError as error:
                raise ValueError(str(error)) from None

    @property
    def rehearsal(self) -> bool:
        """Whether the models have random weights, so that the run measures time and memory and yields no results."""
        return any(model.weights == "random" for model in self.models.values())

    def methods_of(self, benchmark: str) -> dict[str, Method]:
        """The steered methods that answer a benchmark, by name."""
        names = self.benchmarks[benchmark].methods
        return {name: method for name, method in self.probe.methods.items() if names == "all" or name in names}

    def directions_of(self, benchmark: str) -> dict[str, Direction]:
        """Method of a benchmark → the direction that it steers with."""
        return {name: self.probe.direction_of(method) for name, method in self.methods_of(benchmark).items()}

    def unsteered_settings(self, model: str, benchmark: str) -> PassSettings:
        """What the un-steered passes of a model on a benchmark depend on, which leave states and attention."""
        prompts, readout = self.probe.prompts, self.probe.readout
        needed = {state for direction in self.directions_of(benchmark).values() for state in direction.contrast}
        return PassSettings(
            model=self.models[model],
            passes=[self._base_pass(), self._prompted_pass()],
            states={name: prompts.state(name) for name in sorted(needed)},
            wording=prompts.wording,
            kernel=readout.kernel,
        )

    def direct_settings(self, model: str) -> PassSettings:
        """What `prompt_directly` of a model depends on."""
        direct = self.probe.direct_prompt
        return PassSettings(
            model=self.models[model],
            answers=Answers(question=direct.question, max_new_tokens=direct.max_new_tokens),
            wording=self.probe.prompts.wording,
        )

    def steering_settings(self, model: str, benchmark: str) -> PassSettings:
        """What the steered passes of a model on a benchmark depend on."""
        methods = self.methods_of(benchmark)
        return PassSettings(
            model=self.models[model],
            passes=[self._steered_pass(name, methods[name]) for name in sorted(methods)],
            kernel=self.probe.readout.kernel,
        )

    def map_settings(self, model: str) -> PassSettings:
        """What `map_attention` of a model depends on."""
        method = self.methods_of(self.figures.overlap)[self.figures.reading_vector]
        passes = [self._base_pass(), self._prompted_pass(), self._steered_pass("steered", method)]
        return PassSettings(
            model=self.models[model],
            # Whatever rows the probe sums, the map shows them all.
            passes=[each.model_copy(update={"text_rows": "all"}) for each in passes],
            readout="text",
            wording=self.probe.prompts.wording,
        )

    def _base_pass(self) -> Pass:
        probe = self.probe
        return Pass(name="base", prompt=literal(probe.prompts.inference), text_rows=probe.readout.text_rows)

    def _prompted_pass(self) -> Pass:
        probe = self.probe
        prompt = probe.prompts.state("positive").prompt
        return Pass(name="prompted", prompt=prompt, about="event", text_rows=probe.readout.text_rows)

    def _steered_pass(self, name: str, method: Method) -> Pass:
        steered = {"direction": self.probe.direction_of(method), "steering": method.steering}
        return self._base_pass().model_copy(update={"name": name, "about": "event"} | steered)

    def averaging_settings(self, benchmark: str) -> AveragingSettings:
        """Which contrasts some method of a benchmark takes means of."""
        directions = self.directions_of(benchmark).values()
        contrasts = {direction.contrast for direction in directions if direction.over == "others_of_label"}
        return AveragingSettings(contrasts=sorted(contrasts))

    def question_settings(self, questions: str) -> QuestionSettings:
        """What `compose_questions` of a procedural question set depends on."""
        return QuestionSettings(questions=self.questions[questions], wording=self.probe.prompts.wording)

    def analysis_settings(self, model: str, questions: str) -> ItemSettings:
        """What `analyze_attention` of a model depends on."""
        settings = self.questions[questions]
        by_user = isinstance(settings, MmauQuestions)
        passes, states = conditions(self.audio_share, self.probe.steering, self.probe.readout.text_rows)
        return ItemSettings(
            model=self.models[model],
            passes=passes,
            readout="share",
            states=states,
            kernel=self.probe.readout.kernel,
            splits=settings.splits if by_user else None,
            max_seconds=self.longest_recording(questions),
            on_bad_item=settings.on_bad_item if by_user else "refuse",
        )

    def longest_recording(self, questions: str) -> float:
        """Upper bound of the duration of a question set's recordings, in seconds."""
        settings = self.questions[questions]
        if isinstance(settings, MmauQuestions):
            return settings.max_seconds
        return self.benchmarks[settings.benchmark].composition.longest_seconds

    def items_per_shard(self, questions: str) -> int:
        """Items in one shard of a question set: fixed by the longest possible recording, as for samples."""
        return math.floor(self.shard_seconds / self.longest_recording(questions))

    def sweep_models(self, sweep: str) -> list[str]:
        """Models that a sweep runs on."""
        chosen = self.sweeps[sweep].models
        return list(self.models) if chosen == "all" else chosen

    def sweep_benchmark(self, sweep: str) -> str:
        """Benchmark that a sweep runs on."""
        return self.sweeps[sweep].benchmark or self.figures.attention_change

    def sweep_samples(self, sweep: str) -> dict[int, int]:
        """Shard of the benchmark → how many of its first samples a sweep reads; shards without any are left out."""
        benchmark, left = self.sweep_benchmark(sweep), self.sweeps[sweep].n_samples
        ranges = {shard: self.shard_range(benchmark, shard) for shard in range(self.n_shards(benchmark))}
        return {shard: min(stop, left) - first for shard, (first, stop) in ranges.items() if first < left}

    def _swept_method(self, sweep: str) -> Method:
        return self.methods_of(self.sweep_benchmark(sweep))[self.sweeps[sweep].method]

    def sweep_probe(self, sweep: str) -> Probe:
        """The probe of which a sweep changes one key: steering is that of the sweep's method."""
        return self.probe.model_copy(update={"steering": self._swept_method(sweep).steering})

    def sweep_settings(self, sweep: str, model: str) -> PassSettings:
        """What `sweep_attention` of a model depends on."""
        variation, method = self.sweeps[sweep].variation, self._swept_method(sweep)
        passes = [self._steered_pass("steered", method)]
        if variation.passes == "all":
            passes.insert(0, self._base_pass())
        by_head = variation.vary == HEADS
        if by_head:  # how many are read is a matter of scoring
            variation = variation.model_copy(update={"values": ["all"]})
        return PassSettings(
            model=self.models[model],
            passes=[_without_varied(each, variation.vary) for each in passes],
            readout="heads" if by_head else "attention",
            kernel=self.probe.readout.kernel,
            variation=variation,
        )

    def score_settings(self, sweep: str) -> ScoreSettings:
        """What `score_sweep` depends on."""
        variation = self.sweeps[sweep].variation
        return ScoreSettings(variation=variation, probe=of_score(variation, self.probe))

    def sweep_own_value(self, sweep: str) -> str:
        """The run's value of the key that a sweep varies, as its table names it."""
        return value_name(own_value(self.sweep_probe(sweep), self.sweeps[sweep].vary))

    def describe_sweep(self, sweep: str, n_layers: Mapping[str, int]) -> str:
        """What a sweep runs on, what it costs and what it takes from the run; `n_layers` by model."""
        models, samples = self.sweep_models(sweep), self.sweep_samples(sweep)
        cost = describe(
            self.sweeps[sweep].variation,
            sum(samples.values()),
            len(self.benchmarks[self.sweep_benchmark(sweep)].composition.positions),
            {model: n_layers[model] for model in models},
            len(models) * len(samples),
        )
        return (
            f"{sweep}: {self.sweeps[sweep].vary} on the first {sum(samples.values())} samples of "
            f"{self.sweep_benchmark(sweep)}, {len(models)} model(s): {cost}"
        )

    def samples_per_shard(self, benchmark: str) -> int:
        """Samples in one shard: fixed by the longest possible sample, so that adding samples moves none."""
        return math.floor(self.shard_seconds / self.benchmarks[benchmark].composition.longest_seconds)

    def shard_range(self, benchmark: str, shard: int) -> tuple[int, int]:
        """First sample index of a shard, and the index after its last."""
        size = self.samples_per_shard(benchmark)
        return shard * size, min((shard + 1) * size, self.benchmarks[benchmark].n_samples)

    def shard_of(self, benchmark: str, sample: int) -> int:
        """Number of the shard that holds a sample, by the sample's index."""
        return sample // self.samples_per_shard(benchmark)

    def n_shards(self, benchmark: str) -> int:
        """Number of shards of a benchmark."""
        return math.ceil(self.benchmarks[benchmark].n_samples / self.samples_per_shard(benchmark))


def find_places(files: Sequence[str | Path], arguments: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Place of every key, as in "my.yaml: line 3", by its dotted path.

    Parameters
    ----------
    files
        Configuration files in the order in which they are merged: of a key that several name, the last one counts.
    arguments
        What the command line sets, which comes after all files.

    Raises
    ------
    UserError
        If a file is no UTF-8 text, no YAML or without keys, or names something twice; or if an entry gets another type
        than it has in a file before.
    """
    places: dict[str, str] = {}
    types: dict[tuple[str, ...], tuple[str, Any]] = {}
    for keys in [*map(refuse_repeated_keys, files), keys_of_arguments(arguments or {})]:
        for path, (place, value) in keys.items():
            places[".".join(path)] = place
            if path[0] not in ("libraries", "questions"):
                continue
            if len(path) == 3 and path[2] == "type":
                first_place, first = types.setdefault(path[:2], (place, value))
                if value != first:
                    # Merged, it would be one with the other keys of the first.
                    raise UserError(
                        f"{place}: {'.'.join(path)}: {path[1]!r} is of type {first} already ({first_place}), and an "
                        f"entry keeps its type; give yours another name, and take that one out with `{path[1]}: null`"
                    )
    return places


def load(raw: Mapping[str, Any], root: str | Path | None = ".", places: Mapping[str, str] | None = None) -> Config:
    """Check raw configuration and return it typed.

    Parameters
    ----------
    raw
        What Snakemake read from config.yaml and `--config`.
    root
        Folder that relative paths in the configuration start from; None: what they name is not looked at. Where it is
        not the working directory, the paths of libraries and questions are returned absolute. That of a checkpoint
        names the model in all results and stays as it is: `checkpoint.folder_of` finds it.
    places
        Where every key stands, from `find_places`; by default all of them in config.yaml.

    Raises
    ------
    UserError
        Naming every wrong key, the file and line that it stands on, its value and what to do.
    """
    try:
        config = Config.model_validate(raw)
        if root is not None:
            root = Path(root).resolve()
            _check_files(config, root)
    except (ValidationError, UserError) as error:
        problems = problems_of(error) if isinstance(error, ValidationError) else [str(error)]
        by_place = itertools.groupby(problems, lambda problem: place_of(problem, places or {}))
        raise UserError("; ".join(f"{place}: {'; '.join(group)}" for place, group in by_place)) from error
    if root in (None, Path.cwd()):
        return config
    return config.model_copy(
        update={
            section: {name: _at(root, entry) for name, entry in getattr(config, section).items()}
            for section in ("libraries", "questions")
        }
    )


def _without_varied(each: Pass, key: str) -> Pass:
    """A pass that says nothing of a key that takes other values anyway, so that the run's own value reruns nothing."""
    section, _, field = key.partition(".")
    if section == "steering" and each.steering is not None:
        own = {name: value for name, value in each.steering.model_dump().items() if name != field}
        return each.model_copy(update={"steering": Steering.model_validate(own)})
    changes = {"prompts.inference": {"prompt": ""}, "readout.text_rows": {"text_rows": "all"}}
    return each.model_copy(update=changes.get(key, {}))


def _at(root: Path, entry: Library | QuestionSet) -> Library | QuestionSet:
    paths = {key: getattr(entry, key) for key in ("path", "csv", "audio") if hasattr(entry, key)}
    return entry.model_copy(update={key: str(root / path) for key, path in paths.items()})


def _check_files(config: Config, root: Path) -> None:
    """Refuse paths that lead nowhere, and what a checkpoint's files already show to be wrong."""
    for name, library in config.libraries.items():
        for key, kind in (("path", "folder"), ("csv", "file"), ("audio", "folder")):
            if hasattr(library, key):
                _check_path(f"libraries.{name}.{key}", getattr(library, key), kind, root)
    for name, questions in config.questions.items():
        if isinstance(questions, MmauQuestions):
            _check_path(f"questions.{name}.path", questions.path, "file", root)
            _check_path(f"questions.{name}.audio", questions.audio, "folder", root)
    for name, model in config.models.items():
        _check_checkpoint(name, model, config, root)


def _check_path(key: str, path: str, kind: Literal["file", "folder"], root: Path) -> None:
    if not ((root / path).is_file() if kind == "file" else (root / path).is_dir()):
        from_where = "" if root == Path.cwd() or Path(path).is_absolute() else f" in {root}"
        raise UserError(
            f"{key}: {path!r} does not exist as a {kind}{from_where}; correct the path or put the files there"
        )


def _check_labels(name: str, benchmark: Benchmark, library: ProceduralLibrary) -> None:
    """Refuse a composition that takes more labels than there are; of other libraries, jobs find out what they hold."""
    needed = len(benchmark.composition.positions)
    by_domain = library.labels_by_domain()
    if benchmark.composition.domains == "mixed":
        by_domain = {"": [label for labels in by_domain.values() for label in labels]}
    for domain, labels in by_domain.items():
        if len(labels) < needed:
            where, of = (f"domain {domain!r}", "of one domain; add labels, or set composition.domains: mixed")
            if not domain:
                where, of = "the library", "different ones; add labels, or lower composition.n_events"
            raise ValueError(
                f"libraries.{benchmark.library}.labels: {where} has {len(labels)} label(s) ({', '.join(labels)}), but "
                f"a sample of benchmark {name!r} takes {needed} {of}"
            )


def _check_direct_question(name: str, benchmark: Benchmark, question: str) -> None:
    """Refuse a question that says what is not so of the samples: how many sounds, or that they take turns."""
    n_events = len(benchmark.composition.positions)
    said = re.search(rf"\b({'|'.join(_NUMBERS)}|\d+)\s+(?:sound|event)s?\b", question, re.IGNORECASE)
    wrong = ""
    if said and said[1].lower() not in (_NUMBERS[n_events], str(n_events)):
        wrong = f"says {said[0]!r}, but a sample of benchmark {name!r} has {n_events}"
    elif benchmark.composition.overlap and "in sequence" in question.lower():
        wrong = f"says 'in sequence', but sounds of benchmark {name!r} overlap"
    if wrong:
        raise ValueError(
            f'probe.direct_prompt.question {wrong}; word it so that it is true of all benchmarks ("several sound '
            'events")'
        )


def _changed(values: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    key, *rest = path
    return {**values, key: _changed(values[key], tuple(rest), value) if rest else value}


def _check_checkpoint(name: str, model: Model, config: Config, root: Path) -> None:
    """Refuse what a checkpoint's files already show to be wrong; all of a hub repository's when it is fetched."""
    where = f"models.{name}.checkpoint"
    folder = root / model.checkpoint
    if not folder.is_dir():
        if model.weights == "random":
            raise UserError(
                f"{where}: {model.checkpoint!r} is not an existing folder; random weights need one with config.json "
                "and the processor's files, such as resources/rehearsal-qwen2-audio"
            )
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", model.checkpoint):
            raise UserError(
                f"{where}: {model.checkpoint!r} is neither an existing folder nor a hub repository (owner/name); "
                "correct it"
            )
        if model.revision is None:
            raise UserError(
                f"{where}: {model.checkpoint!r} is neither an existing folder nor a hub repository with a pinned "
                "revision; correct the path, or add the key revision with a commit, the current one is printed by: "
                f"{pinning_command(model.checkpoint)}"
            )
        # Fetched, in part perhaps: the jobs check the rest, and a refusal of what is missing would keep a fetch from
        # completing it. What is there and rules the model out will not go away: a commit does not change.
        folder = cache.snapshot_folder(model.checkpoint, model.revision, config.model_cache)
        if folder.is_dir():
            checkpoint.check_names(where, [path.name for path in folder.iterdir()])
        description = checkpoint.read_json(folder / "config.json")
        if description:
            checkpoint.check_description(where, folder)
        _check_fit(name, model, config, folder, description)
        return
    if model.revision is not None:
        raise UserError(
            f"models.{name}.revision: {model.checkpoint!r} is a folder, which has no revision; set "
            "revision to null, or rename the folder if the hub repository is meant"
        )
    description = checkpoint.check(where, folder, model.weights)
    _check_fit(name, model, config, folder, description)


def _check_fit(name: str, model: Model, config: Config, folder: Path, description: dict[str, Any]) -> None:
    """Refuse layers that a model does not have, and samples that are too long for it."""
    # Published files leave out what equals the class's default; then the job that loads the model checks the blocks.
    text_stack = description.get("text_config")
    n_layers = text_stack.get("num_hidden_layers") if isinstance(text_stack, dict) else None
    steerings = {"steering": config.probe.steering} | {
        f"methods.{key}.steering": method.steering for key, method in config.probe.methods.items()
    }
    for key, section in (steerings | {"localization": config.probe.localization}).items():
        try:
            if n_layers is not None:
                select_layers(section.layers, n_layers)
        except UserError as error:
            raise UserError(f"probe.{key}.layers: {error} (model {name!r})") from None
    for key, steering in steerings.items():
        try:
            if n_layers is not None:
                steering.scales(n_layers)
        except UserError as error:
            raise UserError(f"probe.{key}.{error} (model {name!r})") from None
    for sweep, settings in config.sweeps.items():
        # A rehearsal makes none.
        if name in config.sweep_models(sweep) and isinstance(text_stack, dict) and not config.rehearsal:
            try:
                check_values(sweep, settings.variation, config.sweep_probe(sweep), text_stack)
            except UserError as error:
                raise UserError(f"{error} (model {name!r})") from None
    processor = checkpoint.read_json(folder / "preprocessor_config.json")
    processor |= checkpoint.read_json(folder / "processor_config.json")
    extractor = processor.get("feature_extractor", processor)
    seconds = processor.get("max_audio_len", extractor.get("chunk_length"))
    for benchmark, settings in config.benchmarks.items():
        longest = settings.composition.longest_seconds
        if seconds is not None and longest > seconds:
            raise UserError(
                f"models.{name}.checkpoint: {model.checkpoint!r} hears at most {seconds:g} s, but samples "
                f"of {benchmark!r} last up to {longest:g} s; shorten its clip_seconds or gap_seconds, or take the "
                "model out"
            )
    for questions, settings in config.questions.items():
        if isinstance(settings, MmauQuestions) and seconds is not None and settings.max_seconds > seconds:
            raise UserError(
                f"models.{name}.checkpoint: {model.checkpoint!r} hears at most {seconds:g} s, but "
                f"recordings of questions {questions!r} may last {settings.max_seconds:g} s; lower max_seconds, or "
                "take the model out"
            )
