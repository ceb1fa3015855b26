"""Compare methods pairwise on the same queries, with tests."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.files import write_text
from wheretolisten.localization.table import read_localization
from wheretolisten.statistics.layout import COMPARISONS, as_latex, as_markdown, comparison_sections
from wheretolisten.statistics.summary import compare_methods
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Write the comparisons as csv, and those over all positions as Markdown and LaTeX."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--localization", type=Path, nargs="+", required=True, help="tables of all models and benchmarks"
    )
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--latex", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("compare_methods")

    comparisons = compare_methods(read_localization(arguments.localization))
    for row in comparisons[(comparisons["position"] == "overall") & (comparisons["n_queries"] > 0)].itertuples():
        logger.info(
            "%s, %s, %s against %s: %+.2f points (p %.2g)",
            row.benchmark, row.model, row.method, row.other, row.difference, row.p_holm,
        )  # fmt: skip
    write_table(comparisons, arguments.comparisons)
    sections = comparison_sections(comparisons)
    write_text(arguments.markdown, as_markdown(*COMPARISONS, sections))
    write_text(arguments.latex, as_latex(*COMPARISONS, sections))


if __name__ == "__main__":
    log.run(main)
