"""What the engine is measured against finds the same, so that only the time differs."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.benchmark import measure_engine, peers
from tests.benchmark.work import Work
from wheretolisten.config.models import Model
from wheretolisten.engine.passes import Engine
from wheretolisten.models.registry import load


@pytest.mark.parametrize("peer", peers.PEERS)
def test_peers_find_what_the_engine_finds(peer: type[peers.Peer], root: Path):
    if peer not in peers.installed():
        pytest.skip("the package nnsight is not installed (uv run --group peers)")
    checkpoint = root / "resources" / "tiny-qwen2-audio"
    adapter = load(Model(checkpoint=str(checkpoint), device="cpu", dtype="float32"))
    # Prompts of several lengths, more than go through together.
    work = Work(adapter, 2, 1, 1, time.process_time)
    engine, other = Engine(adapter, max_rows=2), peer(checkpoint, 2)
    found = measure_engine.compare(work, engine, [other], 1)
    assert found[other.name]["largest_difference"][0] <= measure_engine.LARGEST_DIFFERENCE
    assert all(min(way[half]) > 0 for way in found.values() for half in ("un-steered", "steered", "sum", "ratio"))
    assert f"| {other.name} |" in measure_engine.as_table(found)
    # One that finds something else is not timed.
    ours = work.readings(engine, work.recordings[:1])
    for changed in (
        replace(ours, states=[states + 1 for states in ours.states]),
        replace(ours, attention=[*ours.attention[:-1], np.full_like(ours.attention[-1], np.nan)]),
    ):
        with pytest.raises(AssertionError, match="other: attention differs by"):
            measure_engine.checked_difference("other", changed, ours)
