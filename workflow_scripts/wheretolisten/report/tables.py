"""What tables are called and what they hold: said once, for their files, the report and the end of a run."""

from dataclasses import dataclass

SIGNIFICANT = 0.05
"""Corrected p-values below it are marked."""

_INTERVALS = (
    "Brackets hold 95 % intervals for other recordings of the same kinds of sounds; recordings that share a source "
    "count as dependent."
)


@dataclass(frozen=True)
class Table:
    """A table in `results/tables/`.

    Attributes
    ----------
    name
        Name of its files, without suffix.
    category
        Where the report shows it.
    title, note
        What it is called and what must be known to read it.
    suffixes
        Its files: csv, and beside it Markdown and LaTeX where it is laid out to be read, too.
    look
        What a run says of it at its end; empty: nothing.
    """

    name: str
    category: str
    title: str
    note: str
    suffixes: tuple[str, ...] = ("csv",)
    look: str = ""

    @property
    def files(self) -> list[str]:
        """Its files in `results/tables/`."""
        return [f"{self.name}.{suffix}" for suffix in self.suffixes]

    @property
    def shown(self) -> str:
        """The file that the report shows: Markdown, which holds title and notes, or else csv."""
        return f"{self.name}.{'md' if 'md' in self.suffixes else 'csv'}"


_LAID_OUT = ("csv", "md", "tex")

OVERLAP = Table(
    "overlap",
    "Localization",
    "Overlap of predicted and true events",
    "Overlap in % of the true event's duration, by the event's position in its recording; Overall is the mean over all "
    f"queries. {_INTERVALS} Lift is Overall minus the expectation of a randomly drawn window, in percentage points. An "
    f"asterisk marks overlap that differs from that expectation (p < {SIGNIFICANT:g}, sign flips, corrected after Holm "
    "over all tests of the study); overlap.csv has the tests against direct prompting, comparisons.csv those "
    "between other methods. Where windows tie, a query scores their mean; unparsed answers and failures score 0.",
    _LAID_OUT,
    "how much of each sound was found, by position and method (csv: to compute with)",
)
OVERLAP_BY_LABEL = Table(
    "overlap_by_label",
    "Localization",
    "Overlap by label",
    "How much of each sound the predicted windows cover (overlap_pct, percent of its duration), by its label. lift is "
    "the overlap minus what a window drawn uniformly at random is expected to cover, in percentage points.",
)
COMPARISONS = Table(
    "comparisons",
    "Localization",
    "Methods compared on the same queries",
    "Overlap of one method minus overlap of another on the same queries, all positions, in percentage points. "
    f"{_INTERVALS} d is the mean difference in standard deviations of the queries' differences. p: sign flips of whole "
    "recordings, corrected after Holm over all positions and pairs of the study. comparisons.csv has the "
    "positions.",
    _LAID_OUT,
    "methods compared on the same queries, with tests",
)
METRICS = Table(
    "metrics",
    "Localization",
    "Other measures of the same predictions",
    "The same predictions, measured otherwise, over all queries. IoU: intersection over union of predicted and true "
    "event; hit: IoU of at least 0.5; pointing: the window's centre lies in the event; onset error: predicted minus "
    "true onset, and its absolute value. Where windows tie, a query has their mean. Without a prediction it has IoU 0, "
    "no hit, no pointing and no onset error (Missing). metrics.csv has the positions and 95 % intervals.",
    _LAID_OUT,
)
UNKNOWN_DURATION = Table(
    "unknown_duration",
    "Localization",
    "Events of unknown duration",
    "Windows found without knowing how long the event lasts; not part of the published method, and not to be compared "
    "with tables in which the duration is known. Random window: the expectation of drawing one of all candidate "
    "windows. Hit: IoU of at least 0.5. Conventions as for the other measures; unknown_duration.csv has the positions "
    "and 95 % intervals.",
    _LAID_OUT,
)
SPECIFICITY = Table(
    "specificity",
    "Controls",
    "Where windows land",
    "Share of predicted windows that land on each event of their recording. position is the event that is queried, or, "
    "where reference is steered, the event whose vector steered the query; landed_on is the event of which the window "
    "covers most, none if it covers none or windows tie. n queries count, n_without_vector have no vector of the "
    "method.",
    look="which event the windows land on",
)
DETECTION = Table(
    "detection",
    "Controls",
    "Sounds found and sounds made up",
    "How often a sound is found, in percent: the best window's score is higher than that of every one of n_absent "
    "sounds that the recording does not hold. Where sound is absent, it is itself one of those that the recording does "
    "not hold, asked about in the same way, and to be found in stated_pct of the cases by chance alone. Methods that "
    "are held against the base pass are not among them.",
    look="whether a sound that is there is told from one that is not",
)
SCORES = (OVERLAP, OVERLAP_BY_LABEL, COMPARISONS, METRICS, UNKNOWN_DURATION, SPECIFICITY, DETECTION)
"""What `tabulate_scores` writes, from windows and answers."""

