"""The whole configuration, as in config.yaml."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
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
from wheretolisten.config import earlier
from wheretolisten.config.directions import State, stored_state
from wheretolisten.config.effects import Effects, EffectSettings
from wheretolisten.config.examples import (
    DISTURBANCES,
    Examples,
    MmauQuestions,
    Pairs,
    Questions,
    Recordings,
    Sequences,
    Symbolic,
)
from wheretolisten.config.interruption import InterruptionSettings
from wheretolisten.config.layers import Layers, select_layers
from wheretolisten.config.models import REHEARSAL, Model, pinning_command
from wheretolisten.config.passes import (
    OF_HEADS,
    REPLACED,
    UNSTEERED_CHOICES,
    UNSTEERED_SHARES,
    Answers,
    ChoiceSettings,
    ItemSettings,
    Pass,
    PassSettings,
    SymbolSettings,
)
from wheretolisten.config.places import keys_of_arguments, place_of, refuse_repeated_keys
from wheretolisten.config.probe import Method, Probe, Steering, row_of
from wheretolisten.config.prompts import fields_of
from wheretolisten.config.sections import Section, UserPath, check_repetition, problems_of
from wheretolisten.config.settings import (
    AveragingSettings,
    ListeningSettings,
    PerturbingSettings,
    QuestionSettings,
    ScoredMethod,
    ScoringSettings,
)
from wheretolisten.config.sounds import Library, ProceduralLibrary
from wheretolisten.config.studies import (
    HEADS,
    OF_PAIRS,
    AnyStudy,
    Choosing,
    ScoreSettings,
    Study,
    Sweep,
    check_values,
    describe,
    of_score,
    own_value,
    points,
    value_name,
)
from wheretolisten.config.unlearning import UnlearningSettings
from wheretolisten.errors import UserError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen"),
)

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
        for section in ("sounds", "examples", "models", "studies"):
            for name in getattr(self, section):
                if not _NAME.fullmatch(name):
                    raise ValueError(
                        f"{section}: the name {name!r} becomes a folder; use lower-case letters, digits, '.', '_', '-'"
                    )
        if "random" in self.models:
            raise ValueError("models: 'random' is the name of the random baseline; choose another name")
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
        for name, examples in self.examples.items():
            if isinstance(examples, Sequences):
                self._check_sequences(name, examples)
            elif isinstance(examples, Questions):
                self._check_questions(name, examples)
            if self.longest_seconds(name) > self.shard_seconds:
                raise ValueError(
                    f"shard_seconds: {self.shard_seconds:g} s is less than one recording of examples {name!r} "
                    f"({self.longest_seconds(name):g} s); raise it"
                )
        for name, study in self.studies.items():
            if isinstance(study, Study):
                self._check_study(name, study)
        self._check_figures()
        for name, sweep in self.sweeps.items():
            self._check_sweep(name, sweep)
        return self

    def _check_sequences(self, name: str, examples: Sequences) -> None:
        if examples.sounds not in self.sounds:
            raise ValueError(
                f"examples.{name}.sounds: {examples.sounds!r} is not in sounds ({', '.join(self.sounds)}); name one "
                "of them or add it"
            )
        library, shortest = self.sounds[examples.sounds], examples.composition.clip_seconds[0]
        if isinstance(library, ProceduralLibrary):
            if library.clip_seconds[1] < shortest:
                raise ValueError(
                    f"examples.{name}.composition.clip_seconds: events of at least {shortest:g} s cannot be cut from "
                    f"sounds {examples.sounds!r}, whose clips last at most {library.clip_seconds[1]:g} s; "
                    "shorten the events or lengthen the clips"
                )
            _check_labels(name, examples, library)
        _check_direct_question(name, examples, self.direct_prompt.question)
        perturbation = examples.perturbation
        if perturbation is None:
            return
        if examples.composition.heard == "silence":
            raise ValueError(
                f"examples.{name}.perturbation: heard: silence leaves nothing that noise could lie below; take one of "
                "the two out"
            )
        if perturbation.against is not None and perturbation.against not in self.models:
            raise ValueError(
                f"examples.{name}.perturbation.against: {perturbation.against!r} is not in models "
                f"({', '.join(self.models)}); name one of them, or null for random noise"
            )

    def _check_questions(self, name: str, questions: Questions) -> None:
        about = self.examples.get(questions.about)
        if not isinstance(about, Sequences):
            raise ValueError(
                f"examples.{name}.about: {questions.about!r} is not among the sequences "
                f"({', '.join(self.sequences) or 'there are none'}); name one of them, or take the questions out "
                f"({name}: null)"
            )
        if isinstance(about, Symbolic):
            raise ValueError(
                f"examples.{name}.about: {questions.about!r} are symbolic, and questions are about recordings; name "
                f"other sequences, or take the questions out ({name}: null)"
            )
        if about.composition.overlap:
            raise ValueError(
                f"examples.{name}.about: they ask which sound comes next, and sounds of {questions.about!r} overlap; "
                f"name sequences without overlap, or take the questions out ({name}: null)"
            )

    def _check_study(self, name: str, study: Study) -> None:
        if study.examples not in self.examples:
            raise ValueError(
                f"studies.{name}.examples: {study.examples!r} is not in examples ({', '.join(self.examples)}); name "
                f"one of them, or take the study out ({name}: null)"
            )
        if not study.needs <= self.examples[study.examples].has:
            kinds = {"windows": "sequences", "intervals": "recordings"} | dict.fromkeys(OF_PAIRS, "pairs")
            kind = kinds.get(study.readout, "questions")
            raise ValueError(
                f"studies.{name}.readout: {study.readout} is read about {kind}, and {study.examples!r} are of type "
                f"{self.examples[study.examples].type}; name other examples, or another readout"
            )
        if study.states_from is not None:
            self._check_states_from(name, study)
        for key in OF_PAIRS:
            if study.readout != key and getattr(study, key) != Study.model_fields[key].default:
                raise ValueError(
                    f"studies.{name}.{key}: it is about readout: {key}, and this study reads {study.readout}; take it "
                    "out, or set the readout"
                )
        if study.readout in OF_PAIRS:
            self._check_effects(name, study)
            return
        if study.readout == "intervals":
            if study.listening is None:
                raise ValueError(
                    f"studies.{name}.methods: intervals are read by asking, [prompt_matched], or by steering, "
                    "[matched]; write one of the two"
                )
            return
        if study.readout == "choices":
            self._check_choosing(name, study.choosing)
        elif study.choosing != Choosing():
            raise ValueError(
                f"studies.{name}.choosing: it is about readout: choices, and this study reads {study.readout}; take it "
                "out, or set the readout"
            )
        unsteered = {"share": UNSTEERED_SHARES, "choices": (*UNSTEERED_CHOICES, *REPLACED, *OF_HEADS)}
        taken = [method for method in unsteered.get(study.readout, ()) if method in self.methods_of(name)]
        if taken:
            raise ValueError(
                f"studies.{name}.methods: {taken[0]!r} is the name of a pass that is not steered; give the method "
                "another one"
            )
        if study.methods == "all":
            if not self.methods_of(name):
                raise ValueError(
                    f"studies.{name}.methods: no method fits examples {study.examples!r}; add one, or take the study "
                    f"out ({name}: null)"
                )
            return
        for method in study.methods:
            if method not in self.methods:
                raise ValueError(
                    f"studies.{name}.methods: {method!r} is not in methods ({', '.join(self.methods)}); name one of "
                    "them or add it"
                )
            if not self._fits(method, study):
                lacking = self.needs(self.methods[method]) - self.examples[study.examples].has
                raise ValueError(
                    f"studies.{name}.methods: {method!r} needs examples with {{{sorted(lacking)[0]}}}, which "
                    f"{study.examples!r} have not; take it out"
                )

    def _check_states_from(self, name: str, study: Study) -> None:
        where = f"studies.{name}.states_from"
        if study.readout != "windows":
            raise ValueError(
                f"{where}: states are kept where windows are read, and this study reads {study.readout}; take it out, "
                "or set readout: windows"
            )
        if study.states_from not in self.sequences:
            raise ValueError(
                f"{where}: {study.states_from!r} is not among the sequences ({', '.join(self.sequences)}); name one of "
                "them, or null for the examples that are asked about"
            )
        self._check_same_events(where, study.examples, study.states_from)

    def _check_same_events(self, where: str, first: str, second: str) -> None:
        """Refuse two examples whose events are not the same ones at the same times."""
        one, other = (_when_and_what(self.examples[each]) for each in (first, second))
        differ = [key for key in one | other if one.get(key) != other.get(key)]
        if differ:
            raise ValueError(
                f"{where}: examples {first!r} and {second!r} differ in {differ[0]}, so that their events are not the "
                f"same ones; let them differ in {', '.join(DISTURBANCES)} and perturbation only"
            )

    def _check_effects(self, name: str, study: Study) -> None:
        for key in ("axes", "arms") if study.readout == "effects" else ():
            if not getattr(study.effects, key):
                raise ValueError(f"studies.{name}.effects.{key}: there are none; name one at least")
            for each in getattr(study.effects, key):
                if not _NAME.fullmatch(each):
                    raise ValueError(
                        f"studies.{name}.effects.{key}: use lower-case letters, digits, '.', '_', '-' for {each!r}"
                    )
        if study.methods != "all":
            raise ValueError(
                f"studies.{name}.methods: what steers pairs are effects.arms, not methods; take methods out"
            )

    def _check_choosing(self, name: str, choosing: Choosing) -> None:
        asking = [key for key, text in self.prompts.items() if text and "question" in fields_of(text)]
        for key, prompt in (("prompt", choosing.prompt), ("instructed", choosing.instructed)):
            if prompt not in asking:
                raise ValueError(
                    f"studies.{name}.choosing.{key}: {prompt!r} is no prompt that names {{question}} "
                    f"({', '.join(asking)}); name one of these, or add it to prompts"
                )
            if choosing.permute and "choices" not in fields_of(self.prompts[prompt]):
                raise ValueError(
                    f"studies.{name}.choosing.permute: the prompt {prompt!r} shows no {{choices}}, which could be "
                    "permuted; set permute: null, or name another prompt"
                )

    def _check_figures(self) -> None:
        if self.figures.audio_share is not None and self.figures.audio_share not in self.shares:
            raise ValueError(
                f"figures.audio_share: {self.figures.audio_share!r} is no study that reads shares "
                f"({', '.join(self.shares) or 'there is none'}); name one of them, or null for no figure"
            )
        check_repetition(self.figures.studies or [], "figures.studies:")
        for name in self.figures.studies or ():
            if name not in self.localizations:
                raise ValueError(
                    f"figures.studies: {name!r} is no study that reads windows "
                    f"({', '.join(self.localizations) or 'there is none'}); name one of them, or null for no figure"
                )
            about = (self.studies[each].examples for each in (self.figures.studies[0], name))
            self._check_same_events("figures.studies", *about)
        if not self.localizations and self.figures.attention_change is None and self.figures.overlap is None:
            return
        for key in ("attention_change", "overlap"):
            chosen = getattr(self.figures, key)
            if chosen not in self.localizations:
                way_out = (
                    "name one of them" if self.localizations else "write null for it, and for the others of figures"
                )
                raise ValueError(
                    f"figures.{key}: {chosen!r} is no study that reads windows "
                    f"({', '.join(self.localizations) or 'there is none'}); {way_out}"
                )
            if self.figures.reading_method not in self.methods_of(chosen):
                raise ValueError(
                    f"figures.reading_method: {self.figures.reading_method!r} is no method of study {chosen!r} "
                    f"({', '.join(self.methods_of(chosen))}), which is drawn; name one of these, or add it to "
                    f"studies.{chosen}.methods"
                )
            drawn = self.methods[self.figures.reading_method]
            if not drawn.steers or drawn.localization.n_absent:
                raise ValueError(
                    f"figures.reading_method: {self.figures.reading_method!r} does not steer, or is held against "
                    "absent sounds, and drawn are steered passes and the base pass; name a method with a direction and "
                    "reference: base"
                )
        if not self.examples_of(self.figures.attention_change).composition.equal:
            raise ValueError(
                f"figures.attention_change: the events of study {self.figures.attention_change!r} do not lie at "
                "the same times in all samples, but the figure averages over samples position by position; name one "
                "with equal clip_seconds and gap_seconds, without overlap"
            )
        drawn = self.examples_of(self.figures.overlap)
        if self.figures.reading_position not in drawn.composition.positions:
            raise ValueError(
                f"figures.reading_position: study {self.figures.overlap!r} has no event "
                f"{self.figures.reading_position!r} ({', '.join(drawn.composition.positions)}); name one of these"
            )
        if self.figures.reading_sample >= drawn.n_samples:
            raise ValueError(
                f"figures.reading_sample: {self.figures.reading_sample} is beyond study {self.figures.overlap!r}, "
                f"which has {drawn.n_samples} samples; lower it"
            )

    def _check_sweep(self, name: str, sweep: Sweep) -> None:
        for key, chosen, known in (
            ("models", self.sweep_models(name), self.models),
            ("of", [self.study_of(name)], self.localizations),
        ):
            unknown = [each for each in chosen if each not in known]
            if unknown:
                what = "not configured" if key == "models" else "no study that reads windows"
                raise ValueError(
                    f"studies.{name}.{key}: {unknown[0]!r} is {what} ({', '.join(known)}); name one of them"
                )
        methods = self.methods_of(self.study_of(name))
        if sweep.method not in methods:
            raise ValueError(
                f"studies.{name}.method: {sweep.method!r} is not among the methods of study "
                f"{self.study_of(name)!r} ({', '.join(methods)}); name one of them"
            )
        if not methods[sweep.method].steers and sweep.variation.passes != "none":
            raise ValueError(
                f"studies.{name}.method: {sweep.method!r} steers nothing, and {sweep.vary} needs passes that are "
                "steered; name a method with a direction, or vary a key of localization"
            )
        try:
            check_values(name, sweep.variation, self.sweep_probe(name), {})
        except UserError as error:
            raise ValueError(str(error)) from None

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
            if (self._fits(name, settings) if settings.methods == "all" else name in settings.methods)
        }

    def _fits(self, method: str, study: Study) -> bool:
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
            if path[0] not in ("sounds", "examples"):
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
        not the working directory, the paths of sounds and examples are returned absolute. That of a checkpoint
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
            for section in ("sounds", "examples")
        }
        | {"studies": {name: _effects_at(root, study) for name, study in config.studies.items()}}
    )


def _when_and_what(examples: Sequences) -> dict[str, Any]:
    """What the labels, clips and times of sequences follow from."""
    composition = {
        f"composition.{key}": value
        for key, value in examples.composition.model_dump().items()
        if key not in DISTURBANCES
    }
    about = {key: getattr(examples, key) for key in ("type", "sounds", "n_samples")}
    return about | composition | {"tokens_per_second": getattr(examples, "tokens_per_second", None)}


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


_PATHS = ("path", "csv", "audio", "events", "names")
"""Keys of sounds and examples that name files of the user."""


def _at(root: Path, entry: Section) -> Section:
    paths = {key: getattr(entry, key, None) for key in _PATHS}
    return entry.model_copy(
        update={
            key: [str(root / each) for each in path] if isinstance(path, list) else str(root / path)
            for key, path in paths.items()
            if path is not None
        }
    )


def _effects_at(root: Path, study: AnyStudy) -> AnyStudy:
    """A study, the tables that its effects or its unlearning name found from a folder."""

    def at(path: str | None) -> str | None:
        return None if path is None else str(root / path)

    if not isinstance(study, Study):
        return study
    if study.readout == "interruption":
        return study  # it names none
    if study.readout == "unlearning":
        facts = study.unlearning
        paths = {"neutral": at(facts.neutral), "guardrail": at(facts.guardrail)}
        return study.model_copy(update={"unlearning": facts.model_copy(update=paths)})
    given = study.effects
    axes = {
        name: axis
        if axis.check is None
        else axis.model_copy(update={"check": axis.check.model_copy(update={"words": at(axis.check.words)})})
        for name, axis in given.axes.items()
    }
    arms = {name: arm.model_copy(update={"features": at(arm.features)}) for name, arm in given.arms.items()}
    paths = {"neutral": at(given.neutral), "guardrail": at(given.guardrail), "arms": arms}
    if given.decay is not None:
        paths["decay"] = given.decay.model_copy(update={"prompts": at(given.decay.prompts)})
    return study.model_copy(update={"effects": given.model_copy(update={"axes": axes} | paths)})


def _check_files(config: Config, root: Path) -> None:
    """Refuse paths that lead nowhere, and what a checkpoint's files already show to be wrong."""
    for name, library in config.sounds.items():
        for key, kind in (("path", "folder"), ("csv", "file"), ("audio", "folder")):
            if hasattr(library, key):
                _check_path(f"sounds.{name}.{key}", getattr(library, key), kind, root)
    for name, questions in config.questions.items():
        if isinstance(questions, MmauQuestions):
            _check_path(f"examples.{name}.path", questions.path, "file", root)
            _check_path(f"examples.{name}.audio", questions.audio, "folder", root)
    for name, recordings in config.examples.items():
        if isinstance(recordings, Recordings):
            _check_path(f"examples.{name}.audio", recordings.audio, "folder", root)
            for key in ("csv", "events", "names"):
                if (path := getattr(recordings, key)) is not None:
                    _check_path(f"examples.{name}.{key}", path, "file", root)
    for name, pairs in config.examples.items():
        if isinstance(pairs, Pairs):
            for path in pairs.path:
                _check_path(f"examples.{name}.path", path, "file", root)
    for name, study in config.of_pairs.items():
        for key, path in getattr(study, study.readout).files.items():
            _check_path(f"studies.{name}.{study.readout}.{key}", path, "file", root)
    for name, model in config.models.items():
        _check_checkpoint(name, model, config, root)


