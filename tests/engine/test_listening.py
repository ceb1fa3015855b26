"""listen.py as people start it, on a tiny model."""

import json

import listen
import numpy as np
import pytest
import soundfile
import soxr

from wheretolisten.clips.procedural import synthesize
from wheretolisten.errors import UserError
from wheretolisten.listening import hear, recording

MODEL = ["--model", "tiny-qwen2-audio"]


def noise(seconds, rng):
    return (0.03 * rng.standard_normal(round(seconds * 16_000))).astype(np.float32)


def joined(labels, seed, seconds=4.0):
    """Sounds with noise between them, and onset and offset of each."""
    rng, parts, times, onset = np.random.default_rng(seed), [], [], 1.0
    for label in labels:
        parts += [noise(1.0, rng), synthesize(label, seconds, rng)]
        times.append((onset, onset + seconds))
        onset += seconds + 1.0
    return np.concatenate([*parts, noise(1.0, rng)]), times


def read(folder):
    return json.loads((folder / "listen.json").read_text())


def hits(sound, time):
    """Whether an interval of a sound has an intersection over union of one half with a stretch of time."""
    for each in sound["intervals"]:
        both = min(each["offset"], time[1]) - max(each["onset"], time[0])
        if both >= 0.5 * (max(each["offset"], time[1]) - min(each["onset"], time[0])):
            return True
    return False


@pytest.mark.slow
def test_a_folder_of_recordings_is_heard_and_bad_ones_are_named(tmp_path, capsys, caplog):
    inside = tmp_path / "recordings"
    inside.mkdir()
    sound, times = joined(["dog", "rain", "siren"], seed=5)
    wide = soxr.resample(sound, 16_000, 48_000)
    soundfile.write(inside / "stereo.flac", np.stack([wide, 0.5 * wide], axis=1).clip(-1, 1), 48_000)
    soundfile.write(inside / "one.ogg", soxr.resample(sound, 16_000, 22_050).clip(-1, 1), 22_050)
    soundfile.write(inside / "a silence.wav", np.zeros(32_000), 16_000)
    sounds = ("dog bark", "rain", "siren", "clock")
    asked = [word for sound in sounds for word in ("--sound", sound)]
    with pytest.raises(UserError, match="1 of 3 recordings could not be heard"):
        listen.main([str(inside), *asked, *MODEL, "--output", str(tmp_path / "out")])
    assert "a silence.wav: the file is silent; give another recording" in caplog.text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"stereo", "one"}
    for name, file in (("stereo", "stereo.flac"), ("one", "one.ogg")):
        found = read(tmp_path / "out" / name)
        assert found["file"] == file
        assert found["seconds"] == pytest.approx(16.0, abs=0.01)
        assert {"dog", "clock"} <= set(found["trusted"])
        heard = {sound["name"]: sound for sound in found["sounds"]}
        assert list(heard) == list(sounds)
        for label, time in zip(sounds, times, strict=False):
            assert heard[label]["heard"]
            assert hits(heard[label], time)
            curve, layers = heard[label]["curve"], heard[label]["layers"]
            assert len({len(values) for values in curve.values()} | {len(each["change"]) for each in layers}) == 1
            inside_event = [time[0] < second < time[1] for second in curve["seconds"]]
            change = np.array(curve["change"])
            assert change[inside_event].mean() > change[~np.array(inside_event)].mean()
        assert not heard["clock"]["heard"]
        assert heard["clock"]["score"] < heard["clock"]["threshold"]
        assert not set(sounds) & set(found["absent"])
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == {
            *(f"listen.{suffix}" for suffix in ("html", "json", "csv", "txt", "TextGrid", "png", "pdf"))
        }
    told = capsys.readouterr().out
    assert told.count("not heard") == 2
    # Steered for, the dog is where it is when asked about; and nobody needs to name it.
    again = [str(inside / "stereo.flac"), *MODEL, "--output", str(tmp_path / "again")]
    listen.main([*again, "--sound", "dog", "--method", "steer"])
    steered = read(tmp_path / "again/stereo")
    assert steered["method"] == "steer"
    assert hits(steered["sounds"][0], times[0])
    listen.main(again)
    listed = {sound["name"]: sound for sound in read(tmp_path / "again/stereo")["sounds"]}
    assert len(listed) == 18
    heard = [name for name, sound in listed.items() if sound["heard"]]
    assert {"dog", "siren"} <= set(heard)
    assert len(heard) <= 4
    assert capsys.readouterr().out.splitlines()[-2].split()[0] == "siren"  # in order of time
    assert "stereo.flac (0:16.0)" in told


