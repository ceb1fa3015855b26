"""What the sections of a configuration say of one another, checked before anything runs."""

import re
from typing import TYPE_CHECKING, Any

from wheretolisten.config.examples import DISTURBANCES, Questions, Sequences, Symbolic
from wheretolisten.config.models import REHEARSAL
from wheretolisten.config.passes import OF_HEADS, REPLACED, UNSTEERED_CHOICES, UNSTEERED_SHARES
from wheretolisten.config.prompts import fields_of
from wheretolisten.config.sections import check_repetition
from wheretolisten.config.sounds import ProceduralLibrary
from wheretolisten.config.studies import OF_PAIRS, Choosing, Study, Sweep, check_values
from wheretolisten.errors import UserError

if TYPE_CHECKING:
    from wheretolisten.config.workflow import Config

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen"),
)


def check(config: "Config") -> None:
    """Refuse sections that do not go together.

    Raises
    ------
    ValueError
        Naming the first key that is wrong, its value and what to do.
    """
    for section in ("sounds", "examples", "models", "studies"):
        for name in getattr(config, section):
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{section}: the name {name!r} becomes a folder; use lower-case letters, digits, '.', '_', '-'"
                )
    if "random" in config.models:
        raise ValueError("models: 'random' is the name of the random baseline; choose another name")
    for name, model in config.models.items():
        if (model.weights == "random") != name.startswith(REHEARSAL):
            raise ValueError(
                f"models: {name!r} has {model.weights} weights; a model whose name starts with {REHEARSAL!r} has "
                "random ones, and no other model has: rename it, or change its key weights"
            )
    if len({model.weights for model in config.models.values()}) > 1:
        raise ValueError(
            "models: a rehearsal with random weights does not share a run with real models "
            f"({', '.join(config.models)}); take out (name: null) the ones or the others"
        )
    for name, examples in config.examples.items():
        if isinstance(examples, Sequences):
            _check_sequences(config, name, examples)
        elif isinstance(examples, Questions):
            _check_questions(config, name, examples)
        if config.longest_seconds(name) > config.shard_seconds:
            raise ValueError(
                f"shard_seconds: {config.shard_seconds:g} s is less than one recording of examples {name!r} "
                f"({config.longest_seconds(name):g} s); raise it"
            )
    for name, study in config.studies.items():
        if isinstance(study, Study):
            _check_study(config, name, study)
    _check_figures(config)
    for name, sweep in config.sweeps.items():
        _check_sweep(config, name, sweep)


def _check_sequences(config: "Config", name: str, examples: Sequences) -> None:
    if examples.sounds not in config.sounds:
        raise ValueError(
            f"examples.{name}.sounds: {examples.sounds!r} is not in sounds ({', '.join(config.sounds)}); name one "
            "of them or add it"
        )
    library, shortest = config.sounds[examples.sounds], examples.composition.clip_seconds[0]
    if isinstance(library, ProceduralLibrary):
        if library.clip_seconds[1] < shortest:
            raise ValueError(
                f"examples.{name}.composition.clip_seconds: events of at least {shortest:g} s cannot be cut from "
                f"sounds {examples.sounds!r}, whose clips last at most {library.clip_seconds[1]:g} s; "
                "shorten the events or lengthen the clips"
            )
        _check_labels(name, examples, library)
    _check_direct_question(name, examples, config.direct_prompt.question)
    perturbation = examples.perturbation
    if perturbation is None:
        return
    if examples.composition.heard == "silence":
        raise ValueError(
            f"examples.{name}.perturbation: heard: silence leaves nothing that noise could lie below; take one of "
            "the two out"
        )
    if perturbation.against is not None and perturbation.against not in config.models:
        raise ValueError(
            f"examples.{name}.perturbation.against: {perturbation.against!r} is not in models "
            f"({', '.join(config.models)}); name one of them, or null for random noise"
        )


