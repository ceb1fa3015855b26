"""Put the tables of a finished default run into docs/results.md: `uv run python docs/update_results.py`."""

import argparse
import re
from pathlib import Path

import pandas as pd

BEGIN, END = (f"<!-- written by docs/update_results.py: {end} -->" for end in ("begin", "end"))


def block(results: Path) -> str:
    """The overlap as the run tabulated it, its headings a level down, under what the results were computed with."""
    overlap = re.sub(r"^#", "##", (results / "tables/overlap.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    origins = pd.read_csv(results / "report/origins.csv", dtype=str, keep_default_na=False)
    facts = {
        name: ", ".join(sorted(set(origins[name])))
        for name in ("git_commit", "device", "dtype", "python", "torch", "transformers")
    }
    coverage = pd.read_csv(results / "report/coverage.csv")
    counts = ", ".join(f"{int(coverage[name].sum())} {name.removeprefix('n_')}" for name in _UNANSWERED)
    return (
        f"*Of the run with {'; '.join(f'{name} {value}' for name, value in facts.items())}. "
        f"Queries without an answer, all methods together: {counts}.*\n\n{overlap.strip()}"
    )


_UNANSWERED = ("n_unparsed", "n_failed", "n_skipped")


def main(argv: list[str] | None = None) -> None:
    """Replace what stands between the marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--page", type=Path, default=Path(__file__).with_name("results.md"))
    arguments = parser.parse_args(argv)
    before, _, rest = arguments.page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n\n{block(arguments.results)}\n\n{END}{after}"
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
