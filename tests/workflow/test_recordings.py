"""Recordings of one's own go through the workflow."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from wheretolisten.clips.procedural import synthesize

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

MODEL = "tiny-qwen2-audio"


def test_sounds_are_found_in_ones_own_recordings_and_scored_where_they_are_known(clean_copy):
    rng, folder = np.random.default_rng(0), clean_copy.folder / "field recordings"
    (folder / "night").mkdir(parents=True)
    rows = []
    for name, first, second in (("a.wav", "dog", "bell"), ("night/b.flac", "cat", "dog"), ("c.ogg", "frog", "cat")):
        noise = [0.01 * rng.standard_normal(round(seconds * 16000)) for seconds in (1.5, 2.0, 1.5)]
        sounds = [synthesize(label, 3.0, rng) for label in (first, second)]
        soundfile.write(folder / name, np.concatenate([noise[0], sounds[0], noise[1], sounds[1], noise[2]]), 16000)
        rows += [(name, first, 1.5, 4.5), (name, second, 6.5, 9.5)]
    events = pd.DataFrame(rows, columns=["recording", "label", "onset", "offset"])
    events.to_csv(clean_copy.folder / "events.csv", index=False)
    examples = {"type": "recordings", "audio": "field recordings", "events": "events.csv", "max_seconds": 15}
    overlay = {
        "examples": {"field": examples},
        "studies": {"field": {"examples": "field", "readout": "intervals"}},
        "shard_seconds": 40,  # two recordings of at most 15 s: two shards
    }
    assert clean_copy.planned("recordings", overlay=overlay) == {"listen_recordings": 2, "tabulate_intervals": 1}
    output = clean_copy.run("recordings", overlay=overlay)
    assert "which sounds are heard in recordings of your own" in output
    tables = clean_copy.folder / "results/tables"
    found = pd.read_csv(tables / "intervals.csv").set_index(["recording", "sound"])
    assert set(found.index.get_level_values("recording")) == {"a.wav", "night/b.flac", "c.ogg"}
    assert set(found.index.get_level_values("sound")) == {"dog", "bell", "cat", "frog"}  # the labels of all events
    for name, label, onset, offset in rows:
        row = found.loc[[(name, label)]].iloc[0]
        assert row["heard"]
        assert row["onset"] < offset
        assert row["offset"] > onset
    scores = pd.read_csv(tables / "sound_events.csv").set_index("label")
    assert scores.loc["all", "n_events"] == 6
    assert scores.loc["all", "overlap_pct"] > 60
    assert scores.loc["all", "segment_f_pct"] > 60
    # A recording that changes is heard again, and only its shard.
    soundfile.write(folder / "c.ogg", 0.1 * rng.standard_normal(16000 * 4), 16000)
    assert clean_copy.planned("recordings", overlay=overlay)["listen_recordings"] == 1
    # One that is too long is refused by name, before a model is loaded.
    soundfile.write(folder / "a.wav", 0.1 * rng.standard_normal(16000 * 16), 16000)
    assert "a.wav lasts 16.0 s, and max_seconds of its examples is 15" in clean_copy.run(
        "recordings", overlay=overlay, fails=True
    )
