"""A tiny model that is trained to fall silent late: its lag, the direction of its mode, and steering step by step."""

import json
import re

import interrupt_streams
import numpy as np
import pandas as pd
import pytest
import tabulate_effects
import torch
import train_tiny_duplex
import transformers

from wheretolisten import checkpoint
from wheretolisten.config.interruption import INTERRUPTION, Interruption, InterruptionSettings
from wheretolisten.config.models import Model
from wheretolisten.directions import builders, steps
from wheretolisten.effects import pairs
from wheretolisten.effects.interruption import InterruptionStudy, Steered, play, steering_of
from wheretolisten.effects.pairs import BUILD, CHOOSE, REPORT
from wheretolisten.engine import sites
from wheretolisten.engine.injection import Injection, hooked
from wheretolisten.engine.streams import MoshiStreams, Stack, Stepper, Streams, moshi_stack
from wheretolisten.errors import UserError
from wheretolisten.files import sha256_of_file
from wheretolisten.models.registry import load
from wheretolisten.tiny import duplex

LAG = 4
FEW = {
    "strengths": [0.5, 1.0],
    "windows": [3, 9],
    "n_build": 9,
    "n_choose": 12,
    "n_report": 24,
    "limit": 0.5,
    "draws": 2,
}


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A model of 60 words, trained for seconds, and the table of its dialogues."""
    folder = tmp_path_factory.mktemp("duplex")
    table = pd.read_csv(root / "resources/studies/dialogues.csv")[:60]
    table.to_csv(folder / "dialogues.csv", index=False)
    settings = {"lag": LAG, "updates": 500, "batch": 16, "n_layers": 2, "learning_rate": 0.005, "n_steps": 40}
    arguments = ["--dialogues", str(folder / "dialogues.csv"), "--output", str(folder / "model")]
    train_tiny_duplex.main([*arguments, "--settings", json.dumps(settings)])
    return folder


@pytest.fixture(scope="module")
def study(trained):
    settings = Interruption.model_validate(FEW)
    sides = pairs.split(pairs.read_pairs(trained / "dialogues.csv", [INTERRUPTION]), settings)[INTERRUPTION]
    return InterruptionStudy(
        Streams(load(Model(checkpoint=str(trained / "model"), device="cpu", dtype="float32"))), settings, sides
    )


def values(rows, measure):
    return np.array([row.value for row in rows if row.measure == measure])


def interrupted(study, vectors, strength, window, block=1):
    return study.interrupted(REPORT, vectors, steering_of(block, strength, window))


def test_the_model_goes_on_for_the_lag_that_it_was_trained_to_have(study, trained):
    (_, _, _, chosen_on), (_, _, _, rows) = study.measure("unsteered")
    assert np.median(values(rows, "lag")) == np.median(values(chosen_on, "lag")) == LAG
    assert values(rows, "first_word").mean() < 0.2
    ((_, _, _, alone),) = study.measure("uninterrupted")
    assert values(alone, "first_word").mean() > 0.9
    assert not len(values(alone, "lag"))
    card = (trained / "model/README.md").read_text()
    assert "steps until it is silent when it is interrupted, mean (least, most) | 4." in card
    known = checkpoint.MADE["results/checkpoints/tiny-duplex"].description
    config = checkpoint.read_json(trained / "model/config.json")
    assert {key: config[key] for key in known} == known | {"num_hidden_layers": 2}


def test_training_follows_its_seed_to_the_byte(tmp_path):
    def weights(name, **settings):
        duplex.train(("lamp", "red", "old", "goat", "calm", "wide"), duplex.DuplexSettings(**settings), tmp_path / name)
        return (tmp_path / name / "model.safetensors").read_bytes()

    few = {"updates": 3, "batch": 2, "n_layers": 2, "hidden_size": 16}
    assert weights("one", **few) == weights("again", **few) != weights("other", **few, seed=1)


def test_a_plan_knows_the_model_that_is_yet_to_be_trained(root):
    known = checkpoint.MADE["results/checkpoints/tiny-duplex"]
    table = pd.read_csv(root / "resources/studies/dialogues.csv")
    words = list(dict.fromkeys(" ".join(table["positive"]).split()))
    made = duplex.untrained(len(duplex.tokenizer(words)), 0, 1, duplex.DuplexSettings())
    assert made.num_parameters() == known.n_parameters
    assert made.config.num_hidden_layers == known.description["num_hidden_layers"]


@pytest.mark.parametrize("how", ["scores", "clock"])
def test_the_direction_is_that_of_the_mode_and_adding_it_removes_the_lag(study, how):
    (vectors,) = study.directions[how]
    # Of other dialogues, by what the model says: a probe of the mode finds the same direction.
    played = study._alone[CHOOSE]
    quiet = played.own == study.streams.vocabulary.model["<silence>"]
    probe = builders.probe(*steps.poles(played.states.astype(np.float64), quiet, ~quiet))
    cosines = (probe * vectors).sum(axis=1) / np.linalg.norm(probe, axis=1) / np.linalg.norm(vectors, axis=1)
    assert (cosines > 0.5).all()  # of two random directions in 64 dimensions, below 0.3 in 98 of 100
    assert study.agreement(how, vectors)[0].min() == 1
    plain = interrupted(study, vectors, 1e-9, 3)
    steered = interrupted(study, vectors, 1.5, 3)
    assert values(plain, "lag").mean() > LAG - 0.5
    assert values(steered, "lag").mean() < 0.5
    assert values(steered, "first_word").mean() > 0.9
    assert values(steered, "margin").mean() > values(plain, "margin").mean() + 5
    longer = interrupted(study, -vectors, 1.0, 9)
    assert values(longer, "lag").mean() > LAG + 3
    rng, lags = np.random.default_rng(0), []
    for _ in range(4):
        drawn = rng.normal(size=vectors.shape)
        drawn *= np.linalg.norm(vectors, axis=1)[:, None] / np.linalg.norm(drawn, axis=1)[:, None]
        lags.append(values(interrupted(study, drawn, 1.0, 3), "lag").mean())
    assert abs(np.median(lags) - values(plain, "lag").mean()) < 1


def test_scores_are_shares_of_one_distribution_and_follow_the_mode(study):
    played = study._alone[BUILD]
    assert (played.speaking[:, :-1] + played.listening[:, :-1]).max() <= 1 + 1e-6  # two different tokens
    assert np.isnan(played.listening[:, -1]).all()
    quiet = played.own == study.streams.vocabulary.model["<silence>"]
    assert played.speaking[~quiet].mean() > 0.5 > played.speaking[quiet].mean()
    hears, speaks = study.kinds("scores", BUILD)
    assert quiet[hears].mean() > 0.95
    assert quiet[speaks].mean() < 0.05
    # Of the last block alone the lens is the model's own distribution.
    last = play(study.streams, study._of_side[BUILD][0], [study.streams.adapter.n_layers - 1])
    own = np.take_along_axis(last.likely, last.own[..., None], axis=-1)[..., 0]
    assert (last.speaking <= np.exp(own) + 1e-6).all()  # the latter among its own tokens alone


def test_a_direction_with_the_wrong_sign_is_refused_and_false_triggers_break_answers(study):
    (vectors,) = study.directions["clock"]
    mild, strong = (study.falsely_triggered(REPORT, vectors, steering_of(1, strength, 3)) for strength in (1e-3, 4.0))
    assert values(mild, "guardrail").mean() == 1
    assert values(strong, "guardrail").mean() < 0.5
    assert values(mild, "divergence").max() < 1e-4
    assert values(strong, "divergence").mean() > 0.5
    study.directions["clock"] = -vectors[None]
    try:
        with pytest.raises(UserError, match=r"direction by clock, block \d: on pairs .* it points the wrong way \(0 %"):
            list(study.measure("clock"))
    finally:
        study.directions["clock"] = vectors[None]


def test_nothing_added_changes_no_bit_and_what_is_read_back_was_added(study):
    dialogues, (vectors,) = study._of_side[BUILD][1], study.directions["scores"]
    onsets = [each.start for each in dialogues]
    plain = study._play(dialogues)
    still = study._play(dialogues, Steered(np.zeros_like(vectors), steering_of(0, 2.0, 3), onsets))
    for one, other in ((plain.states, still.states), (plain.own, still.own), (plain.likely, still.likely)):
        np.testing.assert_array_equal(one, other)
    moved = play(study.streams, dialogues, [0], Steered(vectors, steering_of(0, 2.0, 3), onsets), plain.own)
    for row, onset in enumerate(onsets):
        difference = moved.states[row] - plain.states[row]
        assert not difference[:onset].any()
        for step, weight in enumerate((1, 2 / 3, 1 / 3, 0)):
            expected = 2.0 * weight * vectors[0]
            # The first block's state depends on what went in alone, and on keys and values that nothing was added to.
            np.testing.assert_allclose(difference[onset + step, 0], expected, atol=2e-5)
        assert not difference[onset + 3 :, 0].any()
        assert difference[onset + 3, 1].any()  # later blocks read what the cache keeps


MOSHI = {
    **{"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 64},
    **{"num_codebooks": 2, "audio_vocab_size": 16, "max_position_embeddings": 64, "sliding_window": 64},
}


@pytest.fixture(scope="module")
def moshi():
    mimi = {
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        **{"num_filters": 4, "codebook_size": 16, "codebook_dim": 8, "num_quantizers": 2, "upsampling_ratios": [4, 2]},
        **{"vector_quantization_hidden_dimension": 8, "upsample_groups": 16, "num_semantic_quantizers": 1},
    }
    depth = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 32}
    torch.manual_seed(0)
    config = transformers.MoshiConfig(
        **MOSHI, audio_encoder_config={"model_type": "mimi", **mimi}, depth_decoder_config=depth
    )
    return transformers.MoshiForConditionalGeneration(config).eval()


def moshi_inputs(n_rows=2, n_steps=9):
    rng = torch.Generator().manual_seed(1)
    text = torch.randint(0, MOSHI["vocab_size"], (n_rows, n_steps), generator=rng)
    own, user = (torch.randint(0, 16, (n_rows, 2, n_steps), generator=rng) for _ in range(2))
    return text, own, user


def by_steps(moshi, injected=None, onsets=None):
    text, own, user = (tokens.to(moshi.device) for tokens in moshi_inputs())
    streams = MoshiStreams(moshi, injected, onsets)
    found = [streams.step(text[:, t], own[:, :, t], user[:, :, t]) for t in range(text.shape[1])]
    return torch.stack([logits for logits, _ in found], dim=1), torch.stack([step.states for _, step in found], dim=1)


def test_moshi_step_by_step_is_what_transformers_computes(moshi):
    text, own, user = moshi_inputs()
    with torch.inference_mode():
        expected = moshi(input_ids=text, moshi_audio_codes=own, user_audio_codes=user).logits
    logits, states = by_steps(moshi)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    assert states.shape == (2, 9, 3, 32)


def test_moshi_is_steered_in_the_window_alone_and_its_cache_keeps_it(moshi):
    vectors = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(2))
    onsets = torch.tensor([2, 5])
    injected = Injection.of(vectors, steering_of(1, 1.5, 3), None, torch.device("cpu"))
    logits, before = by_steps(moshi)
    changed, after = by_steps(moshi, injected, onsets)
    for row, onset in enumerate(onsets.tolist()):
        torch.testing.assert_close(after[row, :onset], before[row, :onset], rtol=0, atol=0)
        torch.testing.assert_close(changed[row, :onset], logits[row, :onset], rtol=0, atol=0)
        for step, weight in enumerate((1, 2 / 3, 1 / 3, 0)):
            difference = after[row, onset + step] - before[row, onset + step]
            assert not difference[0].any()
            torch.testing.assert_close(difference[1], 1.5 * weight * vectors[row, 1], rtol=0, atol=1e-6)
        assert (after[row, onset + 3 :, 2] != before[row, onset + 3 :, 2]).any()
    # The same in one pass over all steps, without a cache.
    text, own, user = moshi_inputs()
    steps_of = torch.arange(9)[None] - onsets[:, None]
    owner = torch.arange(2)[:, None].expand(2, 9)
    stack, found = moshi_stack(moshi), []
    hooks = injected.hooks(stack, steps_of >= 0, owner, steps_of)
    recorders = [(place, lambda hidden: found.append(hidden)) for place in sites.places(stack, "block")]
    with torch.inference_mode(), hooked([*hooks, *recorders]):
        whole = moshi(input_ids=text, moshi_audio_codes=own, user_audio_codes=user).logits
    torch.testing.assert_close(whole, changed, rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.stack(found, dim=2), after, rtol=0, atol=1e-5)
    assert isinstance(stack, Stack)


def test_moshi_is_read_and_steered_as_the_page_shows(root, moshi):
    text, own_codes, user_codes = moshi_inputs()
    (program,) = re.findall(r"```python\n(.*?)```", (root / "docs/studies/interruption.md").read_text(), re.DOTALL)
    names = {"model": moshi, "text": text, "own_codes": own_codes, "user_codes": user_codes, "block": 1, "onset": 4}
    names |= {"starts": np.array([0, 1]), "ends": np.array([4, 4])}
    exec(compile(program, "docs/studies/interruption.md", "exec"), names)
    states, listening, speaking = (names[name] for name in ("states", "listening", "speaking"))
    expected = states[listening].mean(axis=0) - states[speaking].mean(axis=0)
    np.testing.assert_allclose(names["direction"], expected, atol=1e-6)
    assert len(names["said"]) == names["steered"]._stepper.n_steps == 9
    # What the last step leaves is enough for transformers' own depth decoder.
    codes = moshi.depth_decoder.generate(
        last_hidden_state=names["left"].final[:, None], input_ids=names["said"][-1][:, None], min_length=3, max_length=3
    )
    assert codes.shape == (1, 1 + MOSHI["num_codebooks"])


def test_rows_without_an_onset_are_left_alone(study):
    adapter = study.streams.adapter
    embeddings = torch.randn(3, 6, adapter.hidden_size, generator=torch.Generator().manual_seed(3))
    vectors = torch.ones(3, adapter.n_layers, adapter.hidden_size)
    injected = Injection.of(vectors, steering_of(0, 1.0, 2), None, torch.device("cpu"))
    plain, steered = Stepper(adapter), Stepper(adapter, injected, torch.tensor([-1, 0, 4]))
    for number in range(6):
        one, other = (each.step(embeddings[:, number]).states for each in (plain, steered))
        assert torch.equal(one[0], other[0])
        assert not torch.equal(one[1], other[1])  # what was written stays in the cache
        assert torch.equal(one[2], other[2]) == (number < 4)
    assert plain.n_steps == 6


def test_the_study_ends_in_a_table(study, trained, tmp_path):
    settings = InterruptionSettings(
        model=Model(checkpoint=str(trained / "model"), device="cpu", dtype="float32"),
        pairs=str(trained / "dialogues.csv"),
        interruption=study.settings.model_copy(
            update={"steps": ["scores"], "blocks": [1], "windows": [9], "draws": 1, "limit": 2.0}
        ),
    )
    found, origin = tmp_path / "found.csv", tmp_path / "found.json"
    given = ["--output", str(found), "--origin", str(origin), "--performance", str(tmp_path / "speed.json")]
    interrupt_streams.main(["--settings", settings.as_json(), *given])
    assert json.loads(origin.read_text())["pairs_digest"] == sha256_of_file(trained / "dialogues.csv")
    tables = {"table": tmp_path / "effects.csv", "overview": tmp_path / "overview.csv"}
    named = [word for name, path in tables.items() for word in (f"--{name}", str(path))]
    tabulate_effects.main(["--studies", json.dumps({"interruption": {"tiny": str(found)}}), *named])
    shown = pd.read_csv(tables["overview"]).set_index("arm")
    assert list(shown.index) == ["unsteered", "uninterrupted", "scores", "random", "reversed"]
    assert shown.loc["scores", "lag"] < shown.loc["unsteered", "lag"] - 1
    assert shown.loc["reversed", "lag"] > shown.loc["unsteered", "lag"]
    assert shown.loc["scores", "margin_low"] > 0
    assert shown.loc["uninterrupted", "first_word_pct"] > 90
    assert np.isnan(shown.loc["uninterrupted", "lag"])
    whole = pd.read_csv(found, keep_default_na=False)
    chosen = whole[(whole["arm"] == "scores") & (whole["measure"] == "chosen")].iloc[0]
    tried = whole[(whole["arm"] == "scores") & (whole["split"] == "choose") & (whole["text"] != "")]
    by_setting = tried.groupby(["layers", "strength", "text", "measure"])["value"].mean().unstack()
    allowed = by_setting[by_setting["divergence"] <= settings.interruption.limit]
    assert allowed["margin"].idxmax()[:2] == (chosen["layers"], chosen["value"])
    sources = {
        side: set(whole[(whole["split"] == side) & (whole["source"] != "")]["source"]) for side in whole["split"]
    }
    assert not sources["choose"] & sources["report"]


def test_blocks_that_do_not_exist_are_named(study):
    for key in ("lens", "blocks"):
        settings = study.settings.model_copy(update={key: [2]})
        with pytest.raises(UserError, match=f"{key}: block 2 does not exist; the model has 2"):
            InterruptionStudy(study.streams, settings, study.sides)