def _check_path(key: str, path: str, kind: Literal["file", "folder"], root: Path) -> None:
    if not ((root / path).is_file() if kind == "file" else (root / path).is_dir()):
        from_where = "" if root == Path.cwd() or Path(path).is_absolute() else f" in {root}"
        raise UserError(
            f"{key}: {path!r} does not exist as a {kind}{from_where}; correct the path or put the files there"
        )


def _check_labels(name: str, examples: Sequences, library: ProceduralLibrary) -> None:
    """Refuse a composition that takes more labels than there are; of other libraries, jobs find out what they hold."""
    needed = len(examples.composition.positions)
    by_domain = library.labels_by_domain()
    if examples.composition.domains == "mixed":
        by_domain = {"": [label for labels in by_domain.values() for label in labels]}
    for domain, labels in by_domain.items():
        if len(labels) < needed:
            where, of = (f"domain {domain!r}", "of one domain; add labels, or set composition.domains: mixed")
            if not domain:
                where, of = "the list", "different ones; add labels, or lower composition.n_events"
            raise ValueError(
                f"sounds.{examples.sounds}.labels: {where} has {len(labels)} label(s) ({', '.join(labels)}), but "
                f"a sample of examples {name!r} takes {needed} {of}"
            )


def _check_direct_question(name: str, examples: Sequences, question: str) -> None:
    """Refuse a question that says what is not so of the samples: how many sounds, or that they take turns."""
    n_events = len(examples.composition.positions)
    said = re.search(rf"\b({'|'.join(_NUMBERS)}|\d+)\s+(?:sound|event)s?\b", question, re.IGNORECASE)
    wrong = ""
    if said and said[1].lower() not in (_NUMBERS[n_events], str(n_events)):
        wrong = f"says {said[0]!r}, but a sample of examples {name!r} has {n_events}"
    elif examples.composition.overlap and "in sequence" in question.lower():
        wrong = f"says 'in sequence', but sounds of examples {name!r} overlap"
    if wrong:
        raise ValueError(
            f'direct_prompt.question {wrong}; word it so that it is true of all examples ("several sound events")'
        )


