"""Scores of a tiny LALM on freshly drawn sounds, through its processor and greedy decoding."""

import re
from collections import defaultdict

import numpy as np
import torch
from transformers import PreTrainedModel, ProcessorMixin

from wheretolisten.config.constants import POSITIONS, SAMPLING_RATE
from wheretolisten.tiny.language import (
    ORDINALS,
    Question,
    ask_caption,
    ask_direct,
    ask_existence,
    ask_order,
    ask_part,
)
from wheretolisten.tiny.recordings import ClipPool, Recording

_ONSET_TOLERANCE = 0.5


def evaluate(
    model: PreTrainedModel, processor: ProcessorMixin, pool: ClipPool, n_recordings: int, seed: int
) -> dict[str, float]:
    """Fraction of right answers per task on recordings built like those of the default run.

    Parameters
    ----------
    model, processor
        A loaded checkpoint.
    pool
        Clips that were not trained on.
    n_recordings
        Recordings to draw; each is asked ten questions.
    seed
        Of the recordings and of what is asked.

    Returns
    -------
    Task → fraction right: existence (balanced), second, first, third, caption (all labels in order), part
    (ordinal), direct_begin, direct_middle, direct_end (answered onset within 0.5 s).
    """
    rng = np.random.default_rng(np.random.SeedSequence([pool.entropy, seed, 0xA5C]))
    hits: dict[str, list[bool]] = defaultdict(list)
    for _ in range(n_recordings):
        recording, sound = pool.draw(rng, benchmark_like=True)
        named = draw_questions(recording, pool.labels, rng)
        answers = answer(model, processor, sound, [question.text for _, question in named])
        for (name, question), text in zip(named, answers, strict=True):
            hits[name].append(is_right(question, text))
    return {name: round(float(np.mean(values)), 4) for name, values in sorted(hits.items())}


def draw_questions(recording: Recording, labels: list[str], rng: np.random.Generator) -> list[tuple[str, Question]]:
    """The questions of the scores about one recording of three events: (name of the score, question)."""
    events = recording.events
    present = [event.label for event in events]
    absent = [label for label in labels if label not in present]
    index = int(rng.integers(len(events)))
    named = [
        ("existence", ask_existence(present, present[int(rng.integers(len(present)))])),
        ("existence", ask_existence(present, absent[int(rng.integers(len(absent)))])),
        ("caption", ask_caption(events)),
        ("part", ask_part(events, index)),
    ]
    named += [(ordinal, ask_order(events, place)) for place, ordinal in enumerate(ORDINALS[:3])]
    return named + [(f"direct_{position}", ask_direct(events, place)) for place, position in enumerate(POSITIONS)]


def answer(model: PreTrainedModel, processor: ProcessorMixin, sound: np.ndarray, texts: list[str]) -> list[str]:
    """Greedy answers to questions about one sound, asked in the chat template."""
    prompts = []
    for text in texts:
        turn = [{"role": "user", "content": [{"type": "audio", "audio": ""}, {"type": "text", "text": text}]}]
        prompts.append(processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))
    # `padding` for the text alone: Audio Flamingo 3's processor would apply it to the spectrogram, too.
    inputs = processor(
        text=prompts,
        audio=[sound] * len(prompts),
        sampling_rate=SAMPLING_RATE,
        text_kwargs={"padding": True},
        return_tensors="pt",
    )
    with torch.inference_mode():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=24)
    return processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def is_right(question: Question, text: str) -> bool:
    """Whether a decoded answer is right: onsets within 0.5 s, parts by their ordinal, everything else word by word."""
    text, expected = text.strip(), question.answer.strip()
    if question.task == "direct":
        number = re.search(r"\d+(\.\d+)?", text)
        target = re.search(r"\d+(\.\d+)?", expected)
        return bool(number) and abs(float(number[0]) - float(target[0])) <= _ONSET_TOLERANCE
    if question.task == "part":
        return text.split(" part")[0] == expected.split(" part")[0]
    return text == expected
