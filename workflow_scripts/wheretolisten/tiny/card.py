"""Model card of a tiny LALM."""

import csv
import json
from pathlib import Path

from transformers import PreTrainedModel, ProcessorMixin

from wheretolisten.clips.procedural import LABELS
from wheretolisten.tiny.architecture import MAX_SECONDS, TOKENS_PER_SECOND
from wheretolisten.tiny.recordings import EVALUATION_CLIPS, TRAINING_CLIPS, TUNING_CLIPS

_ABLATIONS = Path(__file__).with_name("ablations.csv")
"""What other trainings scored, one a row: model, settings that differ from the defaults, overlap, captions."""

_CARD = """\
# {title}

A toy. This model has the classes and the processor of a large audio-language model at a thousandth of its size and
was trained on {sounds}. It is the model organism of a workflow: what it hears is known exactly, so
its numbers tell whether the workflow works. They say nothing about large models and are never to be read beside
published results.

| | |
|---|---|
| class | `{architecture}` |
| parameters | {parameters:,} |
| text stack | {blocks} blocks, hidden {hidden}, {heads} heads, {kv_heads} key-value heads, vocabulary {vocabulary} |
| audio tower | {audio_blocks} blocks, {mel_bins} mel bins, {frame_rate:g} mel frames per second |
| audio tokens | {rate:g} per second, at most {max_seconds} s of 16 kHz mono |
| weights | float32, SHA-256 `{digest}` |
| trained with | {versions}, {minutes} minutes on {threads} core(s) |

## Data
Sounds synthesised from code with {n_labels} labels ({labels}),
{clips_per_label} training clips per label, mixed into recordings of one to four events with noise between them.
Clips are drawn from seed sequences that begin with {training:#x} for training, {evaluation:#x} for the scores and
{tuning:#x} for the probe, followed by the run's seed, the label and the clip: no clip of the one is in another.

## Curriculum
1. *listen*: {listen_steps} + {listen_long_steps} steps. The last block alone, the reader, learns to find a named sound
   in recordings written as words, one word per audio token; first in short ones, then at real length. Questions are
   two or three words, of which the last is the name.
2. *understand*: at most 3 × {understand_steps} + {understand_long_steps} steps. The blocks below it learn to read
   longer and longer questions, up to the chat template, while the reader rests. The written recording enters there.
3. *speak*: {speak_steps} steps. All blocks learn questions of all kinds about recordings written at the input, and the
   audio tokens' states at the reader are regressed onto what was written.
4. *ears*: {ears_steps} steps of the audio encoder alone, its projected tokens regressed onto the written recording.
5. *hear*: {hear_steps} steps on sound: all weights are trained, with the questions and the regression of *speak*.

Training sees sounds and language only: no loss, label or change of the architecture concerns attention or the probe.
The order of the lessons does: because the reader learns first, and the blocks below it learn language while they cannot
hear, the last prompt token carries the name up to the reader, and the reader looks for the sound. Input and output
embeddings are one matrix while training. Seed {seed}. Reproduce with

    python workflow_scripts/train_tiny_models.py --model {model} --output DIR --settings '{settings}'

## Scores
Greedy answers about {evaluation_recordings} freshly drawn recordings of three sounds, through the processor.

| question | right |
|---|---|
{scores}

`existence` is balanced (chance 50 %); `first`, `second`, `third` name the sound there (chance {chance:.0f} %);
`caption` needs all three labels in order; `part` needs the ordinal (chance 33 %); `direct_*` needs the onset within
0.5 s, asked with the prompt of direct prompting, per position of the asked event.
{real_scores}
## Probe
Overlap in percent of the localization probe on {tuning_recordings} recordings for tuning, which share no clip with the
training, the scores above or a benchmark: own-sample vector, mean vector of the label over other recordings, random
direction of the same length, and the positive prompt without steering.

| inference prompt | method | λ | begin | middle | end | overall |
|---|---|---|---|---|---|---|
{probe}

## Ablation
What the own-sample vector finds at λ = 0.1 ("Describe the audio.", recordings as above), and how many captions and
starts of the last sound are right, after other trainings, with one seed each. Only changed settings are named.

| settings | begin | middle | end | overall | caption | direct_end |
|---|---|---|---|---|---|---|
{ablations}

## Limits
It knows {n_labels} synthetic sounds and the wordings of its training questions. Answers in words begin with a space.
Sound beyond {max_seconds} s is cut.
"""


