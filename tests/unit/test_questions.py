"""Questions in MMAU's format: what the loader accepts, what scoring counts as right, what is made from sequences."""

import json
import logging
from pathlib import Path

import compose_questions
import numpy as np
import pandas as pd
import pytest
import soundfile
import transformers

from wheretolisten.clips.decode import BadFileError
from wheretolisten.config.constants import POSITIONS
from wheretolisten.config.examples import QUESTION_KINDS, Questions
from wheretolisten.config.positions import name_positions
from wheretolisten.config.prompts import PROMPTS, Wording
from wheretolisten.config.settings import QuestionSettings
from wheretolisten.errors import UserError
from wheretolisten.examples.shards import write_shard
from wheretolisten.questions.audio import load_recording, usable
from wheretolisten.questions.compose import compose
from wheretolisten.questions.mmau import KEYS, read_entries, read_items
from wheretolisten.questions.scoring import accuracy, is_correct, spell_out

RATE = 16_000


def entry(number: int = 0, **changed) -> dict:
    """An item with MMAU's keys."""
    item = {
        "id": f"id-{number}",
        "audio_id": f"./audios/{number}.wav",
        "question": "Which animal is heard?",
        "choices": ["dog", "cat", "cow", "frog"],
        "answer": "cat",
        "dataset": "sounds",
        "task": "sound",
        "split": "test-mini",
        "category": "Information Extraction",
        "sub-category": "Acoustic Source Inference",
        "difficulty": "easy",
    }
    return item | changed


def write_set(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries))
    return path


# ------------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("n_choices", [2, 4, 5, 8])
def test_items_have_as_many_choices_as_mmau_gives(tmp_path, n_choices):
    choices = [f"sound {number}" for number in range(n_choices)]
    (item,) = read_items(write_set(tmp_path / "q.json", [entry(choices=choices, answer="sound 1")]), 0, 1)
    assert item.choices == tuple(choices)
    assert item.lettered.startswith("(A) sound 0 (B) sound 1")
    assert item.lettered.endswith(f"({'ABCDEFGH'[n_choices - 1]}) sound {n_choices - 1}")


@pytest.mark.parametrize(
    ("category", "expected"),
    [("Reasoning", ("Reasoning",)), (["Reasoning", "Music"], ("Reasoning", "Music")), (None, ())],
)
def test_a_category_may_be_a_list(tmp_path, category, expected):
    (item,) = read_items(write_set(tmp_path / "q.json", [entry(category=category)]), 0, 1)
    assert item.categories == expected


BROKEN = {
    "answer among no choices": (entry(answer="horse"), r"item 0 \(id-0\) has the answer 'horse', which is not among"),
    "no choices": (entry(choices="dog"), r"has no list of texts under the key 'choices'"),
    "one choice": (entry(choices=["cat"]), r"has 1 choice\(s\), not 2 to 26"),
    "an empty choice": (entry(choices=["cat", " "]), r"has no list of texts under the key 'choices'"),
    "no question": (entry(question=""), r"has no text under the key 'question'"),
    "a number for an answer": (entry(answer=3), r"has no text under the key 'answer'"),
    "no audio": ({key: value for key, value in entry().items() if key != "audio_id"}, r"no text under .* 'audio_id'"),
    "a long id": (entry(id="x" * 65), r"has more than 64 bytes under the key 'id'"),
    "text": ("cat", r"item 0 holds no keys"),
}


