"""The self-check notices what would be wrong without a word, and lets pass what is right."""

import functools
import importlib.util
import json
import logging

import pytest
from transformers import Cache

from tests.engine import families
from wheretolisten.config.models import Model
from wheretolisten.engine import attention, forward, passes, reading, selfcheck, traits
from wheretolisten.errors import UserError
from wheretolisten.models import families as facts
from wheretolisten.models.registry import load

needs_vision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="processors need torchvision: uv sync --group families"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/where-to-listen/checks"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folders = {}

    def save(name):
        if name not in folders:
            folders[name] = families.save(name, tmp_path_factory.mktemp("saved") / "checkpoint")
        return Model(checkpoint=str(folders[name]), device="cpu", dtype="float32")

    return save


def without_row(monkeypatch, name):
    monkeypatch.delitem(facts.FAMILIES, name)


def test_what_is_right_passes_and_is_checked_once(saved, cache, monkeypatch):
    model = saved("qwen2_audio")
    adapter = load(model)
    selfcheck.check(adapter, model)
    assert adapter.shares
    assert adapter.scores
    (kept,) = cache.glob("*.json")
    assert json.loads(kept.read_text())["states"] < 1e-5
    monkeypatch.setattr(selfcheck, "compare", lambda _: pytest.fail("it was checked again"))
    selfcheck.check(adapter, model)
    kept.write_text("cut off")
    monkeypatch.setattr(selfcheck, "compare", lambda _: selfcheck.Agreement(0, 0, 0, 0, 0, 0, 0, 1e-4))
    selfcheck.check(adapter, model)
    assert json.loads(kept.read_text())["states"] == 0


def test_a_cache_that_cannot_be_written_is_no_obstacle(saved, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    model = saved("qwen2_audio")
    selfcheck.check(load(model), model)
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("name", ["glmasr", "musicflamingo", "qwen3_asr"])
def test_a_type_that_is_not_in_the_table_runs_if_it_is_right(saved, monkeypatch, name):
    without_row(monkeypatch, name)
    model = saved(name)
    adapter = load(model)
    assert adapter.family == facts.Family(name)
    selfcheck.check(adapter, model)
    assert adapter.shares


def test_a_type_that_is_not_in_the_table_and_draws_noise_is_refused(saved, monkeypatch):
    without_row(monkeypatch, "vibevoice_asr")
    model = saved("vibevoice_asr")
    with pytest.raises(UserError, match=r"computes other states every time \(they differ by \d"):
        selfcheck.check(load(model), model)


@needs_vision
def test_inputs_of_every_block_that_are_left_out_are_noticed(saved, monkeypatch):
    row = facts.FAMILIES["gemma3n"]
    bare = facts.Family("gemma3n", row.class_name, row.seconds_per_token, row.max_seconds, True, stream=0)
    monkeypatch.setitem(facts.FAMILIES, "gemma3n", bare)
    model = saved("gemma3n")
    with pytest.raises(UserError, match="does not compute what the model computes"):
        selfcheck.check(load(model), model)


@needs_vision
def test_prompts_that_disagree_only_side_by_side_go_through_by_themselves(saved, monkeypatch, caplog):
    # Sliding windows under a mask that knows none: the largest of the silent errors.
    monkeypatch.setattr(forward, "masks", lambda mask, tokens, _: mask)
    model = saved("gemma4_unified")
    adapter = load(model)
    with caplog.at_level(logging.WARNING):
        selfcheck.check(adapter, model)
    assert not adapter.shares
    assert not traits.traits_of(adapter).side_by_side
    assert "every prompt goes through by itself" in caplog.text


def test_keys_that_are_kept_wrongly_are_noticed(saved, monkeypatch):
    # As a stack would do whose blocks want more of a cache than keys and values.
    kept = reading.kept
    monkeypatch.setattr(reading, "kept", lambda whole: kept(Cache(layers=whole.layers[::-1])))
    model = saved("qwen2_audio")
    adapter = load(model)
    selfcheck.check(adapter, model)
    assert not adapter.shares


def test_logits_that_are_made_otherwise_are_noticed_and_not_scored(saved, monkeypatch):
    model = saved("qwen2_audio")
    adapter = load(model)
    head = adapter.model.get_output_embeddings()
    inner = type(adapter.model).forward

    def scaled(self, **given):
        outputs = inner(self, **given)
        outputs.logits = outputs.logits / 8  # as some families do in their own code
        return outputs

    monkeypatch.setattr(type(adapter.model), "forward", functools.wraps(inner)(scaled))
    selfcheck.check(adapter, model)
    assert adapter.head is head
    assert not adapter.scores
    with pytest.raises(UserError, match="its logits are not what its head makes of its states"):
        passes.Engine(adapter).choose([None], ["Which?"], [["dog", "cat"]])


def test_an_engine_that_reads_wrong_attention_is_noticed(saved, monkeypatch):
    right = attention._softmax
    monkeypatch.setattr(attention, "_softmax", lambda query, key, scaling, seen: right(query, key, 2 * scaling, seen))
    model = saved("qwen2_audio")
    with pytest.raises(UserError, match=r"attention by \d.*e[-+]\d\d, and 5e-04 passes"):
        selfcheck.check(load(model), model)
