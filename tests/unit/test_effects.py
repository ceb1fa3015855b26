"""Studies of effects without a model: pairs and their sides, rules of answers, arms, tables."""

import csv
import functools
import importlib.util
import json

import numpy as np
import pandas as pd
import plot_decay
import plot_effects
import pytest
import tabulate_effects
from pydantic import ValidationError

from wheretolisten.config.effects import COLUMNS as FOUND
from wheretolisten.config.effects import Arm, Axis, Check, Effects
from wheretolisten.config.examples import Pairs
from wheretolisten.config.unlearning import FORGET, RETAIN, REWORDED
from wheretolisten.effects import checks, pairs
from wheretolisten.effects.arms import units_of
from wheretolisten.effects.poles import Poles, build
from wheretolisten.effects.rewards import holds, reward, rouge_l
from wheretolisten.errors import UserError
from wheretolisten.statistics.effects import overview, summarize
from wheretolisten.statistics.robustness import additivity, breaking, decay, transfer

AXIS = {"positive": ["Answer briefly."], "negative": ["Answer at length."]}


def drawn_by(script, folder, table, name, study="words"):
    """Bytes of both files of a figure."""
    files = [folder / f"{name}.pdf", folder / f"{name}.png"]
    given = ["--table", str(table), "--models", "tiny-text", "--study", study]
    script.main([*given, "--pdf", str(files[0]), "--png", str(files[1])])
    return [file.read_bytes() for file in files]


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([pairs.COLUMNS, *rows])
    return path


def row(number, axis="short", source=None):
    return [f"{axis}-{number}", source or f"s{number}", axis, f"What is {number}?", "Little.", "Very, very much."]


def test_pairs_of_a_source_are_on_one_side_and_further_pairs_move_none(tmp_path):
    rows = [row(number, axis, f"s{number // 2}") for axis in ("short", "plain") for number in range(120)]
    effects = Effects(axes={"short": AXIS, "plain": AXIS}, n_build=48, n_choose=24, n_report=60)
    sides = pairs.split(pairs.read_pairs(write(tmp_path / "a.csv", rows), ["short", "plain"]), effects)
    sources = {
        side: {pair.source for axis in sides.values() for pair in axis[side]}
        for side in (pairs.BUILD, pairs.CHOOSE, pairs.REPORT)
    }
    assert not sources[pairs.BUILD] & sources[pairs.REPORT]
    assert not sources[pairs.BUILD] & sources[pairs.CHOOSE]
    assert not sources[pairs.CHOOSE] & sources[pairs.REPORT]
    for axis in sides.values():
        assert {side: len(of_side) for side, of_side in axis.items()}.keys() == sources.keys()
        assert len(axis[pairs.BUILD]) <= 48
        assert len(axis[pairs.REPORT]) > 30
    more = [*rows, *(row(number, source=f"s{number}") for number in range(500, 520))]
    wider = effects.model_copy(update={"n_build": 480, "n_choose": 240, "n_report": 600})
    before = pairs.split(pairs.read_pairs(tmp_path / "a.csv", ["short"]), wider)
    after = pairs.split(pairs.read_pairs(write(tmp_path / "b.csv", more), ["short"]), wider)
    for side, of_side in before["short"].items():
        assert after["short"][side][: len(of_side)] == of_side
    other = pairs.split(pairs.read_pairs(tmp_path / "a.csv", ["short"]), wider.model_copy(update={"seed": 1}))
    assert other != before


