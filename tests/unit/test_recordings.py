"""Recordings of one's own: what is listed, what is heard in them, and how intervals are scored."""

import importlib.util

import numpy as np
import pandas as pd
import pytest

from wheretolisten.config.examples import Recordings
from wheretolisten.errors import UserError
from wheretolisten.examples.recordings import EVENTS, OwnRecording, list_recordings, read_events
from wheretolisten.statistics.sound_events import event_f_score, score_events, segment_f_score


@pytest.fixture
def folder(tmp_path):
    for name in ("b.wav", "a.flac", "night/c.OGG", "notes.txt"):
        (tmp_path / "audio" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "audio" / name).write_bytes(b"")
    return tmp_path


def settings(folder, **keys):
    named = {key: str(folder / value) if key in ("csv", "events", "names") else value for key, value in keys.items()}
    return Recordings(type="recordings", audio=str(folder / "audio"), **named)


def write(folder, name, text):
    (folder / name).write_text(text)


# -------------------------------------------------------------------------------------------------------------- listing


def test_a_folder_or_a_table_lists_recordings_and_what_is_asked(folder):
    assert list_recordings(settings(folder)) == [OwnRecording(path, ()) for path in ("a.flac", "b.wav", "night/c.OGG")]
    assert {each.sounds for each in list_recordings(settings(folder, sounds=["dog"]))} == {("dog",)}
    write(folder, "own.csv", "recording,sounds\nnight/c.OGG,dog; church_bell ;dog\na.flac,\n")
    found = list_recordings(settings(folder, csv="own.csv", sounds=["hen"]))
    assert found == [OwnRecording("night/c.OGG", ("dog", "church bell")), OwnRecording("a.flac", ("hen",))]
    # Where only events are known, their labels are asked about, of every recording.
    write(folder, "events.csv", "recording,label,onset,offset\na.flac,rain,0,1\nb.wav,dog,1.5,2\n")
    assert {each.sounds for each in list_recordings(settings(folder, events="events.csv"))} == {("dog", "rain")}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("recording\nb.wav\nb.wav\n", "'b.wav' is listed twice"),
        ("recording\nd.wav\n", "'d.wav' is not in .*audio; correct the path"),
        ("recording\n../b.wav\n", "a recording lies outside .*audio"),
        ("recording\n", "lists no recording"),
        ("name\nb.wav\n", r"there is no column 'recording' \(or path, filename, file, segment_id\)"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(folder, text, problem):
    write(folder, "own.csv", text)
    with pytest.raises(UserError, match=problem):
        list_recordings(settings(folder, csv="own.csv"))


# --------------------------------------------------------------------------------------------------------------- events


def test_events_are_read_as_desed_and_audioset_write_them(folder):
    paths = ["a.flac", "b.wav", "night/c.OGG"]
    write(
        folder,
        "desed.tsv",
        "filename\tonset\toffset\tevent_label\nb.wav\t0.5\t2.25\tAlarm_bell_ringing\na.flac\t\t\t\n",
    )
    expected = pd.DataFrame([("b.wav", "Alarm bell ringing", 0.5, 2.25)], columns=list(EVENTS))
    pd.testing.assert_frame_equal(read_events(settings(folder, events="desed.tsv"), paths), expected)
    write(folder, "strong.tsv", "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\nc\t1\t2.5\t/m/0bt9lr\n")
    write(folder, "mid.tsv", "/m/0bt9lr\tDog\n/m/01yrx\tCat\n")
    expected = pd.DataFrame([("night/c.OGG", "Dog", 1.0, 2.5)], columns=list(EVENTS))
    pd.testing.assert_frame_equal(read_events(settings(folder, events="strong.tsv", names="mid.tsv"), paths), expected)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.flac,dog,3,2", r"events.csv, line 2: an event from '3' to '2'; give onset and offset in seconds"),
        ("a.flac,dog,x,2", "an event from 'x' to '2'"),
        ("z.wav,dog,1,2", "line 2: 'z.wav' is none of the recordings"),
    ],
)
def test_events_that_cannot_be_right_are_refused(folder, row, problem):
    write(folder, "events.csv", f"recording,label,onset,offset\n{row}\n")
    with pytest.raises(UserError, match=problem):
        read_events(settings(folder, events="events.csv"), ["a.flac", "b.wav"])


# -------------------------------------------------------------------------------------------------------------- scoring


