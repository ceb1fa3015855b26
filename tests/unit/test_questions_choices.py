"""Permuted wordings of an item: nothing is lost, every choice has every letter and row, and answers are mapped back."""

import re

import pytest

from wheretolisten.questions.choices import Wording, wordings
from wheretolisten.questions.mmau import Item

CHOICES = ("dog", "cat", "hen", "dog and cat")


@pytest.mark.parametrize("permute", ["letters", "rows", "both"])
@pytest.mark.parametrize("n_choices", [2, 3, 4, 5, 8])
def test_every_choice_has_every_letter_and_row_once(permute, n_choices):
    found = wordings("item-1", n_choices, permute)
    assert len(found) == n_choices
    everything = list(range(n_choices))
    assert found[0] == Wording(tuple(everything), tuple(everything))
    for moves, what in ((permute != "rows", "letters"), (permute != "letters", "rows")):
        table = [getattr(wording, what) for wording in found]
        assert all(sorted(row) == everything for row in table)
        if moves:
            assert all(sorted(column) == everything for column in zip(*table, strict=True))
        else:
            assert all(list(row) == everything for row in table)


def test_wordings_say_what_they_say():
    item = Item("i", "a.wav", "Which?", CHOICES[:3], "cat", ())
    assert wordings("i", 3, "both")[0].text(item.choices) == item.lettered == "(A) dog (B) cat (C) hen"
    moved = (1, 2, 0)
    assert Wording(moved, (0, 1, 2)).text(item.choices) == "(B) dog (C) cat (A) hen"
    assert Wording((0, 1, 2), moved).text(item.choices) == "(C) hen (A) dog (B) cat"
    assert Wording(moved, moved).text(item.choices) == "(A) hen (B) dog (C) cat"
    assert Wording(moved, moved).answers(item.choices, "letter") == ["B", "C", "A"]
    assert Wording(moved, moved).answers(item.choices, "choice") == ["dog", "cat", "hen"]


def test_orders_follow_the_item_and_the_seed_and_nothing_else():
    def of(item_id, seed=0):
        return tuple(wording.letters for wording in wordings(item_id, 4, "letters", seed=seed))

    assert of("item-1") == of("item-1")
    assert len({of(f"item-{n}") for n in range(40)}) > 3
    assert len({of("item-1", seed) for seed in range(40)}) > 3
    assert wordings("item-1", 4, "both", n=2) == wordings("item-1", 4, "both")[:2]
    for n in (0, 5):
        with pytest.raises(ValueError, match=f"{n} wordings of item-1 with 4 choices; ask for 1 to 4"):
            wordings("item-1", 4, "both", n=n)


def test_a_preference_of_a_letter_is_worth_chance_by_choice_and_one_of_a_choice_is_not():
    for permute in ("letters", "both"):
        found = wordings("item-1", 4, permute)
        by_letter = [wording.chosen("B", CHOICES, "letter") for wording in found]
        assert sorted(by_letter) == [0, 1, 2, 3]
        shown = [re.search(r"\((.)\) hen", wording.text(CHOICES))[1] for wording in found]
        said = zip(found, shown, strict=True)
        assert {wording.chosen(f"({letter}) hen", CHOICES, "letter") for wording, letter in said} == {2}
        assert {wording.chosen("It is a hen.", CHOICES, "choice") for wording in found} == {2}
        assert sorted(shown) == ["A", "B", "C", "D"]


@pytest.mark.parametrize(
    ("prediction", "by_letter", "by_choice"),
    [
        ("B", 3, 3),
        ("(c) cat", 2, 1),  # letter and words disagree
        ("b. dog and cat", 3, 3),
        ("dog and cat", None, 3),
        ("a dog", 1, 0),  # an article reads as a letter, which is why words are asked for, too
        ("Dog.", None, 0),
        ("rain", None, None),
        ("dog or hen", None, None),
        ("E", None, None),
        ("", None, None),
    ],
)
def test_answers_in_words_are_mapped_back(prediction, by_letter, by_choice):
    wording = Wording((3, 0, 2, 1), (0, 1, 2, 3))
    assert wording.text(CHOICES) == "(D) dog (A) cat (C) hen (B) dog and cat"
    assert wording.chosen(prediction, CHOICES, "letter") == by_letter
    assert wording.chosen(prediction, CHOICES, "choice") == by_choice


def test_choices_that_are_letters_stand_for_themselves():
    notes = ("B", "A", "G")
    wording = Wording((0, 1, 2), (0, 1, 2))
    assert wording.text(notes) == "(A) B (B) A (C) G"
    assert wording.chosen("B", notes, "choice") == 0
    assert wording.chosen("B", notes, "letter") == 1
    assert wording.chosen("C", notes, "choice") == 2