STUDIES = Table(
    "studies",
    "Localization",
    "Studies compared on the same queries",
    "Overlap in one study minus overlap in another (other), by the same method on the same queries, in percentage "
    f"points: what it costs that recordings are disturbed. {_INTERVALS} p_holm: sign flips of whole recordings, "
    "corrected after Holm over all rows.",
    look="the same recordings in several studies, compared query by query",
)
"""What `compare_studies` writes."""

AUDIO_SHARE = Table(
    "audio_share",
    "Attention",
    "Share of the audio by block",
    "Share of all attention that goes to the audio, from 0 to 1, by model, study, condition and decoder block, "
    "with 95 % intervals over recordings. difference is paired: the same questions under the condition minus as they "
    "are.",
)
AUDIO_SHARE_SECOND_HALF = Table(
    "audio_share_second_half",
    "Attention",
    "Share of the audio, second half",
    "As the share by block, averaged over the second half of the blocks.",
)
AUDIO_SHARES = (AUDIO_SHARE, AUDIO_SHARE_SECOND_HALF)
"""What `tabulate_audio_share` writes."""


ACCURACY = Table(
    "choices",
    "Answers",
    "Accuracy on questions",
    "Right answers in percent under every method, with 95 % intervals over recordings, on items whose recordings share "
    "no source with those that heads and strengths were chosen on. score: the likeliest choice as a whole text, by the "
    "mean over its tokens, the likeliest letter, or the answer in words. difference: percentage points against the "
    "un-steered answers to the same items; p by sign flips of recordings, p_holm corrected over the methods. gained, "
    "lost: items right under the method alone, or without it alone. mass_on_choices: probability that the answer is "
    "one of the choices; divergence: from the un-steered choices, in nats; both say what else the method does.",
    look="how many questions are answered rightly under every method",
)
ACCURACY_BY_GROUP = Table(
    "choices_by_group",
    "Answers",
    "Accuracy by task, category and difficulty",
    "The same accuracies, by groups of items.",
)
LISTENING_SIGNAL = Table(
    "listening_signal",
    "Answers",
    "What heads say of right answers",
    "How often the mean attention of some heads to the audio, from the last prompt token, is higher for a right answer "
    "than for a wrong one (area under the ROC curve, 0.5 by chance), with 95 % interval; on items that the heads were "
    "not chosen on. within_area compares questions of one kind only (category, task, sub-category, difficulty): what "
    "merely tells easy kinds from hard ones is gone. The listening heads, as many random ones, and all.",
)
CHOICES = (ACCURACY, ACCURACY_BY_GROUP, LISTENING_SIGNAL)
"""What `tabulate_choices` writes, and the report shows."""

FOUND = Table(
    "intervals",
    "Localization",
    "Sounds in recordings of one's own",
    "What each model hears in each recording, a row for every interval (onset and offset in seconds), and one without "
    "times for a sound that is not heard. score, compared with threshold, says whether it is; p is the rank of the "
    "score among sounds that nobody asked about.",
    look="which sounds are heard in recordings of your own, and where",
)
AGREEMENT = Table(
    "sound_events",
    "Localization",
    "Intervals against what is known to be heard",
    "How the intervals agree with true events, in percent, for all labels together and for each: overlap, the share of "
    "an event that is covered; iou, of the event and the best interval; hit, whether that is at least 0.5; with 95 % "
    "intervals over recordings. false_alarm: recordings without the label in which it is heard. event_f, segment_f: "
    "F-scores with a collar of 0.2 s, and in segments of 1 s.",
    look="how the intervals agree with true events",
)
INTERVALS, SOUND_EVENTS = (FOUND,), (AGREEMENT,)
"""What `tabulate_intervals` writes: always, and where true events are known."""

