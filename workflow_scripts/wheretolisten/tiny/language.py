"""The language that the tiny LALMs speak: questions about a recording, and their answers.

A recording is a list of `Event`; everything that is asked follows from it. An answer's words begin with a space, so
that a label is the same token in a question and in an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ORDINALS = ("first", "second", "third", "fourth")
NUMBERS = ("one", "two", "three", "four")
GAP_WORD = "noise"

CAPTION_PROMPTS = (
    "Describe the audio.",
    "Describe the audio in detail.",
    "What can you hear?",
    "Which sounds can be heard?",
    "Focus on the entire audio",
    "Focus on the entire audio.",
    "Focus on the meaningful part of the audio",
    "Focus on the meaningful part of the audio.",
)
EXISTENCE_PROMPTS = (
    "Is there the sound of {label}?",
    "Is there the sound of {label} in the audio?",
    "Can you hear the sound of {label}?",
    "Does the audio contain the sound of {label}?",
)
ORDER_PROMPTS = ("Which sound comes {ordinal}?", "What is the {ordinal} sound?", "Name the {ordinal} sound.")
PART_PROMPTS = (
    "Which part of the audio has the sound of {label}?",
    "Which part of the audio has the sound of {label}?",
    "Where is the sound of {label}?",
    "Focus on the sound of {label}.",
)
ONSET_PROMPTS = ("When does the sound of {label} start?", "When does the {label} begin?")
DURATION_PROMPTS = ("How long does the sound of {label} last?", "How long is the {label}?")
NEXT_PROMPTS = ("Which sound comes after the {label}?", "What follows the sound of {label}?")
PREVIOUS_PROMPTS = ("Which sound comes before the {label}?", "What precedes the sound of {label}?")
COUNT_PROMPTS = ("How many sounds are there?", "How many sound events does the audio contain?")
DIRECT_PROMPT = (
    "This audio contains {number} sound event{plural} in sequence. The sound of {label} lasts {duration:.2f} seconds. "
    "What is the starting time (in seconds) of this event from the beginning of the audio?"
)

# The first lessons: few words, the last one is the name.
_BARE_PROMPTS = {
    "existence": "Is there {label}",
    "part": "Where is {label}",
    "onset": "When is {label}",
    "duration": "How long is {label}",
}

TASKS = (
    "existence", "order", "caption", "part", "direct", "onset", "duration", "next", "previous", "count",
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One sound of a recording; onset and offset in seconds from the recording's begin."""

    label: str
    onset: float
    offset: float


@dataclass(frozen=True)
class Question:
    """A question with its answer. `lead` is the part of the answer that does not depend on the audio's content."""

    task: str
    text: str
    answer: str
    lead: str = ""


def ask(task: str, events: Sequence[Event], labels: Sequence[str], rng: np.random.Generator) -> Question:
    """Draw one question of a task about a recording.

    Parameters
    ----------
    task
        One of `TASKS`.
    events
        The recording's events in order; their labels differ.
    labels
        All labels that exist; existence questions draw absent ones from them.
    rng
        Source of the wording and of what is asked.

    Raises
    ------
    KeyError
        For an unknown task.
    """
    index = int(rng.integers(len(events)))
    return _ASK[task](events, index, labels, rng)


def ask_bare(task: str, events: Sequence[Event], labels: Sequence[str], rng: np.random.Generator) -> Question:
    """Draw a question of the first lessons about a named sound: few words, and a short answer.

    Raises
    ------
    KeyError
        For a task that has no bare form.
    """
    prompt, index = _BARE_PROMPTS[task], int(rng.integers(len(events)))
    if task == "existence":
        return ask_existence(*_draw_existence(events, index, labels, rng), prompt)
    event = events[index]
    answers = {
        "part": f" {ORDINALS[index]}",
        "onset": f"{event.onset:.1f}",
        "duration": f"{event.offset - event.onset:.1f}",
    }
    return Question(task, prompt.format(label=event.label), answers[task])


def ask_existence(event_labels: Sequence[str], label: str, prompt: str = EXISTENCE_PROMPTS[0]) -> Question:
    """Whether a label is among a recording's labels."""
    return Question("existence", prompt.format(label=label), " yes" if label in event_labels else " no")