def _check_questions(config: "Config", name: str, questions: Questions) -> None:
    about = config.examples.get(questions.about)
    if not isinstance(about, Sequences):
        raise ValueError(
            f"examples.{name}.about: {questions.about!r} is not among the sequences "
            f"({', '.join(config.sequences) or 'there are none'}); name one of them, or take the questions out "
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


def _check_study(config: "Config", name: str, study: Study) -> None:
    if study.examples not in config.examples:
        raise ValueError(
            f"studies.{name}.examples: {study.examples!r} is not in examples ({', '.join(config.examples)}); name "
            f"one of them, or take the study out ({name}: null)"
        )
    if not study.needs <= config.examples[study.examples].has:
        kinds = {"windows": "sequences", "intervals": "recordings"} | dict.fromkeys(OF_PAIRS, "pairs")
        kind = kinds.get(study.readout, "questions")
        raise ValueError(
            f"studies.{name}.readout: {study.readout} is read about {kind}, and {study.examples!r} are of type "
            f"{config.examples[study.examples].type}; name other examples, or another readout"
        )
    if study.states_from is not None:
        _check_states_from(config, name, study)
    for key in OF_PAIRS:
        if study.readout != key and getattr(study, key) != Study.model_fields[key].default:
            raise ValueError(
                f"studies.{name}.{key}: it is about readout: {key}, and this study reads {study.readout}; take it "
                "out, or set the readout"
            )
    if study.readout in OF_PAIRS:
        _check_effects(config, name, study)
        return
    if study.readout == "intervals":
        if study.listening is None:
            raise ValueError(
                f"studies.{name}.methods: intervals are read by asking, [prompt_matched], or by steering, "
                "[matched]; write one of the two"
            )
        return
    if study.readout == "choices":
        _check_choosing(config, name, study.choosing)
    elif study.choosing != Choosing():
        raise ValueError(
            f"studies.{name}.choosing: it is about readout: choices, and this study reads {study.readout}; take it "
            "out, or set the readout"
        )
    unsteered = {"share": UNSTEERED_SHARES, "choices": (*UNSTEERED_CHOICES, *REPLACED, *OF_HEADS)}
    taken = [method for method in unsteered.get(study.readout, ()) if method in config.methods_of(name)]
    if taken:
        raise ValueError(
            f"studies.{name}.methods: {taken[0]!r} is the name of a pass that is not steered; give the method "
            "another one"
        )
    if study.methods == "all":
        if not config.methods_of(name):
            raise ValueError(
                f"studies.{name}.methods: no method fits examples {study.examples!r}; add one, or take the study "
                f"out ({name}: null)"
            )
        return
    for method in study.methods:
        if method not in config.methods:
            raise ValueError(
                f"studies.{name}.methods: {method!r} is not in methods ({', '.join(config.methods)}); name one of "
                "them or add it"
            )
        if not config.fits(method, study):
            lacking = config.needs(config.methods[method]) - config.examples[study.examples].has
            raise ValueError(
                f"studies.{name}.methods: {method!r} needs examples with {{{sorted(lacking)[0]}}}, which "
                f"{study.examples!r} have not; take it out"
            )


def _check_states_from(config: "Config", name: str, study: Study) -> None:
    where = f"studies.{name}.states_from"
    if study.readout != "windows":
        raise ValueError(
            f"{where}: states are kept where windows are read, and this study reads {study.readout}; take it out, "
            "or set readout: windows"
        )
    if study.states_from not in config.sequences:
        raise ValueError(
            f"{where}: {study.states_from!r} is not among the sequences ({', '.join(config.sequences)}); name one of "
            "them, or null for the examples that are asked about"
        )
    _check_same_events(config, where, study.examples, study.states_from)


def _check_same_events(config: "Config", where: str, first: str, second: str) -> None:
    """Refuse two examples whose events are not the same ones at the same times."""
    one, other = (_when_and_what(config.examples[each]) for each in (first, second))
    differ = [key for key in one | other if one.get(key) != other.get(key)]
    if differ:
        raise ValueError(
            f"{where}: examples {first!r} and {second!r} differ in {differ[0]}, so that their events are not the "
            f"same ones; let them differ in {', '.join(DISTURBANCES)} and perturbation only"
        )


def _check_effects(config: "Config", name: str, study: Study) -> None:
    for key in ("axes", "arms") if study.readout == "effects" else ():
        if not getattr(study.effects, key):
            raise ValueError(f"studies.{name}.effects.{key}: there are none; name one at least")
        for each in getattr(study.effects, key):
            if not _NAME.fullmatch(each):
                raise ValueError(
                    f"studies.{name}.effects.{key}: use lower-case letters, digits, '.', '_', '-' for {each!r}"
                )
    if study.methods != "all":
        raise ValueError(f"studies.{name}.methods: what steers pairs are effects.arms, not methods; take methods out")


def _check_choosing(config: "Config", name: str, choosing: Choosing) -> None:
    asking = [key for key, text in config.prompts.items() if text and "question" in fields_of(text)]
    for key, prompt in (("prompt", choosing.prompt), ("instructed", choosing.instructed)):
        if prompt not in asking:
            raise ValueError(
                f"studies.{name}.choosing.{key}: {prompt!r} is no prompt that names {{question}} "
                f"({', '.join(asking)}); name one of these, or add it to prompts"
            )
        if choosing.permute and "choices" not in fields_of(config.prompts[prompt]):
            raise ValueError(
                f"studies.{name}.choosing.permute: the prompt {prompt!r} shows no {{choices}}, which could be "
                "permuted; set permute: null, or name another prompt"
            )


def _check_figures(config: "Config") -> None:
    if config.figures.audio_share is not None and config.figures.audio_share not in config.shares:
        raise ValueError(
            f"figures.audio_share: {config.figures.audio_share!r} is no study that reads shares "
            f"({', '.join(config.shares) or 'there is none'}); name one of them, or null for no figure"
        )
    check_repetition(config.figures.studies or [], "figures.studies:")
    for name in config.figures.studies or ():
        if name not in config.localizations:
            raise ValueError(
                f"figures.studies: {name!r} is no study that reads windows "
                f"({', '.join(config.localizations) or 'there is none'}); name one of them, or null for no figure"
            )
        about = (config.studies[each].examples for each in (config.figures.studies[0], name))
        _check_same_events(config, "figures.studies", *about)
    if not config.localizations and config.figures.attention_change is None and config.figures.overlap is None:
        return
    for key in ("attention_change", "overlap"):
        chosen = getattr(config.figures, key)
        if chosen not in config.localizations:
            way_out = "name one of them" if config.localizations else "write null for it, and for the others of figures"
            raise ValueError(
                f"figures.{key}: {chosen!r} is no study that reads windows "
                f"({', '.join(config.localizations) or 'there is none'}); {way_out}"
            )
        if config.figures.reading_method not in config.methods_of(chosen):
            raise ValueError(
                f"figures.reading_method: {config.figures.reading_method!r} is no method of study {chosen!r} "
                f"({', '.join(config.methods_of(chosen))}), which is drawn; name one of these, or add it to "
                f"studies.{chosen}.methods"
            )
        drawn = config.methods[config.figures.reading_method]
        if not drawn.steers or drawn.localization.n_absent:
            raise ValueError(
                f"figures.reading_method: {config.figures.reading_method!r} does not steer, or is held against "
                "absent sounds, and drawn are steered passes and the base pass; name a method with a direction and "
                "reference: base"
            )
    if not config.examples_of(config.figures.attention_change).composition.equal:
        raise ValueError(
            f"figures.attention_change: the events of study {config.figures.attention_change!r} do not lie at "
            "the same times in all samples, but the figure averages over samples position by position; name one "
            "with equal clip_seconds and gap_seconds, without overlap"
        )
    drawn = config.examples_of(config.figures.overlap)
    if config.figures.reading_position not in drawn.composition.positions:
        raise ValueError(
            f"figures.reading_position: study {config.figures.overlap!r} has no event "
            f"{config.figures.reading_position!r} ({', '.join(drawn.composition.positions)}); name one of these"
        )
    if config.figures.reading_sample >= drawn.n_samples:
        raise ValueError(
            f"figures.reading_sample: {config.figures.reading_sample} is beyond study {config.figures.overlap!r}, "
            f"which has {drawn.n_samples} samples; lower it"
        )


def _check_sweep(config: "Config", name: str, sweep: Sweep) -> None:
    for key, chosen, known in (
        ("models", config.sweep_models(name), config.models),
        ("of", [config.study_of(name)], config.localizations),
    ):
        unknown = [each for each in chosen if each not in known]
        if unknown:
            what = "not configured" if key == "models" else "no study that reads windows"
            raise ValueError(f"studies.{name}.{key}: {unknown[0]!r} is {what} ({', '.join(known)}); name one of them")
    methods = config.methods_of(config.study_of(name))
    if sweep.method not in methods:
        raise ValueError(
            f"studies.{name}.method: {sweep.method!r} is not among the methods of study "
            f"{config.study_of(name)!r} ({', '.join(methods)}); name one of them"
        )
    if not methods[sweep.method].steers and sweep.variation.passes != "none":
        raise ValueError(
            f"studies.{name}.method: {sweep.method!r} steers nothing, and {sweep.vary} needs passes that are "
            "steered; name a method with a direction, or vary a key of localization"
        )
    try:
        check_values(name, sweep.variation, config.sweep_probe(name), {})
    except UserError as error:
        raise ValueError(str(error)) from None


def _when_and_what(examples: Sequences) -> dict[str, Any]:
    """What the labels, clips and times of sequences follow from."""
    composition = {
        f"composition.{key}": value
        for key, value in examples.composition.model_dump().items()
        if key not in DISTURBANCES
    }
    about = {key: getattr(examples, key) for key in ("type", "sounds", "n_samples")}
    return about | composition | {"tokens_per_second": getattr(examples, "tokens_per_second", None)}


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
