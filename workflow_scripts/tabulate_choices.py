"""Accuracy of every method on questions, what their heads say of right answers, and what steering does beside."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.config.passes import OF_HEADS, UNSTEERED_CHOICES
from wheretolisten.config.studies import Choosing
from wheretolisten.directions.heads import listening_signal
from wheretolisten.errors import UserError
from wheretolisten.questions.splits import CALIBRATION, REPORT
from wheretolisten.report.names import model_name
from wheretolisten.statistics.answers import accuracy_by, auc, best_setting, compare_accuracy
from wheretolisten.statistics.choices import correct, divergence, mass_on_choices
from wheretolisten.statistics.intervals import Dependence
from wheretolisten.statistics.tables import write_table
from wheretolisten.store import Choices, read_choices

_ALL_HEADS = "all_heads"


def main(argv: list[str] | None = None) -> None:
    """Write the tables of all studies and models as csv.

    `studies` says of each study how choices are scored, and which files each model has, JSON.
    """
    args = arguments.parse(
        __doc__, argv, studies=json.loads, table=Path, groups=Path, areas=Path, signals=Path, heads=Path
    )
    logger = log.start("tabulate_choices")
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in ("table", "groups", "areas", "signals", "heads")}
    for study, of_study in args.studies.items():
        for model, files in of_study["models"].items():
            try:
                found = tabulate(Choosing.model_validate(of_study["choosing"]), files)
            except UserError as error:
                raise UserError(f"study {study!r}, model {model!r}: {error}") from error
            for name, table in found.items():
                table.insert(0, "model", model)
                table.insert(1, "study", study)
                parts[name].append(table)
            main_score = found["table"][found["table"]["score"] == of_study["choosing"]["score"]]
            for row in main_score.itertuples():
                logger.info(
                    "%s, %s, %s: %.1f %% right (95 %% interval %.1f to %.1f; %d items)",
                    *(model_name(model), study, row.method, row.accuracy_pct, row.ci_low, row.ci_high, row.n_items),
                )
    for name, tables in parts.items():
        write_table(pd.concat(tables), getattr(args, name), decimals=6)


def tabulate(choosing: Choosing, files: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """All tables of one study and model."""
    plain = _known(read_choices(files["methods"], files["identity"]))
    if not len(plain.item_id):
        raise UserError(
            "no item can be used, or all withhold their answer; the logs of choose_answers name the reasons"
        )
    steered = _known(read_choices(files["heads"], files["identity"])) if files["heads"] else None
    recorded = json.loads(Path(files["selected"]).read_text())
    sides = np.array([recorded["sides"][item] for item in plain.item_id], dtype=object)
    reported = sides == REPORT
    recordings = plain.recording[reported]
    dependence = Dependence(recordings, [frozenset(recorded["sources"][recording]) for recording in recordings])

    best: dict[str, str] = {}
    if steered is not None:
        of_passes = correct(steered, choosing.score)[:, sides == CALIBRATION]
        for kind in OF_HEADS:
            # The mildest first, of which `best_setting` takes the first of equals.
            settings = {
                name: each for name, each in recorded["passes"].items() if each["kind"] == kind and each["heads"]
            }
            names = sorted(settings, key=lambda name: (settings[name]["strength"], settings[name]["n_heads"]))
            if names:
                accuracy = np.array([of_passes[steered.passes.index(name)] for name in names])
                best[kind] = names[best_setting(accuracy)]

    def of_methods(measure: Any) -> dict[str, np.ndarray]:
        values = dict(zip(plain.passes, measure(plain)[:, reported], strict=True))
        if steered is not None:
            further = measure(steered)[:, reported]
            values |= {kind: further[steered.passes.index(name)] for kind, name in best.items()}
        return values

    base = UNSTEERED_CHOICES[0]
    tables = []
    for score in choosing.scores:
        table = compare_accuracy(of_methods(lambda each, score=score: correct(each, score)), base, dependence)
        table.insert(0, "score", score)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    mass, moved = of_methods(mass_on_choices), of_methods(lambda each: divergence(_with(each, plain, base), base))
    table["mass_on_choices"] = [float(mass[method].mean()) for method in table["method"]]
    table["divergence"] = [float(moved[method].mean()) for method in table["method"]]
    table["setting"] = [best.get(method, "") for method in table["method"]]

    right = of_methods(lambda each: correct(each, choosing.score))
    groups = [plain.groups[row] for row in reported.nonzero()[0]]
    of_groups = accuracy_by(right, groups, dependence)
    heads = {_ALL_HEADS: list(np.ndindex(*plain.head_mass.shape[1:]))}
    heads = {kind: recorded["passes"][name]["heads"] for kind, name in best.items()} | heads
    signals, areas = [], []
    said = right[base] >= 0.5
    for kind, chosen in heads.items():
        signal = listening_signal(plain.head_mass[reported], chosen)
        rows = {"heads": kind, "item_id": plain.item_id[reported], "signal": signal, "correct": said.astype(int)}
        signals.append(pd.DataFrame(rows))
        row = {"heads": kind, "n_heads": len(chosen)}
        for name, kinds in (("", None), ("within_", [tuple(of_item) for of_item in groups])):
            found = auc(signal, said, dependence, kinds)
            row |= dict(zip((f"{name}area", f"{name}low", f"{name}high"), found, strict=True))
        areas.append(row | {"n": len(signal)})
    correlation = np.array(recorded["correlation"], float)
    listening = {tuple(head) for head in heads.get(OF_HEADS[0], ())}
    of_heads = pd.DataFrame(
        [
            {"layer": layer, "head": head, "correlation": r, "specialist": int((layer, head) in listening)}
            for (layer, head), r in np.ndenumerate(correlation)
        ]
    )
    return {
        "table": table,
        "groups": of_groups,
        "areas": pd.DataFrame(areas),
        "signals": pd.concat(signals, ignore_index=True),
        "heads": of_heads,
    }


def _known(choices: Choices) -> Choices:
    """Without the items whose right answer is withheld."""
    known = np.isfinite(choices.right)
    rows = {name: values[known] for name, values in vars(choices).items() if isinstance(values, np.ndarray)}
    groups = [of_item for of_item, keep in zip(choices.groups, known, strict=True) if keep]
    return Choices(**(vars(choices) | rows | {"groups": groups}))


def _with(choices: Choices, plain: Choices, reference: str) -> Choices:
    """The passes of heads beside the one that they are held against."""
    if choices is plain:
        return choices
    row = plain.passes.index(reference)
    joined = np.concatenate([choices.choices, plain.choices[:, row : row + 1]], axis=1)
    return Choices(**(vars(choices) | {"passes": (*choices.passes, reference), "choices": joined}))


if __name__ == "__main__":
    log.run(main)
