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
