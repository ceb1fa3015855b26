"""Passes about questions: those of each alone, however they go through together."""

import itertools

import numpy as np
import pytest

from wheretolisten.config.probe import Steering
from wheretolisten.config.studies import Choosing
from wheretolisten.engine.passes import Engine
from wheretolisten.questions.asking import Asking, ask, wordings_of
from wheretolisten.questions.mmau import Item

ITEMS = [
    Item("00000", "0", "Which sound comes first?", ("dog", "rain", "rooster"), "dog", ()),
    Item("00001", "1", "Is there the sound of dog in the audio?", ("yes", "no"), "no", ()),
]
PROMPT, OTHER = "{question} Choose one of: {choices}", "Listen. {question} Choose one of: {choices}"
AT_THE_END = Steering(scale=1.0, layers="last", site="final_norm", positions="last", preserve_norm=False)


@pytest.fixture(scope="module")
def sounds(recordings):
    return [recordings[1], recordings[3][: 4 * 16_000]]


def vectors_of(adapter, length):
    return length * np.random.default_rng(1).normal(size=(2, adapter.n_layers, adapter.hidden_size)).astype(np.float32)


def test_every_pass_is_what_it_is_alone(shipped_pair, sounds):
    adapter, _ = shipped_pair
    engine, choosing = Engine(adapter), Choosing(answer=" {choice}", permute="both", max_new_tokens=3)
    heard, vectors, steering = engine.hear(sounds), vectors_of(adapter, 1.0), Steering(scale=0.5)
    asked = [
        Asking(PROMPT, [0, 1]),
        Asking(OTHER, [1, 0]),  # about the other recording
        Asking(PROMPT, [0, 1], vectors, steering),
        Asking(PROMPT, [0, 1], vectors, AT_THE_END),
    ]
    found = ask(engine, heard, ITEMS, asked, choosing)
    assert found["choices"].shape == (2, 4, 3, 3)
    for (row, item), (number, each) in itertools.product(enumerate(ITEMS), enumerate(asked)):
        worded = wordings_of(item, choosing)
        n = len(item.choices)
        assert len(worded) == n
        for wording, words_of in enumerate(worded):
            prompt = each.prompt.format(question=item.question, choices=words_of.text(item.choices))
            given = {} if each.steering is None else {"vectors": each.vectors[row, None], "steering": each.steering}
            alone = dict(recordings=[sounds[each.audio[row]]], prompts=[prompt])
            texts = [f" {choice}" for choice in item.choices]
            letters = [f" {words_of.letter(choice)}" for choice in range(n)]
            likely = engine.choose(**alone, choices=[texts + letters], **given)
            np.testing.assert_allclose(found["choices"][row, number, wording, :n], likely.sums[0, :n], atol=1e-4)
            np.testing.assert_allclose(found["letters"][row, number, wording, :n], likely.sums[0, n:], atol=1e-4)
            answer = engine.answer(**alone, max_new_tokens=3, **given)[0]
            named = words_of.chosen(answer, item.choices, "choice")
            assert found["words"][row, number, wording] == (-1 if named is None else named)
        # An item has as many wordings as choices, and nothing beyond.
        assert np.isnan(found["choices"][row, number, n:]).all()
        assert np.isnan(found["choices"][row, number, :, n:]).all()


def test_nothing_added_changes_no_bit_and_missing_vectors_leave_a_pass_out(shipped_pair, sounds):
    adapter, _ = shipped_pair
    engine, choosing = Engine(adapter), Choosing(answer=" {choice}")
    heard, missing = engine.hear(sounds), vectors_of(adapter, 1.0)
    missing[1] = np.nan
    asked = [
        Asking(PROMPT, [0, 1], vectors_of(adapter, 0.0), AT_THE_END),
        Asking(PROMPT, [0, 1], missing, AT_THE_END),
    ]
    steered = ask(engine, heard, ITEMS, asked[:1], choosing)
    # Side by side in the same way, so that sums are taken in the same order.
    last = Steering(scale=0.0, layers="last", positions="last")
    plain = ask(engine, heard, ITEMS, [Asking(PROMPT, [0, 1], missing[:1].repeat(2, axis=0), last)], choosing)
    np.testing.assert_array_equal(steered["choices"], plain["choices"])
    found = ask(engine, heard, ITEMS, asked, choosing)["choices"][:, 1]
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
