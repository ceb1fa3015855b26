"""A table as a page of the report: what it shows, the table, and the file itself to save."""

import argparse
from pathlib import Path

import pandas as pd

from wheretolisten import log
from wheretolisten.files import write_text
from wheretolisten.statistics import page


def main(argv: list[str] | None = None) -> None:
    """Write the page of one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="csv, or Markdown with tables in it")
    parser.add_argument("--about", required=True, help="what it shows")
    parser.add_argument("--page", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("render_table")
    if arguments.table.suffix == ".md":
        blocks = page.from_markdown(arguments.table.read_text(encoding="utf-8"))
    else:
        rows = pd.read_csv(arguments.table, dtype=str, keep_default_na=False)
        blocks = [page.heading(arguments.table.name, 1), page.table(rows)]
    blocks[1:1] = [page.paragraph(arguments.about)]
    write_text(arguments.page, page.document(arguments.table.stem, [*blocks, page.download(arguments.table)]))
    logger.info("%s: %s", arguments.table, arguments.page)


if __name__ == "__main__":
    log.run(main)
