"""Where, with what and from what the results of a run were computed, and which of them differ in it."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from wheretolisten.store.attributes import read_attributes

FACTS = ("device", "dtype", "checkpoint", "revision", "checkpoint_digest", "weights", "git_commit", "code_digest")
"""Attributes of a result file that tell where it comes from; versions of packages stand beside them."""

_NAMES = ("file", "model", "study", "rule")


def read_origins(paths: Iterable[Path], folder: Path) -> pd.DataFrame:
    """Provenance of result files, one row per file: its names, `FACTS`, and a column per package with its version.

    Parameters
    ----------
    paths
        HDF5 files, or JSON files beside tables, `<folder>/<kind>/<study>/<model>...`; in place of a study, examples,
        where all studies share them.

    Raises
    ------
    UserError
        If a file is damaged.
    """
    rows = []
    for path in paths:
        attributes = read_attributes(path)
        _, study, model, *_ = path.relative_to(folder).with_suffix("").parts
        rows.append(
            {
                **dict(zip(_NAMES, (path.as_posix(), model, study, attributes["script"]), strict=True)),
                **{fact: attributes.get(fact, "") for fact in FACTS},
                **json.loads(attributes["versions"]),
            }
        )
    return pd.DataFrame(rows, columns=None if rows else [*_NAMES, *FACTS]).fillna("")


def find_differences(origins: pd.DataFrame) -> pd.DataFrame:
    """Facts that differ between the files of one model, which should be all alike.

    Digests of code are compared rule by rule, because every rule has code of its own. Commits are not: two that share
    their code compute the same.

    Returns
    -------
    pandas.DataFrame
        model, fact, value, n_files, files (joined by spaces): one row per value of a fact that has more than one, the
        commonest first.
    """
    rows = []
    for model, of_model in origins.groupby("model", sort=False):
        for fact in (name for name in origins if name not in (*_NAMES, "git_commit")):
            for rule, group in of_model.groupby("rule" if fact == "code_digest" else "model", sort=False):
                counts = group[fact].value_counts()
                name = f"code of {rule}" if fact == "code_digest" else fact
                rows += [
                    {
                        "model": model,
                        "fact": name,
                        "value": value,
                        "n_files": count,
                        "files": " ".join(group.loc[group[fact] == value, "file"]),
                    }
                    for value, count in counts.items()
                    if len(counts) > 1
                ]
    return pd.DataFrame(rows, columns=["model", "fact", "value", "n_files", "files"])