@pytest.mark.slow
def test_three_sounds_in_twenty_minutes_after_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_LONG_SECONDS", 60)
    rng = np.random.default_rng(1)
    long, planted = np.zeros(20 * 60 * 16_000, dtype=np.float32), {"rain": 100.0, "siren": 614.0, "rooster": 1190.0}
    for start in (80.0, 600.0, 1170.0):  # the rest is silence, which costs nothing
        part = slice(round(start * 16_000), round((start + 30) * 16_000))
        long[part] = noise(30, rng)
    for label, onset in planted.items():
        part = slice(round(onset * 16_000), round((onset + 5) * 16_000))
        long[part] = synthesize(label, 5.0, rng)
    file = tmp_path / "long.wav"
    soundfile.write(file, long, 16_000)
    argv = [str(file), "--sound", "rain", "--sound", "siren", "--sound", "rooster", "--sound", "cow", *MODEL]
    argv += ["--output", str(tmp_path / "out")]
    really_look, looked = hear.look, []

    def interrupted(*args):
        looked.append(args)
        if len(looked) == 4:
            raise KeyboardInterrupt
        return really_look(*args)

    monkeypatch.setattr(hear, "look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        listen.main(argv)
    assert list((tmp_path / "out/long/parts").rglob("*.npz"))
    n_before = len(looked)
    listen.main(argv)
    found = read(tmp_path / "out/long")
    heard = {sound["name"]: sound for sound in found["sounds"]}
    for label, onset in planted.items():
        best = max(heard[label]["intervals"], key=lambda interval: interval["score"])
        assert hits({"intervals": [best]}, (onset, onset + 5)), label
        assert heard[label]["layers"] is None
    assert not heard["cow"]["heard"]
    assert found["seconds"] == 1200
    assert not (tmp_path / "out/long/parts").exists()
    # What was finished is not heard again.
    again = len(looked) - n_before
    looked.clear()
    monkeypatch.setattr(hear, "look", lambda *args: looked.append(args) or really_look(*args))
    listen.main(argv)
    assert again < len(looked)
    assert read(tmp_path / "out/long") == found


def test_what_can_be_wrong_is_said_in_one_sentence_before_a_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    soundfile.write("short.wav", 0.1 * np.ones(100), 16_000)
    soundfile.write("silent.wav", np.zeros(16_000), 16_000)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "taken").write_text("")
    monkeypatch.setattr("wheretolisten.models.registry.load", lambda model: pytest.fail("a model was loaded"))
    for argv, said in (
        (["b.wav", "--sound", "dog"], "b.wav: there is no such file; check the path"),
        (["text.wav", "--sound", "dog"], "text.wav: the file cannot be read as audio"),
        (["short.wav", "--sound", "dog"], r"short.wav: the file lasts 0.01 s, less than min_seconds \(0.5 s\)"),
        (["silent.wav", "--sound", "dog"], "silent.wav: the file is silent"),
        (["a.wav", "--sound", " "], "--sound: a sound has no name"),
        (["a.wav", "--sound", "dog", "--sound", "dog"], "--sound: 'dog' is asked about twice"),
        (["a.wav", "--sound", "dog", "--sound", "Dog"], "--sound: .*'Dog'"),
        (["a.wav", "--sound", "dog bark", "--sound", "big dog"], "knows 'dog bark' and 'big dog' as 'dog'"),
        (["a.wav", "--sound", "dog", "--model", "none"], "--model none: there is no such model or folder"),
        (["a.wav", "--sound", "dog", "--output", "taken"], "taken.*cannot be written"),
    ):
        with pytest.raises(UserError, match=said):
            listen.main(argv if "--model" in argv else [*argv, *MODEL])
