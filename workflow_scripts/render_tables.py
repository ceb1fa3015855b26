"""Tables as pages of the report: what each shows, the table, and the file itself to save."""

from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.files import write_text
from wheretolisten.report import page
from wheretolisten.report.tables import described


def main(argv: list[str] | None = None) -> None:
    """Write the page of every table, `<name>.html` for `<name>`, into a folder laid out as that of the tables."""
    args = arguments.parse(__doc__, argv, tables=Path, names=[str], pages=Path)
    logger = log.start("render_tables")
    for name in args.names:
        path = args.tables / name
        if path.suffix == ".md":  # it says itself what it shows
            blocks = page.from_markdown(path.read_text(encoding="utf-8"))
        else:
            about, rows = described(name), pd.read_csv(path, dtype=str, keep_default_na=False)
            blocks = [page.heading(about.title, 1), page.paragraph(about.note), page.table(rows)]
        write_text(args.pages / f"{name}.html", page.document(path.stem, [*blocks, page.download(path)]))
        logger.info("%s", path)


if __name__ == "__main__":
    log.run(main)
