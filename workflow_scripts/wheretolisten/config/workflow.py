"""The whole configuration, as in config.yaml."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from wheretolisten.config import coherence, earlier
from wheretolisten.config.directions import State, stored_state
from wheretolisten.config.effects import Effects, EffectSettings
from wheretolisten.config.examples import (
    Examples,
    MmauQuestions,
    Pairs,
    Questions,
    Recordings,
    Sequences,
    Symbolic,
)
from wheretolisten.config.interruption import InterruptionSettings
from wheretolisten.config.models import Model
from wheretolisten.config.passes import (
    UNSTEERED_CHOICES,
    UNSTEERED_SHARES,
    Answers,
    ChoiceSettings,
    ItemSettings,
    Pass,
    PassSettings,
    SymbolSettings,
)
from wheretolisten.config.probe import Method, Probe, Steering, row_of
from wheretolisten.config.sections import Section, UserPath
from wheretolisten.config.settings import (
    AveragingSettings,
    ListeningSettings,
    PerturbingSettings,
    QuestionSettings,
    ScoredMethod,
    ScoringSettings,
)
from wheretolisten.config.sounds import Library
from wheretolisten.config.studies import (
    HEADS,
    AnyStudy,
    ScoreSettings,
    Study,
    Sweep,
    describe,
    of_score,
    own_value,
    points,
    value_name,
)
from wheretolisten.config.unlearning import UnlearningSettings

NAMED_ENTRIES = ("sounds", "examples", "models", "directions", "methods", "studies")
"""Sections of named entries, which an overlay adds to, and takes out with null; of prompts, null is a value."""


class Figures(Section):
    """Which study and recording the figures show."""

    attention_change: str | None = Field(
        description="study of Figure 2; the events of all its samples must lie at the same times; null where no study "
        "reads windows"
    )
    overlap: str | None = Field(
        description="study of the bars of overlap by position, and of the readings; null where no study reads windows"
    )
    reading_sample: int = Field(0, ge=0, description="index of the sample whose reading is drawn")
    reading_position: str = Field("middle", description="position of the event that is queried there")
    reading_method: str = Field("sample", description="method whose steering is drawn")
    audio_share: str | None = Field(None, description="study of Figure 1; null: not drawn")
    studies: list[str] | None = Field(
        None,
        min_length=2,
        description="studies of windows that are drawn side by side and compared with the first, query by query, such "
        "as those of the same recordings, disturbed; null: none",
    )


class Config(Probe):
    """The whole configuration, as in config.yaml."""

    sounds: dict[str, Library] = Field(min_length=1, description="where sounds come from")
    examples: dict[str, Examples] = Field(min_length=1, description="what is asked about")
    models: dict[str, Model] = Field(min_length=1, description="who listens")
    studies: dict[str, AnyStudy] = Field(
        min_length=1, description="examples × methods × readout, perhaps with one key varied"
    )
    figures: Figures = Field(description="what is drawn")
    shard_seconds: float = Field(4500, gt=0, description="audio that one job handles, in seconds")
    tokens_per_second: float = Field(
        2000, gt=0, description="tokens that a job takes through a model per second; time limits follow from it"
    )
    model_cache: UserPath | None = Field(
        None, description="cache of fetched checkpoints; null: HF_HUB_CACHE, or hub in HF_HOME"
    )

    _taken_out: list[tuple[str, str]] = PrivateAttr(default_factory=list)

    @model_validator(mode="wrap")
    @classmethod
    def _take_out(cls, raw: Any, check: ModelWrapValidatorHandler["Config"]) -> "Config":
        # An overlay is merged into config.yaml key by key; null is how it takes an entry out.
        if isinstance(raw, dict):
            earlier.refuse(raw)
        taken_out = []
        for section in NAMED_ENTRIES:
            entries = raw.get(section) if isinstance(raw, dict) else None
            if isinstance(entries, dict):
                names = [name for name, entry in entries.items() if entry is None]
                taken_out += [(section, str(name)) for name in names]
                raw = raw | {section: {name: entry for name, entry in entries.items() if name not in names}}
        config = check(raw)
        config._taken_out = sorted(taken_out)
        return config

    @model_serializer(mode="wrap")
    def _with_what_was_taken_out(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Laid over config.yaml, too, it is this configuration.
        values = dump(self)
        for section, name in self._taken_out:
            values[section] = values[section] | {name: None}
        return values

    @model_validator(mode="after")
    def _check_across(self) -> "Config":
        coherence.check(self)
        return self

    @property
    def probe(self) -> Probe:
        """What a sweep varies: the configuration without examples, models and studies."""
        return Probe.model_construct(**{name: getattr(self, name) for name in Probe.model_fields})

    @property
    def sequences(self) -> dict[str, Sequences]:
        """Examples that have known events, symbolic ones too, by name."""
        return {name: examples for name, examples in self.examples.items() if isinstance(examples, Sequences)}

    @property
    def questions(self) -> dict[str, Questions | MmauQuestions]:
        """Examples that are questions with choices, by name."""
        kinds = Questions | MmauQuestions
        return {name: examples for name, examples in self.examples.items() if isinstance(examples, kinds)}

    @property
    def localizations(self) -> dict[str, Study]:
        """Studies that read windows, by name; sweeps are not among them."""
        return self._studies("windows")

    @property
    def shares(self) -> dict[str, Study]:
        """Studies that read the share of attention that goes to the audio, by name."""
        return self._studies("share")

    @property
    def choices(self) -> dict[str, Study]:
        """Studies that read how likely the answers to questions are, by name."""
        return self._studies("choices")

    @property
    def intervals(self) -> dict[str, Study]:
        """Studies that read which sounds are heard in recordings of one's own, and where, by name."""
        return self._studies("intervals")

    @property
    def effects(self) -> dict[str, Study]:
        """Studies that read what steering does to answers, by name."""
        return self._studies("effects")

    @property
    def unlearnings(self) -> dict[str, Study]:
        """Studies that read what is left of facts, by name."""
        return self._studies("unlearning")

    @property
    def interruptions(self) -> dict[str, Study]:
        """Studies that read how long a model goes on when it is interrupted, by name."""
        return self._studies("interruption")

    @property
    def of_pairs(self) -> dict[str, Study]:
        """Studies about pairs, whatever they read of them, by name."""
        return self.effects | self.unlearnings | self.interruptions

    @property
    def sweeps(self) -> dict[str, Sweep]:
        """Studies that are another one with a key varied, by name."""
        return {name: study for name, study in self.studies.items() if isinstance(study, Sweep)}

    def _studies(self, readout: str) -> dict[str, Study]:
        of_kind = {name: study for name, study in self.studies.items() if isinstance(study, Study)}
        return {name: study for name, study in of_kind.items() if study.readout == readout}

    def examples_of(self, study: str) -> Sequences | Questions | MmauQuestions | Recordings:
        """What a study asks about."""
        return self.examples[self.studies[study].examples]

    @property
    def rehearsal(self) -> bool:
        """Whether the models have random weights, so that the run measures time and memory and yields no results."""
        return any(model.weights == "random" for model in self.models.values())

    def methods_of(self, study: str) -> dict[str, Method]:
        """The methods of a study, by name."""
        settings = self.studies[study]
        return {
            name: method
            for name, method in self.methods.items()
            if (self.fits(name, settings) if settings.methods == "all" else name in settings.methods)
        }

    def fits(self, method: str, study: Study) -> bool:
        """Whether examples of a study have what a method's prompts name."""
        return self.needs(self.methods[method]) <= self.examples[study.examples].has

    def states_of(self, examples: str) -> dict[str, State]:
        """States of examples that methods of the studies about them are made of, by name, in alphabetical order."""
        found: dict[str, State] = {}
        for study, name, method in self._methods_made_of(examples):
            if method.steers:
                n_absent, direction = self.n_absent(study, name), self.direction_of(method)
                for each in map(stored_state, direction.contrast):
                    state = self.state(each)
                    needed = direction.absent_needed(each, n_absent) if state.of_event else 0
                    needed = max(needed, found[each].absent if each in found else 0)
                    found[each] = state.model_copy(update={"absent": needed})
        return dict(sorted(found.items()))

    def _methods_about(self, examples: str) -> Iterator[tuple[str, str, Method]]:
        """Study, name and method of all that reads windows about some examples."""
        for study, settings in self.localizations.items():
            if settings.examples == examples:
                for name, method in self.methods_of(study).items():
                    yield study, name, method

    def states_examples(self, study: str) -> str:
        """Name of the examples whose states the directions of a study are made of."""
        return self.studies[study].states_from or self.studies[study].examples

    def _methods_made_of(self, examples: str) -> Iterator[tuple[str, str, Method]]:
        """Study, name and method of all whose directions are made of the states of some examples."""
        for study in self.localizations:
            if self.states_examples(study) == examples:
                for name, method in self.methods_of(study).items():
                    yield study, name, method

    def n_absent(self, study: str, method: str) -> int:
        """Absent sounds that a method of a study is also read about, for the sweeps that need no other passes, too."""
        found = [self.methods[method].localization.n_absent]
        for name, sweep in self.sweeps.items():
            if (self.study_of(name), sweep.method, sweep.variation.passes) == (study, method, "none"):
                swept = points(sweep.variation, self.sweep_probe(name), n_layers=1)
                found += [point.probe.localization.n_absent for point in swept]
        return max(found)

    def holds_against_absent(self, study: str) -> bool:
        """Whether a study has methods whose passes are held against those about absent sounds."""
        return any(method.localization.n_absent for method in self.methods_of(study).values())

    def steers(self, study: str) -> bool:
        """Whether a study has methods that steer."""
        return any(method.steers for method in self.methods_of(study).values())

    def steers_absent(self, study: str) -> bool:
        """Whether a study steers for sounds that recordings do not hold."""
        return any(each.absent for each in self.steered_passes(study))

    def symbols_of(self, examples: str) -> SymbolSettings | None:
        """How words stand for the audio of examples; None where there is audio."""
        settings = self.examples[examples]
        if not isinstance(settings, Symbolic):
            return None
        rate, noise = settings.tokens_per_second, settings.noise
        return SymbolSettings(tokens_per_second=rate, noise=noise, seed=settings.composition.seed)

    def perturbing_settings(self, examples: str) -> PerturbingSettings:
        """What the recordings of perturbed sequences depend on: how the windows that they move are found."""
        settings = self.examples[examples]
        about = {"composition": settings.composition, "perturbation": settings.perturbation}
        if settings.perturbation.against is None:
            return PerturbingSettings(**about)
        return PerturbingSettings(
            **about,
            model=self.models[settings.perturbation.against],
            prompt=self.prompts["positive"],
            wording=self.wording,
            localization=self.localization.model_copy(update={"reference": "absent"}),
            text_rows=self.readout.text_rows,
        )

    def unsteered_settings(self, model: str, examples: str) -> PassSettings:
        """What the un-steered passes of a model about sequences depend on, which leave states and attention."""
        asked = {"positive": self.localization.n_absent}
        for study, name, method in self._methods_about(examples):
            if not method.steers:
                asked[method.prompt] = max(asked.get(method.prompt, 0), self.n_absent(study, name))
        return PassSettings(
            model=self.models[model],
            passes=[self._base_pass(), *(self._prompted_pass(*each) for each in sorted(asked.items()))],
            states=self.states_of(examples),
            wording=self.wording,
            symbols=self.symbols_of(examples),
            kernel=self.readout.kernel,
        )

    def direct_settings(self, model: str, examples: str) -> PassSettings:
        """What `prompt_directly` of a model about sequences depends on."""
        return PassSettings(
            model=self.models[model],
            answers=Answers(question=self.direct_prompt.question, max_new_tokens=self.direct_prompt.max_new_tokens),
            wording=self.wording,
            symbols=self.symbols_of(examples),
        )

    def steering_settings(self, model: str, study: str) -> PassSettings:
        """What the steered passes of a model in a study that reads windows depend on."""
        return PassSettings(
            model=self.models[model],
            passes=self.steered_passes(study),
            symbols=self.symbols_of(self.studies[study].examples),
            kernel=self.readout.kernel,
        )

    def steered_passes(self, study: str) -> list[Pass]:
        """Passes of a study that are steered, in alphabetical order."""
        methods, absent = self.methods_of(study), {}
        for name, method in methods.items():
            if method.steers:
                passes = self.passes_of(study, name)
                absent[passes] = max(absent.get(passes, 0), self.n_absent(study, name))
        return [self._steered_pass(name, methods[name], absent[name]) for name in sorted(absent)]

    def passes_of(self, study: str, method: str) -> str:
        """Name of the passes that a method of a study reads: methods that differ in their reference only share them."""
        methods = self.methods_of(study)
        chosen = methods[method]
        if not chosen.steers:
            return _prompted(chosen.prompt)
        if not chosen.localization.n_absent:
            return method
        alike = [
            name
            for name, other in methods.items()
            if (other.direction, other.steering) == (chosen.direction, chosen.steering)
        ]
        return min(alike, key=lambda name: (methods[name].localization.n_absent > 0, name))

    def scoring_settings(self, study: str) -> ScoringSettings:
        """What `localize_events` depends on."""
        rows = {"prompt_only": ScoredMethod(passes=_prompted("positive"), localization=self.localization)}
        methods = self.methods_of(study)
        # As in the files of passes, those that are asked before those that are steered.
        for name in sorted(methods, key=lambda name: (methods[name].steers, name)):
            method = methods[name]
            rows[row_of(name)] = ScoredMethod(
                passes=self.passes_of(study, name),
                direction=self.direction_of(method) if method.steers else None,
                localization=method.localization,
            )
        return ScoringSettings(methods=rows, localization=self.localization)

    def map_settings(self, model: str) -> PassSettings:
        """What `map_attention` of a model depends on."""
        method = self.methods_of(self.figures.overlap)[self.figures.reading_method]
        passes = [self._base_pass(), self._prompted_pass(), self._steered_pass("steered", method)]
        return PassSettings(
            model=self.models[model],
            # Whatever rows a study sums, the map shows them all.
            passes=[each.model_copy(update={"text_rows": "all"}) for each in passes],
            readout="text",
            wording=self.wording,
            symbols=self.symbols_of(self.studies[self.figures.overlap].examples),
        )

    def _base_pass(self) -> Pass:
        return Pass(name="base", prompt=self.prompts["inference"], text_rows=self.readout.text_rows)

    def _prompted_pass(self, prompt: str = "positive", n_absent: int = 0) -> Pass:
        asked = {"name": _prompted(prompt), "prompt": self.prompts[prompt], "about": "event", "absent": n_absent}
        return self._base_pass().model_copy(update=asked)

    def _steered_pass(self, name: str, method: Method, n_absent: int = 0) -> Pass:
        steered = {"direction": self.direction_of(method), "steering": method.steering, "absent": n_absent}
        return self._base_pass().model_copy(update={"name": name, "about": "event"} | steered)

    def averaging_settings(self, examples: str) -> AveragingSettings:
        """Which contrasts some method of a study about sequences takes means of."""
        directions = [self.direction_of(method) for _, _, method in self._methods_made_of(examples) if method.steers]
        contrasts = {direction.contrast for direction in directions if direction.over == "others_of_label"}
        return AveragingSettings(contrasts=sorted(contrasts))

    def listening_settings(self, model: str, study: str) -> ListeningSettings:
        """What `listen_recordings` of a model depends on."""
        settings = self.studies[study]
        recordings = self.examples[settings.examples]
        return ListeningSettings(model=self.models[model], recordings=recordings, method=settings.listening)

    def effect_settings(self, model: str, study: str) -> EffectSettings:
        """What `steer_texts` of a model depends on."""
        settings = self.studies[study]
        # Where text counts as broken is a matter of tables.
        of_tables = {key: getattr(Effects(), key) for key in ("breaks_at", "repeats_at")}
        effects = settings.effects.model_copy(update=of_tables)
        return EffectSettings(model=self.models[model], pairs=self.examples[settings.examples].path, effects=effects)

    def unlearning_settings(self, model: str, study: str) -> UnlearningSettings:
        """What `unlearn_facts` of a model depends on."""
        settings = self.studies[study]
        pairs = self.examples[settings.examples].path
        return UnlearningSettings(model=self.models[model], pairs=pairs, unlearning=settings.unlearning)

    def interruption_settings(self, model: str, study: str) -> InterruptionSettings:
        """What `interrupt_streams` of a model depends on."""
        settings = self.studies[study]
        pairs = self.examples[settings.examples].path
        return InterruptionSettings(model=self.models[model], pairs=pairs, interruption=settings.interruption)

    def question_settings(self, questions: str) -> QuestionSettings:
        """What `compose_questions` depends on."""
        return QuestionSettings(questions=self.examples[questions], wording=self.wording)

    def share_settings(self, model: str, study: str) -> ItemSettings:
        """What the passes of a model in a study that reads shares depend on.

        The question as it is, the same after the focus instruction, and the question as it is under every method
        (SWL Figure 1).
        """
        examples, methods = self.examples_of(study), self.methods_of(study)
        by_user = isinstance(examples, MmauQuestions)
        unsteered, after_focus = UNSTEERED_SHARES
        original = Pass(name=unsteered, prompt=self.prompts["question"], text_rows=self.readout.text_rows)
        focused = original.model_copy(update={"name": after_focus, "prompt": self.prompts["focus"]})
        directions = {name: self.direction_of(method) for name, method in methods.items()}
        steered = [
            original.model_copy(
                update={"name": name, "direction": directions[name], "steering": methods[name].steering}
            )
            for name in sorted(methods)
        ]
        return ItemSettings(
            model=self.models[model],
            passes=[original, focused, *steered],
            readout="share",
            states={
                name: self.state(name)
                for name in sorted({state for each in directions.values() for state in each.contrast})
            },
            kernel=self.readout.kernel,
            splits=examples.splits if by_user else None,
            max_seconds=self.longest_seconds(self.studies[study].examples),
            on_bad_item=examples.on_bad_item if by_user else "refuse",
        )

    def choice_settings(self, model: str, study: str) -> ChoiceSettings:
        """What the answers of a model in a study of choices depend on: those of the study's methods.

        What hears another recording, and what is steered by heads, follows from them.
        """
        shared, choosing = self.share_settings(model, study), self.studies[study].choosing
        prompt = self.prompts[choosing.prompt]
        unsteered = [
            shared.passes[0].model_copy(update={"name": name, "prompt": text})
            for name, text in zip(UNSTEERED_CHOICES, (prompt, self.prompts[choosing.instructed]), strict=True)
        ]
        steered = [each.model_copy(update={"prompt": prompt}) for each in shared.passes[len(unsteered) :]]
        return ChoiceSettings.model_validate(
            dict(shared) | {"passes": [*unsteered, *steered], "choosing": choosing, "readout": "head_mass"}
        )

    def longest_seconds(self, examples: str) -> float:
        """Upper bound of the duration of a recording, in seconds."""
        settings = self.examples[examples]
        if isinstance(settings, Pairs):
            return 0.0
        if isinstance(settings, MmauQuestions | Recordings):
            return settings.max_seconds
        sequences = self.examples[settings.about] if isinstance(settings, Questions) else settings
        return sequences.composition.longest_seconds

    def sweep_models(self, sweep: str) -> list[str]:
        """Models that a sweep runs on."""
        chosen = self.studies[sweep].models
        return list(self.models) if chosen == "all" else chosen

    def study_of(self, sweep: str) -> str:
        """Study of which a sweep changes a key."""
        return self.studies[sweep].of or self.figures.attention_change

    def sweep_examples(self, sweep: str) -> str:
        """Name of the examples that a sweep asks about."""
        return self.localizations[self.study_of(sweep)].examples

    def sweep_samples(self, sweep: str) -> dict[int, int]:
        """Shard of the examples → how many of its first samples a sweep reads; shards without any are left out."""
        examples, left = self.sweep_examples(sweep), self.studies[sweep].first
        ranges = {shard: self.shard_range(examples, shard) for shard in range(self.n_shards(examples))}
        return {shard: min(stop, left) - first for shard, (first, stop) in ranges.items() if first < left}

    def _swept_method(self, sweep: str) -> Method:
        return self.methods_of(self.study_of(sweep))[self.studies[sweep].method]

    def sweep_probe(self, sweep: str) -> Probe:
        """What a sweep changes one key of: steering and localization are those of the sweep's method."""
        method = self._swept_method(sweep)
        of_method = {"steering": method.steering} if method.steers else {}
        return self.probe.model_copy(update=of_method | {"localization": method.localization})

    def sweep_settings(self, sweep: str, model: str) -> PassSettings:
        """What `sweep_attention` of a model depends on."""
        variation, method = self.studies[sweep].variation, self._swept_method(sweep)
        passes = [self._steered_pass("steered", method, method.localization.n_absent)]
        if variation.passes == "all":
            passes.insert(0, self._base_pass())
        by_head = variation.vary == HEADS
        if by_head:  # how many are read is a matter of scoring
            variation = variation.model_copy(update={"values": ["all"]})
        return PassSettings(
            model=self.models[model],
            passes=[_without_varied(each, variation.vary) for each in passes],
            readout="heads" if by_head else "attention",
            symbols=self.symbols_of(self.sweep_examples(sweep)),
            kernel=self.readout.kernel,
            variation=variation,
        )

    def score_settings(self, sweep: str) -> ScoreSettings:
        """What `score_sweep` depends on."""
        variation, method = self.studies[sweep].variation, self._swept_method(sweep)
        return ScoreSettings(
            variation=variation,
            probe=of_score(variation, self.sweep_probe(sweep)),
            direction=self.direction_of(method) if method.steers else None,
        )

    def sweep_own_value(self, sweep: str) -> str:
        """The study's value of the key that a sweep varies, as its table names it."""
        return value_name(own_value(self.sweep_probe(sweep), self.studies[sweep].vary))

    def sweep_queries(self, sweep: str) -> int:
        """Events and absent sounds that a sweep steers for in every sample."""
        n_events = len(self.examples[self.sweep_examples(sweep)].composition.positions)
        return n_events + self._swept_method(sweep).localization.n_absent

    def describe_sweep(self, sweep: str, n_layers: Mapping[str, int]) -> str:
        """What a sweep runs on, what it costs and what it takes from its study; `n_layers` by model."""
        models, samples = self.sweep_models(sweep), self.sweep_samples(sweep)
        cost = describe(
            self.studies[sweep].variation,
            sum(samples.values()),
            self.sweep_queries(sweep),
            {model: n_layers[model] for model in models},
            len(models) * len(samples),
        )
        return (
            f"{sweep}: {self.studies[sweep].vary} on the first {sum(samples.values())} samples of "
            f"{self.study_of(sweep)}, {len(models)} model(s): {cost}"
        )

    def examples_per_shard(self, examples: str) -> int:
        """Examples in one shard: fixed by the longest possible recording, so that adding some moves none."""
        return math.floor(self.shard_seconds / self.longest_seconds(examples))

    def shard_range(self, examples: str, shard: int) -> tuple[int, int]:
        """Index of the first sample of a shard of sequences, and the index after its last."""
        size = self.examples_per_shard(examples)
        return shard * size, min((shard + 1) * size, self.examples[examples].n_samples)

    def shard_of(self, examples: str, sample: int) -> int:
        """Number of the shard that holds a sample of sequences, by the sample's index."""
        return sample // self.examples_per_shard(examples)

    def n_shards(self, examples: str) -> int:
        """Number of shards of sequences."""
        return math.ceil(self.examples[examples].n_samples / self.examples_per_shard(examples))


def _prompted(prompt: str) -> str:
    """Name of the passes in which a prompt about an event is asked in place of the neutral one."""
    return "prompted" if prompt == "positive" else f"prompted_{prompt}"


def _without_varied(each: Pass, key: str) -> Pass:
    """A pass that says nothing of a key that takes other values anyway, so that the run's own value reruns nothing."""
    section, _, field = key.partition(".")
    if section == "steering" and each.steering is not None:
        own = {name: value for name, value in each.steering.model_dump().items() if name != field}
        return each.model_copy(update={"steering": Steering.model_validate(own)})
    changes = {"prompts.inference": {"prompt": ""}, "readout.text_rows": {"text_rows": "all"}}
    return each.model_copy(update=changes.get(key, {}))