def ask_order(events: Sequence[Event], index: int, ordinal: str = "", prompt: str = ORDER_PROMPTS[0]) -> Question:
    """Which sound is at an index; `ordinal` replaces the index's own word ("last")."""
    return Question("order", prompt.format(ordinal=ordinal or ORDINALS[index]), f" {events[index].label}")


def ask_caption(events: Sequence[Event], prompt: str = CAPTION_PROMPTS[0]) -> Question:
    """All sounds in their order."""
    return Question("caption", prompt, " First " + ", then ".join(event.label for event in events) + ".", " First")


def ask_part(events: Sequence[Event], index: int, prompt: str = PART_PROMPTS[0]) -> Question:
    """Which part has a sound, by its place in the order and by its times."""
    event = events[index]
    place = f"{ORDINALS[index]} part, from {event.onset:.1f} to {event.offset:.1f} seconds"
    return Question("part", prompt.format(label=event.label), f" {place}")


def ask_direct(events: Sequence[Event], index: int) -> Question:
    """The starting time of an event of known duration, in the wording of SWL (see `DIRECT_PROMPT`)."""
    event = events[index]
    text = DIRECT_PROMPT.format(
        number=NUMBERS[len(events) - 1],
        plural="s" if len(events) > 1 else "",
        label=event.label,
        duration=event.offset - event.onset,
    )
    return Question("direct", text, f"{event.onset:.1f} seconds")


def _draw_existence(events, index, labels, rng) -> tuple[list[str], str]:
    present = [event.label for event in events]
    absent = [label for label in labels if label not in present]
    return present, present[index] if rng.random() < 0.5 else _pick(absent, rng)


def _existence(events, index, labels, rng) -> Question:
    return ask_existence(*_draw_existence(events, index, labels, rng), _pick(EXISTENCE_PROMPTS, rng))


def _order(events, index, labels, rng) -> Question:
    ordinal = "last" if index == len(events) - 1 and rng.random() < 0.4 else ORDINALS[index]
    return ask_order(events, index, ordinal, _pick(ORDER_PROMPTS, rng))


def _onset(events, index, labels, rng) -> Question:
    text = _pick(ONSET_PROMPTS, rng).format(label=events[index].label)
    return Question("onset", text, f"{events[index].onset:.1f} seconds")


def _duration(events, index, labels, rng) -> Question:
    text = _pick(DURATION_PROMPTS, rng).format(label=events[index].label)
    return Question("duration", text, f"{events[index].offset - events[index].onset:.1f} seconds")


def _neighbour(task: str, prompts: Sequence[str], step: int):
    def draw(events, index, labels, rng) -> Question:
        text = _pick(prompts, rng).format(label=events[index].label)
        other = index + step
        return Question(task, text, f" {events[other].label}" if 0 <= other < len(events) else " none")

    return draw


def _count(events, index, labels, rng) -> Question:
    return Question("count", _pick(COUNT_PROMPTS, rng), f" {NUMBERS[len(events) - 1]}")


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


_ASK = {
    "existence": _existence,
    "order": _order,
    "caption": lambda events, index, labels, rng: ask_caption(events, _pick(CAPTION_PROMPTS, rng)),
    "part": lambda events, index, labels, rng: ask_part(events, index, _pick(PART_PROMPTS, rng)),
    "direct": lambda events, index, labels, rng: ask_direct(events, index),
    "onset": _onset,
    "duration": _duration,
    "next": _neighbour("next", NEXT_PROMPTS, 1),
    "previous": _neighbour("previous", PREVIOUS_PROMPTS, -1),
    "count": _count,
}


def corpus(labels: Sequence[str]) -> list[str]:
    """Every wording with every label: the text that the tokenizer is trained on."""
    rng = np.random.default_rng(0)
    lines = [f"{label} {label} is there {label}?\nWhere is {label}?" for label in labels] * 20
    for first in labels:
        others = [label for label in labels if label != first]
        for count in range(1, 5):
            events = [Event(label, index + 0.5, index + 1.0) for index, label in enumerate([first, *others][:count])]
            for task in TASKS:
                questions = [ask(task, events, labels, rng) for _ in range(10)]
                lines.extend(f"{question.text}{question.answer}" for question in questions)
    return lines + [f"system\nuser\nassistant\n {GAP_WORD} none last You are a helpful assistant.\nAudio"] * 50
