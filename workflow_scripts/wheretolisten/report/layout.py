"""Tables as Markdown and as LaTeX."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from wheretolisten.report.names import method_name, model_name, position_name
from wheretolisten.report.tables import SIGNIFICANT, Table
from wheretolisten.statistics.measures import MEASURES
from wheretolisten.statistics.summary import rows_of

_NO_VECTOR_NOTE = (
    "No vector: queries for which the method has none, because no other sample holds the label, or the recording holds "
    "every label of its domain; they are left out of the row, and a dash stands where none is left."
)
_PUBLISHED_HEADING = "Published numbers of other models on other recordings"
_PUBLISHED_NOTE = (
    "Copied from {source} for orientation, not produced by this run. They belong to other models on other recordings "
    "({study}); compare them with the rows above in kind only."
)
_NOTHING = "–"  # nothing was measured
_METRIC_HEADINGS = dict(
    zip(MEASURES, ("IoU (%)", "Hit (%)", "Pointing (%)", "Onset error (s)", "Absolute error (s)"), strict=True)
)


@dataclass(frozen=True)
class Section:
    """A table with what stands around it; all cells text, words in the first `n_words` columns, then numbers."""

    heading: str
    label: str
    table: pd.DataFrame
    note: str = ""
    n_words: int = 2


def overlap_sections(overlap: pd.DataFrame, published: pd.DataFrame) -> list[Section]:
    """One section per study, then the published numbers under their own heading.

    Parameters
    ----------
    overlap
        As `summary.summarize_overlap` returns it.
    published
        As `summary.read_published` returns it.
    """
    sections = _by_study(overlap, "overlap", _wide, note=lambda rows: _joined(_chance_note(rows), _vector_note(rows)))
    if len(published):
        sections.append(
            Section(_PUBLISHED_HEADING, "tab:overlap-published", _wide(published), _published_note(published))
        )
    return sections


def comparison_sections(comparisons: pd.DataFrame) -> list[Section]:
    """One section per study: the comparisons over all positions, as `summary.compare_methods` returns them."""

    def rows_of(rows: pd.DataFrame) -> pd.DataFrame:
        lines = [
            {
                "Model": model_name(row.model),
                "Method": method_name(row.method),
                "Against": method_name(row.other),
                "Difference": _with_interval(row.difference, row.ci_low, row.ci_high, "+.1f"),
                "d": _number(row.effect_size, "+.2f"),
                "p": "n/a" if pd.isna(row.p_holm) else f"{row.p_holm:.2g}",
                "Queries": str(row.n_queries),
            }
            for row in rows.itertuples()
        ]
        return pd.DataFrame(lines)

    def note(rows: pd.DataFrame) -> str:
        return "A dash: for no query do both methods have a vector." if (rows["n_queries"] == 0).any() else ""

    return _by_study(comparisons[comparisons["position"] == "overall"], "comparisons", rows_of, note, n_words=3)


def metric_sections(metrics: pd.DataFrame, label: str) -> list[Section]:
    """One section per study: the means over all positions, as `summary.summarize_metrics` returns them."""

    def rows_of(rows: pd.DataFrame) -> pd.DataFrame:
        lines = []
        for (model, method), group in rows.groupby(["model", "method"], sort=False):
            by_metric = group.set_index("metric")
            line = {"Model": model_name(model), "Method": method_name(method)}
            for metric, heading in _METRIC_HEADINGS.items():
                form = "+.2f" if metric == "onset_error" else ".2f" if heading.endswith("(s)") else ".1f"
                line[heading] = _number(by_metric.loc[metric, "value"], form)
            line["Missing"] = str(group["n_missing"].max())
            lines.append(line | _without_vector(rows, group.iloc[0]))
        return pd.DataFrame(lines)

    return _by_study(metrics[metrics["position"] == "overall"], label, rows_of, note=_vector_note)


def as_markdown(about: Table, sections: Sequence[Section]) -> str:
    """A page of tables in Markdown."""
    parts = [f"# {_escape_markdown(about.title)}", _escape_markdown(about.note)]
    for section in sections:
        table = _markdown_table(section.table, section.n_words)
        # What the publication says of its numbers stands before them.
        published = section.heading == _PUBLISHED_HEADING
        note = _escape_markdown(section.note)
        body = [note, table] if published else [table, note]
        parts += [f"## {_escape_markdown(section.heading)}", *(part for part in body if part)]
    return "\n\n".join(parts) + "\n"


def as_latex(about: Table, sections: Sequence[Section]) -> str:
    r"""The same tables as LaTeX, to be read with \input; needs the package booktabs."""
    parts = [r"% Needs \usepackage{booktabs} in the preamble."]
    for section in sections:
        own = section.heading != _PUBLISHED_HEADING
        note = f"{about.title}. {about.note} {section.note}" if own else section.note
        parts.append(_latex_table(section, f"{section.heading}. {note}".strip()))
    return "\n\n".join(parts) + "\n"


def _by_study(
    table: pd.DataFrame,
    label: str,
    lines_of: Callable[[pd.DataFrame], pd.DataFrame],
    note: Callable[[pd.DataFrame], str] = lambda rows: "",
    n_words: int = 2,
) -> list[Section]:
    return [
        Section(f"Study {name}", f"tab:{label}-{_slug(str(name))}", lines_of(rows), note(rows), n_words)
        for name, rows in table.groupby("study", sort=False)
    ]


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per model and method; interval, lift and counts only where they are known."""
    lines = []
    for (model, method), group in rows.groupby(["model", "method"], sort=False):
        by_position = group.set_index("position")
        own = "lift" in group
        line = {"Model": model_name(model), "Method": method_name(method)}
        for position in rows_of(rows["position"]):
            known = position in by_position.index
            line[position_name(position)] = _overlap_cell(by_position.loc[position], own) if known else "n/a"
        if own:
            overall = by_position.loc["overall"]
            line["Lift"] = _number(overall["lift"], "+.1f", _NOTHING)
            line |= {
                name: str(overall[column])
                for name, column in (("Queries", "n_queries"), ("Ties", "n_ties"), ("Unparsed", "n_unparsed"))
            }
            line |= _without_vector(rows, overall)
        lines.append(line)
    return pd.DataFrame(lines)