def table(*rows):
    return pd.DataFrame(rows, columns=list(EVENTS))


def test_scores_are_those_of_the_intervals():
    events = table(("a", "dog", 1.0, 3.0), ("b", "dog", 0.0, 4.0), ("b", "cat", 2.0, 3.0), ("c", "cow", 0.0, 1.0))
    found = table(("a", "dog", 1.1, 3.1), ("b", "dog", 0.0, 1.0), ("b", "dog", 2.0, 3.0), ("a", "cat", 5.0, 6.0))
    asked = pd.DataFrame([(name, label) for name in "ab" for label in ("dog", "cat")], columns=["recording", "label"])
    scores = score_events(events, found, asked).set_index("label")
    assert list(scores.index) == ["all", "cat", "dog"]  # nobody asked for the cow
    assert scores["n_events"].tolist() == [3, 1, 2]
    assert scores.loc["dog", "overlap_pct"] == pytest.approx(100 * (1.9 / 2 + 2 / 4) / 2)
    assert scores.loc["dog", "iou_pct"] == pytest.approx(100 * (1.9 / 2.1 + 1 / 4) / 2)
    assert scores.loc["dog", "hit_pct"] == 50
    assert scores.loc["dog", "overlap_low"] < scores.loc["dog", "overlap_pct"] < scores.loc["dog", "overlap_high"]
    assert scores.loc["cat", ["overlap_pct", "false_alarm_pct"]].tolist() == [0, 100]
    assert np.isnan(scores.loc["dog", "false_alarm_pct"])
    assert scores.loc["all", "false_alarm_pct"] == 100
    assert scores.loc["dog", "event_f_pct"] == pytest.approx(100 * 2 / 5)
    # a: seconds 1 to 3 of the dog against 1 to 4; b: 0 to 4 against 0 and 2.
    assert scores.loc["dog", "segment_f_pct"] == pytest.approx(100 * 2 * 4 / (6 + 5))
    with pytest.raises(UserError, match="no recording with a sound to score"):
        score_events(events, found, asked[:0])


# What sed_eval 0.2.1 says of the scene below (setuptools 80.9.0 beside it, which it needs).
SED_EVAL = {"event": 0.5647058823529412, "segment": 0.9482758620689654}


def test_f_scores_are_those_of_sed_eval():
    rng = np.random.default_rng(0)

    def scene(n):
        onsets, labels = np.round(rng.uniform(0, 9, n), 2), rng.choice(["dog", "cat"], n)
        ends = np.round(onsets + rng.uniform(0.2, 3, n), 2)
        return [(f"r{rng.integers(3)}", label, *times) for label, *times in zip(labels, onsets, ends, strict=True)]

    events = table(*scene(40))
    near = events.assign(
        onset=(events["onset"] + rng.normal(0, 0.2, 40)).clip(0).round(2),
        offset=(events["offset"] + rng.normal(0, 0.3, 40)).round(2),
    )
    found = pd.concat([near[near["onset"] < near["offset"]], table(*scene(8))], ignore_index=True)
    own = {"event": event_f_score(events, found), "segment": segment_f_score(events, found)}
    assert own == pytest.approx(SED_EVAL)
    assert np.isnan(event_f_score(events[:0], found[:0]))
    assert np.isnan(segment_f_score(events[:0], found[:0]))
    if importlib.util.find_spec("sed_eval"):
        assert sed_eval_of(events, found) == pytest.approx(SED_EVAL)


def sed_eval_of(events, found):
    import dcase_util
    import sed_eval

    metrics = {
        "event": sed_eval.sound_event.EventBasedMetrics(["cat", "dog"], t_collar=0.2, percentage_of_length=0.2),
        "segment": sed_eval.sound_event.SegmentBasedMetrics(["cat", "dog"], time_resolution=1.0),
    }
    for name in ("r0", "r1", "r2"):
        of_file = [
            dcase_util.containers.MetaDataContainer(
                [
                    {"filename": name, "event_label": row.label, "onset": row.onset, "offset": row.offset}
                    for row in rows[rows["recording"] == name].itertuples()
                ]
            )
            for rows in (events, found)
        ]
        metrics["event"].evaluate(*of_file)
        metrics["segment"].evaluate(*of_file, evaluated_length_seconds=13.0)
    return {name: metric.results_overall_metrics()["f_measure"]["f_measure"] for name, metric in metrics.items()}
