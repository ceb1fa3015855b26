"""Answers and choices, steered or not, against plain passes of the whole model, and what holds for all of them."""

import itertools

import numpy as np
import pytest

from tests.engine.oracle import How
from wheretolisten.config.probe import Steering
from wheretolisten.engine import sites
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError

PROMPTS = ["Describe the audio.", "Which part of the audio has the sound of rooster?"]
# Recordings, or none (the last), and prompts; two rows are one prompt and differ in nothing but their vectors.
ROWS = [(0, 0), (1, 1), (0, 0), (0, 1), (2, 0), (2, 1)]
CHOICES = [["dog", "the rooster and then", "cat"], ["rain"], ["A", "B"], ["cat and", "dog then rain"]] + [
    ["dog", "cat"]
] * 2
N_NEW = 6
DECODINGS = {
    "none": ("none", ()),
    "all": ("all", (1.0,) * 64),
    "window": ({"first": 2}, (1.0, 1.0)),
    "fading": ({"first": 3, "decay": 0.5}, (1.0, 0.5, 0.25)),
}
FORMS = [
    # Operators, sites and blocks; shared prefixes break off at each of the positions.
    ("all", "all", {"scale": 0.3}),
    ("all", "window", {"scale": 2.0, "operator": "scale", "layers": "second_half", "preserve_norm": False}),
    ("after_audio", "fading", {"scale": 3.0, "operator": "ablate", "site": "mlp", "preserve_norm": False}),
    ("after_audio", "none", {"scale": 2.0, "normalisation": "unit", "layers": [1]}),
    ("last", "all", {"scale": 0.5, "site": "attention", "normalisation": "state", "gate": "opposed"}),
    ("last", "fading", {"scale": 1.0, "layers": "last", "preserve_norm": False}),
    # Audio-specialist heads: at the last block's output, or what becomes of it in the final norm.
    ("last", "all", {"scale": 1.0, "site": "final_norm", "layers": "last", "preserve_norm": False}),
]


@pytest.fixture(scope="module")
def sounds(recordings):
    return [recordings[1], recordings[3][: 4 * 16_000], None]


def asked(sounds):
    return dict(recordings=sounds, prompts=[PROMPTS[p] for _, p in ROWS], audio_index=[r for r, _ in ROWS])


def random_vectors(adapter, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(len(ROWS), adapter.n_layers, adapter.hidden_size)).astype(np.float32)


def case(adapter, positions, decoding, settings):
    """A steering, and how the oracle is told of it for one row."""
    given, of_steps = DECODINGS[decoding]
    steering = Steering(positions=positions, decoding=given, **settings)
    form = {key: getattr(steering, key) for key in ("operator", "normalisation", "gate", "preserve_norm")}
    return steering, lambda vectors: How(
        vectors, steering.scales(adapter.n_layers), positions, of_steps, steering.site, form
    )


@pytest.mark.parametrize("form", FORMS, ids=[f"{positions}-{decoding}" for positions, decoding, _ in FORMS])
def test_steered_answers_and_choices_agree(shipped_pair, sounds, form):
    adapter, oracle = shipped_pair
    steering, how = case(adapter, *form)
    vectors, engine = random_vectors(adapter), Engine(adapter)
    heard = engine.hear(sounds)
    given = dict(vectors=vectors, steering=steering)
    expected = [oracle.generate(sounds[r], PROMPTS[p], N_NEW, how(vectors[row])) for row, (r, p) in enumerate(ROWS)]
    assert engine.answer(**asked(heard), max_new_tokens=N_NEW, **given) == expected
    assert expected != engine.answer(**asked(heard), max_new_tokens=N_NEW)
    found = engine.choose(**asked(heard), choices=CHOICES, **given)
    assert_scores(found, oracle, sounds, [how(own) for own in vectors])


