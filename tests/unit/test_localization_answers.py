"""Reading an onset out of an answer in words."""

import pytest

from wheretolisten.localization.answers import parse_onset


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ("5", 5),
        ("5.0", 5),
        ("5.00 seconds", 5),
        ("5.", 5),
        ("5s", 5),
        (".5 s", 0.5),
        ("The sound of cat starts at 6.10 seconds.", 6.1),
        ("0:05", 5),
        ("at 00:05.25", 5.25),
        ("1:02", 62),
        ("0:01:05", 65),
        ("[00:05 - 00:10]", 5),
        ("between 5 and 6", 5),
        ("5-6 seconds", 5),
        ("at 5,5 s", 5.5),
        ("- 5.0 seconds", 5),
        ("<|6.10|>", 6.1),
        ("在5.00秒", 5),
        ('{"start": 5.0}', 5),
        ('{"label": "cat 2", "duration": 4.5, "start_time": 6.5}', 6.5),
        ('{"onset": "0:05"}', 5),
        ('{"events": [{"onset": 7}, {"onset": 9}]}', 7),
        ('Sure!\n```json\n{"start": 5.25, "end": 10}\n```', 5.25),
        ('The answer is {"start": 3}.', 3),
        ("[5.0, 10.0]", 5),
        ("[the cat] starts at 4", 4),
        ("The 2nd sound starts at 7.5 s", 7.5),
        ("clip34 starts at 8", 8),
        ("...5", 5),
    ],
)
def test_onset_is_the_first_number(answer, seconds):
    assert parse_onset(answer) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        # Numbers of names are passed over where there is a time,
        ("The 808 kick starts at 3.2 seconds", 3.2),
        ("The 808 kick lasts 5.00 seconds. It starts at 3.20 seconds.", 3.2),
        ('The "808" starts at 3', 3),
        ("808's kick starts at 5", 5),
        ("808 kick: 3.2", 3.2),
        ("Track 2 begins at 0:07", 7),
        ("track-2 starts at 5", 5),
        ("Track #2: 7 seconds", 7),
        ("sound of 747 engine at 12 s", 12),
        ("Boeing 747 at 12", 12),
        ("440 Hz tone at 3", 3),
        ("7.1kHz tone at 3 s", 3),
        ("3D sound at 5", 5),
        ("The 3rd sound, dog, starts at 5 seconds", 5),
        ("I hear 2 dogs, the first at 5 s", 5),
        ("3.2 seconds (808 kick)", 3.2),
        ('The 808 kick: {"duration": 4, "start": 6}', 6),
        ('{"label": "808 kick", "time": "3.2 s"}', 3.2),
        ("I hear 2 sounds: [3.0, 8.0]", 3),
        ("A 1.5 kHz tone begins at 3.2 seconds", 3.2),
        ("The 7.1 surround test begins at 3.2 seconds", 3.2),
        ("Version 2.0 starts at 3 seconds", 3),
        ("2. Dog: 6.5 seconds", 6.5),
        ("1) 6.5", 6.5),
        ("95% sure: 3.2 seconds", 3.2),
        ("6.5 (the clip is 20 seconds)", 6.5),
        ("The 808 starts at -3 seconds", None),
        # and so are durations and ends.
        ("lasts 5.00 seconds and starts at 3.2 seconds", 3.2),
        ("It lasts for 5 s and begins around 3.2 s", 3.2),
        ("The 5 seconds long noise begins at 7.10 seconds", 7.1),
        ("ends at 10 s and starts at 5 s", 5),
        ('{"duration": 4.5, "time": 6.5}', 6.5),
        # The first time counts, whatever follows,
        ("between 3.2 and 5.1 seconds", 3.2),
        ("dog 5 - 10 s", 5),
        ("dog 5.2, cat 10.1 s", 5.2),
        ("5 and ends at 10 s", 5),
        ("5, lasting 3.2 seconds", 5),
        ("5s-10s", 5),
        ("at the 5 second mark, for 3 s", 5),
        ("It's 5, and again at 10 s", 5),
        # and where there is none, the first number.
        ("lasts 5 s", 5),
        ("until 10 s", 10),
        ("808", 808),
    ],
)
def test_a_time_goes_before_numbers_that_are_none(answer, seconds):
    assert parse_onset(answer) == (None if seconds is None else pytest.approx(seconds))


def test_numbers_of_the_label_that_was_asked_about_are_no_times():
    assert parse_onset("808: 3.2", "808") == 3.2
    assert parse_onset("At 7, 7.5 s", "7") == 7.5
    assert parse_onset('{"sound": "5", "onset": 7}', "5") == 7
    # Nor are they lost: spoken digits may be labels.
    assert parse_onset("5", "5") == 5
    assert parse_onset("5 seconds, ends at 7 s", "5") == 5


def test_a_repeated_duration_is_still_the_first_number():
    assert parse_onset("The sound lasting 5.00 seconds starts at 7.10 seconds") == 5.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "none",
        "I cannot tell.",
        "five seconds",
        "-5 seconds",
        "at -0.5",
        '{"start": null}',
        '{"start": true}',
        '{"start": NaN}',
        '{"start": -3}',
        "[]",
        "the second one",
        "1" * 400,
        '{"start": 1' + "0" * 400 + "}",
    ],
)
def test_answers_without_an_onset(answer):
    assert parse_onset(answer) is None