def _check_checkpoint(name: str, model: Model, config: Config, root: Path) -> None:
    """Refuse what a checkpoint's files already show to be wrong; all of a hub repository's when it is fetched."""
    where = f"models.{name}.checkpoint"
    folder = root / model.checkpoint
    to_make = checkpoint.made(folder)
    if to_make is not None and model.revision is None and model.weights == "pretrained":
        _check_fit(name, model, config, folder, to_make.description)
        return
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


def _check_fit(name: str, model: Model, config: Config, folder: Path, description: Mapping[str, Any]) -> None:
    """Refuse layers that a model does not have, and samples that are too long for it."""
    # Published files leave out what equals the class's default; then the job that loads the model checks the blocks.
    text_stack = checkpoint.text_stack_of(description)
    n_layers = None if text_stack is None else text_stack.get("num_hidden_layers")
    if checkpoint.reads_text_only(description):
        _check_symbolic(name, model, config)
    if n_layers is not None:
        _check_blocks_of_effects(name, config, n_layers)
    steerings = config.steerings
    localizations = {f"methods.{key}.localization": method.localization for key, method in config.methods.items()}
    for key, section in (steerings | {"localization": config.localization} | localizations).items():
        try:
            if n_layers is not None:
                select_layers(section.layers, n_layers)
        except UserError as error:
            raise UserError(f"{key}.layers: {error} (model {name!r})") from None
    for key, steering in steerings.items():
        try:
            if n_layers is not None:
                steering.scales(n_layers)
        except UserError as error:
            raise UserError(f"{key}.{error} (model {name!r})") from None
    for sweep, settings in config.sweeps.items():
        # A rehearsal makes none.
        if name in config.sweep_models(sweep) and text_stack is not None and not config.rehearsal:
            try:
                check_values(sweep, settings.variation, config.sweep_probe(sweep), text_stack)
            except UserError as error:
                raise UserError(f"{error} (model {name!r})") from None
    seconds = checkpoint.longest_audio(folder, description)
    n_positions = None if text_stack is None else text_stack.get("max_position_embeddings")
    for examples, settings in config.examples.items():
        longest = config.longest_seconds(examples)
        if isinstance(settings, Symbolic):
            n_tokens = math.ceil(longest * settings.tokens_per_second)
            if n_positions is not None and n_tokens >= n_positions:
                raise UserError(
                    f"models.{name}.checkpoint: {model.checkpoint!r} reads at most {n_positions} tokens, but samples "
                    f"of {examples!r} have up to {n_tokens}; lower tokens_per_second, or take the model out"
                )
            continue
        if seconds is None or longest <= seconds:
            continue
        if isinstance(settings, MmauQuestions):
            problem = f"recordings of {examples!r} may last {longest:g} s; lower its max_seconds"
        elif isinstance(settings, Sequences):
            problem = f"samples of {examples!r} last up to {longest:g} s; shorten its clip_seconds or gap_seconds"
        else:
            continue  # they are about sequences, which are checked
        raise UserError(
            f"models.{name}.checkpoint: {model.checkpoint!r} hears at most {seconds:g} s, but {problem}, or take the "
            "model out"
        )