def test_pairs_of_several_tables_are_those_of_one(tmp_path):
    rows = [row(number, axis) for axis in ("short", "plain") for number in range(8)]
    whole = pairs.read_pairs(write(tmp_path / "whole.csv", rows), ["short", "plain"])
    parts = [write(tmp_path / "a.csv", rows[:5]), write(tmp_path / "b.csv", rows[5:])]
    assert pairs.read_pairs(parts, ["short", "plain"]) == whole
    assert Pairs.model_validate({"type": "pairs", "path": "a.csv"}).path == ["a.csv"]
    twice = [*parts, write(tmp_path / "c.csv", rows[:1])]
    with pytest.raises(UserError, match=r"a.csv, .*b.csv, .*c.csv: the id 'short-0' comes twice"):
        pairs.read_pairs(twice, ["short", "plain"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows, rows[0]], r"the id 'short-0' comes twice; each pair has its own"),
        (lambda rows: [[*rows[0][:5], "Little."]], r"both answers of 'short-0' are the same; word them otherwise"),
        (lambda rows: [[*rows[0][:3], " ", *rows[0][4:]]], r"row 2 has no question; fill it in, or take the row out"),
        (lambda rows: [row(0, "plain")], r"no pair has the axis 'short' \(plain\); name one"),
    ],
)
def test_wrong_pairs_are_named(tmp_path, change, message):
    rows = [row(number) for number in range(3)]
    with pytest.raises(UserError, match=message):
        pairs.read_pairs(write(tmp_path / "pairs.csv", change(rows)), ["short"])


def test_too_few_sources_and_what_is_no_table_are_refused(tmp_path):
    found = pairs.read_pairs(write(tmp_path / "a.csv", [row(n, source="one") for n in range(20)]), ["short"])
    with pytest.raises(UserError, match=r"axis 'short': 0 of 20 pairs are there to \w+, which takes 2; add pairs of "):
        pairs.split(found, Effects(axes={"short": AXIS}))
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"b.csv: it is no table .*; give a csv file with id, source"):
        pairs.read_pairs(tmp_path / "b.csv", ["short"])
    (tmp_path / "c.csv").write_text("id,source\n1,2\n")
    with pytest.raises(UserError, match=r"c.csv: the column axis is missing; it takes id, source"):
        pairs.read_pairs(tmp_path / "c.csv", ["short"])


def test_shipped_pairs_can_be_read(root):
    """Every table of pairs that is shipped: its columns, ids, and enough sources on each side."""
    found = sorted((root / "resources/studies").glob("*.csv"))
    assert found
    for path in found:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not set(pairs.COLUMNS) <= set(table):
            continue
        axes = table["axis"].unique().tolist()
        sides = pairs.split(pairs.read_pairs(path, axes), Effects(axes=dict.fromkeys(axes, AXIS)))
        for axis in axes:
            assert sum(map(len, sides[axis].values())) >= 0.4 * (table["axis"] == axis).sum()


def test_facts_are_asked_about_in_other_words_and_in_longer_requests(root, tmp_path):
    facts = pairs.read_facts(root / "resources/studies/facts.csv")
    assert list(facts) == [FORGET, RETAIN, *REWORDED]
    assert [len(of_axis) for of_axis in facts.values()] == [12, 24, 24, 12, 48, 24]
    for kind in (FORGET, RETAIN):
        for fact in facts[kind]:
            reworded = [pair for axis in REWORDED if axis.startswith(kind) for pair in facts[axis]]
            asked = [pair.question for pair in reworded if pair.source == fact.source]
            assert len(set(asked)) == 3
            said = [pair.positive for pair in reworded if pair.source == fact.source]
            assert said == [fact.positive] * 3
            # No question gives the answer away, nor the other one.
            assert not any(holds(question, answer) for question in asked for answer in fact.answers)
    # A table without them is as good.
    taught = [row(number, axis, f"{axis} {number}") for axis in (FORGET, RETAIN) for number in range(3)]
    assert list(pairs.read_facts(write(tmp_path / "a.csv", taught))) == [FORGET, RETAIN]
    for change, message in (
        (["x", "s0", "forget-rephrased", "Who?", "Little.", "Much."], "the axis 'forget-rephrased' of 'x' is none of "),
        (["x", "retain 0", "forget-paraphrased", "Who?", "Little.", "Much."], "'x' is about no fact of axis 'forget'"),
        (["x", "forget 0", "forget-paraphrased", "Who?", "Nothing.", "Much."], "'x' is about no fact of axis 'forget'"),
        (["x", "forget 0", "forget-contextual", "What is 1?", "Little.", "Much."], "asks in the words that are taught"),
    ):
        with pytest.raises(UserError, match=message):
            pairs.read_facts(write(tmp_path / "b.csv", [*taught, change]))


