"""Files of passes for tests, from arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wheretolisten import store

RATE = 6.25


def write_passes(
    path: Path,
    passes: Sequence[tuple[str, str]],
    values: np.ndarray,
    n_audio_tokens: int = 0,
    sample_ids: Sequence[str] | None = None,
    recordings: Sequence[str] | None = None,
    readout: str = "attention",
    rebuilt_by: str = "steer_attention",
    text: Sequence[Sequence[str]] | None = None,
    **attributes: object,
) -> Path:
    """Write values [sample, pass, ...] of passes as the scripts that run models do, one sample to a part."""
    ids = [f"{sample:05d}" for sample in range(len(values))] if sample_ids is None else sample_ids
    attributes = {"tokens_per_second": RATE, "passes": [list(each) for each in passes]} | attributes
    result = store.PartedFile(path, store.schema.passes(readout, rebuilt_by), "test", attributes)
    recordings = ids if recordings is None else recordings
    for row in range(max(len(ids), 1)):  # a shard without usable items has no rows
        here = slice(row, row + 1)
        nobody = np.full((len(ids[here]), len(passes)), b"")
        columns = {
            "sample_id": np.array([name.encode() for name in ids[here]], "S64"),
            "recording": np.array([name.encode() for name in recordings[here]], "S256"),
            "n_audio_tokens": np.full(len(ids[here]), n_audio_tokens),
            "target": nobody,
            "label": nobody,
            store.schema.VALUES[readout].name: values[here],
        }
        if text is not None:
            longest = max(map(len, text))
            columns["n_text_tokens"] = np.array([[len(tokens) for tokens in text]])
            padded = [list(tokens) + [""] * (longest - len(tokens)) for tokens in text]
            columns["text"] = np.char.encode([padded], "utf-8")
        result.write(row, columns)
    result.merge(max(len(ids), 1))
    return path