def assert_scores(found, oracle, sounds, hows):
    worst = 0.0
    for row, (r, p) in enumerate(ROWS):
        for number, choice in enumerate(CHOICES[row]):
            tokens = oracle.processor.tokenizer(choice, add_special_tokens=False)["input_ids"]
            table = oracle.log_probs(sounds[r], PROMPTS[p], tokens[:-1], hows[row]).double()
            expected = sum(float(table[place, token]) for place, token in enumerate(tokens))
            assert found.n_tokens[row, number] == len(tokens)
            assert found.means[row, number] == pytest.approx(found.sums[row, number] / len(tokens))
            worst = max(worst, abs(found.sums[row, number] - expected) / max(1, abs(expected)))
        assert np.isnan(found.sums[row, len(CHOICES[row]) :]).all()
    print(f"largest difference of log-probabilities: {worst:.1e}")
    assert worst <= 1e-5


def test_unsteered_choices_agree(pair, sounds):
    adapter, oracle = pair
    for shared in (True, False):
        found = Engine(adapter, share_prefix=shared).choose(**asked(sounds), choices=CHOICES)
        assert_scores(found, oracle, sounds, [None] * len(ROWS))


def test_what_is_cached_equals_what_is_computed_again(shipped_pair, sounds):
    adapter, oracle = shipped_pair
    steering, how = case(adapter, "all", "fading", {"scale": 0.4})
    vectors = random_vectors(adapter, 3)
    answers = Engine(adapter).answer(**asked(sounds), max_new_tokens=N_NEW, vectors=vectors, steering=steering)
    for row, (r, p) in list(enumerate(ROWS))[:2]:
        tokens = []
        while len(tokens) < N_NEW and not set(tokens) & set(adapter.eos_token_ids):
            tokens.append(int(oracle.log_probs(sounds[r], PROMPTS[p], tokens, how(vectors[row]))[-1].argmax()))
        assert answers[row] == oracle.processor.tokenizer.decode(tokens, skip_special_tokens=True)


def test_what_changes_nothing_changes_no_bit(shipped_pair, sounds):
    adapter, _ = shipped_pair
    engine, vectors = Engine(adapter, share_prefix=False), random_vectors(adapter)
    heard = engine.hear(sounds)
    plain = engine.choose(**asked(heard), choices=CHOICES)
    answers = engine.answer(**asked(heard), max_new_tokens=N_NEW)
    for settings in (
        {"scale": 0.0},
        {"scale": 0.0, "operator": "ablate", "positions": "last", "decoding": {"first": 2, "decay": 0.5}},
        {"scale": 0.0, "layers": "last", "positions": "last", "preserve_norm": False},
        {"scale": 0.0, "layers": "last", "positions": "last", "preserve_norm": False, "site": "final_norm"},
    ):
        given = dict(vectors=vectors, steering=Steering(**settings))
        np.testing.assert_array_equal(engine.choose(**asked(heard), choices=CHOICES, **given).sums, plain.sums)
        assert engine.answer(**asked(heard), max_new_tokens=N_NEW, **given) == answers
        assert Engine(adapter).answer(**asked(heard), max_new_tokens=N_NEW, **given) == answers


@pytest.mark.parametrize("positions", ["all", "after_audio"])
def test_rows_do_not_touch_each_other(shipped_pair, sounds, positions):
    adapter, _ = shipped_pair
    engine, vectors, steering = Engine(adapter), random_vectors(adapter), Steering(scale=0.3, positions=positions)
    heard = engine.hear(sounds)
    answers = engine.answer(**asked(heard), max_new_tokens=N_NEW, vectors=vectors, steering=steering)
    given = dict(choices=CHOICES, steering=steering)
    whole = engine.choose(**asked(heard), vectors=vectors, **given).sums
    alone = Engine(adapter, max_rows=1)
    assert alone.answer(**asked(heard), max_new_tokens=N_NEW, vectors=vectors, steering=steering) == answers
    np.testing.assert_allclose(alone.choose(**asked(heard), vectors=vectors, **given).sums, whole, rtol=1e-5)
    holed = vectors.copy()
    holed[2, 1, 0] = np.nan
    found = engine.choose(**asked(heard), vectors=holed, **given).sums
    assert np.isnan(found[2]).all()
    np.testing.assert_array_equal(np.delete(found, 2, axis=0), np.delete(whole, 2, axis=0))
    with pytest.raises(ValueError, match=r"rows \[2\] hold NaN, and nothing is answered then"):
        engine.answer(**asked(heard), vectors=holed, steering=steering)


