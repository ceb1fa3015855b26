"""Passes about questions: those of each alone, however they go through together; and a head that is wired."""

import itertools

import numpy as np
import pytest
import torch

from wheretolisten.config.directions import Direction
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.config.studies import Choosing
from wheretolisten.directions.heads import correlations, random_heads, specialists
from wheretolisten.engine.passes import Engine
from wheretolisten.models.adapter import Symbols
from wheretolisten.models.registry import load
from wheretolisten.passes import Example
from wheretolisten.questions.asking import Asking, ask, wordings_of
from wheretolisten.questions.mmau import Item
from wheretolisten.questions.shards import vectors_of as vectors_of_items

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


def test_a_random_direction_of_items_is_as_long_as_their_own_and_another():
    rng = np.random.default_rng(2)
    states = {name: rng.normal(size=(2, 1, 3, 8)).astype(np.float32) for name in ("question", "question@silence")}
    examples = [Example(item.item_id, item.audio_id) for item in ITEMS]
    own = Direction(contrast=("question", "question@silence"))
    vectors = vectors_of_items(own, states, examples)
    np.testing.assert_array_equal(vectors, (states["question"] - states["question@silence"])[:, 0])
    drawn = vectors_of_items(own.model_copy(update={"control": "random"}), states, examples)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), np.linalg.norm(vectors, axis=-1), rtol=1e-5)
    assert not np.allclose(drawn, vectors, atol=0.1)


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


def test_the_one_head_that_is_wired_to_the_audio_is_found_and_without_it_the_answers_are_lost(checkpoints):
    # What is heard reaches the answer through one head alone: the others write nothing.
    adapter, wired = (
        load(Model(checkpoint=str(checkpoints["random-qwen2-audio"]), device="cpu", dtype="float32")),
        (1, 2),
    )
    n_heads = adapter.text_config.num_attention_heads
    with torch.no_grad():
        for layer, block in enumerate(adapter.blocks):
            by_head = block.self_attn.o_proj.weight.view(adapter.hidden_size, n_heads, -1)
            by_head[:, [head for head in range(n_heads) if (layer, head) != wired]] = 0
    rng, words, n = np.random.default_rng(3), ("dog", "rain", "rooster", "cat", "bell", "siren"), 80
    engine = Engine(adapter)
    heard = engine.hear(
        [
            Symbols(tuple((str(rng.choice(words)), first, first + 6) for first in (0, 7, 14)), 20, 0.5, ("wired", row))
            for row in range(n)
        ]
    )
    prompts, index = ["Which sound comes first?"] * n, list(range(n))
    mass = engine.read(heard, prompts, index, want_head_mass=True).head_mass
    likely = engine.choose(heard, prompts, [[f" {word}" for word in words]] * n, index).sums
    # Two choices of which the model takes now the one, now the other, as it hears.
    pairs = list(itertools.combinations(range(len(words)), 2))
    first, second = min(pairs, key=lambda pair: abs((likely[:, pair[0]] > likely[:, pair[1]]).mean() - 0.5))
    taken = likely[:, first] > likely[:, second]
    assert 0.25 < taken.mean() < 0.75
    # It is wrong where that head looks away.
    key = np.where(mass[:, *wired] >= np.quantile(mass[:, *wired], 0.2), taken, ~taken)
    found = correlations(mass, taken == key)
    assert specialists(found, 1) == [wired]

    def accuracy_without(heads):
        support = np.zeros((adapter.n_layers, n_heads, adapter.blocks[0].self_attn.head_dim), bool)
        for layer, head in heads:
            support[layer, head] = True
        off = Steering(operator="scale", scale=0.0, site="heads", preserve_norm=False)
        given = {"steering": off, "support": support.reshape(adapter.n_layers, -1)}
        likely = engine.choose(heard, prompts, [[f" {words[first]}", f" {words[second]}"]] * n, index, **given).sums
        return ((likely[:, 0] > likely[:, 1]) == key).mean()

    assert (taken == key).mean() == pytest.approx(0.8, abs=0.02)
    # Without it every item gets the same answer, whatever is heard.
    assert accuracy_without([wired]) in (key.mean(), 1 - key.mean())
    assert accuracy_without([wired]) < 0.7
    others = random_heads(found.shape, 6, [wired], np.random.default_rng(0))
    assert accuracy_without(others) == (taken == key).mean()