def _check_blocks_of_effects(name: str, config: Config, n_layers: int) -> None:
    """Refuse blocks that studies of effects try or edit, and a model does not have."""
    named: list[tuple[str, Layers, Steering]] = []
    for study, settings in config.effects.items():
        where, effects = f"studies.{study}.effects", settings.effects
        named += [(f"{where}.layers", layers, Steering()) for layers in effects.layers]
        for arm, given in effects.arms.items():
            of_arm = [(f"{where}.arms.{arm}.layers", given.layers)] if given.layers is not None else []
            tried = of_arm or [(f"{where}.arms.{arm}.steering", layers) for layers in effects.layers]
            named += [(key, layers, given.steering) for key, layers in tried if given.build is not None]
    for study, settings in config.unlearnings.items():
        if settings.unlearning.block is not None:
            named.append((f"studies.{study}.unlearning.block", [settings.unlearning.block], Steering()))
    for key, layers, steering in named:
        try:
            steering.model_copy(update={"layers": layers}).scales(n_layers)
        except UserError as error:
            raise UserError(f"{key}: {error} (model {name!r})") from None


def _check_symbolic(name: str, model: Model, config: Config) -> None:
    """Refuse a model without ears where a study is about recordings."""
    for study, settings in config.studies.items():
        if isinstance(settings, Study) and not isinstance(config.examples[settings.examples], Symbolic | Pairs):
            raise UserError(
                f"models.{name}.checkpoint: {model.checkpoint!r} reads text only, and study {study!r} is about "
                f"recordings ({settings.examples!r}); take one of the two out, or give the study examples of type "
                "symbolic or pairs"
            )
