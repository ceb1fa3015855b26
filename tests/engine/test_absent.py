"""What is asked and steered about sounds that a recording does not hold, against the naive computation."""

import numpy as np
import pytest

from wheretolisten import passes
from wheretolisten.config.directions import DIRECTIONS, Direction, State
from wheretolisten.config.models import Model
from wheretolisten.config.passes import Pass, PassSettings
from wheretolisten.config.probe import Localization, Steering
from wheretolisten.config.prompts import PROMPTS
from wheretolisten.directions.sources import Groups, Sample
from wheretolisten.directions.vectors import directions_of
from wheretolisten.engine.passes import Engine
from wheretolisten.localization.references import rank_p_value, reference_of
from wheretolisten.localization.windows import find_window
from wheretolisten.passes import Example

WHERE, NEGATIVE, INFERENCE = (PROMPTS[name] for name in ("positive", "negative", "inference"))
LABELS = ("rooster", "dog", "telephone", "siren", "crow")  # two events and three absent sounds; of several tokens, too
EXAMPLE = Example(
    "00000",
    "a.flac",
    events=[{"position": f"event-{n + 1}", "label": label, "domain": "x"} for n, label in enumerate(LABELS[:2])],
    absent=[{"position": f"absent-{n + 1}", "label": label, "domain": "x"} for n, label in enumerate(LABELS[2:])],
)
EVENTS, ABSENT = ("event-1", "event-2"), ("absent-1", "absent-2", "absent-3")
AT_LABEL = Direction(contrast=("positive@label", "positive@label@absent2"))


def label_token(oracle, prompt, label):
    """Index of the last token of a label from the end of the prompt, found by its ids."""
    ids = oracle.inputs(None, prompt)["input_ids"][0].tolist()
    for words in (f" {label}", label):
        own = oracle.processor.tokenizer(words, add_special_tokens=False)["input_ids"]
        found = [end for end in range(len(own), len(ids) + 1) if ids[end - len(own) : end] == own]
        if found:
            return found[-1] - 1 - len(ids)
    raise AssertionError(f"{label} is not in {ids}")


@pytest.mark.parametrize("text_rows", ["all", "last"])
def test_asking_about_absent_sounds_and_states_at_the_label_agree_with_the_oracle(pair, recordings, text_rows):
    adapter, oracle = pair
    settings = PassSettings(
        model=Model(checkpoint=adapter.name),
        passes=[
            Pass(name="base", prompt=INFERENCE, text_rows=text_rows),
            Pass(name="prompted", prompt=WHERE, about="event", absent=2, text_rows=text_rows),
        ],
        states={
            "positive": State(prompt=WHERE, absent=3),
            "positive@label": State(prompt=WHERE, token="label", absent=1),
            "negative": State(prompt=NEGATIVE),
        },
    )
    assert settings.n_absent == 3
    columns = passes.columns_of(settings.passes, EVENTS, ABSENT)
    assert [event for _, event in columns] == ["", *EVENTS, "absent-1", "absent-2"]
    engine = Engine(adapter)
    heard = engine.hear([recordings[0]])
    values, states = passes.read(engine, heard, [EXAMPLE], columns, settings)
    asked = [oracle.read(recordings[0], WHERE.format(label=label), text_rows) for label in LABELS]
    for column, expected in enumerate([oracle.read(recordings[0], INFERENCE, text_rows), *asked[:4]]):
        np.testing.assert_allclose(values[0, column], expected.attention, rtol=0, atol=1e-5)
    assert {name: each.shape[1] for name, each in states.items()} == {"positive": 5, "positive@label": 3, "negative": 1}
    largest = max(1.0, *(float(np.abs(each.states).max()) for each in asked))
    np.testing.assert_allclose(states["positive"][0], [each.states for each in asked], rtol=0, atol=1e-5 * largest)
    for number, label in enumerate(LABELS[:3]):
        prompt = WHERE.format(label=label)
        expected = oracle.read(recordings[0], prompt, state_at=label_token(oracle, prompt, label)).states
        np.testing.assert_allclose(states["positive@label"][0, number], expected, rtol=0, atol=1e-5 * largest)
        assert np.abs(expected - asked[number].states).max() > 1e-3


