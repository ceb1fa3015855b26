"""Intervals from attention, chunks of long recordings, thresholds, and what is written."""

import json
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from praatio.textgrid import openTextgrid

from wheretolisten.errors import UserError
from wheretolisten.listening import calibration, models, output, recording
from wheretolisten.listening.calibration import RATES, Calibration, rate_of_chunk
from wheretolisten.listening.chunks import Cutting
from wheretolisten.listening.findings import Finding, look, rank_p_value, together
from wheretolisten.listening.scan import Scan, Stretch, change, join, tempered

EVEN = np.array([1.0])


def attention(n_tokens, *gains):
    """One block with an even share for every token but for stretches that gain (first, after, factor)."""
    values = np.ones((1, n_tokens))
    for first, after, factor in gains:
        values[0, first:after] *= factor
    return values


def kulldorff(asked, reference, first, after):
    """The statistic of one window, by its definition."""
    p, q = (float(each[0, first:after].sum() / each[0].sum()) for each in (asked, reference))
    ratio = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return ratio if p > q else -ratio


def assert_near(stretch, first, after):
    """Widths grow by a seventh from one to the next."""
    tolerance = (after - first) // 7
    assert abs(stretch.first - first) <= tolerance
    assert abs(stretch.after - after) <= tolerance


def test_the_best_window_is_the_stretch_that_gains():
    asked, reference = attention(100, (30, 50, 3)), attention(100, (60, 80, 2))
    best = Scan(asked, reference, EVEN, 10, 90).best()
    assert_near(best, 30, 50)
    assert best.score == pytest.approx(kulldorff(asked, reference, best.first, best.after))


def test_windows_lie_where_they_are_allowed_to():
    best = Scan(attention(100, (0, 20, 5)), attention(100), EVEN, 15, 90).best()
    assert (best.first, best.after) == (15, 20)


def test_every_stretch_is_found_and_nothing_where_nothing_gains():
    events = ((20, 41, 4), (100, 121, 2), (160, 181, 8))  # one of the widths that are tried
    found = Scan(attention(200, *events), attention(200), EVEN).all(threshold=0.01)
    assert [(each.first, each.after) for each in found] == [(20, 41), (100, 121), (160, 181)]
    # The faintest is searched for in what is left once the others are out.
    left = attention(158, (79, 100, 2))
    assert found[1].score == pytest.approx(kulldorff(left, attention(158), 79, 100))
    assert Scan(attention(200), attention(200), EVEN).all(threshold=0.01) == []


def test_stretches_that_touch_are_one():
    stretches = [Stretch(10, 20, 1.0), Stretch(0, 9, 2.0), Stretch(30, 40, 3.0)]
    assert join(stretches) == [Stretch(0, 20, 2.0), Stretch(30, 40, 3.0)]
    assert len(join(stretches, gap=0)) == 3


def test_occurrences_are_where_the_change_stays_high_and_reach_beyond_the_window():
    asked = attention(80, (10, 25, 3), (32, 50, 3), (60, 70, 3))
    scan = Scan(asked, attention(80), EVEN, 12, 80)
    first, second = scan.occurrences(Stretch(15, 50, 0.5), smoothed=5)
    assert (first.first, first.score) == (12, 0.5)  # not in front of where it may be
    assert abs(first.after - 25) <= 1
    assert abs(second.first - 32) <= 1
    assert abs(second.after - 50) <= 1
    # A dip in the middle is none between two; a window that ends within an occurrence goes on.
    (whole,) = Scan(attention(80, (10, 25, 3), (25, 32, 2.6), (32, 50, 3)), attention(80), EVEN).occurrences(
        Stretch(10, 40, 0.5), smoothed=5
    )
    assert abs(whole.first - 10) <= 1
    assert abs(whole.after - 50) <= 1


def test_tempered_attention_hears_changes_beside_a_token_that_takes_nearly_all():
    sink = np.full((1, 60), 1e-3)
    sink[0, 5] = 1.0
    asked = sink.copy()
    asked[0, 30:45] *= 3
    assert tempered(sink).sum() == pytest.approx(1)
    assert tempered(sink)[0, 0] / tempered(sink)[0, 5] == pytest.approx(1e-3**0.2)
    even = Scan(tempered(asked), tempered(sink), EVEN, 10, 60).best()
    assert_near(even, 30, 45)
    # Two tokens that differ between any two questions score more than the event, if shares are as they are.
    noisy = asked.copy()
    noisy[0, 12:14] *= 8
    assert_near(Scan(tempered(noisy), tempered(sink), EVEN, 10, 60, shortest=5).best(), 30, 45)


def test_change_counts_doublings():
    asked, reference = attention(8, (2, 4, 4)) / 14, attention(8) / 8
    assert change(asked, reference, EVEN)[2] == pytest.approx(np.log2(4 * 8 / 14), abs=1e-5)


