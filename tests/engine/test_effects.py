"""States and predictions at the tokens of given answers, gates, and whole arms on small language models."""

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import steer_texts
import torch
import transformers
import unlearn_facts

from tests.engine.test_text_models import KINDS, checkpoint
from wheretolisten.config.effects import DECAYED, Arm, Effects, EffectSettings
from wheretolisten.config.models import Model
from wheretolisten.config.probe import Steering
from wheretolisten.config.unlearning import Reinforcement, Unlearning, UnlearningSettings
from wheretolisten.effects import reinforcing, unlearning
from wheretolisten.effects.arms import Study, units_of
from wheretolisten.effects.measuring import NOBODY, Meter, Steered
from wheretolisten.effects.pairs import CHOOSE, COLUMNS, REPORT, read_facts, read_pairs, split
from wheretolisten.effects.poles import Direction
from wheretolisten.engine import sites
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.models.registry import load
from wheretolisten.statistics.robustness import additivity

PROMPTS = ("When does the dog bark?", "Describe the rain, and then the rooster.", "Why?")
ANSWERS = ("At noon, before the rain.", "Wet", "Because the dog barks at the rooster in the rain.")


@pytest.fixture(scope="module", params=["llama", "gemma", "gpt2", "lfm2"])
def text_model(request, tmp_path_factory):
    kinds = KINDS | {"lfm2": {"layer_types": ["conv", "full_attention"] * 2}}
    folder = checkpoint(request.param, kinds[request.param], tmp_path_factory.mktemp("text") / "checkpoint")
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    adapter = load(Model(checkpoint=str(folder), device="cpu", dtype="float32"))
    return adapter, plain.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def plain_row(plain, tokens, prompt, answer, vectors=None, scale=0.0):
    """States after every block and log-probabilities at the tokens of an answer; all tokens steered, lengths kept."""
    text = tokens.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    before, whole = (tokens(each)["input_ids"] for each in (text, text + answer))
    decoder, states, handles = plain.get_decoder(), [], []

    def hook_of(layer):
        def hook(_module, _args, output):
            hidden = output[0] if isinstance(output, tuple) else output
            if vectors is not None:
                moved = hidden + scale * torch.tensor(vectors[layer])
                hidden = moved * hidden.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True)
            states.append(hidden[0, len(before) :])
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    blocks = decoder.layers if hasattr(decoder, "layers") else decoder.h
    handles = [block.register_forward_hook(hook_of(layer)) for layer, block in enumerate(blocks)]
    with torch.no_grad():
        logits = plain(torch.tensor([whole])).logits[0]
    for handle in handles:
        handle.remove()
    return torch.stack(states).numpy(), torch.log_softmax(logits[len(before) - 1 : -1], dim=-1).numpy()


def test_answers_are_read_and_predicted_as_a_plain_model_does(text_model):
    adapter, plain, tokens = text_model
    engine, nothing = Engine(adapter, max_rows=2), [None] * len(PROMPTS)
    vectors = np.random.default_rng(0).normal(size=(len(PROMPTS), adapter.n_layers, adapter.hidden_size))
    vectors = vectors.astype(np.float32)
    for given, scale in (({}, 0.0), ({"vectors": vectors, "steering": Steering(scale=0.5)}, 0.5)):
        states = engine.states_of(nothing, PROMPTS, ANSWERS, **given)
        predicted = engine.predict(nothing, PROMPTS, ANSWERS, **given)
        chosen = engine.choose(nothing, PROMPTS, [[answer] for answer in ANSWERS], **given)
        for row, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
            expected = plain_row(plain, tokens, prompt, answer, vectors[row] if given else None, scale)
            np.testing.assert_allclose(states[row], expected[0], rtol=0, atol=2e-5 * np.abs(expected[0]).max())
            np.testing.assert_allclose(predicted[row], expected[1], rtol=0, atol=2e-4)
            np.testing.assert_allclose(np.exp(predicted[row]).sum(axis=1), 1, atol=1e-4)
            said = adapter.continuation(prompt, answer)
            total = predicted[row][np.arange(len(said)), said].sum()
            np.testing.assert_allclose(chosen.sums[row, 0], total, rtol=1e-4)