def _overlap_cell(row: pd.Series, own: bool) -> str:
    if not own:
        return f"{row['overlap_pct']:.2f}"
    mark = "*" if row["p_vs_random"] < SIGNIFICANT else ""
    return _with_interval(row["overlap_pct"], row["ci_low"], row["ci_high"], ".1f", mark)


def _with_interval(value: float, low: float, high: float, form: str, mark: str = "") -> str:
    if pd.isna(value):
        return _NOTHING
    return f"{value:{form}}{mark}" + ("" if pd.isna(low) else f" [{low:{form}}, {high:{form}}]")


def _number(value: float, form: str, unknown: str = "n/a") -> str:
    return unknown if pd.isna(value) else f"{value:{form}}"


def _without_vector(rows: pd.DataFrame, row: pd.Series) -> dict[str, str]:
    """The column of queries without a vector, of a study that has any."""
    return {"No vector": str(row["n_without_vector"])} if rows["n_without_vector"].any() else {}


def _vector_note(rows: pd.DataFrame) -> str:
    return _NO_VECTOR_NOTE if rows["n_without_vector"].any() else ""


def _joined(*notes: str) -> str:
    return " ".join(note for note in notes if note)


def _chance_note(rows: pd.DataFrame) -> str:
    rows = rows[rows["n_without_vector"] == 0]  # of all queries, as the random baseline
    chance = (rows["overlap_pct"] - rows["lift"]).groupby(rows["position"]).mean()
    values = ", ".join(
        f"{chance[position]:.2f} % {position}" for position in rows_of(chance.index) if position in chance
    )
    return f"A randomly drawn window is expected to cover {values} (closed form)."


def _published_note(published: pd.DataFrame) -> str:
    source = "; ".join(dict.fromkeys(published["source"]))
    study = ", ".join(dict.fromkeys(published["study"]))
    return _PUBLISHED_NOTE.format(source=source, study=f"built from {study}")


def _markdown_table(table: pd.DataFrame, n_words: int) -> str:
    cells = [[_escape_markdown(cell) for cell in line] for line in [list(table.columns), *table.to_numpy().tolist()]]
    # A rule needs three characters.
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(table.columns))]
    # Words stand left, numbers right.
    padded = [
        [
            cell.ljust(width) if i < n_words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    rule = ["-" * width if i < n_words else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def _latex_table(section: Section, caption: str) -> str:
    table = section.table
    lines = [" & ".join(_escape_latex(cell) for cell in line) + r" \\" for line in table.to_numpy().tolist()]
    return "\n".join(
        [
            r"\begin{table*}[htbp]",
            r"\centering",
            r"\scriptsize",
            r"\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_escape_latex(caption)}}}",
            rf"\label{{{section.label}}}",
            rf"\begin{{tabular}}{{{'l' * section.n_words}{'r' * (len(table.columns) - section.n_words)}}}",
            r"\toprule",
            " & ".join(_escape_latex(column) for column in table.columns) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table*}",
        ]
    )


# Signs of Markdown, of tags, entities and formulas in it, and what would make a link of the brackets before it.
_MARKDOWN = re.compile(r"[\\`*_{}|$~#]|[<&](?=[\w/!?#])|(?<=\])[(\[:]")


def _escape_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u2013": "--"}
_LATEX |= {character: f"\\{character}" for character in "&%$#_{}"} | {sign: f"${sign}$" for sign in "<>|"}


def _escape_latex(text: str) -> str:
    text = "".join(_LATEX.get(character, character) for character in text)
    text = re.sub(r"(?<![\w.])([+-])(?=\d)", r"$\1$", text)
    return re.sub(r"^\[", "{[}", text)  # at the start of a line it would be an argument of the line break before


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
