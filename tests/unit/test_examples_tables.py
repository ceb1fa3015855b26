"""The builder end to end on short clips, and reading what it wrote."""

import json
import shutil
from pathlib import Path

import collect_sequences
import compose_sequences
import numpy as np
import pandas as pd
import prepare_clips
import pytest

from wheretolisten.clips.pcm import digest_of, write_flac
from wheretolisten.clips.procedural import LABELS
from wheretolisten.clips.records import read_clips
from wheretolisten.errors import UserError
from wheretolisten.examples import load_audio, read_shard
from wheretolisten.examples.shards import write_shard

SETTINGS = {"clip_seconds": [0.5, 0.6], "gap_seconds": 0.25}


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Table of a library of short clips, some longer than an event."""
    folder = tmp_path_factory.mktemp("clips")
    settings = {"type": "procedural", "clips_per_label": 2, "clip_seconds": [0.5, 0.8]}
    arguments = ["--clips", str(folder / "clips.csv"), "--audio", str(folder / "audio")]
    prepare_clips.main(["--settings", json.dumps(settings), *arguments])
    return folder / "clips.csv"


def compose(clips: Path, folder: Path, shard: int, first: int, stop: int, settings=SETTINGS) -> Path:
    path = folder / "shards" / f"{shard}.csv"
    where = ["--shard", str(path), "--audio", str(folder / "audio" / str(shard))]
    which = ["--first", str(first), "--stop", str(stop)]
    compose_sequences.main(["--settings", json.dumps(settings), "--clips", str(clips), *which, *where])
    return path


@pytest.fixture(scope="module")
def sequences(clips, tmp_path_factory) -> Path:
    """Ten samples in two shards."""
    folder = tmp_path_factory.mktemp("sequences")
    shards = [compose(clips, folder, 0, 0, 6), compose(clips, folder, 1, 6, 10)]
    tables = ["--samples", str(folder / "samples.csv"), "--events", str(folder / "events.csv")]
    collect_sequences.main(["--shards", *map(str, shards), *tables])
    return folder


def test_without_audio_events_have_the_same_labels_and_times(sequences, clips, tmp_path):
    shard = tmp_path / "shards/0.csv"
    of_samples = ["--first", "0", "--stop", "6", "--shard", str(shard)]
    compose_sequences.main(["--settings", json.dumps(SETTINGS), "--clips", str(clips), *of_samples])
    assert [path.name for path in tmp_path.rglob("*")] == ["shards", "0.csv"]
    found, heard = read_shard(shard), read_shard(sequences / "shards/0.csv")
    of_audio = ["path", "digest", "audible"]
    pd.testing.assert_frame_equal(found.drop(columns=of_audio), heard.drop(columns=of_audio))
    assert found[of_audio].drop_duplicates().to_numpy().tolist() == [["", "", 1.0]]


def test_the_tables_agree_with_each_other_and_with_the_audio(sequences, clips):
    events = read_shard(sequences / "events.csv")
    samples = pd.read_csv(sequences / "samples.csv", dtype={"sample_id": str})
    sources = {clip.clip_id: clip.source for clip in read_clips(clips)}
    assert list(samples.columns) == ["sample_id", "domain", "seconds", "path", "digest", "labels"]
    assert list(samples["sample_id"]) == [f"{index:05d}" for index in range(10)]
    assert samples["domain"].value_counts().to_dict() == {"animals": 5, "everyday": 5}
    for sample, (sample_id, rows) in zip(
        samples.to_dict("records"), events.groupby("sample_id", sort=False), strict=True
    ):
        assert sample["sample_id"] == sample_id
        assert list(rows["position"]) == ["begin", "middle", "end"]
        assert sample["labels"] == "|".join(rows["label"])
        assert [LABELS[label] for label in rows["label"]] == [sample["domain"]] * 3
        assert [sources[clip_id] for clip_id in rows["clip_id"]] == list(rows["source"])
        audio = load_audio(sample, sequences)
        assert audio.dtype == np.float32
        assert len(audio) == round(sample["seconds"] * 16_000)
        assert rows["onset"].iloc[0] == 0
        assert rows["offset"].iloc[2] == sample["seconds"] == rows["sample_seconds"].iloc[0]
        for row in rows.to_dict("records"):
            np.testing.assert_array_equal(load_audio(row, sequences), audio)
            for column in ("onset", "offset", "duration"):
                assert row[column] == round(row[column] * 16_000) / 16_000
            assert 0.5 <= row["duration"] <= 0.6
            assert 0 < row["audible"] <= 1
            assert row["duration"] == pytest.approx(row["offset"] - row["onset"], abs=1e-12)


def test_any_number_of_events_from_clips_to_tables(clips, tmp_path):
    settings = {"n_events": 4, "clip_seconds": [0.5, 0.6], "gap_seconds": [0.1, 0.3], "domains": "mixed"}
    settings |= {"overlap": {"level_db": -3, "n_events": 2, "fraction": 0.5}}
    shards = [compose(clips, tmp_path, *numbers, settings) for numbers in ((0, 0, 4), (1, 4, 6))]
    tables = ["--samples", str(tmp_path / "samples.csv"), "--events", str(tmp_path / "events.csv")]
    collect_sequences.main(["--shards", *map(str, shards), *tables])
    events = read_shard(tmp_path / "events.csv")
    for _, rows in events.groupby("sample_id"):
        assert list(rows["position"]) == [f"event-{number}" for number in range(1, 7)]
        assert rows["onset"].is_monotonic_increasing
        assert rows["label"].nunique() == rows["clip_id"].nunique() == 6
        assert (rows["offset"].shift() > rows["onset"]).sum() >= 2  # each second sound starts within an event
        assert rows["offset"].max() == rows["sample_seconds"].iloc[0]
        assert (rows["duration"] < 0.31).sum() == 2
        load_audio(rows.iloc[0], tmp_path)
    # Adding samples, in other shards too, changes none.
    whole = read_shard(compose(clips, tmp_path / "more", 0, 0, 8, settings))
    same = [column for column in whole.columns if column != "path"]
    pd.testing.assert_frame_equal(whole[same].head(36), events[same])


def test_shards_can_be_cut_anywhere_and_more_samples_move_none(sequences, clips, tmp_path):
    whole = read_shard(compose(clips, tmp_path, 0, 0, 12))
    parts = read_shard(sequences / "events.csv")
    same = [column for column in whole.columns if column != "path"]
    pd.testing.assert_frame_equal(whole[same].head(30), parts[same])
    assert list(whole["path"].unique()) == [f"audio/0/{index:05d}.flac" for index in range(12)]


def test_building_again_gives_the_same_bytes(sequences, clips, tmp_path):
    compose(clips, tmp_path, 1, 6, 10)
    for path in (sequences / "audio" / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "audio" / "1" / path.name).read_bytes()
    assert (sequences / "shards" / "1.csv").read_bytes() == (tmp_path / "shards" / "1.csv").read_bytes()


def test_audio_that_is_not_what_the_table_says_is_refused(sequences, tmp_path):
    shutil.copytree(sequences / "audio", tmp_path / "audio")
    row = read_shard(sequences / "events.csv").iloc[0]
    pcm = np.zeros(100, dtype=np.int16)
    assert digest_of(pcm) != row["digest"]
    write_flac(tmp_path / row["path"], pcm)
    with pytest.raises(UserError, match=r"sample 00000.*digest differs.*--forcerun compose_sequences"):
        load_audio(row, tmp_path)
    (tmp_path / row["path"]).write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be read"):
        load_audio(row, tmp_path)


def test_a_table_that_does_not_fit_is_refused(sequences, tmp_path):
    table = pd.read_csv(sequences / "events.csv", dtype=str)
    path = tmp_path / "0.csv"
    cases = {
        "lacks the columns onset, digest": table.drop(columns=["onset", "digest"]),
        "sample 00000, position begin twice": pd.concat([table, table.head(1)]),
        "position 'last'": table.replace({"position": {"end": "last"}}),
        "not a number": table.replace({"onset": {"0.0": "soon"}}),
        "position begin is audible for 1.5 of its duration": table.assign(audible="1.5"),
    }
    for message, broken in cases.items():
        broken.to_csv(path, index=False)
        with pytest.raises(UserError, match=message):
            read_shard(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_shard(tmp_path / "nowhere.csv")


def test_labels_are_read_as_text(sequences, tmp_path):
    table = pd.read_csv(sequences / "events.csv", dtype=str).replace(
        {"label": {"dog": "None", "cat": "NA", "cow": "1"}}
    )
    table.to_csv(tmp_path / "0.csv", index=False)
    read = read_shard(tmp_path / "0.csv")
    assert list(read["label"]) == list(table["label"].fillna("NA"))
    assert read["sample_id"].iloc[0] == "00000"


def test_a_table_without_audible_shares_is_read(sequences, tmp_path):
    # Results of earlier versions can still be drawn.
    table = pd.read_csv(sequences / "events.csv", dtype=str)
    table.drop(columns="audible").to_csv(tmp_path / "0.csv", index=False)
    read = read_shard(tmp_path / "0.csv")
    assert read["audible"].isna().all()
    write_shard(read, tmp_path / "1.csv")
    pd.testing.assert_frame_equal(read_shard(tmp_path / "1.csv"), read)


def test_a_sample_in_two_shards_is_refused(sequences, tmp_path):
    shard = str(sequences / "shards" / "0.csv")
    shutil.copy(shard, tmp_path / "1.csv")
    tables = ["--samples", str(tmp_path / "samples.csv"), "--events", str(tmp_path / "events.csv")]
    with pytest.raises(UserError, match="sample 00000 is in"):
        collect_sequences.main(["--shards", shard, str(tmp_path / "1.csv"), *tables])
    assert not (tmp_path / "events.csv").exists()


def test_a_lost_clip_stops_the_builder(clips, tmp_path):
    shutil.copytree(clips.parent, tmp_path / "clips")
    for path in (tmp_path / "clips" / "audio").glob("*-0001.flac"):
        path.unlink()
    with pytest.raises(UserError, match=r"clip .*-0001.*--forcerun prepare_clips"):
        compose(tmp_path / "clips" / "clips.csv", tmp_path / "sequences", 0, 0, 9)
    assert not (tmp_path / "sequences" / "shards").exists()
