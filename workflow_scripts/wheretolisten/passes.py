"""Lists of passes through a model, batch by batch: what is asked about each example, and what comes of it."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wheretolisten import store
from wheretolisten.config.directions import State
from wheretolisten.config.passes import Answers, Pass, PassSettings
from wheretolisten.config.prompts import Wording
from wheretolisten.engine.forward import Heard
from wheretolisten.engine.passes import Engine, Reading
from wheretolisten.models.adapter import Recording, silence_like

_KEPT: dict[str, dict[str, bool]] = {
    "attention": {},
    "heads": {"keep_heads": True},
    "text": {"keep_text": True},
    "share": {"want_audio_share": True},
    "head_mass": {"want_head_mass": True},
}
"""Readout → what the engine is asked for."""


@dataclass(frozen=True)
class Example:
    """One thing that is asked about.

    Attributes
    ----------
    example_id, recording_id
        Its name, and that of the recording that it is about.
    fields
        What fills the templates of prompts about the whole of it: name → text.
    events
        The events in it that can be asked about, in order: position, label, domain, duration (s).
    absent
        Sounds that are not in it and that it may be asked about as well: position, label, domain.
    """

    example_id: str
    recording_id: str
    fields: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    absent: Sequence[Mapping[str, str]] = ()

    @property
    def asked(self) -> list[Mapping[str, Any]]:
        """Events and absent sounds, by which a prompt about an event is filled."""
        return [*self.events, *self.absent]


def positions_of(examples: Sequence[Example]) -> list[str]:
    """Names of the events of examples, which all have the same ones."""
    return [event["position"] for event in examples[0].events]


def absent_of(examples: Sequence[Example]) -> list[str]:
    """What absent sounds of examples are called; all have equally many."""
    return [sound["position"] for sound in examples[0].absent]


def columns_of(passes: Iterable[Pass], positions: Sequence[str], absent: Sequence[str] = ()) -> list[tuple[Pass, str]]:
    """Each pass with every event and absent sound that it is about, in order; with an empty name for the example."""
    return [
        (each, event)
        for each in passes
        for event in ([*positions, *absent[: each.absent]] if each.about == "event" else [""])
    ]


def fill(template: str, example: Example, position: str, wording: Wording) -> str:
    """The prompt that a template yields, about the whole example or the event at a position."""
    if not position:
        return template.format(**example.fields)
    event = next(event for event in example.asked if event["position"] == position)
    words = wording.of(event["label"], event["domain"])
    return template.format(label=words, duration=event.get("duration"), **example.fields)


def _end_of_label(request: "_Request", example: Example, wording: Wording) -> int | None:
    """Characters of a prompt up to the end of the label's words, where a request is about the token that ends there."""
    if request.token == "last":
        return None
    before = request.prompt[: request.prompt.index("{label}") + len("{label}")]
    return len(fill(before, example, request.position, wording))


@dataclass(frozen=True)
class _Request:
    """A prompt that leaves something un-steered: a template, what it is about, and what is heard with it."""

    prompt: str
    position: str = ""
    heard: str = "recording"
    token: str = "last"


def _state_requests(states: Mapping[str, State], examples: Sequence[Example]) -> dict[str, list[_Request]]:
    """State → the requests that leave it: one for each event and absent sound, or one that all events share."""
    positions, absent = positions_of(examples), absent_of(examples)
    return {
        name: [
            _Request(state.prompt, event, state.heard, state.token)
            for event in ([*positions, *absent[: state.absent]] if state.of_event else [""])
        ]
        for name, state in states.items()
    }


def read(
    engine: Engine,
    heard: Heard,
    examples: Sequence[Example],
    columns: Sequence[tuple[Pass, str]],
    settings: PassSettings,
    vectors: Callable[[Mapping[str, np.ndarray], list[int]], np.ndarray] | None = None,
) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """All passes of a batch, the un-steered ones first, and the states of the settings.

    Parameters
    ----------
    engine
        The model.
    heard
        What it hears of the examples' recordings.
    columns
        The passes, each with the event that it is about (`columns_of`).
    vectors
        What the steered ones add: from the states and the numbers of those columns to [example, column, layer, hidden].

    Returns
    -------
    values
        [example, column, ...], as the settings' readout says, NaN where an example has less; None without passes.
    states
        Name → float32 [example, event + absent, layer, hidden]; with one event where all share the state.
    """
    plain = [number for number, (each, _) in enumerate(columns) if each.direction is None]
    steered = [number for number, (each, _) in enumerate(columns) if each.direction is not None]
    found: dict[int, np.ndarray] = {}
    states: dict[str, np.ndarray] = {}
    if plain or settings.states:
        values, states = _read_unsteered(engine, heard, examples, [columns[n] for n in plain], settings)
        found |= dict(zip(plain, values, strict=True))
    if steered:
        added = vectors(states, steered)
        values = _read_steered(engine, heard, examples, [columns[n] for n in steered], added, settings)
        found |= dict(zip(steered, values, strict=True))
    return (_stack([found[number] for number in range(len(columns))]) if columns else None), states


