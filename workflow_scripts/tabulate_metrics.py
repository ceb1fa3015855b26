"""Tabulate further measures of the predicted windows: IoU, hits, pointing, onset errors."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.files import write_text
from wheretolisten.localization.table import read_localization
from wheretolisten.statistics.layout import METRICS, UNKNOWN_DURATION, as_latex, as_markdown, metric_sections
from wheretolisten.statistics.summary import summarize_metrics
from wheretolisten.statistics.tables import write_table

_PAGES = {"metrics": METRICS, "unknown_duration": UNKNOWN_DURATION}


def main(argv: list[str] | None = None) -> None:
    """Write the measures as csv, and those over all positions as Markdown and LaTeX."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--localization", type=Path, nargs="+", required=True, help="tables of all models and benchmarks"
    )
    parser.add_argument("--table", choices=_PAGES, required=True, help="whether windows knew the event's duration")
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--latex", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("tabulate_metrics")

    metrics = summarize_metrics(read_localization(arguments.localization))
    for row in metrics[
        (metrics["position"] == "overall") & (metrics["metric"] == "iou") & (metrics["n"] > 0)
    ].itertuples():
        logger.info("%s, %s, %s: IoU %.2f %%", row.benchmark, row.model, row.method, row.value)
    write_table(metrics, arguments.metrics)
    sections = metric_sections(metrics, arguments.table.replace("_", "-"))
    write_text(arguments.markdown, as_markdown(*_PAGES[arguments.table], sections))
    write_text(arguments.latex, as_latex(*_PAGES[arguments.table], sections))


if __name__ == "__main__":
    log.run(main)