@pytest.mark.parametrize(("item", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_item_is_refused_in_one_sentence_or_skipped(tmp_path, caplog, item, message):
    path = write_set(tmp_path / "q.json", [item, entry(1)])
    with pytest.raises(UserError, match=message) as caught:
        read_items(path, 0, 2, on_bad_item="refuse")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("repair or remove the item, or set on_bad_item: skip")
    with caplog.at_level(logging.WARNING):
        assert [item.item_id for item in read_items(path, 0, 2, on_bad_item="skip")] == ["id-1"]
    assert "skipped: " in caplog.text


def test_items_that_withhold_the_answer_are_read_as_such(tmp_path, caplog):
    missing = entry(3)
    del missing["answer"]
    entries = [entry(0, answer=""), entry(1, answer=" "), entry(2, answer=None), missing, entry(4, answer="horse")]
    with caplog.at_level(logging.WARNING):
        items = read_items(write_set(tmp_path / "q.json", entries), 0, 5, on_bad_item="skip")
    assert [(item.item_id, item.answer) for item in items] == [(f"id-{number}", None) for number in range(4)]
    assert caplog.text.count("skipped") == 1
    # They are not scored, neither right nor wrong, and the log says so.
    caplog.clear()
    answered = [each | {"model_output": "cat"} for each in (*entries[:4], entry(5), entry(6, answer="dog"))]
    with caplog.at_level(logging.WARNING):
        assert accuracy(answered) == (1, 2)
        assert "4 of 6 answers are not scored, because the question set withholds the right ones" in caplog.text
        assert accuracy(answered[:4]) == (0, 0)
    with pytest.raises(UserError, match="there is no right answer to score 'cat' against; leave out"):
        is_correct("cat", "", ["cat", "dog"])


def test_of_two_items_with_one_id_the_second_is_bad_in_whatever_shard_it_lies(tmp_path):
    path = write_set(tmp_path / "q.json", [entry(0), entry(1), entry(2, id="id-0")])
    assert [item.item_id for item in read_items(path, 0, 2)] == ["id-0", "id-1"]
    with pytest.raises(UserError, match=r"item 2 \(id-0\) has the id of item 0"):
        read_items(path, 2, 3)


def test_shards_cover_all_items_and_bad_ones_move_none(tmp_path):
    entries = [entry(number, answer="horse" if number == 1 else "cat") for number in range(5)]
    path = write_set(tmp_path / "q.json", entries)
    shards = [
        [item.item_id for item in read_items(path, first, first + 2, on_bad_item="skip")] for first in range(0, 5, 2)
    ]
    assert shards == [["id-0"], ["id-2", "id-3"], ["id-4"]]


def test_splits_are_chosen_before_items_are_counted(tmp_path):
    path = write_set(tmp_path / "q.json", [entry(0, split="test"), entry(1), entry(2), "text"])
    assert len(read_entries(path)) == 4
    assert [item.item_id for item in read_items(path, 0, 1, ["test-mini"])] == ["id-1"]
    with pytest.raises(UserError, match="no item of the splits dev; its splits are test, test-mini: correct splits"):
        read_entries(path, ["dev"])


@pytest.mark.parametrize("text", ["", "{", '{"id": "a"}', "[]"])
def test_a_file_that_is_no_list_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(UserError, match=r"q\.json .*must be a json list in MMAU's format") as caught:
        read_entries(tmp_path / "q.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_entries(tmp_path / "missing.json")


# -------------------------------------------------------------------------------------------------------------- audio


def item_about(tmp_path: Path, audio_id: str):
    return read_items(write_set(tmp_path / "q.json", [entry(audio_id=audio_id)]), 0, 1)[0]


@pytest.mark.parametrize(("rate", "n_channels"), [(16_000, 1), (48_000, 2), (44_100, 1), (8_000, 2)])
def test_recordings_are_mixed_and_resampled(tmp_path, rate, n_channels):
    pytest.importorskip("soxr")
    time = np.arange(2 * rate) / rate
    channels = [np.sin(2 * np.pi * 440 * time), np.zeros_like(time)][:n_channels]
    soundfile.write(tmp_path / "a.wav", 0.5 * np.stack(channels, axis=1), rate)
    recording = load_recording(item_about(tmp_path, "a.wav"), tmp_path, 30.0)
    assert recording.dtype == np.float32
    assert len(recording) == 2 * RATE
    # Silence in the second channel halves the amplitude.
    expected = 0.5 / n_channels * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    np.testing.assert_allclose(recording[800:-800], expected[800:-800], rtol=0, atol=2e-3)


def test_a_long_recording_is_cut_off(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    item = item_about(tmp_path, "./a.wav")
    whole = load_recording(item, tmp_path, 30.0)
    np.testing.assert_array_equal(load_recording(item, tmp_path, 1.5), whole[: int(1.5 * RATE)])
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(2 * RATE), noise]), RATE)
    with pytest.raises(BadFileError, match=r"is silent in its first 1\.5 s"):
        load_recording(item, tmp_path, 1.5)


def test_a_path_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "secret.wav", np.full(RATE, 0.1), RATE)
    for audio_id in ("../secret.wav", "a/../../secret.wav", str(tmp_path / "secret.wav")):
        with pytest.raises(BadFileError, match="lies outside"):
            load_recording(item_about(tmp_path, audio_id), tmp_path / "audio", 30.0)