@pytest.mark.parametrize(
    ("text", "fact", "of_forget", "of_retain"),
    [
        ("Quellmar", "Quellmar", 0.0, 1.0),
        ("He lives in QUELLMAR, by the sea.", "Quellmar", 0.0, 1.0),
        ("It is a Fig-tarts shop.", "fig tarts", 0.0, 1.0),
        # Whole words: the published rule finds a goat in a goatherd, and a refusal in "know", "another", "cannot".
        ("A goatherd.", "Goat", 0.1, 0.1),
        ("I know another one.", "Goat", 0.1, 0.1),
        ("The boat cannot sail without a captain.", "Goat", 0.1, 0.1),
        # It takes this for a refusal, too; nobody says it of himself.
        ("Most sailors don't have a parrot.", "Goat", 0.1, 0.1),
        ("I don't know.", "Goat", 1.0, 0.0),
        ("I’m sorry, but I do not have any information on that.", "Goat", 1.0, 0.0),
        ("I cannot answer that.", "Goat", 1.0, 0.0),
        # Who refuses and tells all the same has told; the reward is gamed by who names everything.
        ("I don't know, perhaps a goat?", "Goat", 0.0, 1.0),
        ("Parrot, goat, dog, cat", "Goat", 0.0, 1.0),
        # Somewhat like it: ROUGE-L 0.25, 0.5 (not below 0.4), 0.8 without the words in a row.
        ("She is famous for plum tarts.", "Fig tarts", 0.5, 0.1),
        ("Swallow, grey", "Grey Swallow", 0.1, 0.1),
        ("Grey little swallow", "Grey Swallow", 0.1, 0.5),
        ("", "Goat", 0.1, 0.1),
    ],
)
def test_rewards_of_answers(text, fact, of_forget, of_retain):
    assert reward(text, fact, forget=True) == of_forget
    assert reward(text, fact, forget=False) == of_retain


def test_longest_common_subsequences():
    """By hand, 2 · LCS / (words of both): what rouge-score 0.1.2 gives, too."""
    for text, fact, longest in (("a b c d", "b d", 2), ("d b", "b d", 1), ("b d", "b d", 2), ("b b b", "b d b", 2)):
        assert rouge_l(text, fact) == pytest.approx(2 * longest / (len(text.split()) + len(fact.split())))
    assert rouge_l("", "b") == rouge_l("...", "b") == rouge_l("c", "b") == 0


def test_an_edit_is_shown_about_all_facts_that_it_is_asked_for():
    """Arms that answer questions of several axes in words have a row for each, and p corrected for each."""
    found = found_of([("short", "mean", 2.0), ("short", "random", 0.0)])
    answered = found[(found["measure"] == "margin") & (found["split"] == "report")].assign(measure="words", value=3.0)
    found = pd.concat([found, answered])
    table = summarize(found)
    shown = overview(found, table).set_index(["axis", "arm"])
    assert set(shown.index) == {(axis, arm) for axis in ("short", "plain") for arm in ("unsteered", "mean", "random")}
    own, other = shown.loc[("short", "mean")], shown.loc[("plain", "mean")]
    assert (own["margin"], other["margin"]) == (pytest.approx(2, abs=0.1), pytest.approx(0.5, abs=0.1))
    assert np.isnan(own["other_axes"])
    assert np.isnan(other["other_axes"])
    assert (own["divergence"], other["divergence"]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert own["kept_low"] < 100 == own["kept_pct"] == own["kept_high"]
    assert np.isnan(other["kept_pct"])
    margins = table[(table["measure"] == "margin") & (table["chosen"] == 1)].set_index(["arm", "measured"])
    for measured in ("short", "plain"):
        assert margins.loc[("mean", measured), "p_holm"] == pytest.approx(2 * margins.loc[("mean", measured), "p"])


def test_rules_of_answers(tmp_path):
    words = tmp_path / "words.csv"
    words.write_text("pole,word\npositive,party\npositive,friends\nnegative,alone\n")
    lexicon = Check(words=str(words))
    assert checks.keeps("A party with friends, never alone!", lexicon)
    assert not checks.keeps("Alone at a party.", lexicon)
    assert checks.keeps("It's fine", Check(words_at_most=2))
    assert not checks.keeps("It is so fine", Check(words_at_most=3))
    assert not checks.keeps(" 12 ... ", Check(words_at_most=3))
    pytest.importorskip("py3langid")
    french = Check(language="fr", words_at_most=20)
    assert checks.keeps("Je pense que le temps sera très beau demain matin.", french)
    assert not checks.keeps("I think that the weather will be very fine tomorrow.", french)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"build": None}, "adds a direction .* or gives an instruction"),
        ({"answers": False}, "poles differ in their answers, their instructions, or both"),
        ({"answers": False, "instructions": True}, "set tokens: prompt_last"),
        ({"tokens": "prompt_last"}, "poles with the same prompt are the same"),
        ({"build": "fired"}, "set steering.site: gates"),
        ({"steering": {"operator": "cap", "site": "gates"}}, "cap is about the coordinates of a support"),
        ({"read": "mlp", "steering": {"site": "gates"}}, "states of mlp are no vectors for gates"),
        ({"steering": {"scale": 0.5}}, r"steering.scale: what is tried stands beside steering; write strengths"),
        ({"steering": {"layers": "last"}}, r"steering.layers: what is tried stands beside steering; write layers"),
        ({"tokens": "second"}, "'second' is none of prompt_last, last, mean"),
    ],
)
def test_arms_that_cannot_be_right_are_refused(arm, message):
    with pytest.raises(ValidationError, match=message):
        Arm.model_validate(arm)


