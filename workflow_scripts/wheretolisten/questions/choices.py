"""Wordings of one item that differ in the order of its choices, or in their letters, and what an answer to them means.

Models prefer letters and rows, whatever stands there (Pezeshkpour & Hruschka 2024, arXiv 2308.11483; Zheng et al. 2024,
arXiv 2309.03882). Where every choice has had every letter and every row, a gain of a choice is told from theirs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from wheretolisten.clips.randomness import generator
from wheretolisten.questions.scoring import is_correct

_FIRST_LETTER = re.compile(r"[\W_]*([A-Za-z])(?![A-Za-z0-9_])")


@dataclass(frozen=True)
class Wording:
    """Which letter each choice of an item has, and in which row it stands; all by the number of the choice, from 0.

    Attributes
    ----------
    letters
        Number of each choice's letter, 0 for A, [choice].
    rows
        Row of each choice, 0 for the first, [choice].
    """

    letters: tuple[int, ...]
    rows: tuple[int, ...]

    def letter(self, choice: int) -> str:
        """The letter of a choice."""
        return ascii_uppercase[self.letters[choice]]

    def text(self, choices: Sequence[str]) -> str:
        """The choices in one line, as `Item.lettered` has them: (B) dog (A) cat."""
        in_order = sorted(range(len(choices)), key=self.rows.__getitem__)
        return " ".join(f"({self.letter(choice)}) {choices[choice]}" for choice in in_order)

    def answers(self, choices: Sequence[str], by: Literal["letter", "choice"]) -> list[str]:
        """What is scored as the answer of each choice, [choice], in the item's own order: its letter, or its text."""
        return [self.letter(choice) for choice in range(len(choices))] if by == "letter" else list(choices)

    def chosen(self, prediction: str, choices: Sequence[str], by: Literal["letter", "choice"]) -> int | None:
        """Number of the choice that an answer in words names; None if it names none, or several.

        Parameters
        ----------
        prediction
            The answer.
        choices
            Those of the item, in its own order.
        by
            letter: by the letter that it begins with ("B", "(b) dog"); choice: by the words of the choice, as MMAU's
            evaluation has it (`scoring.is_correct`), where a letter before them does not count, and one alone stands
            for its choice.
        """
        begin = _FIRST_LETTER.match(prediction)
        number = None if begin is None else ascii_uppercase.index(begin[1].upper())
        lettered = self.letters.index(number) if number in self.letters else None
        if by == "letter":
            return lettered
        said = prediction
        # A choice may be such a letter itself, as the name of a note.
        if lettered is not None and begin[1].lower() not in [choice.strip().lower() for choice in choices]:
            said = prediction[begin.end() :]
            if not re.search(r"\w", said):
                return lettered
        named = [number for number, choice in enumerate(choices) if is_correct(said, choice, choices)]
        return named[0] if len(named) == 1 else None


def wordings(
    item_id: str, n_choices: int, permute: Literal["letters", "rows", "both"], n: int | None = None, seed: int = 0
) -> list[Wording]:
    """Wordings of an item: the given one first, then others in which no choice has a letter or row that it had before.

    Along an order that is drawn by the item's id, every choice takes the letter or row of the next one. So in
    `n_choices` wordings every choice has each of them once (a Latin square), and adding items moves none.

    Parameters
    ----------
    item_id
        Name of the item.
    n_choices
        Choices that it has.
    permute
        letters: rows stay, letters move, (B) dog (C) cat (A) hen; rows: choices keep their letters, and their rows
        move, (C) hen (A) dog (B) cat; both: rows move, and letters stand in order, (A) hen (B) dog (C) cat.
    n
        How many wordings, from 1 to `n_choices`; None: as many as there are choices.
    seed
        Of the order that is drawn.

    Raises
    ------
    ValueError
        If there are not so many.
    """
    n = n_choices if n is None else n
    if not 1 <= n <= n_choices <= len(ascii_uppercase):
        raise ValueError(f"{n} wordings of {item_id} with {n_choices} choices; ask for 1 to {n_choices}")
    order = generator("choices", seed, item_id).permutation(n_choices).tolist()
    stays = tuple(range(n_choices))
    found = []
    for shift in range(n):
        moved = [0] * n_choices
        for place, choice in enumerate(order):
            moved[choice] = order[(place + shift) % n_choices]
        letters, rows = tuple(moved) if permute != "rows" else stays, tuple(moved) if permute != "letters" else stays
        found.append(Wording(letters, rows))
    return found