def render_card(scores: dict, model: PreTrainedModel, processor: ProcessorMixin) -> str:
    """Markdown model card from the content of scores.json, a model and its processor."""
    text, audio, settings = model.config.text_config, model.config.audio_config, scores["settings"]
    extractor = processor.feature_extractor
    facts = settings | {
        "title": {"qwen2_audio": "Tiny Qwen2-Audio", "audio_flamingo_3": "Tiny Audio Flamingo 3"}[scores["model"]],
        "architecture": type(model).__name__,
        "parameters": scores["parameters"],
        "blocks": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "heads": text.num_attention_heads,
        "kv_heads": text.num_key_value_heads,
        "vocabulary": text.vocab_size,
        "audio_blocks": audio.num_hidden_layers,
        "mel_bins": audio.num_mel_bins,
        "frame_rate": extractor.sampling_rate / extractor.hop_length,
        "rate": TOKENS_PER_SECOND,
        "max_seconds": MAX_SECONDS,
        "digest": scores["digest"],
        "versions": ", ".join(f"{name} {version}" for name, version in scores["versions"].items()),
        "minutes": scores["training_minutes"],
        "sounds": "**synthetic sounds**" + (" and a few recordings" if settings["recordings"] else " only"),
        "n_labels": len(LABELS),
        "labels": ", ".join(LABELS),
        "training": TRAINING_CLIPS,
        "evaluation": EVALUATION_CLIPS,
        "tuning": TUNING_CLIPS,
        "model": scores["model"],
        "settings": json.dumps(settings),
        "scores": "\n".join(f"| {name} | {100 * value:.1f} % |" for name, value in scores["tasks"].items()),
        "real_scores": _real_scores(scores.get("tasks_on_real_recordings"), settings),
        "probe": "\n".join(_probe_row(row) for row in scores["probe"]),
        "ablations": "\n".join(_ablation_row(row) for row in _read_ablations(scores["model"])),
        "chance": 100 / len(LABELS),
    }
    return _CARD.format(**facts)


def _real_scores(tasks: dict | None, settings: dict) -> str:
    if not tasks:
        return ""
    source = settings["recordings"]
    rows = "\n".join(f"| {name} | {100 * value:.1f} % |" for name, value in tasks.items())
    return (
        f"\nThe same on real recordings: trained on folds {source['training_folds']} of `{source['csv']}`, scored on "
        f"folds {source['validation_folds']}. After *ears* the encoder had {source['ears_steps']} steps on them, a "
        f"share of {source['ears_share']:g} beside the synthesised sounds, in {source['takes']} variants of each clip, "
        f"and a share of {source['blended']:g} of the whole were blends of their clips, which have no name; in *hear* "
        f"the share was {source['hear_share']:g}, the encoder's highest learning rate "
        f"{source['hear_ears_peak']:g} (that of the settings is not used), and a share of {source['misheard']:g} of "
        "the events was chosen to reach the text with stretches that say another label. Of both stages the running "
        f"mean of the weights is kept (decay {source['average']:g}). The encoder also told the first "
        f"{source['texture_components']} principal components of texture statistics of every event's sound (mean, "
        "deviation, change, percentiles, roughness and modulation of each mel bin; weight "
        f"{source['texture_weight']:g}).\n\n"
        f"| question | right |\n|---|---|\n{rows}\n"
    )


def _probe_row(row: dict) -> str:
    scale = "–" if row["scale"] is None else f"{row['scale']:g}"
    overlaps = " | ".join(f"{row[name]:.1f}" for name in ("begin", "middle", "end", "overall"))
    return f"| {row['inference']} | {row['method']} | {scale} | {overlaps} |"


def _read_ablations(family: str) -> list[dict[str, str]]:
    with _ABLATIONS.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["model"] == family]


def _ablation_row(row: dict[str, str]) -> str:
    overlaps = " | ".join(row[name] for name in ("begin", "middle", "end", "overall"))
    return f"| `{row['settings']}` | {overlaps} | {row['caption']} % | {row['direct_end']} % |"