@pytest.mark.parametrize("seconds", [0.7, 5.0, 15.9, 16.1, 27.3, 100.0, 3600.0])
def test_chunks_cover_a_recording_and_overlap(seconds):
    cutting = Cutting(6.25, 20)
    n_frames = round(seconds * 16_000)
    chunks, total = cutting.chunks(n_frames), cutting.total(n_frames)
    assert total / 6.25 >= seconds > (total - 1) / 6.25
    assert (chunks[0].first, chunks[-1].after) == (0, total)
    for one, following in pairwise(chunks):
        assert one.after - one.first == following.after - following.first == cutting.n_tokens
        assert following.first > one.first
        # An event of four seconds is whole in one of them.
        assert one.after - following.first >= 4 * 6.25


def test_a_chunk_is_heard_between_noise_as_loud_as_itself():
    cutting = Cutting(6.25, 20)
    pcm = (3000 * np.sin(np.arange(16_000 * 40) / 7)).astype(np.int16)
    chunk = cutting.chunks(len(pcm))[1]
    sound = cutting.sound(pcm, chunk)
    around = cutting.n_noise * 2560
    assert len(sound) == (chunk.after - chunk.first) * 2560 + 2 * around <= 20 * 16_000
    np.testing.assert_array_equal(sound[around:-around], pcm[chunk.first * 2560 : chunk.after * 2560] / 32_768)
    assert np.std(sound[:around]) == pytest.approx(np.std(sound[around:-around]), rel=0.05)


def shares(n_words, n_tokens, **gains):
    found = np.ones((n_words, 2, n_tokens))
    for word, (first, after, factor) in gains.items():
        found[int(word[1:]), :, first:after] *= factor
    return found / found.sum(axis=-1, keepdims=True)


