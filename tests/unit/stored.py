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
    nobody = np.full((1, len(passes)), b"")
    for row, sample_id in enumerate(ids):
        columns = {
            "sample_id": np.array([sample_id.encode()]),
            "recording": np.array([(recordings[row] if recordings else sample_id).encode()]),
            "n_audio_tokens": np.array([n_audio_tokens]),
            "target": nobody,
            "label": nobody,
            store.schema.VALUES[readout].name: values[row : row + 1],
        }
        if text is not None:
            longest = max(map(len, text))
            columns["n_text_tokens"] = np.array([[len(tokens) for tokens in text]])
            padded = [list(tokens) + [""] * (longest - len(tokens)) for tokens in text]
            columns["text"] = np.char.encode([padded], "utf-8")
        result.write(row, columns)
    result.merge(len(ids))
    return path
