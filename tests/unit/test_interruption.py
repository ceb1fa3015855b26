"""Interruptions without a model: windows, steps of listening and speaking, lags, what is measured, how dialogues go."""

import numpy as np
import pytest
from pydantic import ValidationError

from wheretolisten.config.interruption import INTERRUPTION, Interruption
from wheretolisten.config.probe import Decoding, Steering
from wheretolisten.directions import steps
from wheretolisten.effects import pairs
from wheretolisten.effects.arms import check_sign
from wheretolisten.effects.interruption import Played, dialogues_of, measure, steering_of
from wheretolisten.engine.injection import describe_decoding
from wheretolisten.engine.streams import END, ONSET, SILENCE, Vocabulary
from wheretolisten.errors import UserError
from wheretolisten.tiny import duplex

WORDS = ("lamp", "red", "old", "goat", "calm", "wide", "boat", "wet", "long")
VOCABULARY = Vocabulary.of("tiny", duplex.tokenizer(WORDS).get_vocab())


def pair(words, negative=None, source=None):
    asked = f"{words} {' '.join(duplex.REQUEST)}"
    negative = " ".join(reversed(words.split())) if negative is None else negative
    return pairs.Pair(words.replace(" ", "-"), source or words.split()[0], INTERRUPTION, 0, asked, words, negative)


def test_a_window_fades_to_nothing_in_equal_steps():
    steering = steering_of(2, 6.0, 3)
    assert [steering.at_step(step).scale for step in range(3)] == pytest.approx([6, 4, 2])
    assert steering.at_step(3) is None
    assert steering.scales(4) == {2: 6.0}
    assert (steering.positions, steering.preserve_norm) == ("none", False)
    assert Decoding(first=1, decay="linear").weight(0) == 1
    assert describe_decoding(steering) == "the first 3, with a strength that falls to 0 in equal steps"
    halved = Steering(decoding={"first": 3, "decay": 0.5})
    assert [halved.at_step(step).scale for step in range(3)] == pytest.approx([0.1, 0.05, 0.025])
    for wrong in (0, 1.5, "falling", True):
        with pytest.raises(ValidationError, match="is neither a number above 0 and at most 1 nor linear"):
            Decoding(first=3, decay=wrong)
    with pytest.raises(ValidationError, match=r"decoding\.decay lets λ go to 0"):
        Steering(operator="set", decoding={"first": 3, "decay": "linear"})


def test_steps_are_told_apart_by_scores():
    speaking = np.array([[0.1, 0.9, 0.6, 0.6, 0.5, 0.2]])
    listening = np.array([[0.7, 0.1, 0.5, 0.2, 0.49, np.nan]])
    hears, speaks = steps.by_scores(speaking, listening, (0.6, 0.5))
    # The third has both, the fifth neither, the last no next token.
    assert hears.tolist() == [[True, False, False, False, False, False]]
    assert speaks.tolist() == [[False, True, False, True, False, False]]


def test_steps_are_told_apart_by_the_clock():
    hears, speaks = steps.by_clock(10, np.array([1, 0]), np.array([4, 5]), margin=1, longest=3)
    assert np.flatnonzero(hears[0]).tolist() == [2, 3]
    assert np.flatnonzero(speaks[0]).tolist() == [5, 6, 7]
    assert np.flatnonzero(hears[1]).tolist() == [1, 2, 3, 4]
    assert np.flatnonzero(speaks[1]).tolist() == [6, 7, 8]


def test_a_planted_mode_is_found_and_its_sign_checked():
    rng = np.random.default_rng(0)
    bit = np.array([[3.0, 0, 0, 0], [0, 0, -2.0, 0]])
    hears = rng.random((40, 30)) < 0.4
    states = rng.normal(size=(40, 30, 2, 4)) + np.where(hears, 0.5, -0.5)[..., None, None] * bit
    found = steps.contrast(states, hears, ~hears)
    for layer in range(2):
        assert found[layer] @ bit[layer] / np.linalg.norm(found[layer]) / np.linalg.norm(bit[layer]) > 0.99
    np.testing.assert_allclose(found, -steps.contrast(states, ~hears, hears))
    positive, negative = steps.poles(states, hears, ~hears)
    assert positive.shape == (40, 2, 4)
    np.testing.assert_allclose(positive[3], states[3][hears[3]].mean(axis=0))
    agree = ((positive - negative) * found).sum(axis=-1) > 0
    check_sign("right", agree[:, 0].mean(), 40)
    with pytest.raises(
        UserError, match="turned: on pairs that its direction was not built of, it points the wrong way"
    ):
        check_sign("turned", 1 - agree[:, 0].mean(), 40)
    with pytest.raises(UserError, match="there is no step at which the model speaks; change the thresholds"):
        steps.contrast(states, hears, np.zeros_like(hears))
    hears[0] = True
    assert len(steps.poles(states, hears, ~hears)[0]) == 39
    assert steps.poles(states, hears, np.zeros_like(hears))[0].shape == (0, 2, 4)


def test_a_lag_counts_from_the_onset():
    silent = np.array([[1, 1, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1]], bool)
    # Two steps; never, of which four are left; at once.
    assert steps.steps_until(silent, np.array([2, 2, 2])).tolist() == [2, 4, 0]