def test_a_prompt_goes_through_once_for_all_its_choices(shipped_pair, sounds):
    adapter, _ = shipped_pair
    engine = Engine(adapter)
    n_prompt = adapter.prepare(sounds[:1], PROMPTS[:1]).input_ids.shape[1]
    given = dict(vectors=random_vectors(adapter)[:1], steering=Steering())
    found = engine.choose(sounds[:1], PROMPTS[:1], [["dog", "the rooster", "cat"]], **given)
    assert engine.meter.tokens["prefill"] + engine.meter.tokens["answer"] == n_prompt + int((found.n_tokens - 1).sum())


def test_no_hook_outlives_an_exception(shipped_pair, sounds, monkeypatch):
    adapter, _ = shipped_pair

    def hooks():
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in adapter.model.modules())

    before, calls, head = hooks(), [], adapter.blocks[-1].self_attn.o_proj

    def fail(*_args):
        # In the pass of the prompt, and in that of the first decoded token.
        calls.append(hooks())
        if len(calls) > fails:
            raise RuntimeError("broken")
        return inner(*_args)

    inner = head.forward
    monkeypatch.setattr(head, "forward", fail)
    given = dict(vectors=random_vectors(adapter)[:1], steering=Steering(scale=0.3))
    for fails, call in itertools.product((0, 1), ("answer", "choose")):
        calls.clear()
        further = {"choices": [["the rooster"]]} if call == "choose" else {}
        with pytest.raises(RuntimeError, match="broken"):
            getattr(Engine(adapter), call)(sounds[:1], PROMPTS[:1], **further, **given)
        assert calls == [before + adapter.n_layers] * (fails + 1)
        assert hooks() == before


def test_what_has_no_answer_is_refused_and_the_log_says_what_is_steered(shipped_pair, sounds, monkeypatch):
    adapter, _ = shipped_pair
    engine, vectors = Engine(adapter), random_vectors(adapter)
    monkeypatch.setattr(adapter, "encode", lambda _: pytest.fail("something expensive came first"))
    with pytest.raises(UserError, match=r"row 1 has no choices \(\[\]\); each prompt takes at least one choice"):
        engine.choose(**asked(sounds), choices=[["dog"], *[[]] * 5])
    with pytest.raises(UserError, match=r"row 0 has an empty choice"):
        engine.choose(**asked(sounds), choices=[["dog", ""], *[["dog"]] * 5])
    with pytest.raises(ValueError, match="choices of 1 rows for 6 prompts"):
        engine.choose(**asked(sounds), choices=[["dog"]])
    with pytest.raises(ValueError, match="belong together"):
        engine.answer(**asked(sounds), vectors=vectors)
    told = engine.describe(Steering(decoding={"first": 3, "decay": 0.5}), None, PROMPTS[0], max_new_tokens=4)
    assert "steered tokens of an answer: the first 3, each with 0.5 times the strength before" in told
    assert "answers of at most 4 tokens" in told
    for given in (dict(vectors=vectors, steering=Steering(site="final_norm", layers="last")), dict(site="final_norm")):
        with pytest.raises(
            UserError, match=r"blocks come before the site final_norm, which is not (read|steered) with"
        ):
            engine.read(**asked(sounds), **given)
    monkeypatch.delattr(adapter.text_stack, "norm")
    with pytest.raises(UserError, match=r"no final norm of a known name, hence no site 'final_norm'"):
        sites.places(adapter, "final_norm")
