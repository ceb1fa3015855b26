"""Sweeps as a user meets them: what they reuse, that they agree with the run, and what a change repeats."""

import json

import numpy as np
import pandas as pd
import pytest

from wheretolisten import store

from .conftest import MODEL
from .test_workflow import append

pytestmark = pytest.mark.workflow


def test_the_run_s_own_value_finds_the_run_s_own_windows(finished_run):
    results = finished_run.folder / "results"
    ids = {"sample_id": str, "value": str, "failure": str}
    for sweep, own in (("strength", "0.1"), ("scored-layers", "second_half")):
        queries = pd.read_csv(results / f"scores/{sweep}.csv", dtype=ids)
        swept = queries[queries["value"] == own]
        run = pd.read_csv(results / f"scores/localization-exact/{MODEL}.csv", dtype=ids)
        run = run[run["method"] == "steering_sample"]
        key = ["sample_id", "position"]
        both = swept.merge(run, on=key, suffixes=("", "_of_the_run"), validate="one_to_one")
        assert len(both) == len(run) == 6
        for column in ("predicted_start", "predicted_end", "overlap", "chance", "tied", "failure"):
            pd.testing.assert_series_equal(both[column], both[f"{column}_of_the_run"], check_names=False)


def test_steering_sweeps_reuse_the_base_attention(finished_run):
    results = finished_run.folder / "results"
    swept = store.read_passes([results / f"passes/strength/{MODEL}/all/0.h5"])
    run = store.read_passes([results / f"unsteered/sequences-exact/{MODEL}/0.h5"])
    # No base pass of its own.
    assert swept.passes == tuple((value, event) for value in ("0", "0.1") for event in ("begin", "middle", "end"))
    # A strength of zero moves nothing, up to what the order of summation does.
    np.testing.assert_allclose(swept.of("0", "begin"), run.of("base"), rtol=1e-3, atol=1e-6)
    summary = json.loads((results / f"performance/sweep_attention/strength/{MODEL}/0.json").read_text())
    assert set(summary["tokens"]) == {"steer"}


def test_tables_and_figures_of_sweeps_are_there(finished_run):
    results = finished_run.folder / "results"
    table = pd.read_csv(results / "tables/sweeps/strength.csv", dtype={"value": str})
    assert set(table["model"]) == {MODEL}
    assert set(table["value"]) == {"0", "0.1"}
    assert set(table["position"]) == {"begin", "middle", "end", "overall"}
    assert (table.loc[table["position"] == "overall", "n_queries"] == 6).all()
    for sweep in ("strength", "scored-layers"):
        assert (results / f"figures/sweeps/{sweep}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"figures/sweeps/{sweep}.png").stat().st_size > 10_000


def test_editing_the_figure_redraws_it_and_loads_no_model(changed_copy):
    append(changed_copy.folder / "workflow_scripts/plot_sweep.py", "\nEDITED = True\n")
    # The table comes from the same job, and has a page in the report.
    assert changed_copy.planned() == {"plot_sweeps": 1, "render_tables": 1}


def test_other_values_repeat_their_sweep_alone(changed_copy):
    # The summary of the run states the configuration.
    once = dict.fromkeys(("score_sweep", "plot_sweeps", "render_tables", "summarize_run"), 1)
    overlay = {"studies": {"strength": {"values": [0, 0.1, 1]}}}
    assert changed_copy.planned(overlay=overlay) == {"sweep_attention": 1} | once
    overlay = {"studies": {"scored-layers": {"values": ["all", "second_half"]}}}
    assert changed_copy.planned(overlay=overlay) == once


def test_all_sweeps_are_made_on_request_from_what_is_there(changed_copy):
    overlay = {"studies": {"heads": {"values": [1, "all"]}, "inference-prompt": {"values": ["Hm?"]}}}
    output = changed_copy.run("--dry-run", "sweeps", overlay=overlay)
    assert "heads: heads on the first 2 samples of localization-exact, 1 model(s): 1 job(s) that load a model" in output
    assert "scored-layers: localization.layers on the first 2 samples" in output
    plan = changed_copy.jobs_in(output)
    # Beside the two of the default run: blocks, tokens, prompt, rows, heads.
    assert plan == {"sweep_attention": 5, "score_sweep": 5, "plot_sweep": 5}
    names = ("inference-prompt", "text-rows", "heads")
    changed_copy.run(*(f"results/figures/sweeps/{name}.png" for name in names), overlay=overlay)
    results = changed_copy.folder / "results"
    tables = {name: pd.read_csv(results / f"tables/sweeps/{name}.csv", dtype={"value": str}) for name in names}
    assert {name: list(dict.fromkeys(table["value"])) for name, table in tables.items()} == {
        "inference-prompt": ["Hm?"],
        "text-rows": ["all", "last"],
        "heads": ["averaged", "1", "all"],
    }
    # The rows of the run, read again by the sweep, find what the run found; so do the heads, averaged.
    for name, value in (("text-rows", "all"), ("heads", "averaged")):
        queries = pd.read_csv(results / f"scores/{name}.csv", dtype={"sample_id": str, "value": str})
        swept = queries[queries["value"] == value]
        run = pd.read_csv(results / f"scores/localization-exact/{MODEL}.csv", dtype={"sample_id": str})
        both = swept.merge(run[run["method"] == "steering_sample"], on=["sample_id", "position"])
        assert len(both) == len(swept) > 0
        np.testing.assert_allclose(both["predicted_start_x"], both["predicted_start_y"])
