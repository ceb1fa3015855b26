"""Teach facts to a copy of a model, write a direction into a weight that takes some back, and measure what is left."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wheretolisten import jobs, log
from wheretolisten.config.effects import UNSTEERED, Effects
from wheretolisten.config.unlearning import FORGET, RETAIN, UnlearningSettings
from wheretolisten.effects import unlearning
from wheretolisten.effects.measuring import NOBODY, Meter, Row, tabulated
from wheretolisten.effects.pairs import CHOOSE, REPORT, Pair, read_pairs
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path
from wheretolisten.models.memory import ROWS_PER_SAMPLE

ORIGINAL = "original"
"""Arm: the model before it was taught. The un-steered one is that which was taught and not edited."""


def main(argv: list[str] | None = None) -> None:
    """Measure the taught model, the original one, and every edit."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="one value per row, csv")
    args = parser.parse_args(argv)
    logger = log.start("unlearn_facts")
    settings = UnlearningSettings.from_json(args.settings)
    asked = settings.unlearning
    facts = read_pairs(settings.pairs, [FORGET, RETAIN])  # before the model is loaded
    everything = [*facts[FORGET], *facts[RETAIN]]

    torch.set_num_threads(args.threads)
    engine = Engine(selfcheck.load(settings.model), max_rows=ROWS_PER_SAMPLE * settings.model.batch_samples)
    adapter = engine.adapter
    block = adapter.n_layers // 2 if asked.block is None else asked.block
    if block >= adapter.n_layers:
        raise UserError(f"block: {block} does not exist; the text stack has {adapter.n_layers} blocks")
    about = {"neutral": asked.neutral, "n_neutral": asked.n_neutral, "guardrail": asked.guardrail}
    about |= {"n_guardrail": asked.n_guardrail, "max_new_tokens": asked.max_new_tokens, "n_generated": len(everything)}
    effects = Effects(**about, per_token=False)

    knew = unlearning.last_states(engine, facts[FORGET], "block", block)
    before = measure(Meter(engine, effects), facts)  # its own meter: neutral prompts are held against the taught model
    unlearning.teach(adapter, everything, asked)
    meter = Meter(engine, effects)
    taught = [*measure(meter, facts), *meter.moved(NOBODY)]
    tables = [tabulated("", UNSTEERED, [(REPORT, "", 0.0, taught)])]
    tables.append(tabulated(FORGET, ORIGINAL, [(REPORT, "", 0.0, before)]))
    knows = unlearning.last_states(engine, facts[FORGET], "block", block)
    direction = (knew - knows).mean(axis=0).astype(np.float64)
    inputs = {kind: unlearning.last_states(engine, facts[kind], "neurons", block) for kind in (FORGET, RETAIN)}
    projection = adapter.blocks[block].mlp.down_proj
    kept = projection.weight.detach().clone()
    relative = np.linalg.norm(direction) / np.linalg.norm(knows, axis=1).mean()
    for form in asked.forms:
        of_form = [(CHOOSE, [block], asked.strength, [Row("chosen", "", "", asked.strength)])]
        for strength in asked.strengths:
            weight = unlearning.edited(
                kept.T.double().cpu().numpy(), inputs[FORGET], inputs[RETAIN], direction, strength, form, asked.penalty
            )
            with torch.no_grad():
                projection.weight.copy_(torch.as_tensor(weight.T.copy()))
            found = [*measure(meter, facts), *meter.moved(NOBODY), Row("relative_length", "", "", strength * relative)]
            of_form.append((REPORT, [block], strength, found))
            logger.info("%s, strength %g", form, strength)
        tables.append(tabulated(FORGET, form, of_form))
    with atomic_path(args.output) as path:
        pd.concat(tables).to_csv(path, index=False, lineterminator="\n")
    engine.meter.n_samples = len(everything)
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def measure(meter: Meter, facts: dict[str, list[Pair]]) -> list[Row]:
    """Margins of taught answers, answers in words and whether they hold the taught one (kept), and the guardrail."""
    rows = []
    for of_kind in facts.values():
        rows += meter.margins(of_kind, NOBODY)
        said = meter.generated(of_kind, None, NOBODY)
        rows += said
        texts = {row.item: row.text for row in said if row.measure == "words"}
        for fact in of_kind:
            told = re.search(rf"\b{re.escape(fact.positive)}\b", texts[fact.pair_id], re.IGNORECASE)
            rows.append(Row("kept", fact.pair_id, fact.source, float(told is not None), fact.axis))
    return rows + meter.guardrail(NOBODY)


if __name__ == "__main__":
    log.run(main)
