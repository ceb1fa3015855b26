"""docs/results.md takes its tables from a run."""

import importlib.util

import pandas as pd
import pytest


@pytest.fixture
def update_results(root):
    spec = importlib.util.spec_from_file_location("update_results", root / "docs/update_results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_a_run_replace_what_was_there_and_nothing_else(update_results, root, tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "report").mkdir()
    (tmp_path / "tables/overlap.md").write_text("# Overlap\n\n## Study a\n\n| Model | Overall |\n| - | -: |\n")
    facts = {"git_commit": ["abc", "abc"], "device": ["cpu", "cuda:0"], "dtype": "float32", "python": "3.11"}
    facts |= {"torch": "2.15.0", "transformers": "5.23.0"}
    pd.DataFrame(facts).to_csv(tmp_path / "report/origins.csv", index=False)
    counts = {"n_unparsed": [1, 2], "n_failed": [0, 0], "n_skipped": [0, 4]}
    pd.DataFrame(counts).to_csv(tmp_path / "report/coverage.csv", index=False)
    before = (root / "docs/results.md").read_text()
    (tmp_path / "results.md").write_text(before)
    for _ in range(2):
        update_results.main(["--results", str(tmp_path), "--page", str(tmp_path / "results.md")])
    after = (tmp_path / "results.md").read_text()
    assert "## Overlap\n\n### Study a\n\n| Model | Overall |" in after
    assert "git_commit abc; device cpu, cuda:0; dtype float32" in after
    assert "3 unparsed, 0 failed, 4 skipped" in after
    assert "| Tiny Qwen2-Audio " in before
    assert "| Tiny Qwen2-Audio " not in after
    # Another run has its own place, and only what its studies show.
    (tmp_path / "tables/overlap.md").write_text("# Overlap\n\nMeans.\n\n## Study b\n\n| B |\n\n## Published numbers\n")
    own = "\n{}\n{}\n".format(*update_results.marks("own"))
    (tmp_path / "results.md").write_text(after + own)
    update_results.main(["--results", str(tmp_path), "--page", str(tmp_path / "results.md"), "--run", "own"])
    both = (tmp_path / "results.md").read_text()
    assert both.startswith(after)
    assert both.endswith(f"skipped.*\n\n### Study b\n\n| B |\n\n{update_results.marks('own')[1]}\n")
    with pytest.raises(SystemExit):
        update_results.main(["--page", str(tmp_path / "results.md"), "--run", "nobody's"])
    begin, end = update_results.marks("default run")
    assert before.split(begin)[0] == after.split(begin)[0]
    assert before.split(end)[1] == after.split(end)[1]


def test_answers_of_several_runs_share_a_page(update_results, tmp_path):
    (tmp_path / "tables").mkdir()
    row = {"study": "answers", "model": "small", "n_items": 80, "ci_low": 20.0, "ci_high": 40.0}
    silent = {"method": "silence", "accuracy_pct": 25.0, "difference": -5.0, "p_holm": 0.5}
    rows = [
        row | {"score": score} | each
        for score in ("choice", "words")
        for each in ({"method": "unsteered", "accuracy_pct": 30.0}, silent)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "tables/choices.csv", index=False)
    area = {"area": 0.5, "low": 0.4, "high": 0.6, "within_area": 0.5, "within_low": 0.3, "within_high": 0.7}
    heads = {"study": "answers", "model": "small", "n_heads": 2, "heads": "random_heads"} | area
    pd.DataFrame([heads]).to_csv(tmp_path / "tables/listening_signal.csv", index=False)
    page = tmp_path / "page.md"
    tiny, small = ("\n".join(update_results.marks(run)) for run in ("answers-tiny", "answers-small"))
    page.write_text(f"{tiny}\n\nBetween.\n\n{small}\n")
    update_results.main(["--results", str(tmp_path), "--run", "answers-small", "--page", str(page)])
    before, _, after = page.read_text().partition("\n\nBetween.\n\n")
    assert before == tiny
    assert "| `unsteered` | 30.0 [20.0, 40.0] | 30.0 [20.0, 40.0] |" in after
    assert "| `silence` | 25.0 [20.0, 40.0], -5.0 (p 0.5) | 25.0 [20.0, 40.0], -5.0 (p 0.5) |" in after
    assert "n = 80 questions." in after
    assert "| answers | small | 2 random | 0.50 [0.40, 0.60] | 0.50 [0.30, 0.70] |" in after
