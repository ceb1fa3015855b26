"""Pairs of answers to a question that differ along an axis, and which of them build, choose and are reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wheretolisten.clips.randomness import generator
from wheretolisten.config.effects import Effects
from wheretolisten.config.interruption import Interruption
from wheretolisten.config.unlearning import FORGET, RETAIN, REWORDED
from wheretolisten.errors import UserError

BUILD, CHOOSE, REPORT = "build", "choose", "report"

COLUMNS = ("id", "source", "axis", "question", "positive", "negative")
"""Columns of a table of pairs. Pairs that have their subject, facts or wording in common name the same source."""

_FEWEST = 2


@dataclass(frozen=True)
class Pair:
    """A question and its two answers; `index` counts the pairs of its axis in the table."""

    pair_id: str
    source: str
    axis: str
    index: int
    question: str
    positive: str
    negative: str

    @property
    def answers(self) -> list[str]:
        """Positive, negative."""
        return [self.positive, self.negative]


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table of texts.

    Raises
    ------
    UserError
        If it cannot be read, lacks a column, or has an empty cell in one.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: it is no table ({error}); give a csv file with {', '.join(columns)}") from error
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise UserError(f"{path}: the column {lacking[0]} is missing; it takes {', '.join(columns)}")
    for column in columns:
        empty = (table[column].str.strip() == "").to_numpy().nonzero()[0]
        if len(empty):
            raise UserError(f"{path}: row {empty[0] + 2} has no {column}; fill it in, or take the row out")
    return table


def read_pairs(path: str | Path | Sequence[str | Path], axes: Sequence[str]) -> dict[str, list[Pair]]:
    """Pairs of each axis, in the order of the table, or of several tables.

    Raises
    ------
    UserError
        As `read_table`; if an id comes twice, the answers of a pair are the same, or an axis has none.
    """
    table, where = _tables(path)
    twice = table["id"][table["id"].duplicated()]
    if len(twice):
        raise UserError(f"{where}: the id {twice.iloc[0]!r} comes twice; each pair has its own")
    same = table["id"][table["positive"] == table["negative"]]
    if len(same):
        raise UserError(f"{where}: both answers of {same.iloc[0]!r} are the same; word them otherwise")
    found = {}
    for axis in axes:
        rows = table[table["axis"] == axis]
        if rows.empty:
            raise UserError(f"{where}: no pair has the axis {axis!r} ({', '.join(table['axis'].unique())}); name one")
        found[axis] = [
            Pair(row.id, row.source, axis, index, row.question, row.positive, row.negative)
            for index, row in enumerate(rows.itertuples())
        ]
    return found


def _tables(path: str | Path | Sequence[str | Path]) -> tuple[pd.DataFrame, str]:
    """Tables of pairs as one, and what errors call them."""
    paths = [path] if isinstance(path, str | Path) else path
    return pd.concat([read_table(each, COLUMNS) for each in paths]), ", ".join(map(str, paths))


def inputs_of(paths: Sequence[str]) -> dict[str, str]:
    """Tables of pairs by what provenance calls them."""
    return {f"pairs_{number}" if number else "pairs": path for number, path in enumerate(paths)}


def read_facts(path: str | Path | Sequence[str | Path]) -> dict[str, list[Pair]]:
    """Facts to forget and to retain, and what asks about them in other words, as far as it is there, axis by axis.

    Raises
    ------
    UserError
        As `read_pairs`; if there are other axes; if a question in other words is about no fact of its kind (by source
        and answer), or is that of a fact, and would be taught.
    """
    known = (FORGET, RETAIN, *REWORDED)
    table, where = _tables(path)
    unknown = table[~table["axis"].isin(known)]
    if len(unknown):
        row = unknown.iloc[0]
        raise UserError(f"{where}: the axis {row['axis']!r} of {row['id']!r} is none of {', '.join(known)}; name one")
    found = read_pairs(path, [FORGET, RETAIN, *(axis for axis in REWORDED if axis in set(table["axis"]))])
    taught = {fact.question for kind in (FORGET, RETAIN) for fact in found[kind]}
    for axis in found.keys() - {FORGET, RETAIN}:
        kind = axis.partition("-")[0]
        facts = {(fact.source, fact.positive) for fact in found[kind]}
        for pair in found[axis]:
            if (pair.source, pair.positive) not in facts:
                raise UserError(
                    f"{where}: {pair.pair_id!r} is about no fact of axis {kind!r}; give it the source and the positive "
                    "answer of one"
                )
            if pair.question in taught:
                raise UserError(f"{where}: {pair.pair_id!r} asks in the words that are taught; word it otherwise")
    return found


def split(pairs: Mapping[str, Sequence[Pair]], effects: Effects | Interruption) -> dict[str, dict[str, list[Pair]]]:
    """Axis → side → pairs. A source is on one side, of all axes, by a draw of its own: further pairs move none.

    Raises
    ------
    UserError
        If a side of an axis has fewer than two pairs.
    """
    wanted = {BUILD: effects.n_build, CHOOSE: effects.n_choose, REPORT: effects.n_report}
    total = sum(wanted.values())

    def side_of(source: str) -> str:
        drawn = generator("effects", effects.seed, source).random() * total
        for side, n in wanted.items():
            drawn -= n
            if drawn < 0:
                return side
        return REPORT

    found = {}
    for axis, of_axis in pairs.items():
        sides = {side: [pair for pair in of_axis if side_of(pair.source) == side][:n] for side, n in wanted.items()}
        for side, there in sides.items():
            if len(there) < _FEWEST:
                raise UserError(
                    f"axis {axis!r}: {len(there)} of {len(of_axis)} pairs are there to {side}, which takes {_FEWEST}; "
                    "add pairs of other sources, or change n_build, n_choose and n_report"
                )
        found[axis] = sides
    return found