EFFECT_SETTINGS = Table(
    "effects",
    "Effects",
    "What every setting does to answers",
    "Every arm at every strength, at the blocks that were chosen on other pairs (chosen: 1 where the strength was, "
    "too), by measure and by the axis of the items that are measured, with 95 % intervals over items that share a "
    "source. difference is against the un-steered model on the same items; p by sign flips of items.",
)
EFFECT_OVERVIEW = Table(
    "effects_overview",
    "Effects",
    "What steering does to answers",
    "Every arm at the blocks and the strength that were chosen on other pairs. margin: by how many nats the positive "
    "answer gained on the negative one, against the un-steered model, with 95 % interval over pairs that share a "
    "source; p_holm by sign flips, corrected over the arms of an axis. other_axes: the largest such change along an "
    "axis that is not steered. option_margin: the same of answers shown as lettered options, over all letters and "
    "rows; letter_margin: of the letter A, whatever it stands for. token_mass: of the words of the positive pole, at "
    "the first steps. Side effects: kept_pct, generated answers that keep the rule (in studies of unlearning, hold the "
    "taught answer), with 95 % interval; divergence on neutral prompts, in nats; guardrail_pct, questions "
    "of general knowledge answered rightly; surprise, nats per token of generated "
    "answers under the un-steered model. agreement_pct: held-out pairs on whose states the direction points the right "
    "way. relative_length: what is added, in lengths of the state. Of models that are interrupted: first_word_pct, "
    "answers that begin with the right word; lag, steps until the model is silent; perceived, steps until it predicts "
    "the user; guardrail_pct, normal answers that go on when they are steered at a random step.",
    look="what steering does to answers, and what else it does",
)
EFFECTS = (EFFECT_SETTINGS, EFFECT_OVERVIEW)
"""What `tabulate_effects` writes."""

ADDITIVITY = Table(
    "additivity",
    "Effects",
    "Whether two directions do together what each does alone",
    "Arms that add two directions, at every strength: change of the margin of the axis that is measured, in nats, "
    "under each direction alone (first, second), under both, and their sum; difference: both minus the sum, "
    "with 95 % interval over pairs that share a source, and p by sign flips. A second direction that is random is the "
    "control. cosine: of the two directions, mean over the steered blocks. divergence: on neutral prompts, in nats.",
    look="whether two directions add up",
)
BREAKING = Table(
    "breaking",
    "Effects",
    "From which strength on steered text breaks",
    "The lowest strength that was tried of those from which on generated answers are more surprising to the "
    "un-steered model than un-steered ones, or repeat themselves more, by more than the study's limits; empty where "
    "text does not break up to the highest one. breaks_low, breaks_high: from which on they may be, and surely are, by "
    "the 95 % intervals over sources of these excesses. margin_before: what steering does to the margin at the "
    "strength below.",
    look="from which strength on steered text breaks",
)
DECAY = Table(
    "decay",
    "Effects",
    "What is left of steering along long answers",
    "By bins of decoded tokens, of which token is the first, at the chosen setting, both models reading the same text: "
    "the un-steered model's answers, or the arm's own (along). drift: divergence of the next token from the un-steered "
    "model; lean: by how much the log-ratio of the probabilities of the two poles' own words changes; nats, means over "
    "the texts that fill a bin, with 95 % interval over texts.",
    look="what is left of steering along long answers",
)
TRANSFER = Table(
    "transfer",
    "Effects",
    "What a direction does on pairs of another axis",
    "Change of the margin of the axis that is measured under the direction that was built along another one (there), "
    "and under the same arm's direction of its own (home), at the settings that were chosen for each, in nats, with "
    "95 % intervals over pairs that share a source and p of there by sign flips. share: there divided by home, where "
    "the interval of home does not hold 0.",
    look="what a direction does on pairs of another axis",
)
ROBUSTNESS = (ADDITIVITY, BREAKING, DECAY, TRANSFER)
"""What `tabulate_robustness` writes."""

ALL = (*SCORES, STUDIES, *AUDIO_SHARES, *CHOICES, *EFFECTS, *ROBUSTNESS, *INTERVALS, *SOUND_EVENTS)
"""All but those of sweeps."""


def of_sweep(sweep: str) -> Table:
    """The table of a sweep."""
    return Table(
        f"sweeps/{sweep}",
        "Sweeps",
        f"Sweep {sweep}",
        "Overlap in percent where one key of the probe takes other values and everything else stays as in the run.",
    )


def described(file: str) -> Table:
    """The table that a file in `results/tables/` is of.

    Raises
    ------
    KeyError
        If there is none.
    """
    name = file.rpartition(".")[0]
    if name.startswith("sweeps/"):
        return of_sweep(name.removeprefix("sweeps/"))
    return {table.name: table for table in ALL}[name]
