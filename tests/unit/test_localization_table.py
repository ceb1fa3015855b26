"""Reading and writing the localization table."""

import numpy as np
import pandas as pd
import pytest

from wheretolisten.errors import UserError
from wheretolisten.localization.table import COLUMNS, no_vector, order_methods, read_localization, write_localization


def row(**changes):
    values = {
        "model": "tiny",
        "study": "main",
        "method": "steering_sample",
        "sample_id": "00001",
        "position": "begin",
        "label": "NA",
        "domain": "animals",
        "source": "null",
        "onset": 0.0,
        "offset": 5.0,
        "predicted_start": 1.0,
        "predicted_end": 6.0,
        "overlap": 0.8,
        "chance": 0.2083333333,
        "iou": 2 / 3,
        "onset_error": 1.0,
        "absolute_onset_error": 1.0,
        "hit": 1.0,
        "pointing": 1.0,
        "tied": False,
        "parsed": True,
        "failure": "",
    }
    return values | changes


def test_round_trip_keeps_ids_words_and_empty_cells(tmp_path):
    rows = [row(), row(position="end", predicted_start=np.nan, predicted_end=np.nan, tied=True, failure="n/a")]
    write_localization(rows, tmp_path / "a.csv")
    table = read_localization([tmp_path / "a.csv"])
    assert list(table.columns) == list(COLUMNS)
    assert table["sample_id"].tolist() == ["00001", "00001"]
    assert table["label"].tolist() == ["NA", "NA"]
    assert table["source"].tolist() == ["null", "null"]
    assert table["failure"].tolist() == ["", "n/a"]
    assert table["tied"].tolist() == [False, True]
    assert np.isnan(table["predicted_start"][1])
    assert "0.208333," in (tmp_path / "a.csv").read_text()


def test_order_of_rows_does_not_depend_on_the_order_given(tmp_path):
    rows = [
        row(sample_id=sample_id, position=position, method=method)
        for method in ("direct_prompt", "steering_random_direction", "steering_label_mean")
        for sample_id in ("00000", "00001")
        for position in ("begin", "middle", "end")
    ]
    write_localization(rows, tmp_path / "a.csv")
    write_localization(rows[::-1], tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert read_localization([tmp_path / "a.csv"])["position"].tolist()[:3] == ["begin", "middle", "end"]


def test_random_comes_first_and_models_keep_the_order_of_the_files(tmp_path):
    write_localization([row(model="zeta")], tmp_path / "z.csv")
    write_localization([row(model="alpha")], tmp_path / "a.csv")
    write_localization([row(model="-", method="random")], tmp_path / "r.csv")
    table = read_localization([tmp_path / "z.csv", tmp_path / "a.csv", tmp_path / "r.csv"])
    assert table["model"].tolist() == ["-", "zeta", "alpha"]


def test_other_steering_methods_follow_the_known_ones_as_they_first_appear(tmp_path):
    methods = ["steering_zeta", "steering_label_mean", "steering_alpha", "direct_prompt", "steering_zeta"]
    assert order_methods(methods) == ["direct_prompt", "steering_label_mean", "steering_zeta", "steering_alpha"]
    write_localization([row(method=method) for method in methods[:4]], tmp_path / "a.csv")
    assert read_localization([tmp_path / "a.csv"])["method"].tolist() == order_methods(methods)


def test_table_of_an_earlier_version_is_refused(tmp_path):
    write_localization([row()], tmp_path / "a.csv")
    pd.read_csv(tmp_path / "a.csv", dtype=str).drop(columns=["iou", "hit"]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=r"a\.csv: column iou, hit is missing; run localize_events again"):
        read_localization([tmp_path / "a.csv"])


def test_missing_column_is_named(tmp_path):
    with pytest.raises(UserError, match="chance"):
        write_localization(pd.DataFrame([row()]).drop(columns="chance"), tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_repeated_query_is_refused_within_and_between_files(tmp_path):
    with pytest.raises(UserError, match="00001"):
        write_localization([row(), row()], tmp_path / "a.csv")
    write_localization([row()], tmp_path / "a.csv")
    with pytest.raises(UserError, match="twice"):
        read_localization([tmp_path / "a.csv", tmp_path / "a.csv"])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("method", "guess", "guess"),
        ("position", "centre", "centre"),
        ("overlap", 1.5, "overlap"),
        ("chance", np.nan, "chance"),
        ("overlap", "high", "overlap"),
        ("hit", 2.0, "hit"),
        ("method", "steering", "steering_<name>"),
        ("method", "steering_A b", "steering_<name>"),
        ("tied", "maybe", "tied"),
    ],
)
def test_wrong_values_are_named(tmp_path, column, value, message):
    with pytest.raises(UserError, match=message):
        write_localization([row(**{column: value})], tmp_path / "a.csv")


def test_unreadable_file_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(UserError, match=r"a\.csv"):
        read_localization([tmp_path / "a.csv"])
    with pytest.raises(UserError, match=r"b\.csv"):
        read_localization([tmp_path / "b.csv"])


def test_table_without_rows_has_a_header(tmp_path):
    write_localization([], tmp_path / "a.csv")
    assert read_localization([tmp_path / "a.csv"]).empty


def test_a_query_has_no_score_only_where_a_reason_is_given(tmp_path):
    nothing = dict.fromkeys(("overlap", "iou", "hit", "pointing", "predicted_start", "predicted_end"), np.nan)
    write_localization([row(**nothing, failure="no vector: no other sample has label 'NA'")], tmp_path / "a.csv")
    table = read_localization([tmp_path / "a.csv"])
    assert no_vector(table).tolist() == [True]
    assert table["chance"].notna().all()
    for wrong in (row(**nothing), row(chance=np.nan, failure="no vector: none")):
        with pytest.raises(UserError, match="must lie between 0 and 1; run localize_events again"):
            write_localization([wrong], tmp_path / "b.csv")
