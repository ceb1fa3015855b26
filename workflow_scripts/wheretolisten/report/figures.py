"""What figures are called and what they show: said once, for their files, the report and the end of a run."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from wheretolisten.config.workflow import Config


@dataclass(frozen=True)
class Figure:
    """A figure in `results/figures/`.

    Attributes
    ----------
    name
        Name of its PDF and PNG without suffix, of their folder where there are several; `plot_<name>` draws them.
    category, title
        Where the report shows it, and as what.
    look
        What a run says of it at its end.
    caption
        reStructuredText; `{config...}` are settings of the run, `{overlap}` and `{attention_change}` the studies
        that figures are drawn of, `{inference}` is the inference prompt.
    by_model
        Whether each model has one.
    """

    name: str
    category: str
    title: str
    look: str
    caption: str
    by_model: bool = True

    def files(self, models: Iterable[str]) -> dict[str, str]:
        """Its files in `results/figures/`, without suffix, by model; by nothing where there is one for all."""
        return {model: f"{self.name}/{model}" for model in models} if self.by_model else {"": self.name}

    @property
    def place(self) -> str:
        """Where to look for it in `results/figures/`."""
        return f"{self.name}/" if self.by_model else f"{self.name}.png"


_OF_THE_READING = (
    "Recording {config.figures.reading_sample} of study {config.figures.overlap}, sound at the "
    "{config.figures.reading_position}, method {config.figures.reading_method}, λ = {config.steering.scale}."
)

_ALL = (
    Figure(
        "overlap",
        "Localization",
        "Overlap by position",
        "how much of each sound was found, with the chance level",
        "Overlap of the predicted window with the true event, in percent of the event's duration, by model, method and "
        "position of the event, over the {overlap.n_samples} recordings of study {config.figures.overlap}, each "
        "asked for each of its events. Lines: what a window drawn uniformly at random is expected to cover. Whiskers: "
        "95 % intervals; recordings that share a source count as dependent. Steering with λ = {config.steering.scale}; "
        "random windows: {config.random_draws} per query.",
        by_model=False,
    ),
    Figure(
        "attention_change",
        "Attention",
        "Change by steering",
        "where attention goes when each sound is steered for",
        "Where attention of text to audio goes when each sound is steered for (rows): steered "
        "minus base share of each audio token, averaged over the {attention_change.n_samples} recordings of study "
        "{config.figures.attention_change}, whose events all lie at the same times, and over the scored blocks "
        "({config.localization.layers}) with equal weights. Vector of the same recording, λ = "
        '{config.steering.scale}, prompt of both passes: "{inference}" Boxed: the event that is steered for. A '
        "model that hears it gains there and loses elsewhere.",
    ),
    Figure(
        "attention_map",
        "Attention",
        "Map by text token",
        "which text token of which block reads which stretch of audio",
        "Where the text of one query reads the audio, by decoder block (rows) and text token, in the un-steered pass "
        "under the neutral prompt, under the label's prompt, and steered with the label's vector under the neutral "
        "prompt. Colour: share of a text token's attention to audio; every token's row sums to 100 %. Grey bars: all "
        "of the token's attention that goes to the audio, in percent. Lines: onsets and offsets of the events, the one "
        "that is asked for in red. Of models with more than ten blocks, eight evenly spaced ones are drawn, the first "
        f"and the last among them. {_OF_THE_READING} An example, not evidence: n = 1.",
    ),
    Figure(
        "reading",
        "Localization",
        "One recording",
        "one recording, read by each model",
        "One query in detail. Spectrogram (empty where there is no audio at hand) and true events; share of attention "
        "in the base and the steered pass; score of every window and the chosen one. "
        f"{_OF_THE_READING} An example, not evidence: n = 1.",
    ),
    Figure(
        "references",
        "Localization",
        "Two references",
        "what one recording's windows are held against, and which are chosen",
        "The same passes, held against the base pass (grey) and against the same prompt or injection for "
        "{config.localization.absent_sounds} sounds that the recording does not hold (blue): score of the window that "
        "starts at each time, and the one that is chosen. What any such prompt does to attention is in the grey curve "
        "and not in the blue one. Recording {config.figures.reading_sample} of study {config.figures.overlap}, sound "
        "at the {config.figures.reading_position}. An example, not evidence: n = 1.",
    ),
    Figure(
        "specificity",
        "Controls",
        "Where windows land",
        "which event the windows land on, by whose vector steered",
        "Which event of the recording the predicted windows land on, in percent of the queries of each row: the event "
        "of which a window covers most. Rows are the events that are asked for; under the vector of another label, the "
        "events whose vector was added. A vector that carries its sound fills the diagonal in either case, a random "
        "direction leaves rows alike. What is missing to 100 % covers no event, or has no window because windows tie.",
    ),
    Figure(
        "studies",
        "Localization",
        "Studies side by side",
        "how much of all sounds was found, study by study",
        "Overlap of the predicted window with the true event, in percent of the event's duration, over all positions, "
        "by model, study and method. Bars: 95 % intervals; recordings that share a source count as dependent. Dashed: "
        "what a window drawn uniformly at random is expected to cover.",
        by_model=False,
    ),
    Figure(
        "audio_share",
        "Attention",
        "Share of the audio by block",
        "how much attention goes to the audio, by block",
        "Share of all attention that goes to the audio while questions with choices are read (left), by decoder block, "
        "and its change against the question as it is (right): averaged over heads, over all tokens of the prompt, and "
        "over questions. The five conditions: the question as it is; the same with the focus instruction before it; "
        "and the question as it is while a vector is added to every block, of the audio against silence of the same "
        "length, against no audio at all, or of the focus instruction against its opposite. Block 0 attends before any "
        "vector is added. Bands: 95 % interval over recordings.",
    ),
)
FIGURES = {figure.name: figure for figure in _ALL}
"""Figures by name. Those of sweeps come with their tables, `SWEEP` describes them; `LISTENING` those of answers."""

ALWAYS = tuple(name for name in FIGURES if name not in ("audio_share", "references", "studies"))
"""Those that every run has; the others are of studies and methods that it may be without."""

SWEEP = Figure(
    "sweeps",
    "Sweeps",
    "",
    "the overlap, had one key of the probe another value",
    "Overlap of the predicted window with the true event, in percent of the event's duration, where one key of the "
    "probe takes other values and everything else stays as in the run: by model, value and position of the event, with "
    "95 % intervals. ``chance`` is what a window drawn uniformly at random would overlap. Of ``heads``, the best ones "
    "were chosen on the first half of the samples, and the overlap is that on the second half.",
)

LISTENING = Figure(
    "listening",
    "Answers",
    "",
    "which heads' attention to the audio goes with right answers",
    "Heads: Pearson correlation of each head's attention to the audio, from the last prompt token, with right answers "
    "on the calibration questions; listening heads are framed. Signals: mean attention of some heads to the audio on "
    "the other questions, each a dot, right and wrong ones apart, with the area under the ROC curve; of the heads "
    "chosen, of as many random ones, and of all. ``listening_signal.csv`` has the area within kinds of questions, too.",
)


EFFECTS = Figure(
    "effects",
    "Effects",
    "",
    "what steering does to answers, by its strength",
    "What arms do by their strength, at the blocks that were chosen on other pairs: change of the margin by which the "
    "positive answer is likelier than the negative one, with 95 % bands; divergence from the un-steered model on "
    "neutral prompts; surprise of generated answers under the un-steered model, which is low in loops; the guardrail, "
    "where it was asked at every strength; of models that are interrupted, the steps until they are silent. Ringed: "
    "the strength that was chosen. Dashed: no direction is added. Grey: random and shuffled controls. Dotted: "
    "un-steered.",
)


DECAY = Figure(
    "decay",
    "Effects",
    "",
    "what is left of steering along long answers",
    "What is left of steering along long answers, by bins of decoded tokens, both models reading the same text: "
    "divergence of the next token from the un-steered model (drift), and the change of the log-ratio of the "
    "probabilities of the two poles' own words (lean), along the un-steered model's answers and along the arm's own. "
    "Means over texts with 95 % bands. Grey: random controls.",
)


def captions(config: Config) -> dict[str, str]:
    """The rule that draws each figure → its caption in a run, reStructuredText."""
    found = {}
    if config.localizations:
        settings = {
            "config": config,
            "overlap": config.examples_of(config.figures.overlap),
            "attention_change": config.examples_of(config.figures.attention_change),
            "inference": _as_text(config.prompts["inference"].format()),
        }
        found = {f"plot_{name}": figure.caption.format(**settings) for name, figure in FIGURES.items()}
    found |= dict.fromkeys(("plot_sweep", "plot_sweeps"), SWEEP.caption)
    return found | {"plot_listening": LISTENING.caption, "plot_effects": EFFECTS.caption, "plot_decay": DECAY.caption}


def _as_text(text: str) -> str:
    """What a user wrote is no markup."""
    return re.sub(r"[\\*_`|]", r"\\\g<0>", text).replace("\n", " ")