def test_a_chunk_says_where_a_sound_is_and_ranks_it():
    heard = shares(5, 60, w0=(20, 35, 4), w3=(40, 50, 1.1))
    against = [[each for each in range(5) if each != word] for word in range(5)]
    found = look(heard, [0, 1], against, first=5, n_tokens=50, tokens_per_second=6.25, threshold=0.001)
    assert found.stretches[:, :3].tolist() == [[0, 15, 30]]
    assert found.best.argmax() == 0
    assert found.change.shape == found.asked.shape == (2, 50)
    assert found.change[0, 20] > 1 > found.change[0, 0]
    assert rank_p_value(found.best, 0, [1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert rank_p_value(found.best, 1, [0, 2, 3, 4]) > 1 / 5
    # Without a threshold a sound has to beat those that it is held against.
    ranked = look(heard, [0, 1], against, first=5, n_tokens=50, tokens_per_second=6.25, threshold=None)
    assert set(ranked.stretches[:, 0]) == {0}


def test_parts_of_one_event_in_two_chunks_are_one():
    cutting = Cutting(6.25, 20)
    first, second = cutting.chunks(28 * 16_000)

    def finding(chunk, *stretches, gain=1.0):
        empty = np.zeros((1, chunk.after - chunk.first))
        rows = np.array([(0, a - chunk.first, b - chunk.first, score) for a, b, score in stretches])
        return Finding(np.array([1.0]), rows.reshape(-1, 4), empty, empty, empty + gain, empty[:, None])

    cut = (second.first + first.after) // 2
    parts = [finding(first, (cut - 9, cut + 5, 0.2)), finding(second, (cut - 4, cut + 12, 0.3))]
    assert together([first, second], parts).stretches.tolist() == [[0, cut - 9, cut + 12, 0.3]]
    apart = together([first, second], [finding(first, (2, 8, 0.2)), finding(second, (cut, cut + 9, 0.1))])
    assert apart.stretches.tolist() == [[0, 2, 8, 0.2], [0, cut, cut + 9, 0.1]]
    # What lies in both has the mean of both; the second chunk says that nothing is there.
    denied = together([first, second], [finding(first, (cut, cut + 5, 0.2)), finding(second, gain=-3.0)])
    assert denied.change[0, [0, cut, denied.change.shape[1] - 1]].tolist() == [1.0, -1.0, -3.0]
    assert len(denied.stretches) == 0


def test_thresholds_rise_with_length_and_lie_between_what_was_measured():
    known = Calibration(("dog",), 0.05, tuple(0.001 * 2**k for k in range(len(RATES))))
    assert known.threshold(0.1) == pytest.approx(0.002)
    assert 0.001 < known.threshold(0.15) < 0.002
    assert known.threshold(1e-5) > known.threshold(RATES[-1])
    assert rate_of_chunk(0.05, 3.0, 16.0) == pytest.approx(0.05)
    hour = rate_of_chunk(0.05, 3600.0, 16.0)
    assert 1 - (1 - hour) ** 225 == pytest.approx(0.05)


def test_quantiles_are_exceeded_at_the_stated_rates():
    scores = np.random.default_rng(0).exponential(size=20_000)
    for rate, score in zip(RATES, calibration.quantiles(scores), strict=True):
        assert np.mean(scores > score) == pytest.approx(rate, rel=0.05)


@pytest.mark.parametrize("model", ["tiny-qwen2-audio", "tiny-audio-flamingo-3"])
def test_shipped_models_are_calibrated_and_others_are_not(root, model, tmp_path):
    known = calibration.read(models.CALIBRATIONS, root / "resources" / model, "ask")
    assert len(known.words) == 18
    assert known.false_alarms <= 0.1
    assert list(known.scores) == sorted(known.scores)
    assert calibration.read(models.CALIBRATIONS, tmp_path, "ask") is None


FOUND = {
    "file": "my.wav",
    "seconds": 3700.0,
    "sounds": [
        {
            "name": "dog",
            "heard": True,
            "score": 0.02,
            "p_value": 0.1,
            "threshold": 0.01,
            "intervals": [
                {"onset": 4.0, "offset": 5.5, "score": 0.02},
                {"onset": 61.0, "offset": 3661.04, "score": 0.01},
            ],
        },
        {"name": "church, bell", "heard": False, "score": 0.001, "p_value": 0.9, "threshold": 0.01, "intervals": []},
    ],
}


def test_what_is_written_says_the_same_in_every_form(tmp_path):
    output.write(FOUND, tmp_path / "my")
    assert json.loads((tmp_path / "my/listen.json").read_text()) == FOUND
    assert (tmp_path / "my/listen.txt").read_text() == "4.000\t5.500\tdog\n61.000\t3661.040\tdog\n"
    header, *lines = (tmp_path / "my/listen.csv").read_text().splitlines()
    assert header.split(",") == list(output.COLUMNS)
    assert lines[0] == "my.wav,dog,True,4.0,5.5,0.02,0.01,0.1"
    assert lines[2] == 'my.wav,"church, bell",False,,,0.001,0.01,0.9'
    told = output.told(FOUND, listing=False).splitlines()
    assert told[2].split() == ["dog", "1:01.0", "1:01:01.0", "1.0", "0.10"]
    assert "not heard" in told[3]
    assert "church" not in output.told(FOUND, listing=True)
    grid = openTextgrid(str(tmp_path / "my/listen.TextGrid"), includeEmptyIntervals=False)
    assert grid.tierNames == ("dog", "church, bell")
    assert [tuple(interval) for interval in grid.getTier("dog").entries] == [
        (4.0, 5.5, "dog"),
        (61.0, 3661.04, "dog"),
    ]
    assert (grid.maxTimestamp, grid.getTier("church, bell").entries) == (3700, ())


def test_a_folder_is_its_recordings(tmp_path):
    for name in ("b.wav", "a.FLAC", "notes.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in recording.listed([tmp_path, tmp_path / "b.wav"])] == ["a.FLAC", "b.wav"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: the folder holds no recording"):
        recording.listed([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"no\.wav: there is no such file"):
        recording.listed([tmp_path / "no.wav"])


def test_a_long_recording_is_read_by_blocks_as_a_short_one_is_at_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    stereo = 0.1 * rng.standard_normal((44_100 * 5, 2))
    soundfile.write(tmp_path / "x.flac", stereo, 44_100)
    whole = recording.read(tmp_path / "x.flac", tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
    monkeypatch.setattr(recording, "_LONG_SECONDS", 1)
    monkeypatch.setattr(recording, "_BLOCK_SECONDS", 2)
    by_blocks = recording.read(tmp_path / "x.flac", tmp_path / "scratch")
    assert isinstance(by_blocks, np.memmap)
    np.testing.assert_allclose(by_blocks, whole, atol=1)
    soundfile.write(tmp_path / "silent.wav", np.zeros(32_000), 16_000)
    with pytest.raises(UserError, match=r"silent\.wav: the file is silent; give another"):
        recording.read(tmp_path / "silent.wav", tmp_path / "scratch")


def test_a_model_is_chosen_by_name_or_folder(root):
    assert models.choose("tiny-audio-flamingo-3").folder == root / "resources/tiny-audio-flamingo-3"
    assert models.choose(str(root / "resources/tiny-qwen2-audio")).name == "tiny-qwen2-audio"
    for name, said in (
        ("tiny-qwen2-audo", "did you mean 'tiny-qwen2-audio'"),
        (str(root / "docs"), "holds no config.json"),
    ):
        with pytest.raises(UserError, match=said):
            models.choose(name)


def test_sounds_are_asked_about_by_the_word_that_is_known():
    known = calibration.Calibration(("bell", "dog"), 0.05, None)
    sounds = ["church bell", "Dog bark", "siren"]
    assert calibration.words_for(sounds, known, "m") == ["bell", "dog", "siren"]
    assert calibration.words_for(sounds, None, "m") == sounds
    with pytest.raises(UserError, match=r"^m knows 'bell' and 'church bell' as 'bell'; ask about one of them$"):
        calibration.words_for(["bell", "church bell"], known, "m")