def test_a_dialogue_goes_on_for_the_lag_and_loses_the_words_of_it():
    questions = ("lamp", "red", "old"), ("goat", "calm", "wide")
    words = {number: word for word, number in VOCABULARY.model.items()}

    def told(after, lag):
        made = duplex.script(VOCABULARY, questions, 2, after, lag, 48)
        onsets = [step for step, token in enumerate(made.user) if token == VOCABULARY.user[ONSET]]
        ends = [step for step, token in enumerate(made.user) if token == VOCABULARY.user[END]]
        return [words[token] for token in made.model], onsets, ends

    said, onsets, ends = told(3, 2)
    assert (onsets[0], ends[0], onsets[1]) == (2, 2 + 8, 2 + 8 + 3)
    assert set(said[: ends[0]]) == {SILENCE}
    assert said[ends[0] : ends[0] + 4] == ["lamp", "red", "old", "this"]
    # Words at onset + 1 to + 3; it fell silent at + 2, so that only the last of them is heard.
    assert said[onsets[1] : onsets[1] + 3] == ["this", "is", SILENCE]
    assert said[ends[1] : ends[1] + 2] == ["wide", "this"]
    assert told(3, 0)[0][ends[1] : ends[1] + 3] == ["goat", "calm", "wide"]
    assert told(3, 4)[0][ends[1] : ends[1] + 2] == ["pardon", "this"]
    alone, onsets, ends = told(None, 4)
    assert alone[ends[1] : ends[1] + 3] == ["goat", "calm", "wide"]
    assert alone[onsets[1] - 1 : ends[1]] == [SILENCE] * 9
    with pytest.raises(UserError, match="the word 'please' belongs to the form of every dialogue"):
        duplex.tokenizer(["please"])


def test_dialogues_interrupt_others_of_their_side_and_unknown_words_are_named():
    settings = Interruption(silence=2, after=(2, 4), answer=15)
    asked = [pair("lamp red old"), pair("goat calm wide"), pair("boat wet long")]
    alone, interrupted = dialogues_of(asked, VOCABULARY, settings)
    for each, one in zip(interrupted, alone, strict=True):
        assert (one.start, one.end) == (2, 10)
        assert 2 <= each.start - 10 <= 4
        assert each.user[each.start : each.end + 1] == one.user[2:11]
        assert each.user[: each.start] != one.user[: each.start]
        assert (each.words, each.rival) == (one.words, VOCABULARY.model[one.pair.negative.split()[0]])
    again = dialogues_of(asked, VOCABULARY, settings)[1]
    assert again == interrupted
    for wrong, message in (
        (
            [pair("lamp red old", source="a"), pair("boat wet long", source="a")],
            "all dialogues of a side have the source",
        ),
        ([pair("lamp red blue"), asked[1]], "lamp-red-blue: the model does not know the word 'blue'; take another"),
        ([pair("lamp red old", "lamp old red"), asked[1]], "both answers begin with the same word"),
    ):
        with pytest.raises(UserError, match=message):
            dialogues_of(wrong, VOCABULARY, settings)
    with pytest.raises(
        UserError, match=r"text: it has no token 'user:<silence>', so that it is no model of two streams"
    ):
        Vocabulary.of("text", {"dog": 0})


def test_what_is_measured_of_an_interruption_by_hand():
    settings = Interruption(silence=2, after=(2, 2), answer=12, heard=0.5)
    asked = [pair("lamp red old"), pair("goat calm wide")]
    alone, interrupted = dialogues_of(asked, VOCABULARY, settings)
    model = VOCABULARY.model
    own = np.full((2, len(interrupted[0].user)), model[SILENCE])
    start, end = interrupted[0].start, interrupted[0].end
    own[0, start : start + 3] = model["this"]  # three steps too long
    own[0, end : end + 3] = [model[word] for word in ("lamp", "red", "old")]
    own[1, end + 1 : end + 4] = [model[word] for word in ("goat", "wide", "calm")]  # a step late, in another order
    likely = np.full((*own.shape, 1 + max(model.values())), -9.0)
    likely[0, end, model["lamp"]], likely[1, end, model["wide"]] = -1.0, -2.0
    quiet = np.full((2, len(alone[0].user)), 0.8)
    listening = np.full(own.shape, 0.1)
    listening[0, start + 2], listening[1, start : end + 1] = 0.4, 0.39
    nothing = np.zeros((*own.shape, 1, 1))
    played = Played(own, likely, listening, listening, nothing)
    rows = measure(interrupted, played, model[SILENCE], Played(own, likely, quiet, quiet, nothing), settings)
    found = {name: [row.value for row in rows if row.measure == name] for name in {row.measure for row in rows}}
    assert found["lag"] == [3, 0]
    assert found["perceived"] == [2, end - start]
    assert found["first_word"] == [1, 1]
    assert found["kept"] == [1, 0]
    assert found["margin"] == [8, -7]
    without = measure(interrupted, played, model[SILENCE], None, settings)
    assert {row.measure for row in without} == {"first_word", "kept", "margin"}
    silent = Played(np.full_like(own, model[SILENCE]), likely, listening, listening, nothing)
    lost = measure(interrupted, silent, model[SILENCE], None, settings)
    assert {row.value for row in lost if row.measure in ("first_word", "kept")} == {0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": ["clock", "clock"]}, "steps 'clock' is listed twice"),
        ({"windows": [6, 3]}, "windows: write each once, the lowest first"),
        ({"strengths": [1.0, 1.0]}, "strengths: write each once, the lowest first"),
        ({"after": [5, 2]}, "after: write the least number of steps first"),
        ({"after": [2, 18]}, r"fewer than the answer may take \(18\)"),
        ({"generating": 1.0}, "generating"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        Interruption.model_validate(given)
