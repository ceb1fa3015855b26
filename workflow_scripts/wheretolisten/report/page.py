"""Tables as HTML pages that need nothing beside themselves: no network, no scripts, no other file."""

import base64
import html
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 90rem; margin: 2rem auto; padding: 0 1.5rem }
h1 { font-size: 1.6rem; margin: 0 0 .5rem } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem }
p { max-width: 50rem; margin: .4rem 0 .8rem }
div.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th { text-align: left; border-bottom: 2px solid #888; background: #f4f4f4 }
th, td { padding: .25rem .7rem; vertical-align: top } td { border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
tr:hover td { background: #eef4fb }
.number { text-align: right; white-space: nowrap }
pre { font-size: .85rem; background: #f6f6f6; padding: .8rem; overflow-x: auto }
"""

# With an asterisk or an interval behind it, where there is one; or a dash for what is missing.
_NUMBER = re.compile(r"[+−-]?\d[\d,]*(\.\d+)?([eE][+-]?\d+)?( ?%)?\*?( \[[\d., +−-]+\])?|[–-]|n/a|")

_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
"""A character that Markdown would otherwise read as its own, behind a backslash."""


def document(title: str, body: Iterable[str]) -> str:
    """A whole page: its title, then HTML blocks, as the functions below return them."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    """Text with its line breaks kept."""
    return f"<pre>{html.escape(text)}</pre>"


def table(cells: pd.DataFrame) -> str:
    """A table; columns that hold nothing but numbers stand right, what is missing is a dash."""
    texts = cells.map(_cell)
    classes = [' class="number"' if all(map(_NUMBER.fullmatch, column)) else "" for _, column in texts.items()]
    lines = [_row("th", texts.columns, classes), *(_row("td", row, classes) for row in texts.to_numpy())]
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def download(path: str | Path) -> str:
    """A link that saves a file from within the page."""
    path = Path(path)
    data = base64.b64encode(path.read_bytes()).decode()
    name = html.escape(path.name, quote=True)
    return f'<p><a href="data:text/plain;base64,{data}" download="{name}">Save {name}</a></p>'


def from_markdown(text: str) -> list[str]:
    """Blocks of the Markdown that tables are written in: headings, paragraphs, and tables with bars."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            first, _, *rest = [_split(line) for line in lines]
            blocks.append(table(pd.DataFrame(rest, columns=first)))
        elif marks := re.match(r"(#+) +", block):
            blocks.append(heading(_plain(block[marks.end() :]), len(marks[1])))
        else:
            blocks.append(paragraph(_plain(" ".join(lines))))
    return blocks


def _row(tag: str, texts: Iterable[str], classes: list[str]) -> str:
    cells = (f"<{tag}{c}>{html.escape(text)}</{tag}>" for text, c in zip(texts, classes, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _split(line: str) -> list[str]:
    r"""Cells of a row; `\|` is a bar within one."""
    return [_plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _cell(value: object) -> str:
    if pd.isna(value):
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)
