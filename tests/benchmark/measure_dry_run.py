"""How long Snakemake takes to plan a run, and how much memory: by samples, with four models.

`python -m tests.benchmark.measure_dry_run --help`
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".snakemake", "results", "__pycache__", ".*_cache", "uv.lock")


def main(argv: list[str] | None = None) -> None:
    """Dry-run in a copy of the repository in which nothing ran yet, and print one row per number of samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[500, 10_000, 100_000])
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--samples-per-shard", type=int, nargs="+", default=[254, 1000, 2500], help="one per --samples")
    parser.add_argument("--profile", type=Path, help="also write a profile of the last dry-run for pstats")
    args = parser.parse_args(argv)
    print("| samples | samples per shard | jobs | wall s | CPU s | peak MB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        shutil.copytree(ROOT, clone, ignore=NOT_COPIED)
        for n_samples, size in zip(args.samples, args.samples_per_shard, strict=True):
            overlay = {
                "examples": {"sequences": {"n_samples": n_samples}},
                "models": {
                    f"model-{number}": {"checkpoint": "resources/tiny-qwen2-audio"} for number in range(2, args.models)
                },
                "shard_seconds": size * 18.5,  # the longest sample of the default composition
            }
            (clone / "overlay.json").write_text(json.dumps(overlay))
            profiler = ["-m", "cProfile", "-o", str(args.profile.absolute())] if args.profile else []
            output = clone / "output.txt"
            started = time.perf_counter()
            with output.open("w") as file:
                process = subprocess.Popen(
                    [sys.executable, *profiler, "-m", "snakemake", "--dry-run", "--configfile", "overlay.json"],
                    cwd=clone,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
                _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            jobs = re.search(r"^total +(\d+)$", output.read_text(), flags=re.MULTILINE)
            if status or not jobs:
                sys.exit(output.read_text()[-3000:])
            print(
                f"| {n_samples} | {size} | {jobs[1]} | {wall:.1f} | {used.ru_utime + used.ru_stime:.1f} "
                f"| {used.ru_maxrss / 1024:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
