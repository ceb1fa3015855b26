"""Put the tables of a finished run into docs/results.md: `uv run python docs/update_results.py`.

Those of another run than the default one have a place of their own there: `--results … --run small-esc10`. Answers to
questions are on another page, `--results … --run answers-tiny --page docs/listening.md` (or `answers-small`), and so is
every study of effects: `--results … --run effects --page docs/studies/preference.md`.
"""

import argparse
import re
from pathlib import Path

import pandas as pd


def marks(run: str) -> tuple[str, str]:
    """What stands before and after the tables of a run."""
    return tuple(f"<!-- written by docs/update_results.py, {run}: {end} -->" for end in ("begin", "end"))


def block(results: Path, run: str) -> str:
    """The overlap as the run tabulated it, its headings a level down, under what the results were computed with.

    What tables mean, and what others published, stands once, with the default run.
    """
    overlap = (results / "tables/overlap.md").read_text(encoding="utf-8")
    if run != DEFAULT:
        overlap = re.search(r"^## Study.*?(?=^## Published|\Z)", overlap, re.MULTILINE | re.DOTALL)[0]
    overlap = re.sub(r"^#", "##", overlap, flags=re.MULTILINE)
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


def answers(results: Path) -> str:
    """Accuracy of every study of choices, and what its heads say of right answers."""
    accuracy = pd.read_csv(results / "tables/choices.csv")
    signal = pd.read_csv(results / "tables/listening_signal.csv")
    blocks = []
    for study, rows in accuracy.groupby("study", sort=False):
        models = list(dict.fromkeys(rows["model"]))
        shown = rows.assign(
            cell=[
                f"{row.accuracy_pct:.1f} [{row.ci_low:.1f}, {row.ci_high:.1f}]"
                + ("" if pd.isna(row.difference) else f", {row.difference:+.1f} (p {row.p_holm:.2g})")
                for row in rows.itertuples()
            ],
            column=rows["model"] + ", " + rows["score"],
        )
        columns = [f"{model}, {score}" for model in models for score in ("choice", "words")]
        wide = shown.pivot(index="method", columns="column", values="cell").loc[list(dict.fromkeys(rows["method"]))]
        lines = [f"| {study} | " + " | ".join(columns) + " |", "|---" + "|---:" * len(columns) + "|"]
        lines += [f"| `{method}` | " + " | ".join(row[columns]) + " |" for method, row in wide.iterrows()]
        blocks.append("\n".join(lines) + f"\n\nn = {rows['n_items'].max()} questions.")
    lines = ["| study | model | heads | area | area within kinds of questions |", "|---|---|---|---:|---:|"]
    lines += [
        f"| {row.study} | {row.model} | {row.n_heads} {row.heads.replace('_', ' ').removesuffix(' heads')} | "
        f"{row.area:.2f} [{row.low:.2f}, {row.high:.2f}] | "
        f"{row.within_area:.2f} [{row.within_low:.2f}, {row.within_high:.2f}] |"
        for row in signal.itertuples()
    ]
    return "\n\n".join([*blocks, "\n".join(lines)])


def effects(results: Path) -> str:
    """What every arm of studies of effects does, at its chosen setting, along each axis."""
    table = pd.read_csv(results / "tables/effects_overview.csv")
    settings = pd.read_csv(results / "tables/effects.csv")
    blocks = []
    for (model, study, axis), rows in table.groupby(["model", "study", "axis"], sort=False):
        shown = {name: label for name, label in _EFFECTS.items() if rows[name].notna().any()}
        lines = [
            f"| {axis} | blocks, λ | margin, nats | p | " + " | ".join(shown.values()) + " |",
            "|---|---|---:|---:" + "|---:" * len(shown) + "|",
        ]
        for row in rows.itertuples():
            setting = "" if pd.isna(row.strength) else f"{row.layers}, {row.strength:g}"
            margin = p = ""
            if not pd.isna(row.margin):
                margin = f"{row.margin:+.2f} [{row.margin_low:+.2f}, {row.margin_high:+.2f}]"
                p = "< 0.001" if row.p_holm < 0.001 else f"{row.p_holm:.2g}"
            cells = ["" if pd.isna(getattr(row, name)) else _DIGITS[name](getattr(row, name)) for name in shown]
            if "kept_pct" in shown and not pd.isna(row.kept_pct):
                cells[list(shown).index("kept_pct")] += f" [{row.kept_low:.0f}, {row.kept_high:.0f}]"
            lines.append(f"| `{row.arm}` | {setting} | {margin} | {p} | " + " | ".join(cells) + " |")
        own = settings[(settings["model"] == model) & (settings["study"] == study) & (settings["measured"] == axis)]
        n_items = int(own.loc[own["measure"].isin(["margin", "words"]), "n_items"].max())
        unsteered = own.loc[(own["arm"] == "unsteered") & (own["measure"] == "margin"), "value"]
        beside = "".join(f"; un-steered margin {value:+.2f}" for value in unsteered)
        blocks.append("\n".join(lines) + f"\n\n{model}, n = {n_items} pairs{beside}.")
    return "\n\n".join(blocks)


_EFFECTS = {
    "other_axes": "other axis",
    "option_margin": "options",
    "letter_margin": "letter A",
    "token_mass": "token mass",
    "kept_pct": "rule kept, %",
    "divergence": "divergence",
    "guardrail_pct": "guardrail, %",
    "surprise": "surprise",
    "words": "words",
    "relative_length": "length",
    "first_word_pct": "first word, %",
    "lag": "lag, steps",
    "perceived": "perceived, steps",
}
"""Columns of the overview as pages call them."""

_DIGITS = dict.fromkeys(("other_axes", "option_margin", "letter_margin", "token_mass"), "{:+.2f}".format)
_DIGITS |= dict.fromkeys(("kept_pct", "guardrail_pct", "words", "first_word_pct"), "{:.0f}".format)
_DIGITS |= dict.fromkeys(("divergence", "surprise", "relative_length", "lag", "perceived"), "{:.2f}".format)

DEFAULT, ANSWERS, EFFECTS = "default run", "answers", "effects"
_UNANSWERED = ("n_unparsed", "n_failed", "n_skipped")


def main(argv: list[str] | None = None) -> None:
    """Replace what stands between the marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default=DEFAULT, help="whose marks on the page are meant")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--page", type=Path, default=Path(__file__).with_name("results.md"))
    arguments = parser.parse_args(argv)
    begin, end = marks(arguments.run)
    before, found, rest = arguments.page.read_text(encoding="utf-8").partition(begin)
    _, also_found, after = rest.partition(end)
    if not (found and also_found):
        parser.error(f"{arguments.page} has no marks for {arguments.run!r}: {begin} and {end}")
    others = {ANSWERS: answers, EFFECTS: effects}
    of_run = others.get(arguments.run.partition("-")[0], lambda results: block(results, arguments.run))
    written = of_run(arguments.results)
    text = f"{before}{begin}\n\n{written}\n\n{end}{after}"
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