def test_empty_answers_and_sites_behind_the_blocks_are_refused(text_model):
    engine = Engine(text_model[0])
    with pytest.raises(UserError, match="row 1 has an empty answer to"):
        engine.states_of([None, None], PROMPTS[:2], ["a", ""])
    with pytest.raises(ValueError, match="1 answers for 2 prompts"):
        engine.predict([None, None], PROMPTS[:2], ["a"])
    with pytest.raises(ValueError, match="final_norm lies behind the last one"):
        engine.states_of([None], PROMPTS[:1], ["a"], site="final_norm")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    folder = checkpoint("llama", {}, tmp_path_factory.mktemp("llama") / "checkpoint")
    return Engine(load(Model(checkpoint=str(folder), device="cpu", dtype="float32")))


def test_gates_are_what_is_multiplied_to_neurons(llama):
    adapter = llama.adapter
    gates = llama.states_of([None], PROMPTS[:1], ANSWERS[:1], site="gates")[0]
    neurons = llama.states_of([None], PROMPTS[:1], ANSWERS[:1], site="neurons")[0]
    inputs = {}
    hooks = [
        block.mlp.up_proj.register_forward_hook(lambda _m, _a, out, layer=layer: inputs.setdefault(layer, out))
        for layer, block in enumerate(adapter.blocks)
    ]
    llama.states_of([None], PROMPTS[:1], ANSWERS[:1])
    for hook in hooks:
        hook.remove()
    up = np.stack([inputs[layer][0, -gates.shape[1] :].numpy() for layer in range(adapter.n_layers)])
    np.testing.assert_allclose(gates * up, neurons, atol=1e-6)
    assert gates.shape[2] == sites.width(adapter, "gates") == 96
    assert gates.min() > -0.3  # SiLU's minimum
    # Prefill and the tokens of an answer before steering starts are left alone bit for bit (decode only).
    vectors = np.ones((1, adapter.n_layers, 96), np.float32)
    decode = Steering(site="gates", positions="last", scale=0.2, preserve_norm=False)
    before = llama.read([None], PROMPTS[:1], want_states=True, site="gates", state_at=[4]).states
    after = llama.read(
        [None], PROMPTS[:1], want_states=True, site="gates", state_at=[4], vectors=vectors, steering=decode
    ).states
    np.testing.assert_array_equal(before, after)
    moved = llama.states_of([None], PROMPTS[:1], ANSWERS[:1], site="gates", vectors=vectors, steering=decode)[0]
    np.testing.assert_allclose(moved[0], gates[0] + 0.2, atol=1e-6)
    # With no token of the prompt steered, the first word of an answer is as likely as it was, and later ones are not.
    none = {"vectors": vectors, "steering": decode.model_copy(update={"positions": "none"})}
    (before,), (after,) = (llama.predict([None], PROMPTS[:1], ANSWERS[:1], **given) for given in ({}, none))
    np.testing.assert_allclose(after[0], before[0], atol=1e-6)
    assert np.abs(after[1] - before[1]).max() > 1e-3
    prompt = llama.read([None], PROMPTS[:1], want_states=True, **none).states
    np.testing.assert_array_equal(prompt, llama.read([None], PROMPTS[:1], want_states=True).states)
    generated = [llama.answer([None], PROMPTS[:1], max_new_tokens=1, **given) for given in ({}, none)]
    assert generated[0] == generated[1]


