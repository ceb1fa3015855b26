"""Tabulate how much of the true events the predicted windows cover."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.files import write_text
from wheretolisten.localization.table import no_vector, read_localization
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.layout import OVERLAP, as_latex, as_markdown, overlap_sections
from wheretolisten.statistics.summary import count_failures, read_published, summarize_overlap
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Write the table of overlap as csv, Markdown and LaTeX, and the same by label as csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--localization", type=Path, nargs="+", required=True, help="tables of all models and benchmarks"
    )
    parser.add_argument("--published", type=Path, required=True, help="published numbers to show beside")
    parser.add_argument("--overlap", type=Path, required=True)
    parser.add_argument("--by-label", type=Path, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--latex", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("tabulate_overlap")

    localization = read_localization(arguments.localization)
    published = read_published(arguments.published)
    overlap = summarize_overlap(localization)
    for row in overlap[(overlap["position"] == "overall") & (overlap["n_queries"] > 0)].itertuples():
        logger.info("%s, %s, %s: %.2f %% (lift %+.2f)", row.benchmark, row.model, row.method, row.overlap_pct, row.lift)
    unsteered = localization[no_vector(localization)]
    for key, rows in unsteered.groupby(["benchmark", "model", "method"], sort=False):
        logger.warning("%s, %s, %s: %d queries are left out: %s", *key, len(rows), count_reasons(rows, most=5))
    for row in count_failures(localization).itertuples():
        logger.warning(
            "%s, %s, %s: %d queries score 0: %s", row.benchmark, row.model, row.method, row.n_queries, row.failure
        )
    write_table(overlap, arguments.overlap)
    write_table(summarize_overlap(localization, by_label=True), arguments.by_label)
    sections = overlap_sections(overlap, published)
    write_text(arguments.markdown, as_markdown(*OVERLAP, sections))
    write_text(arguments.latex, as_latex(*OVERLAP, sections))


if __name__ == "__main__":
    log.run(main)
