"""Tabulate what windows and answers score: overlap, methods compared, other measures, and where windows land."""

import logging
from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.files import write_text
from wheretolisten.localization.table import no_vector, read_localization
from wheretolisten.report import tables
from wheretolisten.report.layout import (
    Section,
    as_latex,
    as_markdown,
    comparison_sections,
    metric_sections,
    overlap_sections,
)
from wheretolisten.statistics.coverage import count_reasons
from wheretolisten.statistics.detection import QUERIES, summarize_detection
from wheretolisten.statistics.specificity import summarize_specificity
from wheretolisten.statistics.summary import (
    compare_methods,
    count_failures,
    read_published,
    summarize_metrics,
    summarize_overlap,
)
from wheretolisten.statistics.tables import read_table, write_table

_log = logging.getLogger("tabulate_scores")


def main(argv: list[str] | None = None) -> None:
    """Write the tables of `report.tables.SCORES` into a folder, from the localization tables of a run.

    `other_event` names the methods that steer with another event's vector; `published` holds numbers to show beside.
    """
    args = arguments.parse(
        __doc__,
        argv,
        localizations=[Path],
        unknown_durations=[Path],
        detections=[Path],
        published=Path,
        other_event=[str],
        tables=Path,
    )
    log.start("tabulate_scores")
    localization = read_localization(args.localizations)
    _say_what_is_missing(localization)

    overlap = summarize_overlap(localization)
    for row in _overall(overlap, "n_queries"):
        _log.info("%s, %s, %s: %.2f %% (lift %+.2f)", row.study, row.model, row.method, row.overlap_pct, row.lift)
    _write(args.tables, tables.OVERLAP, overlap, overlap_sections(overlap, read_published(args.published)))
    _write(args.tables, tables.OVERLAP_BY_LABEL, summarize_overlap(localization, by_label=True))

    comparisons = compare_methods(localization)
    for row in _overall(comparisons, "n_queries"):
        _log.info(
            "%s, %s, %s against %s: %+.2f points (p %.2g)",
            row.study, row.model, row.method, row.other, row.difference, row.p_holm,
        )  # fmt: skip
    _write(args.tables, tables.COMPARISONS, comparisons, comparison_sections(comparisons))

    measured = {tables.METRICS: localization, tables.UNKNOWN_DURATION: read_localization(args.unknown_durations)}
    for about, windows in measured.items():
        metrics = summarize_metrics(windows)
        for row in _overall(metrics[metrics["metric"] == "iou"], "n"):
            _log.info("%s: %s, %s, %s: IoU %.2f %%", about.title, row.study, row.model, row.method, row.value)
        _write(args.tables, about, metrics, metric_sections(metrics, about.name.replace("_", "-")))

    queries = pd.concat([read_table(path, QUERIES[:7], QUERIES[7:], "localize_events") for path in args.detections])
    _write(args.tables, tables.DETECTION, summarize_detection(queries))

    specificity = summarize_specificity(localization, args.other_event)
    own = specificity[(specificity["landed_on"] == specificity["position"]) & (specificity["n"] > 0)]
    for key, rows in own.groupby(["model", "study", "method", "reference"], sort=False):
        _log.info("%s, %s, %s: %.1f %% land on the event %s", *key[:3], 100 * rows["share"].mean(), key[3])
    _write(args.tables, tables.SPECIFICITY, specificity, decimals=6)


def _write(
    folder: Path, about: tables.Table, rows: pd.DataFrame, sections: list[Section] | None = None, decimals: int = 4
) -> None:
    """Write a table as csv and, where there are sections, as Markdown and LaTeX."""
    write_table(rows, folder / f"{about.name}.csv", decimals)
    if sections is not None:
        write_text(folder / f"{about.name}.md", as_markdown(about, sections))
        write_text(folder / f"{about.name}.tex", as_latex(about, sections))


def _overall(table: pd.DataFrame, count: str):
    """Rows over all positions in which anything is counted."""
    return table[(table["position"] == "overall") & (table[count] > 0)].itertuples()


def _say_what_is_missing(localization: pd.DataFrame) -> None:
    unsteered = localization[no_vector(localization)]
    for key, rows in unsteered.groupby(["study", "model", "method"], sort=False):
        _log.warning("%s, %s, %s: %d queries are left out: %s", *key, len(rows), count_reasons(rows, most=5))
    for row in count_failures(localization).itertuples():
        _log.warning("%s, %s, %s: %d queries score 0: %s", row.study, row.model, row.method, row.n_queries, row.failure)


if __name__ == "__main__":
    log.run(main)
