"""Draws of the random baseline."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import score_random

from wheretolisten.errors import UserError
from wheretolisten.examples.shards import COLUMNS, write_shard
from wheretolisten.localization.draws import draw_starts


def test_draws_are_uniform_over_the_starts_that_fit():
    starts = draw_starts(0, "00001", "begin", 17.0, 5.0, 20_000)
    assert starts.min() >= 0
    assert starts.max() <= 12.0
    np.testing.assert_allclose(np.quantile(starts, [0.25, 0.5, 0.75]), [3, 6, 9], atol=0.2)


def test_draws_depend_on_the_query_and_the_seed_alone():
    first = draw_starts(0, "00001", "begin", 17.0, 5.0, 10)
    np.testing.assert_array_equal(first, draw_starts(0, "00001", "begin", 17.0, 5.0, 10))
    np.testing.assert_array_equal(first, draw_starts(0, "00001", "begin", 17.0, 5.0, 50)[:10])
    others = [("00002", "begin", 0), ("00001", "middle", 0), ("00001", "begin", 1)]
    for sample_id, position, seed in others:
        assert not np.isclose(first, draw_starts(seed, sample_id, position, 17.0, 5.0, 10)).any()


def test_event_longer_than_the_sample_is_refused():
    with pytest.raises(ValueError, match="00001"):
        draw_starts(0, "00001", "begin", 4.0, 5.0, 10)


def scored(folder, name, sample_ids=("00000", "00001")) -> pd.DataFrame:
    """What the script makes of a study of these samples, each an event at either end and one in between."""
    rows = [
        dict.fromkeys(COLUMNS, "")
        | {"sample_id": sample_id, "position": position, "label": "dog", "path": "audio/0.flac"}
        | {"onset": onset, "offset": onset + 5.0, "duration": 5.0, "sample_seconds": 17.0}
        for sample_id in sample_ids
        for position, onset in (("begin", 0.0), ("middle", 6.0), ("end", 12.0))
    ]
    write_shard(rows, folder / "events.csv")
    outputs = [f"--localization={folder / name}.csv", f"--kept-events={folder / name}_events.csv"]
    events = ["--study", "mine", "--events", str(folder / "events.csv")]
    score_random.main([*events, "--draws", "4", "--seed", "3", *outputs])
    return pd.read_csv(folder / f"{name}.csv", dtype={"sample_id": str})


def test_script_scores_the_mean_over_draws_and_keeps_the_events(tmp_path):
    table = scored(tmp_path, "a")
    scored(tmp_path, "b")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a_events.csv").read_bytes() == (tmp_path / "events.csv").read_bytes()
    assert list(table["sample_id"]) == ["00000"] * 3 + ["00001"] * 3
    for row in table.itertuples():
        starts = draw_starts(3, row.sample_id, row.position, 17.0, 5.0, 4)
        expected = np.clip(5 - np.abs(starts - row.onset), 0, None).mean() / 5
        assert row.overlap == pytest.approx(expected, abs=1e-6)


def test_more_samples_change_no_earlier_draw(tmp_path):
    few, many = scored(tmp_path, "few", ["00000"]), scored(tmp_path, "many")
    pd.testing.assert_frame_equal(many[many["sample_id"] == "00000"], few)


def test_script_names_a_table_that_lacks_a_column(tmp_path):
    pd.DataFrame({"sample_id": ["00000"]}).to_csv(tmp_path / "events.csv", index=False)
    outputs = [f"--localization={tmp_path / 'x.csv'}", f"--kept-events={tmp_path / 'y.csv'}"]
    with pytest.raises(UserError, match=r"events\.csv.*position"):
        score_random.main(
            ["--study", "b", "--events", str(tmp_path / "events.csv"), "--draws", "4", "--seed", "3", *outputs]
        )


def test_evaluation_does_not_import_torch():
    modules = [
        "tabulate_scores",
        "plot_overlap",
        "plot_attention_change",
        "plot_reading",
        "wheretolisten.statistics.scoring",
    ]
    code = "import sys; sys.path.insert(0, 'workflow_scripts')\n"
    code += "\n".join(f"import {module}" for module in modules)
    code += "\nassert 'torch' not in sys.modules and 'soundfile' not in sys.modules"
    root = score_random.__file__.rsplit("workflow_scripts", 1)[0]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