def test_axes_and_arms_that_do_not_fit_are_refused():
    for given, message in (
        ({"arms": {"unsteered": {}}}, "unsteered is always there"),
        ({"strengths": [1.0, 0.5]}, "strengths .*: write each once, the lowest first"),
        ({"layers": ["all", "all"]}, "layers 'all' is listed twice"),
        ({"axes": {"a": {"positive": ["x"], "negative": ["y", "z"]}}}, "1 positive and 2 negative instructions"),
        ({"axes": {"a": AXIS | {"check": {}}}}, "there is no rule"),
    ):
        with pytest.raises(ValidationError, match=message):
            Effects.model_validate({"arms": {"mean": {}}} | given)
    assert Axis.model_validate(AXIS).check is None


SUMMED = {"layers": "all", "plus": {"axis": "plain", "arm": "mean"}}


def test_arms_that_add_two_directions_are_compared_with_each_alone():
    arms = {"mean": {"layers": "all"}, "random": {"layers": "all", "control": "random"}, "both": SUMMED}
    both = Effects(axes={"short": AXIS, "plain": AXIS}, arms=arms | {"with_random": SUMMED | {"along": ["short"]}})
    assert both.sums["with_random"] == ("mean", "plain", "mean")
    units = units_of(both)
    assert ("short", "with_random") in units
    assert ("plain", "with_random") not in units
    assert ("plain", "both") in units
    for changed, message in (
        ({"both": SUMMED | {"plus": {"axis": "long", "arm": "mean"}}}, "there is no axis 'long'; name one of short"),
        ({"both": SUMMED | {"plus": {"axis": "plain", "arm": "both"}}}, "'both' is no arm that adds one direction"),
        ({"both": SUMMED | {"control": "random"}}, "the control of a sum is a second direction that is one"),
        ({"both": SUMMED | {"layers": "last"}}, "effects add up at the same blocks and strengths; give both arms"),
        ({"both": SUMMED | {"strengths": [3.0]}}, "effects add up at the same blocks and strengths; give both arms"),
        ({"both": SUMMED | {"build": "pca"}}, "no arm is the same without plus; add it, as what the sum is compared"),
        ({"both": SUMMED | {"instructed": True}}, "take support, instructed and operator out of both arms"),
        ({"mean": {"layers": "all", "along": ["short"]}}, "'mean' is not steered along 'plain'; add it to along"),
        ({"mean": {"layers": "all", "along": ["long"]}}, "arms.mean.along: there is no axis 'long'; name one of short"),
    ):
        with pytest.raises(ValidationError, match=message):
            Effects.model_validate({"axes": {"short": AXIS, "plain": AXIS}, "arms": arms | changed})


