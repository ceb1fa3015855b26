"""A family that is not shipped goes through the whole workflow by a few lines of YAML."""

import importlib.util

import h5py
import pandas as pd
import pytest
import yaml

from tests.engine import families

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="processors need torchvision: uv sync --group families"
)
OVERLAY = """
models:
  tiny-qwen2-audio: null
  tiny-audio-flamingo-3: null
  omni: {checkpoint: omni, batch_samples: 4}
"""


def test_a_checkpoint_of_the_whole_qwen2_5_omni_needs_five_lines(clean_copy):
    families.save_whole_omni(clean_copy.folder / "omni")
    # All six samples in one shard: shards are the same for every model.
    overlay = yaml.safe_load(OVERLAY) | {"shard_seconds": 120}
    clean_copy.run(overlay=overlay)
    results = clean_copy.folder / "results"
    overlap = pd.read_csv(results / "tables/overlap.csv")
    assert set(overlap["model"]) == {"-", "omni"}
    answered = overlap[overlap["n_queries"] > 0]
    assert answered["overlap_pct"].between(0, 100).all()
    assert {"steering_sample", "prompt_only", "direct_prompt"} <= set(answered["method"])
    with h5py.File(results / "unsteered/sequences/omni/0.h5") as file:
        assert file.attrs["tokens_per_second"] == 25
    assert (results / "figures/reading/omni.png").exists()
    log = (results / "logs/extract_activations/sequences/omni/0.log").read_text()
    assert "25 audio tokens per second" in log
    assert clean_copy.planned(overlay=overlay) == {}