@pytest.mark.parametrize("positions", ["all", "after_audio"])
@pytest.mark.parametrize("direction", [DIRECTIONS["sample"], AT_LABEL], ids=["published", "label-absent"])
def test_the_same_injection_for_absent_sounds_agrees_with_the_oracle(pair, recordings, direction, positions):
    adapter, oracle = pair
    steering = Steering(scale=0.3, positions=positions)
    each = Pass(name="x", prompt=INFERENCE, about="event", direction=direction, steering=steering, absent=2)
    columns = passes.columns_of([each], EVENTS, ABSENT)
    prompts = [WHERE.format(label=label) for label in LABELS]
    at = [-1 if direction is not AT_LABEL else label_token(oracle, *pair) for pair in zip(prompts, LABELS, strict=True)]
    states = [
        oracle.read(recordings[1], prompt, state_at=token).states for prompt, token in zip(prompts, at, strict=True)
    ]
    negative = oracle.read(recordings[1], NEGATIVE).states
    if direction is AT_LABEL:
        # Absent sounds against the two others that come first.
        others = [(2, 3), (2, 3), (3, 4), (2, 4)]
        expected = [states[n] - (states[a] + states[b]) / 2 for n, (a, b) in enumerate(others)]
    else:
        expected = [state - negative for state in states[:4]]
    sample = Sample("00000", EVENTS, LABELS[:2], ("x", "x"), LABELS[2:4])
    stored = {"positive": np.stack(states), "positive@label": np.stack(states), "negative": negative[None]}
    own = directions_of(direction, sample, stored, Groups.of([sample]))
    np.testing.assert_allclose(own, expected, rtol=0, atol=1e-5)

    engine = Engine(adapter)
    settings = PassSettings(model=Model(checkpoint=adapter.name), passes=[each])
    values, _ = passes.read(
        engine, engine.hear([recordings[1]]), [EXAMPLE], columns, settings, lambda *_: own[None].astype(np.float32)
    )
    layers = tuple(range(adapter.n_layers))
    for column, vector in enumerate(expected):
        steered = oracle.read(recordings[1], INFERENCE, "all", vector, 0.3, layers, positions)
        np.testing.assert_allclose(values[0, column], steered.attention, rtol=0, atol=1e-5)


def test_at_strength_zero_every_window_ties(shipped_pair, recordings):
    adapter, _ = shipped_pair
    steering = Steering(scale=0.0, positions="after_audio")
    each = Pass(name="x", prompt=INFERENCE, about="event", direction=DIRECTIONS["sample"], steering=steering, absent=3)
    columns = passes.columns_of([each], EVENTS, ABSENT)
    vectors = np.random.default_rng(2).normal(size=(1, len(columns), adapter.n_layers, adapter.hidden_size))
    engine = Engine(adapter)
    settings = PassSettings(model=Model(checkpoint=adapter.name), passes=[each])
    values, _ = passes.read(
        engine, engine.hear(recordings[:1]), [EXAMPLE], columns, settings, lambda *_: vectors.astype(np.float32)
    )
    n_tokens, rate = values.shape[-1], adapter.tokens_per_second
    reference = reference_of(list(values[0, 2:]), n_tokens, "mean")
    for event in range(2):
        window = find_window(reference, values[0, event], 5.0, rate, n_tokens, Localization(reference="absent"))
        assert window.tied_starts.size == n_tokens - round(5.0 * rate) + 1
        _, p = rank_p_value(values[0, event], list(values[0, 2:]), 5.0, rate, n_tokens, Localization())
        assert p == 1.0