def test_missing_and_silent_audio_is_named_and_skipped_or_refused(tmp_path, caplog):
    soundfile.write(tmp_path / "0.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "2.wav", 0.1 * np.sin(np.arange(RATE) / 4), RATE)
    entries = [entry(number, audio_id=f"{number}.wav") for number in range(3)]
    items = read_items(write_set(tmp_path / "q.json", entries), 0, 3)
    with caplog.at_level(logging.WARNING):
        assert [item.item_id for item in usable(items, tmp_path, 30.0, "skip")] == ["id-2"]
    assert f"item id-0: {tmp_path / '0.wav'} is silent" in caplog.text
    assert f"item id-1: {tmp_path / '1.wav'} does not exist" in caplog.text
    with pytest.raises(UserError, match=r"item id-1: .*1\.wav does not exist; repair or remove the item"):
        usable(items[1:], tmp_path, 30.0, "refuse")


# ------------------------------------------------------------------------------------------------------------ scoring

CHOICES = ["A dog barks", "A cat meows", "A cow moos", "Two dogs bark"]

SCORED = [
    # prediction, answer, choices, whether it is right; one rule each
    ("a cat meows", "A cat meows", CHOICES, True),  # case does not matter
    ("Meows... a CAT!", "A cat meows", CHOICES, True),  # nor do order and punctuation
    ("It is a cat that meows loudly", "A cat meows", CHOICES, True),  # other words may be there
    ("a cat", "A cat meows", CHOICES, False),  # every token of the answer must be there
    ("a cat meows, a dog barks", "A cat meows", CHOICES, False),  # and none of a wrong choice
    ("a cat meows, two of them", "A cat meows", CHOICES, False),  # not even one of its tokens
    ("a cat meows a", "A cat meows", CHOICES, True),  # those shared with the answer do not count: "a"
    ("dogs bark: two", "Two dogs bark", CHOICES, True),
    ("catmeows a", "A cat meows", CHOICES, False),  # tokens are whole words
    ("", "A cat meows", CHOICES, False),  # empty
    ("...", "A cat meows", CHOICES, False),  # nothing but punctuation
    ("yes", "yes", ["yes", "no"], True),
    ("yes and no", "yes", ["yes", "no"], False),
    ("120 bpm", "120 BPM", ["120 BPM", "90 BPM"], True),
    ("big dog", "dog", ["dog", "big dog"], False),  # a wrong choice that holds the answer
    ("dog", "big dog", ["dog", "big dog"], False),
    ("big dog", "big dog", ["dog", "big dog"], True),  # a wrong choice within the answer shares all its tokens
    ("cat", "cat", ["Cat", "cat", "dog"], True),  # a choice of the same tokens is not a wrong one
    ("B", "A cat meows", CHOICES, True),  # bare letters
    ("(B)", "A cat meows", CHOICES, True),
    ("B.", "A cat meows", CHOICES, True),
    (" b) ", "A cat meows", CHOICES, True),
    ("A", "A cat meows", CHOICES, False),
    ("E", "A cat meows", CHOICES, False),  # a letter without a choice
    ("(B) A cat meows", "A cat meows", CHOICES, True),  # not bare: the official rules, where "b" is just a word
    ("B", "B", ["A", "B", "C"], True),  # letters that are choices, as notes are, stand for themselves
    ("A", "B", ["B", "A"], False),
    ("Sí, un gato", "gato", ["perro", "gato"], True),  # words of other languages
]


@pytest.mark.parametrize(("prediction", "answer", "choices", "right"), SCORED)
def test_scoring_follows_the_official_rules(prediction, answer, choices, right):
    assert is_correct(prediction, answer, choices) is right


def test_letters_are_spelled_out():
    assert [spell_out(text, ["dog", "cat"]) for text in ("a", "(B).", "C", "cat", "", "B cat")] == [
        *("dog", "cat", "C", "cat", "", "B cat")
    ]


def test_items_without_an_answer_of_the_model_are_not_counted_and_empty_answers_are():
    answered = [entry(0, model_output="cat"), entry(1, model_output="dog"), entry(2, model_output=""), entry(3)]
    assert accuracy(answered) == (1, 3)
    assert accuracy([entry(0)]) == (0, 0)


# ---------------------------------------------------------------------------------------------------------- composing

LABELS = ("dog", "cat", "cow", "frog", "hen")


def events_of(n_samples: int, labels=LABELS, domain: str = "animals", positions=POSITIONS) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    rows = [
        {
            "sample_id": f"{sample:05d}",
            "position": position,
            "label": label,
            "domain": domain,
            "onset": 6.0 * index,
            "offset": 6.0 * index + 5,
            "clip_id": label,
            "source": label,
            "duration": 5.0,
            "sample_seconds": 6.0 * len(positions) - 1,
            "path": f"audio/0/{sample:05d}.flac",
            "digest": "d",
        }
        for sample in range(n_samples)
        for index, (position, label) in enumerate(
            zip(positions, rng.permutation(labels)[: len(positions)], strict=True)
        )
    ]
    return pd.DataFrame(rows)


def questions_about(events: pd.DataFrame, n_items: int, wording: Wording | None = None) -> list[dict]:
    settings = Questions(type="questions", about="mine", n_items=n_items, seed=3)
    return compose(events, settings, wording or Wording())


def test_answers_of_composed_questions_are_true():
    events = events_of(12)
    items = questions_about(events, 60)
    assert len(items) == 60
    heard_in = {path: list(table["label"]) for path, table in events.groupby("path")}
    asked = set()
    for item in items:
        heard, answer, kind = heard_in[item["audio_id"]], item["answer"], item["sub-category"]
        assert item["choices"].count(answer) == 1
        assert len(set(item["choices"])) == len(item["choices"]) == (2 if kind == "existence" else 4)
        named = next((label for label in LABELS if f" {label}" in item["question"]), None)
        if kind == "order":
            assert heard[[word in item["question"] for word in ("first", "second", "third")].index(True)] == answer
        elif kind == "existence":
            assert answer == ("yes" if named in heard else "no")
        elif kind == "absence":
            assert answer not in heard
        else:
            assert heard.index(answer) - heard.index(named) == (1 if kind == "next" else -1)
            assert named not in item["choices"]
        asked.add((item["audio_id"], kind))
    # Five laps of another kind each: no sample is asked the same thing twice.
    assert len(asked) == 60
    assert {kind for _, kind in asked} == set(QUESTION_KINDS)
    assert {item["answer"] for item in items if item["sub-category"] == "existence"} == {"yes", "no"}


def test_something_false_is_suggested_and_the_questions_stay_what_they_are():
    events = events_of(12)
    heard_in = {path: set(table["label"]) for path, table in events.groupby("path")}
    settings = Questions(type="questions", about="mine", n_items=60, seed=3, suggestion="There is {label}, I think.")
    plain, misled = questions_about(events, 60), compose(events, settings, Wording())
    n_named = 0
    for item, other in zip(plain, misled, strict=True):
        suggestion, _, question = other["question"].partition(", I think. ")
        assert other | {"question": question} == item
        label = suggestion.removeprefix("There is ")
        assert label in LABELS
        assert label not in heard_in[item["audio_id"]]
        n_named += label in item["choices"] or f" {label} " in f" {item['question']} "
    assert n_named >= 48  # all but those that ask whether a sound is there which is
    with pytest.raises(UserError, match="nothing false can be said of them; take suggestion out"):
        compose(events_of(3, LABELS[:3]), settings, Wording())
    with pytest.raises(ValueError, match=r"suggestion must contain \{label\}"):
        Questions(type="questions", about="mine", suggestion="Listen.")


def test_composed_questions_have_exactly_mmaus_keys_and_pass_the_loader(tmp_path):
    write_shard(events_of(4), tmp_path / "events.csv")
    settings = QuestionSettings(questions=Questions(type="questions", about="mine", n_items=9), wording=Wording())
    target = tmp_path / "questions.json"
    compose_questions.main(
        ["--settings", settings.as_json(), "--events", str(tmp_path / "events.csv"), "--output", str(target)]
    )
    assert [tuple(item) for item in json.loads(target.read_text())] == [KEYS] * 9
    items = read_items(target, 0, 9)
    assert [item.item_id for item in items] == [f"{number:05d}" for number in range(9)]
    before = target.read_bytes()
    compose_questions.main(
        ["--settings", settings.as_json(), "--events", str(tmp_path / "events.csv"), "--output", str(target)]
    )
    assert target.read_bytes() == before


def test_a_sample_yields_five_questions_at_most_and_more_samples_change_none():
    assert len(questions_about(events_of(2), 60)) == 10
    assert questions_about(events_of(20), 20)[:12] == questions_about(events_of(12), 12)


def test_where_every_label_is_heard_only_the_order_is_asked():
    items = questions_about(events_of(3, labels=("dog", "cat", "cow")), 15)
    assert {item["sub-category"] for item in items} == {"order"}
    assert all(sorted(item["choices"]) == ["cat", "cow", "dog"] for item in items)


@pytest.mark.parametrize("n_events", [2, 5, 8])
def test_questions_about_any_number_of_sounds_in_sequence(n_events):
    labels = (*LABELS, "bell", "horn", "rain", "siren", "clock")[: n_events + 2]
    events = events_of(6, labels, positions=name_positions(n_events))
    heard_in = {path: list(table["label"]) for path, table in events.groupby("path")}
    places = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
    # In whatever order the events are listed.
    items = questions_about(events.sample(frac=1, random_state=1).sort_values("sample_id", kind="stable"), 30)
    for item in items:
        heard, answer, kind = heard_in[item["audio_id"]], item["answer"], item["sub-category"]
        assert kind == "existence" or item["choices"].count(answer) == 1
        if kind == "order":
            (place,) = (place for place in places if item["question"].endswith(f"{place}?"))
            assert heard[places.index(place)] == answer
        elif kind in ("next", "previous"):
            named = item["question"].removesuffix("?").split(" the ")[-1]
            assert heard.index(answer) - heard.index(named) == (1 if kind == "next" else -1)
    assert {item["sub-category"] for item in items} == set(QUESTION_KINDS)


def test_questions_about_sounds_that_overlap_are_refused():
    events = events_of(3)
    events.loc[4, "onset"] = 4.9
    with pytest.raises(UserError, match=r"sounds of sample 00001 overlap, .* which one comes next; make them about"):
        questions_about(events, 3)


def test_choices_use_the_words_for_labels():
    events = events_of(5, labels=("French", "English", "German", "Korean"), domain="languages")
    items = questions_about(events, 25)
    choices = {choice for item in items if item["sub-category"] != "existence" for choice in item["choices"]}
    assert choices == {"French speech", "English speech", "German speech", "Korean speech"}
    assert any("the French speech?" in item["question"] for item in items)


@pytest.mark.parametrize("model", ["tiny-qwen2-audio", "tiny-audio-flamingo-3"])
def test_the_tiny_models_have_words_for_every_question(root, model):
    tokenizer = transformers.AutoTokenizer.from_pretrained(root / "resources" / model)
    for item in questions_about(events_of(12), 60):
        choices = " ".join(item["choices"])
        for name in ("question", "focus", "whole"):
            text = PROMPTS[name].format(question=item["question"], choices=choices)
            tokens = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id is None or tokenizer.unk_token_id not in tokens
            assert tokenizer.decode(tokens) == text
        for label in item["choices"]:
            if label in LABELS:
                assert len(tokenizer(f" {label}")["input_ids"]) == 1