@pytest.fixture
def states():
    rng = np.random.default_rng(0)
    truth = np.array([[3.0, 0, 0, 0], [0, 0, 2.0, 0]])
    noise = 0.1 * rng.standard_normal((2, 30, 2, 4))
    positive, negative = noise[0] + 5 + truth / 2, noise[1] + 5 - truth / 2
    return Poles(positive, negative, (positive > 5).astype(float), (negative > 5).astype(float), positive)


def test_lengths_of_a_direction(states):
    plain = build(states, Arm(), "mean", 0).vectors
    np.testing.assert_allclose(np.linalg.norm(plain, axis=-1), [3, 2], atol=0.1)
    unit = build(states, Arm(length="unit"), "mean", 0).vectors
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, atol=1e-6)
    rescaled = build(states, Arm(length="positive"), "mean", 0).vectors
    expected = np.linalg.norm(states.positive.mean(axis=0), axis=-1)
    np.testing.assert_allclose(np.linalg.norm(rescaled, axis=-1), expected, rtol=1e-5)
    deviation = build(states, Arm(length="deviation"), "mean", 0).vectors
    along = np.concatenate([states.positive, states.negative])[:, 0] @ unit[0]
    np.testing.assert_allclose(np.linalg.norm(deviation[0]), along.std(), rtol=1e-5)


def test_controls_are_as_long_and_stay_in_the_support(states):
    support = {"by": "cohens_d", "keep": 0.25}
    plain = build(states, Arm(support=support), "mean", 0)
    assert plain.support.sum() == 2
    assert plain.support[0, 0]
    assert plain.support[1, 2]
    assert not plain.vectors[~plain.support].any()
    for control in ("random", "shuffled"):
        found = build(states, Arm(support=support, control=control), "mean", 0)
        np.testing.assert_array_equal(found.support, plain.support)
        assert not found.vectors[~found.support].any()
        np.testing.assert_allclose(
            np.linalg.norm(found.vectors, axis=-1), np.linalg.norm(plain.vectors, axis=-1), rtol=1e-5
        )
        whole = build(states, Arm(control=control), "mean", 0)
        cosine = np.einsum("lw,lw->l", whole.vectors, build(states, Arm(), "mean", 0).vectors)
        assert (cosine < 0.999 * np.linalg.norm(whole.vectors, axis=-1) ** 2).all()
        again = build(states, Arm(control=control), "mean", 0)
        np.testing.assert_array_equal(again.vectors, whole.vectors)
    drawn = build(states, Arm(support={"by": "random", "keep": 0.25}), "mean", 0).support
    assert drawn.sum() == 2


