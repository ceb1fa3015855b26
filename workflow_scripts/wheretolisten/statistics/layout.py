"""Tables of overlap as Markdown and as LaTeX, one row per model and method."""

import re

import pandas as pd

from wheretolisten.statistics.names import method_name, model_name
from wheretolisten.statistics.summary import ROWS

_NOTE = (
    "Overlap in % of the true event's duration, by the event's position in its recording; Overall is the mean over all "
    "queries. Lift is Overall minus the expectation of a randomly drawn window, in percentage points. Where windows "
    "tie, a query scores their mean; unparsed answers and failures score 0."
)
_PUBLISHED_HEADING = "Published numbers of other models on another benchmark"
_PUBLISHED_NOTE = (
    "Copied from {source} for orientation, not produced by this run. They belong to other models on another benchmark "
    "({benchmark}); compare them with the rows above in kind only."
)


def as_markdown(overlap: pd.DataFrame, published: pd.DataFrame) -> str:
    """The tables as Markdown: one section per benchmark, then the published numbers under their own heading.

    Parameters
    ----------
    overlap
        As `summary.summarize_overlap` returns it.
    published
        As `summary.read_published` returns it.
    """
    parts = ["# Overlap of predicted and true events", _NOTE]
    for benchmark, rows in overlap.groupby("benchmark", sort=False):
        parts += [f"## Benchmark {benchmark}", _markdown_table(_wide(rows)), _chance_note(rows)]
    if len(published):
        parts += [f"## {_PUBLISHED_HEADING}", _published_note(published), _markdown_table(_wide(published))]
    return "\n\n".join(parts) + "\n"


def as_latex(overlap: pd.DataFrame, published: pd.DataFrame) -> str:
    r"""The same tables as LaTeX, to be read with \input; needs the package booktabs."""
    parts = [r"% Needs \usepackage{booktabs} in the preamble."]
    for benchmark, rows in overlap.groupby("benchmark", sort=False):
        caption = f"Benchmark {benchmark}. {_NOTE} {_chance_note(rows)}"
        parts.append(_latex_table(_wide(rows), caption, f"tab:overlap-{_slug(str(benchmark))}"))
    if len(published):
        caption = f"{_PUBLISHED_HEADING}. {_published_note(published)}"
        parts.append(_latex_table(_wide(published), caption, "tab:overlap-published"))
    return "\n\n".join(parts) + "\n"


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per model and method, all cells text; counts and lift only where they are known."""
    lines = []
    for (model, method), group in rows.groupby(["model", "method"], sort=False):
        by_position = group.set_index("position")
        line = {"Model": model_name(model), "Method": method_name(method)}
        for position in ROWS:
            known = position in by_position.index
            line[position.capitalize()] = f"{by_position['overlap_pct'][position]:.2f}" if known else "n/a"
        if "lift" in group:
            overall = by_position.loc["overall"]
            line["Lift"] = f"{overall['lift']:+.2f}"
            line |= {
                name: str(overall[column])
                for name, column in (("Queries", "n_queries"), ("Ties", "n_ties"), ("Unparsed", "n_unparsed"))
            }
        lines.append(line)
    return pd.DataFrame(lines)


def _chance_note(rows: pd.DataFrame) -> str:
    chance = (rows["overlap_pct"] - rows["lift"]).groupby(rows["position"]).mean()
    values = ", ".join(f"{chance[position]:.2f} % {position}" for position in ROWS if position in chance)
    return f"A randomly drawn window is expected to cover {values} (closed form)."


def _published_note(published: pd.DataFrame) -> str:
    source = "; ".join(dict.fromkeys(published["source"]))
    benchmark = ", ".join(dict.fromkeys(published["benchmark"]))
    return _PUBLISHED_NOTE.format(source=source, benchmark=f"built from {benchmark}")


def _markdown_table(table: pd.DataFrame) -> str:
    cells = [[_escape_markdown(cell) for cell in line] for line in [list(table.columns), *table.to_numpy().tolist()]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(table.columns))]
    # The first two columns hold words and stand left, the others hold numbers and stand right.
    padded = [
        [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    rule = ["-" * width if i < 2 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def _latex_table(table: pd.DataFrame, caption: str, label: str) -> str:
    lines = [" & ".join(_escape_latex(cell) for cell in line) + r" \\" for line in table.to_numpy().tolist()]
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_escape_latex(caption)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{ll{'r' * (len(table.columns) - 2)}}}",
            r"\toprule",
            " & ".join(_escape_latex(column) for column in table.columns) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _escape_markdown(text: str) -> str:
    return text.replace("|", r"\|")


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u2013": "--"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def _escape_latex(text: str) -> str:
    text = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.])([+-])(?=\d)", r"$\1$", text)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