def _read_unsteered(
    engine: Engine,
    heard: Heard,
    examples: Sequence[Example],
    columns: Sequence[tuple[Pass, str]],
    settings: PassSettings,
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Values of each un-steered column, [example, ...], and states; a state and a pass of the same prompt are one."""
    states = _state_requests(settings.states, examples)
    missing = set(itertools.chain(*states.values()))
    found: dict[int, np.ndarray] = {}
    kept: dict[_Request, np.ndarray] = {}
    rows_of: dict[str, list[int]] = {}
    for column, (each, _) in enumerate(columns):
        rows_of.setdefault(each.text_rows, []).append(column)
    for text_rows, members in rows_of.items():
        engine.text_rows = text_rows
        wanted = {column: _Request(columns[column][0].prompt, columns[column][1]) for column in members}
        requests = list(dict.fromkeys(wanted.values()))
        if settings.readout != "share":
            # One call, in which all that prompts about a recording have in common is read once.
            whole = [each for each in requests if not each.position]
            requests = list(dict.fromkeys([*whole, *itertools.chain(*states.values()), *requests]))
        left, values = _read(engine, heard, examples, requests, settings, bool(missing))
        found |= {column: values[:, requests.index(each)] for column, each in wanted.items()}
        if missing:
            kept |= {each: left[:, number] for number, each in enumerate(requests)}
            missing -= set(requests)
    if missing:
        requests = [each for each in dict.fromkeys(itertools.chain(*states.values())) if each in missing]
        left, _ = _read(engine, heard, examples, requests, settings.model_copy(update={"readout": "attention"}), True)
        kept |= {each: left[:, number] for number, each in enumerate(requests)}
    return (
        [found[column] for column in range(len(columns))],
        {name: np.stack([kept[each] for each in wanted], axis=1) for name, wanted in states.items()},
    )


def _read(
    engine: Engine,
    heard: Heard,
    examples: Sequence[Example],
    requests: Sequence[_Request],
    settings: PassSettings,
    want_states: bool,
) -> tuple[np.ndarray | None, np.ndarray]:
    """States, if they are wanted, and what is kept of attention, [example, request, ...] each."""
    heard, place = _with_nothing(engine, heard, {request.heard for request in requests})
    n_examples = len(examples)
    asked = [(example, each) for example in examples for each in requests]
    reading = engine.read(
        heard,
        [fill(each.prompt, example, each.position, settings.wording) for example, each in asked],
        audio_index=[place[each.heard][example] for example in range(n_examples) for each in requests],
        want_states=want_states,
        state_at=[_end_of_label(each, example, settings.wording) for example, each in asked],
        **_KEPT[settings.readout],
    )
    states, values = (
        None if array is None else array.reshape(n_examples, len(requests), *array.shape[1:])
        for array in (reading.states, _values(reading, settings))
    )
    return states, values


def _read_steered(
    engine: Engine,
    heard: Heard,
    examples: Sequence[Example],
    columns: Sequence[tuple[Pass, str]],
    vectors: np.ndarray,
    settings: PassSettings,
) -> list[np.ndarray]:
    """Values of each steered column, [example, ...], with vectors [example, column, layer, hidden].

    Those that differ in their vectors only go through together.
    """
    n_examples = len(examples)
    found: dict[int, np.ndarray] = {}
    for (_, rows, position), members in _groups_of(columns).items():
        engine.text_rows = rows
        reading = engine.read(
            heard,
            [
                fill(columns[column][0].prompt, example, position, settings.wording)
                for example in examples
                for column in members
            ],
            audio_index=np.repeat(np.arange(n_examples), len(members)).tolist(),
            vectors=vectors[:, members].reshape(-1, *vectors.shape[2:]),
            steering=columns[members[0]][0].steering,
            **_KEPT[settings.readout],
        )
        values = _values(reading, settings)
        values = values.reshape(n_examples, len(members), *values.shape[1:])
        found |= {column: values[:, number] for number, column in enumerate(members)}
    return [found[column] for column in range(len(columns))]


def _groups_of(columns: Sequence[tuple[Pass, str]]) -> dict[tuple[str, str, str], list[int]]:
    """Steering, rows that are read, and event → the columns that have them in common.

    Every event has groups of its own, so that no result depends on which events a job handles together.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for column, (each, event) in enumerate(columns):
        groups.setdefault((each.steering.as_json(), each.text_rows, event), []).append(column)
    return groups


def answer(engine: Engine, heard: Heard, examples: Sequence[Example], answers: Answers, wording: Wording) -> list[dict]:
    """Ask about every event in words: one row with sample_id, position, question and answer for each."""
    rows = [
        {
            "sample_id": example.example_id,
            "position": event["position"],
            "question": fill(answers.question, example, event["position"], wording),
        }
        for example in examples
        for event in example.events
    ]
    index = np.repeat(np.arange(len(examples)), [len(example.events) for example in examples]).tolist()
    texts = engine.answer(heard, [row["question"] for row in rows], index, answers.max_new_tokens)
    return [row | {"answer": text} for row, text in zip(rows, texts, strict=True)]


def text_tokens(
    engine: Engine, heard: Heard, examples: Sequence[Example], columns: Sequence[tuple[Pass, str]], wording: Wording
) -> dict[str, np.ndarray]:
    """The text tokens that attention was read from, [example, column, text_token], and how many there are."""
    prompts = [fill(each.prompt, example, event, wording) for example in examples for each, event in columns]
    index = np.repeat(np.arange(len(examples)), len(columns)).tolist()
    engine.text_rows = columns[0][0].text_rows
    tokens = engine.text_tokens(engine.adapter.prepare(heard.recordings, prompts, index))
    longest = max(map(len, tokens))
    shape = (len(examples), len(columns))
    return {
        "n_text_tokens": np.array([len(row) for row in tokens]).reshape(shape),
        "text": store.texts([row + [""] * (longest - len(row)) for row in tokens]).reshape(*shape, longest),
    }


def _stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays [example, ...] side by side, [example, part, ...], padded with NaN to the longest."""
    widest = np.max([part.shape for part in parts], axis=0)
    stacked = np.full((widest[0], len(parts), *widest[1:]), np.nan, dtype=np.float32)
    for number, part in enumerate(parts):
        stacked[(slice(None), number, *map(slice, part.shape[1:]))] = part
    return stacked


def describe(
    engine: Engine, columns: Sequence[tuple[Pass, str]], recording: Recording, example: Example, wording: Wording
) -> str:
    """What is steered and read, for the log: once for passes that have it in common."""
    lines: dict[tuple[str | None, str], tuple[list[str], Pass, str]] = {}
    for each, event in columns:
        key = (each.steering.as_json() if each.steering else None, each.text_rows)
        lines.setdefault(key, ([], each, event))[0].append(each.name)
    found = []
    for names, each, event in lines.values():
        engine.text_rows = each.text_rows
        told = engine.describe(each.steering, recording, fill(each.prompt, example, event, wording))
        found.append(f"{', '.join(dict.fromkeys(names))}: {told}")
    return "\n".join(found)


def _values(reading: Reading, settings: PassSettings) -> np.ndarray:
    found = {"share": reading.audio_share, "head_mass": reading.head_mass}
    return found.get(settings.readout, reading.attention)


def _with_nothing(engine: Engine, heard: Heard, kinds: set[str]) -> tuple[Heard, dict[str, Sequence[int]]]:
    """What is heard, with silence of equal length and nothing at all where they are asked for, and where each lies."""
    n = len(heard.recordings)
    place: dict[str, Sequence[int]] = {"recording": range(n)}
    further: list[Recording] = []
    if "silence" in kinds:
        place["silence"] = range(n, 2 * n)
        further += map(silence_like, heard.recordings)
    if "none" in kinds:
        place["none"] = [n + len(further)] * n
        further.append(None)
    if not further:
        return heard, place
    more = engine.hear(further)
    return Heard((*heard.recordings, *more.recordings), (*heard.audio, *more.audio)), place