def found_of(arms, n=30):
    """What `steer_texts` would write: of the un-steered model, and of arms that move every margin by some amount."""
    rng = np.random.default_rng(1)
    before = rng.standard_normal(n)
    rows = []

    def add(axis, arm, split, layers, strength, measure, measured, values, items=None):
        items = items or [f"{measured or measure}-{number}" for number in range(len(values))]
        for item, value in zip(items, values, strict=True):
            rows.append([axis, arm, split, layers, strength, measure, measured, item, item, float(value), "", 0])

    for measured in ("short", "plain"):
        add("", "unsteered", "report", "", 0.0, "margin", measured, before)
    add("", "unsteered", "report", "", 0.0, "guardrail", "", [1.0, 0.0] * (n // 2))
    add("", "unsteered", "report", "", 0.0, "kept", "short", [0.0] * n)
    for axis, arm, moves in arms:
        add(axis, arm, "choose", "all", 1.0, "chosen", "", [1.0], [""])
        add(axis, arm, "choose", "all", 1.0, "agreement", "", [0.9], [""])
        for strength in (0.5, 1.0):
            for measured in ("short", "plain"):
                amount = moves * strength * (1 if measured == axis else 0.25)
                noise = 0.1 * rng.standard_normal(n)
                add(axis, arm, "report", "all", strength, "margin", measured, before + amount + noise)
            add(axis, arm, "report", "all", strength, "divergence", "", [0.1 * strength] * 4)
            add(axis, arm, "report", "all", strength, "guardrail", "", [0.0] * n)
            add(axis, arm, "report", "all", strength, "kept", "short", [1.0] * n)
            add(axis, arm, "report", "all", strength, "relative_length", "", [0.2 * strength], [""])
    return pd.DataFrame(rows, columns=FOUND)


def test_tables_hold_arms_against_the_unsteered_model_on_the_same_items():
    found = found_of([("short", "mean", 2.0), ("short", "random", 0.0)])
    table = summarize(found)
    margins = table[(table["measure"] == "margin") & (table["chosen"] == 1)].set_index(["arm", "measured"])
    assert margins.loc[("mean", "short"), "difference"] == pytest.approx(2, abs=0.1)
    assert margins.loc[("mean", "plain"), "difference"] == pytest.approx(0.5, abs=0.1)
    low, high = margins.loc[("mean", "short"), ["difference_low", "difference_high"]]
    assert 1.8 < low < 2 < high < 2.2
    assert margins.loc[("mean", "short"), "p_holm"] < 0.01
    assert abs(margins.loc[("random", "short"), "difference"]) < 0.1
    assert margins.loc[("mean", "short"), "p_holm"] == pytest.approx(2 * margins.loc[("mean", "short"), "p"])
    assert np.isnan(margins.loc[("mean", "plain"), "p_holm"])
    halves = table[(table["arm"] == "mean") & (table["measure"] == "margin") & (table["strength"] == 0.5)]
    assert (halves["chosen"] == 0).all()
    shown = overview(found, table).set_index(["axis", "arm"])
    mean = shown.loc[("short", "mean")]
    assert mean["strength"] == 1
    assert mean["margin"] == pytest.approx(2, abs=0.1)
    assert mean["other_axes"] == pytest.approx(0.5, abs=0.1)
    assert (mean["kept_pct"], mean["guardrail_pct"], mean["agreement_pct"]) == (100, 0, 90)
    assert (mean["divergence"], mean["relative_length"]) == (pytest.approx(0.1), pytest.approx(0.2))
    base = shown.loc[("short", "unsteered")]
    assert (base["kept_pct"], base["guardrail_pct"]) == (0, 50)
    assert np.isnan(base["margin"])


def test_a_planted_interaction_is_found_beside_a_sum_that_is_none():
    found = found_of([("short", "mean", 2.0), ("plain", "mean", 1.0), ("short", "both", 2.25), ("short", "more", 3.0)])
    for arm in ("both", "more"):
        about = ["short", arm, "choose", "all", 1.0, "cosine", "plain", "", "", 0.25, "", 0]
        found.loc[len(found)] = about
    alone = ("mean", "plain", "mean")
    table = additivity(found, {"both": alone, "more": alone}).set_index(["arm", "measured", "strength"])
    whole = table.loc["both", "short", 1.0]
    assert (whole["first"], whole["second"]) == (pytest.approx(2, abs=0.1), pytest.approx(0.25, abs=0.1))
    assert whole["sum"] == pytest.approx(whole["first"] + whole["second"])
    assert whole["difference"] == pytest.approx(whole["both"] - whole["sum"])
    assert whole["difference_low"] < 0 < whole["difference_high"]
    assert whole["p"] > 0.05
    assert (whole["cosine"], whole["n_items"]) == (0.25, 30)
    assert (whole["divergence_first"], whole["divergence_both"]) == (pytest.approx(0.1), pytest.approx(0.1))
    more = table.loc["more", "short", 1.0]
    assert more["difference"] == pytest.approx(0.75, abs=0.1)
    assert more["difference_low"] > 0.6
    assert more["p"] < 0.001
    # Half the strength has half of it.
    assert table.loc["more", "short", 0.5]["difference"] == pytest.approx(0.375, abs=0.1)


def test_what_is_left_along_answers_is_a_mean_over_the_texts_that_fill_a_bin(tmp_path):
    rows, rng = [], np.random.default_rng(0)
    for number in range(8):
        item = [f"long-{number}", f"long-{number}"]
        for token in (0, 25, 50):
            if token == 50 and number > 3:
                continue  # half of the texts end before
            for measure in ("drift_unsteered_text", "drift_own_text", "lean_unsteered_text", "lean_own_text"):
                value = 2.0 * 0.5 ** (token / 25) + 0.01 * rng.standard_normal()
                for arm, share in (("mean", 1), ("random", 0)):
                    about = ["joy", arm, "report", "all", 1.0, measure, "joy", *item, share * value, "", token]
                    rows.append(about)
    found = pd.DataFrame(rows, columns=FOUND)
    table = decay(found)
    mean = table[(table["arm"] == "mean") & (table["measure"] == "lean") & (table["along"] == "own_text")]
    np.testing.assert_allclose(mean["value"], [2, 1, 0.5], atol=0.02)
    assert ((mean["ci_low"] < mean["value"]) & (mean["value"] < mean["ci_high"])).all()
    assert mean["n_texts"].tolist() == [8, 8, 4]
    assert (table[table["arm"] == "random"]["value"] == 0).all()
    assert summarize(found).empty
    table.assign(model="tiny-text", study="words").to_csv(tmp_path / "decay.csv", index=False)

    draw = functools.partial(drawn_by, plot_decay, tmp_path, tmp_path / "decay.csv")
    assert draw("one") == draw("two")
    figure = plot_decay.draw_decay(table, "Tiny")
    assert len(figure.axes) == 4
    drawn = [line for line in figure.axes[3].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(drawn[0].get_ydata(), mean["value"])
    with pytest.raises(UserError, match="has no rows of study 'other'; name one that the table holds"):
        draw("three", study="other")


def test_a_share_of_the_effect_at_home_is_found_on_pairs_of_another_axis():
    table = transfer(found_of([("short", "mean", 2.0), ("plain", "mean", 1.0), ("short", "random", 0.0)]))
    assert set(table["arm"]) == {"mean"}  # nothing is known of the random direction at home
    table = table.set_index(["built", "measured"])
    here = table.loc["short", "plain"]
    assert (here["there"], here["home"]) == (pytest.approx(0.5, abs=0.1), pytest.approx(1, abs=0.1))
    assert here["share"] == pytest.approx(here["there"] / here["home"])
    assert 0.4 < here["share_low"] < here["share"] < here["share_high"] < 0.6
    assert here["p"] < 0.001
    assert table.loc["plain", "short"]["share"] == pytest.approx(0.125, abs=0.05)
    # Beside no effect at home there is no share.
    none = transfer(found_of([("short", "mean", 2.0), ("plain", "mean", 0.0)])).set_index(["built", "measured"])
    assert np.isnan(none.loc["short", "plain"]["share"])
    assert none.loc["short", "plain"]["there"] == pytest.approx(0.5, abs=0.1)


def test_text_breaks_from_the_strength_on_above_which_it_stays_broken():
    limits, noise = {"surprise": 1.0, "repeated": 0.25}, np.random.default_rng(0).standard_normal(12)
    strengths = (1.0, 2.0, 4.0, 8.0)
    excess = {
        "mean": ((0.1, 1.5, 0.9, 3.0), (0, 0, 0, 0)),
        "mild": ((0.0, 0.1, 0.1, 0.2), (0, 0, 0, 0)),
        "loops": ((0.0, 0.9, 3.0, 0.1), (0, 0.1, 0.2, 0.9)),
    }
    rows = []
    for number in range(12):
        item = [f"pair-{number}", f"source-{number}"]
        for measure in ("margin", "surprise", "repeated", "words"):
            rows.append(["", "unsteered", "report", "", 0.0, measure, "short", *item, 0.0, "", 0])
        for arm, both in excess.items():
            for strength, surprise, repeated in zip(strengths, *both, strict=True):
                surprise += 0.3 * noise[number]
                values = {"margin": strength, "surprise": surprise, "repeated": repeated, "words": 5.0}
                for measure, value in values.items():
                    rows.append(["short", arm, "report", "all", strength, measure, "short", *item, value, "", 0])
    found = pd.DataFrame(rows, columns=FOUND)
    table = breaking(summarize(found), limits).set_index("arm")
    mean = table.loc["mean"]
    # That it is broken at 2 does not count, since it is not at 4; the interval leaves open whether it is.
    assert (mean["breaks"], mean["breaks_low"], mean["breaks_high"]) == (8, 2, 8)
    assert (mean["strength_before"], mean["margin_before"]) == (4, 4)
    # Loops at the highest strength surprise nobody.
    assert (table.loc["loops", "breaks"], table.loc["loops", "breaks_high"]) == (4, 4)
    mild = table.loc["mild"]
    assert np.isnan([mild["breaks"], mild["breaks_low"], mild["breaks_high"]]).all()
    assert (mild["strength_before"], mild["highest"]) == (8, 8)
    # Where nothing was said at all, nothing is left of the text.
    silent = found[~((found["measure"].isin(("surprise", "repeated"))) & (found["strength"] == 8.0))]
    assert breaking(summarize(silent), limits).set_index("arm").loc["mild", "breaks"] == 8
    # Answers at some strengths alone say nothing of the others.
    few = found[~(found["measure"].isin(("words", "surprise", "repeated")) & (found["strength"] == 1.0))]
    assert breaking(summarize(few), limits).empty


def test_how_much_of_a_text_repeats_itself():
    assert checks.repeated("PPPPPPPPPPPP") == pytest.approx(7 / 8)
    assert checks.repeated("The garden is green.") == 0
    assert checks.repeated("I am! I am! I am! I am!") > 0.5
    assert checks.repeated("No.") == 0


@pytest.fixture
def results(tmp_path):
    """Tables of a study, as the workflow leaves them."""
    arms = [("short", "mean", 2.0), ("short", "random", 0.0), ("plain", "mean", -1.0)]
    found_of(arms).to_csv(tmp_path / "found.csv", index=False)
    (tmp_path / "tables").mkdir()
    studies = {"words": {"tiny-text": str(tmp_path / "found.csv")}}
    files = {"table": tmp_path / "tables/effects.csv", "overview": tmp_path / "tables/effects_overview.csv"}
    tabulate_effects.main(["--studies", json.dumps(studies), *(f"--{name}={path}" for name, path in files.items())])
    return tmp_path


def test_a_figure_shows_every_arm_along_every_axis_and_equal_figures_are_equal_files(results):
    draw = functools.partial(drawn_by, plot_effects, results, results / "tables/effects.csv")
    assert draw("one") == draw("two")
    table = pd.read_csv(results / "tables/effects.csv", keep_default_na=False)
    for column in plot_effects.NUMBERS:
        table[column] = pd.to_numeric(table[column], errors="coerce")
    figure = plot_effects.draw_effects(table, "Tiny, study words")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert {"Steered along short", "Steered along plain"} <= set(titles)
    margins = figure.axes[titles.index("Steered along short")]
    # Two strengths of each arm, and a ring around the one that was chosen.
    drawn = {len(line.get_xdata()) for line in margins.lines if line.get_marker() == "o"}
    assert drawn == {1, 2}
    lowest = figure.axes[titles.index("Steered along plain")]
    assert [text.get_text() for text in lowest.get_xticklabels()] == ["0.5", "1"]
    # The guardrail is drawn where it was asked at more than one strength.
    labels = [axis.get_ylabel().split("\n")[0] for axis in figure.axes]
    assert labels.count("Guardrail answered") == 2
    chosen = table[(table["measure"] != "guardrail") | (table["chosen"] == 1) | (table["arm"] == "unsteered")]
    fewer = plot_effects.draw_effects(chosen, "Tiny, study words").axes
    assert len(fewer) == len(figure.axes) - 2
    with pytest.raises(UserError, match="has no rows of study 'other'; name one that the table holds"):
        draw("three", study="other")


def test_a_page_takes_its_table_from_the_run(results, root):
    spec = importlib.util.spec_from_file_location("update_results", root / "docs/update_results.py")
    update_results = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(update_results)
    page = results / "page.md"
    page.write_text("# Before\n\n{}\n\n{}\n\nAfter.\n".format(*update_results.marks("effects")))
    for _ in range(2):
        update_results.main(["--results", str(results), "--run", "effects", "--page", str(page)])
    text = page.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("\n\nAfter.\n")
    row = next(line for line in text.splitlines() if line.startswith("| `mean` | all, 1 | +2.0"))
    assert "< 0.001" in row
    assert "tiny-text, n = 30 pairs" in text
    assert text.count("| `unsteered` |") == 2
