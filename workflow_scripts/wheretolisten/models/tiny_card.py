"""Model card of a tiny LALM."""

import json

from transformers import PreTrainedModel, ProcessorMixin

from wheretolisten.clips.procedural import LABELS
from wheretolisten.models.tiny_architecture import MAX_SECONDS, TOKENS_PER_SECOND
from wheretolisten.models.tiny_recordings import EVALUATION_CLIPS, TRAINING_CLIPS

_CARD = """\
# {title}

A toy. This model has the classes and the processor of a large audio-language model at a thousandth of its size and
was trained on **synthetic sounds** only. It is the model organism of a workflow: what it hears is known exactly, so
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
{clips} training clips per label, mixed into recordings of one to four events with noise between them.
Clips are drawn from seed sequences that begin with {training:#x} for training and {evaluation:#x} for the scores,
followed by the run's seed, the label and the clip: no clip of the one is in the other.

## Curriculum
1. *bare*: {bare_steps} steps of the text stack alone on recordings written as words, with the shortest questions.
2. *short*: {short_steps} steps on short written recordings with the real questions.
3. *long*: {long_steps} steps on written recordings of real length.
4. *ears*: {ears_steps} steps of the audio encoder alone, its projected tokens regressed onto the written recording's
   embeddings.
5. *audio*: {audio_steps} steps on sound: the same regression, and all weights are trained on the questions.

Training sees sounds and language only: no loss, label or change of the architecture concerns attention or the probe.
Input and output embeddings are one matrix while training. Seed {seed}. Reproduce with

    python workflow_scripts/train_tiny_models.py --model {model} --output DIR --settings '{settings}'

## Scores
Greedy answers about {recordings} freshly drawn recordings of three sounds, through the processor.

| question | right |
|---|---|
{scores}

`existence` is balanced (chance 50 %); `first`, `second`, `third` name the sound there (chance {chance:.0f} %);
`caption` needs all three labels in order; `part` needs the ordinal (chance 33 %); `direct_*` needs the onset within
0.5 s, asked with the prompt of direct prompting, per position of the asked event.

## Limits
It knows {n_labels} synthetic sounds and the wordings of its training questions. Answers begin with a space. Sound
beyond {max_seconds} s is cut.
"""


def render_card(scores: dict, model: PreTrainedModel, processor: ProcessorMixin) -> str:
    """Markdown model card from the content of scores.json, a model and its processor."""
    text, audio, settings = model.config.text_config, model.config.audio_config, scores["settings"]
    extractor = processor.feature_extractor
    return _CARD.format(
        title={"qwen2_audio": "Tiny Qwen2-Audio", "audio_flamingo_3": "Tiny Audio Flamingo 3"}[scores["model"]],
        architecture=type(model).__name__,
        parameters=scores["parameters"],
        blocks=text.num_hidden_layers,
        hidden=text.hidden_size,
        heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        vocabulary=text.vocab_size,
        audio_blocks=audio.num_hidden_layers,
        mel_bins=audio.num_mel_bins,
        frame_rate=extractor.sampling_rate / extractor.hop_length,
        rate=TOKENS_PER_SECOND,
        max_seconds=MAX_SECONDS,
        digest=scores["digest"],
        versions=", ".join(f"{name} {version}" for name, version in scores["versions"].items()),
        minutes=scores["training_minutes"],
        threads=settings["threads"],
        n_labels=len(LABELS),
        labels=", ".join(LABELS),
        clips=settings["clips_per_label"],
        training=TRAINING_CLIPS,
        evaluation=EVALUATION_CLIPS,
        bare_steps=settings["bare_steps"],
        short_steps=settings["short_steps"],
        long_steps=settings["long_steps"],
        ears_steps=settings["ears_steps"],
        audio_steps=settings["audio_steps"],
        seed=settings["seed"],
        model=scores["model"],
        settings=json.dumps(settings),
        recordings=scores["evaluation_recordings"],
        scores="\n".join(f"| {name} | {100 * value:.1f} % |" for name, value in scores["tasks"].items()),
        chance=100 / len(LABELS),
    )
