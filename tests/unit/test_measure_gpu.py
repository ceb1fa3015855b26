"""The measurement that waits for a GPU, on tiny networks: every figure is there, and the ways agree."""

import json

import pytest
import torch

from tests.benchmark import measure_gpu

pytestmark = pytest.mark.slow


def test_everything_is_measured_on_the_cpu(tmp_path, capsys):
    threads = torch.get_num_threads()
    figures = tmp_path / "gpu.json"
    arguments = ["--small", "--output", str(figures), "--batch-samples", "1", "2", "--new-tokens", "2"]
    measure_gpu.main([*arguments, "--profile", str(tmp_path / "profile.txt")])
    torch.set_num_threads(threads)
    found = json.loads(figures.read_text())
    assert found["meaningless"]
    assert set(found["models"]) == {"qwen2-audio", "audio-flamingo-3"}
    for model in found["models"].values():
        assert [entry["batch_samples"] for entry in model["by_batch"]] == [1, 2]
        for entry in model["by_batch"]:
            assert entry["n_samples"] == 2
            assert all(entry["seconds"][stage] > 0 for stage in entry["seconds"])
            assert min(entry["share_of_peak"].values()) > 0
        for figure in ("ratio", "ratio_all_at_once", "floor_ratio", "in_line_samples_per_s"):
            assert model[figure] > 0
        assert model["experiment"]["gpu_minutes"] > 0
        assert model["flash"].startswith("not run: readout.kernel: flash needs the package flash-attn")
        # bfloat16 keeps eight bits of every number.
        assert model["agreement"]["largest_difference"] < 0.02 * model["agreement"]["largest_attention"]
        exact = model["float32"]
        assert exact["largest_difference"] < 1e-6
        assert exact["within_1e-4"]
        assert exact["equal_answers"]
        assert 0 < exact["bfloat16_from_float32"]["engine"] < 0.02 * exact["largest_attention"]
    assert "\nanswers: " in (tmp_path / "profile.txt").read_text()
    table = capsys.readouterr().out
    assert "| engine ÷ naive way |" in table
    assert "not reached" not in table


def test_nothing_is_started_that_the_time_does_not_allow(tmp_path):
    figures = tmp_path / "gpu.json"
    measure_gpu.main(["--small", "--output", str(figures), "--limit", "0"])
    found = json.loads(figures.read_text())
    assert found["models"] == {}
    assert found["machine"]["card"] == "CPU"


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU is visible"):
        measure_gpu.main(["--output", str(tmp_path / "gpu.json")])
