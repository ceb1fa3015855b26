"""What results weigh on disk, and how long it takes to write and to read them back, at the sizes of a model.

`python -m tests.benchmark.measure_store --help`, with workflow_scripts on PYTHONPATH.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from wheretolisten import store
from wheretolisten.config.constants import POSITIONS

BATCH = 8


def main(argv: list[str] | None = None) -> None:
    """Write and read random states and attention, print seconds and kilobytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--layers", type=int, default=4, help="decoder blocks")
    parser.add_argument("--hidden", type=int, default=128, help="width of the residual stream")
    parser.add_argument("--audio-tokens", type=int, default=116, help="of one sample")
    parser.add_argument("--methods", type=int, default=6, help="steered methods")
    args = parser.parse_args(argv)
    rng = np.random.default_rng(0)

    def columns(schema: store.Schema, n_rows: int, first: int) -> dict[str, np.ndarray]:
        sizes = {
            "sample": n_rows,
            "event": len(POSITIONS),
            "pass": args.methods,
            "layer": args.layers,
            "hidden": args.hidden,
            "audio_token": args.audio_tokens,
        }
        shapes = {column: [sizes[axis] for axis in column.axes] for column in schema.columns}
        found = {
            column.name: rng.random(shape, dtype=np.float32) if column.dtype == "f4" else np.full(shape, b"")
            for column, shape in shapes.items()
        }
        ids = np.array([f"{first + row:05d}" for row in range(n_rows)], dtype="S")
        found |= {"sample_id": ids, "n_audio_tokens": np.full(n_rows, args.audio_tokens)}
        return {name: found[name] for name in schema.column_names}

    with tempfile.TemporaryDirectory() as folder:
        states = {"positive": True, "negative": False}
        for schema, read in (
            (store.schema.states(states), lambda path: store.read_states(path, list(states))),
            (store.schema.passes("attention", "steer_attention"), lambda path: store.read_passes([path])),
        ):
            path = Path(folder) / "result.h5"
            attributes = {"tokens_per_second": 25.0, "passes": [("method", str(n)) for n in range(args.methods)]}
            result, n_parts, writing = store.PartedFile(path, schema, "identity", attributes), 0, 0.0
            for first in range(0, args.samples, BATCH):
                batch = columns(schema, min(BATCH, args.samples - first), first)
                started = time.perf_counter()
                result.write(n_parts, batch)
                writing += time.perf_counter() - started
                n_parts += 1
            started = time.perf_counter()
            result.merge(n_parts)
            merged = time.perf_counter()
            read(path)
            print(
                f"{schema.name}: {path.stat().st_size / 1e3 / args.samples:.1f} kB per sample; {args.samples} samples "
                f"written in {writing:.2f} s, merged in {merged - started:.2f} s, read in "
                f"{time.perf_counter() - merged:.2f} s"
            )
            path.unlink()


if __name__ == "__main__":
    main()
