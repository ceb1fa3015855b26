import json

import check_model
import pandas as pd
import tabulate_checks

from wheretolisten.config.models import Model


def test_the_models_are_checked_and_the_table_is_printed(root, tmp_path, capsys):
    names = ("tiny-qwen2-audio", "tiny-audio-flamingo-3")
    for name in names:
        settings = Model(checkpoint=str(root / "resources" / name), device="cpu").as_json()
        check_model.main(["--model", name, "--settings", settings, "--output", str(tmp_path / f"{name}.json")])
    # One that is refused is in the table, too: it is there to tell.
    refused = json.loads((tmp_path / f"{names[0]}.json").read_text()) | {"model": "wrong", "verdict": "refused"}
    (tmp_path / "wrong.json").write_text(json.dumps(refused))
    files = [str(tmp_path / f"{name}.json") for name in (*names, "wrong")]
    tabulate_checks.main(["--checks", *files, "--table", str(tmp_path / "models.csv")])
    table = pd.read_csv(tmp_path / "models.csv")
    assert tuple(table.columns) == tabulate_checks.COLUMNS
    assert table["verdict"].tolist() == ["agrees", "agrees", "refused"]
    assert table["type"].tolist() == ["qwen2_audio", "audioflamingo3", "qwen2_audio"]
    assert table[["states", "attention", "shared_states", "shared_attention"]].to_numpy().max() < 1e-5
    printed = capsys.readouterr().out
    assert all(name in printed for name in table["model"])
