"""Draws of the random baseline."""

import subprocess
import sys

import draw_random
import numpy as np
import pandas as pd
import pytest

from wheretolisten.errors import UserError
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


def write_events(path, sample_ids=("00000", "00001")):
    rows = [
        {"sample_id": sample_id, "position": position, "onset": onset, "duration": 5.0, "sample_seconds": 17.0}
        for sample_id in sample_ids
        for position, onset in (("begin", 0.0), ("middle", 6.0), ("end", 12.0))
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def test_script_writes_the_same_bytes_and_keeps_ids(tmp_path):
    write_events(tmp_path / "events.csv")
    for name in ("a.csv", "b.csv"):
        draw_random.main(
            ["--events", str(tmp_path / "events.csv"), "--draws", "4", "--seed", "3", "--output", str(tmp_path / name)]
        )
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    draws = pd.read_csv(tmp_path / "a.csv", dtype={"sample_id": str})
    assert list(draws.columns) == ["sample_id", "position", "draw", "start"]
    assert len(draws) == 2 * 3 * 4
    assert set(draws["sample_id"]) == {"00000", "00001"}


def test_more_samples_change_no_earlier_draw(tmp_path):
    for name, ids in (("few", ["00000"]), ("many", ["00000", "00001"])):
        write_events(tmp_path / f"{name}.csv", ids)
        arguments = ["--draws", "4", "--seed", "3", "--output", str(tmp_path / f"{name}_draws.csv")]
        draw_random.main(["--events", str(tmp_path / f"{name}.csv"), *arguments])
    few = (tmp_path / "few_draws.csv").read_text()
    assert (tmp_path / "many_draws.csv").read_text().startswith(few)


def test_script_names_a_table_that_lacks_a_column(tmp_path):
    pd.DataFrame({"sample_id": ["00000"]}).to_csv(tmp_path / "events.csv", index=False)
    with pytest.raises(UserError, match=r"events\.csv.*position"):
        draw_random.main(
            ["--events", str(tmp_path / "events.csv"), "--draws", "4", "--seed", "3", "--output", str(tmp_path / "x")]
        )


def test_evaluation_does_not_import_torch():
    modules = [
        "draw_random",
        "tabulate_overlap",
        "plot_overlap",
        "plot_attention_change",
        "plot_reading",
        "wheretolisten.statistics.scoring",
    ]
    code = "import sys; sys.path.insert(0, 'workflow_scripts')\n"
    code += "\n".join(f"import {module}" for module in modules)
    code += "\nassert 'torch' not in sys.modules and 'soundfile' not in sys.modules"
    root = draw_random.__file__.rsplit("workflow_scripts", 1)[0]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
