"""Disturbed and perturbed recordings go through the workflow, steered by directions of the same ones undisturbed."""

import copy

import numpy as np
import pandas as pd
import pytest

from tests.workflow.conftest import MODEL
from wheretolisten.examples import load_audio, read_shard

pytestmark = pytest.mark.workflow

CLEAN = {"clip_seconds": [4.0, 4.0], "gap_seconds": 0.5}
OVERLAY = {
    "examples": {
        **{name: None for name in ("sequences", "sequences-exact", "questions")},
        "clean": {"type": "sequences", "sounds": "synthetic", "n_samples": 2, "composition": CLEAN},
        "made": {
            "type": "sequences",
            "sounds": "synthetic",
            "n_samples": 2,
            "composition": CLEAN | {"reverberation": {"rt60": 0.3}, "snr_db": 10.0, "codec": {"format": "opus"}},
            "perturbation": {"against": MODEL, "snr_db": 30.0, "steps": 2},
        },
    },
    "studies": {
        **{name: None for name in ("localization", "localization-exact", "listening", "answers", "strength")},
        "scored-layers": None,
        "clean": {"examples": "clean", "methods": ["sample"], "direct_prompt": False},
        "made": {"examples": "made", "methods": ["sample"], "direct_prompt": False, "states_from": "clean"},
    },
    "figures": {
        **{"attention_change": "clean", "overlap": "made", "audio_share": None},
        "studies": ["clean", "made"],
    },
}


def test_disturbed_recordings_are_the_same_events_and_compared_with_the_clean_ones(clean_copy):
    clean_copy.run(overlay=OVERLAY)
    results = clean_copy.folder / "results"
    events = {name: read_shard(results / f"examples/{name}/shards/0.csv") for name in ("clean", "made")}
    kept = ["sample_id", "position", "label", "onset", "offset", "clip_id"]
    pd.testing.assert_frame_equal(events["clean"][kept], events["made"][kept])
    for row in range(2):
        clean, made = (load_audio(events[name].iloc[3 * row], results / "examples" / name) for name in events)
        assert len(clean) == len(made)
        assert 0.1 < np.corrcoef(clean, made)[0, 1] < 0.95
    assert not (results / f"directions/made/{MODEL}.h5").exists()
    assert "sample 00000: loss" in (results / "logs/perturb_sequences/made/0.log").read_text()
    studies = pd.read_csv(results / "tables/studies.csv")
    assert set(studies["method"]) == {"prompt_only", "steering_sample"}
    overlap = pd.read_csv(results / "tables/overlap.csv").query("position == 'overall' and method == 'steering_sample'")
    by_study = overlap.set_index("study")["overlap_pct"]
    of_sample = studies.query("position == 'overall' and method == 'steering_sample'").iloc[0]
    assert (of_sample["study"], of_sample["other"]) == ("made", "clean")
    assert of_sample["difference"] == pytest.approx(by_study["made"] - by_study["clean"], abs=1e-3)
    assert (results / "figures/studies.png").stat().st_size > 10_000
    assert clean_copy.planned(overlay=OVERLAY) == {}
    # Another perturbation repeats what hears it, and not the states that steer.
    other = copy.deepcopy(OVERLAY)
    other["examples"]["made"]["perturbation"]["steps"] = 3
    plan = clean_copy.planned(overlay=other)
    assert (plan["perturb_sequences"], plan["extract_activations"], plan["steer_events"]) == (1, 1, 1)
    assert not {"compose_sequences", "average_vectors"} & set(plan)