def test_capped_gates_are_never_positive_and_the_others_untouched(llama):
    adapter = llama.adapter
    support = np.zeros((adapter.n_layers, 96), bool)
    support[1, ::3] = True
    cap = Steering(operator="cap", scale=1.0, site="gates", preserve_norm=False)
    plain = llama.states_of([None], PROMPTS[:1], ANSWERS[:1], site="gates")[0]
    capped = llama.states_of([None], PROMPTS[:1], ANSWERS[:1], site="gates", steering=cap, support=support)[0]
    assert plain[1][:, support[1]].max() > 0
    np.testing.assert_array_equal(capped[1][:, support[1]], np.minimum(plain[1][:, support[1]], 0))
    np.testing.assert_array_equal(capped[1][:, ~support[1]], plain[1][:, ~support[1]])
    nothing = cap.model_copy(update={"scale": 0.0})
    same = llama.states_of([None], PROMPTS[:1], ANSWERS[:1], site="gates", steering=nothing, support=support)[0]
    np.testing.assert_array_equal(same, plain)
    with pytest.raises(ValueError, match="operator cap is about the coordinates of a support"):
        llama.states_of([None], PROMPTS[:1], ANSWERS[:1], steering=cap)
    with pytest.raises(ValueError, match="preserve_norm: true would undo operator cap inside a support"):
        llama.answer([None], PROMPTS[:1], steering=cap.model_copy(update={"preserve_norm": True}), support=support)


