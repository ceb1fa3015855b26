"""Tables of results as csv, there and back."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path

_P_VALUES = ("p", "p_holm", "p_vs_random", "p_vs_direct")


def write_table(table: pd.DataFrame, path: str | Path, decimals: int = 4) -> None:
    """Write a table as csv atomically; p-values get four digits instead of `decimals`."""
    table = table.copy()
    for column in table.columns.intersection(_P_VALUES):
        table[column] = table[column].map(lambda p: "" if pd.isna(p) else f"{p:.4g}")
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format=f"%.{decimals}f", lineterminator="\n")


def read_table(path: str | Path, words: Collection[str], numbers: Collection[str], rebuilt_by: str) -> pd.DataFrame:
    """Read a table that `write_table` wrote, to draw it.

    Parameters
    ----------
    words
        Columns of text: a name may be called "null".
    numbers
        Columns of numbers, NaN where a cell is empty: an interval may be unknown.
    rebuilt_by
        The rule that writes the table.

    Raises
    ------
    UserError
        If a column is missing.
    """
    unknown = {column: [""] for column in numbers}
    table = pd.read_csv(path, keep_default_na=False, na_values=unknown, dtype=dict.fromkeys(words, str))
    missing = {*words, *numbers} - set(table)
    if missing:
        raise UserError(f"{path}: column {', '.join(sorted(missing))} is missing; run {rebuilt_by} again")
    return table


def rows_of(table: pd.DataFrame, path: str | Path, model: str, study: str) -> pd.DataFrame:
    """Rows of one model and study of a table that was read from `path`.

    Raises
    ------
    UserError
        If there are none.
    """
    rows = table[(table["model"] == model) & (table["study"] == study)]
    if rows.empty:
        raise UserError(f"{path}: model {model!r} has no rows of study {study!r}; name one that the table holds")
    return rows
