"""A language model without ears goes through the whole workflow, with words in the place of sounds."""

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.engine.test_text_models import checkpoint

pytestmark = pytest.mark.workflow

OVERLAY = {
    "models": {"tiny-qwen2-audio": None, "tiny-audio-flamingo-3": None, "text": {"checkpoint": "text"}},
    "examples": {
        **{name: None for name in ("sequences", "sequences-exact", "questions")},
        "words": {
            "type": "symbolic",
            "sounds": "synthetic",
            "n_samples": 4,
            "tokens_per_second": 5.0,
            "composition": {"clip_seconds": [4.0, 4.0]},
        },
    },
    "studies": {
        **{name: None for name in ("localization", "localization-exact", "listening", "answers")},
        "words": {"examples": "words", "methods": ["sample", "random_direction", "silence"]},
    },
    "figures": {"attention_change": "words", "overlap": "words", "audio_share": None},
    "shard_seconds": 30,  # two samples of 14 s: two shards
}


def test_words_stand_for_sounds_in_a_model_without_ears(clean_copy):
    checkpoint("llama", {}, clean_copy.folder / "text")
    clean_copy.run(overlay=OVERLAY)
    results = clean_copy.folder / "results"
    assert not (results / "examples/words/audio").exists()
    overlap = pd.read_csv(results / "tables/overlap.csv")
    assert set(overlap["model"]) == {"-", "text"}
    methods = {"random", "direct_prompt", "frame_probe", "prompt_only"}
    assert set(overlap["method"]) == methods | {"steering_sample", "steering_random_direction", "steering_silence"}
    # So few samples may leave no other recording with a label to train on.
    assert overlap.loc[overlap["method"] != "frame_probe", "overlap_pct"].between(0, 100).all()
    for path in (results / "unsteered/words/text").glob("*.h5"):
        with h5py.File(path) as file:
            assert file.attrs["tokens_per_second"] == 5
            assert (file["n_audio_tokens"][()] == 14 * 5).all()
    windows = pd.read_csv(results / "scores/words/text.csv")
    found = windows[windows["method"].isin(["prompt_only", "steering_sample"])]
    starts = found["predicted_start"].dropna()
    np.testing.assert_allclose(starts * 5, (starts * 5).round(), atol=1e-9)
    np.testing.assert_allclose((found["predicted_end"] - found["predicted_start"]).dropna(), 4)
    assert (results / "figures/reading/text.png").exists()
    assert "to the tokens" in (results / "logs/extract_activations/words/text/0.log").read_text()
    assert clean_copy.planned(overlay=OVERLAY) == {}