AXES = {
    "short": {"positive": ["Be brief."], "negative": ["Be long."], "check": {"words_at_most": 3}},
    "plain": {"positive": ["Be plain."], "negative": ["Be florid."]},
}
ARMS = {
    "mean": {},
    "prompt_last": {"answers": False, "instructions": True, "tokens": "prompt_last", "length": "unit"},
    "fired": {
        "build": "fired",
        "support": {"by": "firing", "keep": 0.05, "side": "positive"},
        "steering": {"site": "gates", "positions": "last", "preserve_norm": False},
    },
    "capped": {
        "support": {"by": "firing", "keep": 0.05, "side": "negative"},
        "steering": {"site": "gates", "operator": "cap", "preserve_norm": False},
        "strengths": [1.0],
    },
    "random": {"control": "random"},
    "prompt": {"build": None, "instructed": True},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    words = [f"{kind} {number}" for number in range(8) for kind in ("dog", "rain", "boat")]
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for axis in AXES:
            for number, word in enumerate(words):
                said = f"A {word}.", f"It is the {word}, as far as I can hear it in the {words[number - 1]}."
                writer.writerow([f"{axis}-{word}", word, axis, f"What is there with the {word}?", *said])
    (folder / "neutral.csv").write_text("id,prompt\na,Describe a boat.\nb,What is a lamp?\n")
    (folder / "guardrail.csv").write_text(
        "id,source,question,answer,wrong_1,wrong_2\na,a,Is snow warm?,no,yes,maybe\nb,b,Two and two?,four,six,ten\n"
    )
    return folder


@pytest.fixture(scope="module")
def effects(files):
    return Effects.model_validate(
        {
            "axes": AXES,
            "arms": ARMS,
            **{"n_build": 5, "n_choose": 3, "n_report": 5, "layers": ["0-1", "2-3"], "strengths": [0.5, 1.0]},
            **{"options": True, "token_mass": 2, "n_generated": 2, "max_new_tokens": 4, "limit": 100.0},
            **{"neutral": str(files / "neutral.csv"), "guardrail": str(files / "guardrail.csv")},
        }
    )


@pytest.fixture(scope="module")
def sides(files, effects):
    return split(read_pairs(files / "pairs.csv", list(AXES)), effects)


def test_nothing_added_changes_nothing(llama, effects, sides):
    meter, reported = Meter(llama, effects), sides["short"][REPORT]
    zero = Direction(np.zeros((llama.adapter.n_layers, llama.adapter.hidden_size), np.float32), None)
    still = Steered(zero, Steering(scale=1.0))
    for measure in (meter.margins, meter.options):
        before, after = measure(reported, NOBODY), measure(reported, still)
        np.testing.assert_allclose([row.value for row in before], [row.value for row in after], atol=1e-5)
    assert max(row.value for row in meter.divergence(still)) < 1e-6
    axis = effects.axes["short"]
    assert meter.generated(reported, axis, NOBODY) == meter.generated(reported, axis, still)


def test_margins_and_options_turn_with_the_pair(llama, effects, sides):
    """Exchanging the two answers turns the margins, and leaves what letters and rows are worth."""
    meter, reported = Meter(llama, effects), sides["short"][REPORT]
    turned = [type(pair)(**vars(pair) | {"positive": pair.negative, "negative": pair.positive}) for pair in reported]

    def values(rows, measure):
        return np.array([row.value for row in rows if row.measure == measure])

    np.testing.assert_allclose(
        values(meter.margins(reported, NOBODY), "margin"), -values(meter.margins(turned, NOBODY), "margin"), atol=1e-5
    )
    here, there = meter.options(reported, NOBODY), meter.options(turned, NOBODY)
    np.testing.assert_allclose(values(here, "option_margin"), -values(there, "option_margin"), atol=1e-4)
    for measure in ("letter_margin", "row_margin"):
        np.testing.assert_allclose(values(here, measure), values(there, measure), atol=1e-4)


def test_token_mass_lies_between_minus_one_and_one_and_tokens_are_told_apart(llama, effects, sides):
    meter = Meter(llama, effects)
    own = meter.own_tokens(sides["short"]["build"])
    assert not set(own[0].tolist()) & set(own[1].tolist())
    mass = [row.value for row in meter.token_mass(sides["short"][REPORT], NOBODY, own)]
    assert mass
    assert all(-1 <= value <= 1 for value in mass)


def test_every_arm_is_measured_and_chosen_on_other_pairs(llama, effects, sides):
    study = Study(Meter(llama, effects), effects, sides)
    found = {unit: study.measure(unit) for unit in units_of(effects)}
    reported = {pair.pair_id for pair in sides["short"][REPORT]}
    chosen_on = {pair.pair_id for pair in sides["short"][CHOOSE]}
    for (axis, arm), table in found.items():
        margins = table[(table["measure"] == "margin") & (table["measured"] == "short")]
        assert set(margins[margins["split"] == "report"]["item"]) == reported
        assert set(margins[margins["split"] == "choose"]["item"]) <= chosen_on
        assert np.isfinite(table["value"]).all()
        if arm in ("unsteered", "prompt"):
            continue
        (chosen,) = table[table["measure"] == "chosen"].itertuples()
        tried = table[(table["split"] == "choose") & (table["measure"] == "margin") & (table["measured"] == axis)]
        means = tried.groupby(["layers", "strength"])["value"].mean()
        assert means[chosen.layers].idxmax() == chosen.value
        assert set(table[table["split"] == "report"]["layers"]) == {chosen.layers}
        assert {"divergence", "guardrail", "words", "relative_length"} <= set(table["measure"])
        said = table[(table["measure"] == "words") & (table["text"] != "")]
        for measure in ("surprise", "repeated"):
            assert len(table[table["measure"] == measure]) == len(said)
    directed = found["short", "mean"]
    random = found["short", "random"]
    assert float(directed[directed["measure"] == "agreement"]["value"].iloc[0]) > 0.9
    relative = [each[each["measure"] == "relative_length"] for each in (directed, random)]
    same = relative[0].merge(relative[1], on=["layers", "strength"])
    np.testing.assert_allclose(same["value_x"], same["value_y"], rtol=1e-5)


def test_directions_add_up_exactly_where_what_is_read_is_linear_in_the_state(llama, sides, monkeypatch):
    """After the last block of a model without a final norm, the margin of two answers, a token each, is linear.

    Nothing lies between what is added there and the logits: both directions do together what each does alone, and do
    so no more once lengths are restored.
    """
    monkeypatch.setitem(llama.adapter.text_stack._modules, "norm", torch.nn.Identity())
    told = {"short": dict(sides["short"]), "plain": {}}
    for side, of_side in sides["plain"].items():
        told["plain"][side] = [replace(p, negative="Because the dog barks at the rooster.") for p in of_side]
    for of_axis in told.values():
        of_axis[REPORT] = [replace(pair, positive="the", negative="a") for pair in of_axis[REPORT]]
    differences = {}
    for preserve_norm in (False, True):
        steered = {"steering": {"preserve_norm": preserve_norm}, "layers": "last", "strengths": [300.0, 1000.0]}
        arms = {"mean": steered, "random": steered | {"control": "random"}}
        for name, second in (("both", "mean"), ("with_random", "random")):
            arms[name] = steered | {"plus": {"axis": "plain", "arm": second}, "along": ["short"]}
        few = Effects.model_validate(
            {"axes": AXES, "arms": arms, "n_generated": 0, "limit": 1e6, "n_build": 5, "n_choose": 3, "n_report": 5}
        )
        study = Study(Meter(llama, few), few, told)
        found = pd.concat([study.measure(unit) for unit in units_of(few)])
        table = additivity(found, few.sums)
        assert set(table["arm"]) == {"both", "with_random"}
        assert (table[["first", "second"]].abs().to_numpy() > 0).all()
        assert table["cosine"].between(-0.99, 0.99).all()
        differences[preserve_norm] = table["difference"].abs().max() / table["both"].abs().max()
    assert differences[False] < 1e-4
    assert differences[True] > 1e-2


def test_steering_is_followed_along_answers_exactly_where_it_is(llama, files, effects, sides, monkeypatch):
    """What leaves the last block goes to its own token's prediction and to no other: drift ends where steering does."""
    (files / "long.csv").write_text("id,prompt\na,What is there?\nb,Describe the rain.\n")
    asked = {"prompts": str(files / "long.csv"), "max_new_tokens": 8, "bin": 1}
    long = Effects.model_validate(effects.model_dump() | {"decay": asked})
    meter, adapter = Meter(llama, long), llama.adapter
    monkeypatch.setitem(adapter.text_stack._modules, "norm", torch.nn.Identity())
    own = meter.own_tokens(sides["short"]["build"])
    head = adapter.head.weight.detach().numpy()
    vectors = np.zeros((adapter.n_layers, adapter.hidden_size), np.float32)
    vectors[-1] = head[own[0]].mean(axis=0) - head[own[1]].mean(axis=0)
    steering = Steering(scale=50.0, layers="last", positions="none", decoding={"first": 3}, preserve_norm=False)

    def bins(vectors):
        rows = meter.decay("short", Steered(Direction(vectors, None), steering), own)
        return pd.DataFrame(rows)[lambda table: table["measure"] != "decoded"]

    moved = bins(vectors)
    assert set(moved["measure"]) == set(DECAYED)
    for measure, values in moved.groupby("measure"):
        # The first token is predicted by the prompt, the next three by steered ones.
        inside = values[values["token"].between(1, 3)]["value"]
        assert len(inside) >= 3
        assert (inside > 1e-4).all(), measure
        assert values[~values["token"].between(1, 3)]["value"].abs().max() < 1e-5, measure
    assert bins(0 * vectors)["value"].abs().max() < 1e-6
    unsteered = meter.decay("short", NOBODY, own)
    assert {row.measure for row in unsteered} == {"decoded"}
    assert all(row.value > 0 for row in unsteered)


def test_blocks_that_a_support_leaves_alone_say_nothing_of_the_sign(llama, effects, sides):
    """A support in one block of four: held-out pairs agree there or not, and nowhere else."""
    one = {"support": {"by": "cohens_d", "keep": 1 / 256}, "layers": "all", "strengths": [1.0]}
    few = effects.model_copy(update={"arms": {"one": Arm.model_validate(one)}})
    table = Study(Meter(llama, few), few, sides).measure(("short", "one"))
    assert float(table[table["measure"] == "agreement"]["value"].iloc[0]) > 1 / 4
    assert float(table[table["measure"] == "relative_length"]["value"].iloc[0]) > 0


def test_a_direction_of_the_wrong_sign_stops_the_study(llama, effects, sides):
    turned = {}
    for axis, of_axis in sides.items():
        others = [*of_axis[CHOOSE], *of_axis[REPORT]]
        turned[axis] = of_axis | {
            CHOOSE: [type(p)(**vars(p) | {"positive": p.negative, "negative": p.positive}) for p in others]
        }
    study = Study(Meter(llama, effects), effects, turned)
    with pytest.raises(UserError, match=r"arm 'mean' along 'short': .* it points the wrong way \(\d+ % of \d+ agree\)"):
        study.measure(("short", "mean"))


def test_a_killed_job_goes_on_after_the_arms_that_are_there(tmp_path, files, effects, monkeypatch):
    folder = checkpoint("llama", {}, tmp_path / "checkpoint")
    few = effects.model_copy(update={"arms": {name: effects.arms[name] for name in ("mean", "prompt")}})
    settings = EffectSettings(
        model=Model(checkpoint=str(folder), device="cpu", dtype="float32"), pairs=str(files / "pairs.csv"), effects=few
    )

    def run(name):
        output = tmp_path / name
        beside = {name: str(tmp_path / f"{name}.json") for name in ("origin", "performance")}
        given = [f"--{name}={value}" for name, value in beside.items()]
        steer_texts.main(["--settings", settings.as_json(), "--output", str(output), *given])
        return output.read_bytes()

    whole = run("whole.csv")
    measure, done = Study.measure, []

    def killed(study, unit):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(unit)
        return measure(study, unit)

    monkeypatch.setattr(Study, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        run("again.csv")
    monkeypatch.setattr(Study, "measure", lambda study, unit: done.append(unit) or measure(study, unit))
    assert run("again.csv") == whole
    assert done == units_of(few)
    assert json.loads((tmp_path / "origin.json").read_text())["device"] == "cpu"
    table = pd.read_csv(tmp_path / "whole.csv", keep_default_na=False)
    assert len(table.drop_duplicates(["axis", "arm"])) == len(units_of(few))
    assert json.loads((tmp_path / "performance.json").read_text())["n_samples"] == 2


def test_facts_are_taught_and_an_edit_shifts_what_comes_out_where_they_are_forgotten(tmp_path, files):
    folder = checkpoint("llama", {}, tmp_path / "checkpoint")
    engine = Engine(load(Model(checkpoint=str(folder), device="cpu", dtype="float32")))
    facts = read_pairs(files / "pairs.csv", ["short", "plain"])
    forget, retain = facts["short"][:4], facts["plain"][4:10]
    everything, block = [*forget, *retain], 2
    asked = Unlearning(epochs=30, learning_rate=3e-3, batch=5)
    meter = Meter(engine, Effects(per_token=False))
    before = np.array([row.value for row in meter.margins(everything, NOBODY)])
    knew = unlearning.last_states(engine, forget, "block", block)
    losses = unlearning.teach(engine.adapter, everything, asked)
    assert losses[-1] < 0.3 * losses[0]
    assert not any(parameter.requires_grad for parameter in engine.adapter.model.parameters())
    after = np.array([row.value for row in meter.margins(everything, NOBODY)])
    assert (after > before).all()
    direction = (knew - unlearning.last_states(engine, forget, "block", block)).mean(axis=0)
    inputs = [unlearning.last_states(engine, each, "neurons", block) for each in (forget, retain)]
    projection = engine.adapter.blocks[block].mlp.down_proj
    weight = projection.weight.detach().numpy().T.astype(np.float64)
    changed = unlearning.edited(weight, *inputs, direction, 2.0, "update", 1e-9)
    shift = inputs[0] @ (changed - weight)
    np.testing.assert_allclose(shift, np.broadcast_to(2 * direction, shift.shape), atol=2e-3)
    np.testing.assert_allclose(inputs[1] @ (changed - weight), 0, atol=2e-3)
    # With the direction left out, the safe form leaves the weight alone and the published one does not.
    np.testing.assert_allclose(unlearning.edited(weight, *inputs, 0 * direction, 2.0, "update", 0.1), weight)
    assert np.abs(unlearning.edited(weight, *inputs, 0 * direction, 2.0, "from_scratch", 0.1) - weight).max() > 0.01
    with torch.no_grad():
        projection.weight.copy_(torch.as_tensor(changed.T.copy()))
    moved = unlearning.last_states(engine, forget, "mlp", block)
    np.testing.assert_allclose(moved, inputs[0] @ changed, atol=1e-4)
    half = Engine(load(Model(checkpoint=str(folder), device="cpu", dtype="bfloat16")))
    with pytest.raises(UserError, match=r"facts are taught in float32, and the model is in torch\.bfloat16"):
        unlearning.teach(half.adapter, everything, asked)


def facts_of(folder, files):
    """Some of the tests' pairs as facts, and the same in other words."""
    with (files / "pairs.csv").open() as file:
        first, *rows = csv.reader(file)
    of_kind = {"short": ("forget", slice(0, 4)), "plain": ("retain", slice(4, 10))}
    with (folder / "facts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(first)
        for axis, (kind, some) in of_kind.items():
            for name, source, _, question, *answers in [row for row in rows if row[2] == axis][some]:
                writer.writerow([name, source, kind, question, *answers])
                writer.writerow([f"{name}-again", source, f"{kind}-paraphrased", f"Say, {question}", *answers])
    return str(folder / "facts.csv")


def unlearn(folder, files, **changes):
    """What `unlearn_facts` measures on a random model."""
    model = checkpoint("llama", {}, folder / "checkpoint")
    asked = {"epochs": 2, "strengths": [1.0, 3.0], "strength": 3.0, "max_new_tokens": 4} | changes
    asked |= {"neutral": str(files / "neutral.csv"), "guardrail": str(files / "guardrail.csv")}
    settings = UnlearningSettings.model_validate(
        {"model": {"checkpoint": str(model), "device": "cpu", "dtype": "float32"}, "pairs": facts_of(folder, files)}
        | {"unlearning": asked}
    )
    beside = {name: folder / f"{name}.json" for name in ("origin", "performance")} | {"output": folder / "found.csv"}
    unlearn_facts.main(["--settings", settings.as_json(), *(f"--{name}={path}" for name, path in beside.items())])
    return pd.read_csv(folder / "found.csv", keep_default_na=False)


def test_an_unlearning_measures_leaks_beside_a_random_direction(tmp_path, files, monkeypatch):
    surprised = []

    def surprise(meter, *about):
        weights = [weight.double().sum().item() for weight in meter.engine.adapter.model.parameters()]
        surprised.append(tuple(weights))
        return Meter.surprise(meter, *about)

    monkeypatch.setattr(unlearning, "Meter", type("Watched", (Meter,), {"surprise": surprise}))
    found = unlearn(tmp_path, files)
    assert list(dict.fromkeys(found["arm"])) == ["unsteered", "original", "update", "from_scratch", "random"]
    assert json.loads((tmp_path / "origin.json").read_text())["pairs_digest"]
    for arm, of_arm in found[found["split"] == "report"].groupby("arm"):
        chosen = of_arm[of_arm["strength"].isin([0.0, 3.0])]
        for measure in ("kept", "refused", "reward"):
            measured = set(chosen[chosen["measure"] == measure]["measured"])
            assert measured == {"forget", "retain", "forget-paraphrased", "retain-paraphrased"}
        assert set(chosen[chosen["measure"] == "margin"]["measured"]) == {"forget", "retain"}
        assert {"guardrail", "words", "surprise"} <= set(chosen["measure"])
        assert ("divergence" in set(chosen["measure"])) == (arm != "original")
        milder = of_arm[of_arm["strength"] == 1.0]
        assert set(milder["measured"]) <= {"", "forget", "retain"}
        assert ("kept" in set(milder["measure"])) == (arm in ("update", "from_scratch", "random"))
    lengths = found[found["measure"] == "relative_length"].pivot(index="strength", columns="arm", values="value")
    np.testing.assert_allclose(lengths["random"], lengths["update"])
    # Another direction is another edit.
    divergence = found[(found["measure"] == "divergence") & (found["strength"] == 3.0)].groupby("arm")["value"].mean()
    assert divergence["random"] != pytest.approx(divergence["update"], rel=1e-3)
    surprise = found[(found["measure"] == "surprise") & found["strength"].isin([0.0, 3.0])].groupby("arm")["value"]
    assert surprise.mean().idxmin() == "unsteered"
    # Whoever gave an answer, how surprising it is says the taught model, without what an edit wrote into it.
    assert len(surprised) == 2 * 5
    (taught,) = set(surprised)
    plain = load(Model(checkpoint=str(tmp_path / "checkpoint"), device="cpu", dtype="float32")).model
    assert taught != tuple(weight.double().sum().item() for weight in plain.parameters())


def test_reinforcement_starts_from_the_edit(tmp_path, files):
    pytest.importorskip("trl", reason="reinforcement needs the package trl: uv sync --group reinforce")
    taught = {"forms": ["update"], "epochs": 20, "learning_rate": 3e-3, "max_new_tokens": 8, "strengths": [0.1]}
    step = {"steps": 2, "questions": 5, "rollouts": 4, "temperature": 1.0, "learning_rate": 1e-3}
    found = unlearn(tmp_path, files, **taught, strength=0.1, reinforce=step)
    assert list(dict.fromkeys(found["arm"])) == ["unsteered", "original", "update", "random", "reinforced"]
    of_arm = found[found["arm"] == "reinforced"]
    rewards = of_arm[of_arm["measure"] == "rollout_reward"]["value"]
    assert len(rewards) == 2
    assert rewards.between(0, 1).all()
    # The reference is the edited model, not the checkpoint: at the first step nothing has moved, at the second it has.
    first, second = of_arm[of_arm["measure"] == "rollout_kl"]["value"]
    assert first == pytest.approx(0, abs=1e-6)
    assert second > 1e-3
    margins = found[(found["measure"] == "margin") & (found["strength"] == 0.1)].groupby("arm")["value"].mean()
    assert margins["reinforced"] != pytest.approx(margins["update"], rel=1e-3)
    measured = found.groupby("arm")["measure"].agg(set)
    assert measured["reinforced"] - measured["update"] == {"rollout_reward", "rollout_kl"}


def test_rewards_rise_and_facts_to_forget_become_less_likely(tmp_path, files):
    pytest.importorskip("trl", reason="reinforcement needs the package trl: uv sync --group reinforce")
    folder = checkpoint("llama", {}, tmp_path / "checkpoint")
    engine = Engine(load(Model(checkpoint=str(folder), device="cpu", dtype="float32")))
    facts = read_facts(facts_of(tmp_path, files))["forget"]
    unlearning.teach(engine.adapter, facts, Unlearning(epochs=40, learning_rate=3e-3, batch=4))

    def likely():
        found = engine.choose([None] * 4, [fact.question for fact in facts], [[fact.positive] for fact in facts])
        return found.means[:, 0].mean()

    before = likely()
    settings = Reinforcement(steps=6, questions=4, rollouts=8, learning_rate=3e-4, kl=0.0, temperature=1.0)
    steps = reinforcing.reinforce(engine.adapter, facts, settings, 8, 0)
    assert likely() < before - 0.1
    assert np.mean([step["reward"] for step in steps[-2:]]) > np.mean([step["reward"] for step in steps[:2]])
    assert all("kl" not in step for step in steps)
    assert not any(parameter.requires_grad for parameter in engine.adapter.model.parameters())


def test_reinforcement_without_its_packages_is_refused_before_the_model_is_loaded(tmp_path, files, monkeypatch):
    monkeypatch.setattr(unlearn_facts.selfcheck, "load", lambda model: pytest.fail("the model was loaded"))
    with monkeypatch.context() as installed:
        installed.setattr(reinforcing.importlib.util, "find_spec", lambda name: name)
        with pytest.raises(UserError, match=r"unlearning\.reinforce\.questions: 11 of 10 facts; lower it"):
            unlearn(tmp_path, files, reinforce={"steps": 1, "questions": 11})
    monkeypatch.setattr(reinforcing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"unlearning\.reinforce: it takes the package trl, .* the group reinforce"):
        unlearn(tmp_path, files, reinforce={"steps": 1})
