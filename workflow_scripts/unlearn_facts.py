"""Teach facts to a copy of a model, write a direction into a weight that takes some back, and measure what is left."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from wheretolisten import jobs, log, provenance, store
from wheretolisten.clips.randomness import generator
from wheretolisten.config.effects import UNSTEERED, Effects
from wheretolisten.config.unlearning import FORGET, RETAIN, UnlearningSettings
from wheretolisten.effects import reinforcing, unlearning
from wheretolisten.effects.measuring import NOBODY, Meter, Row, rows_of, tabulated, words
from wheretolisten.effects.pairs import CHOOSE, REPORT, Pair, inputs_of, read_facts
from wheretolisten.effects.rewards import holds, refuses, reward
from wheretolisten.engine import selfcheck
from wheretolisten.engine.passes import Engine
from wheretolisten.errors import UserError
from wheretolisten.files import atomic_path
from wheretolisten.models.memory import ROWS_PER_SAMPLE

ORIGINAL, RANDOM, REINFORCED = "original", "random", "reinforced"
"""Arms: the model before it was taught, the first form of the edit with a random direction of the same length, and that
form, reinforced. The un-steered one is that which was taught and not edited."""

Facts = Mapping[str, Sequence[Pair]]
"""Axis → facts, or questions about them, as `read_facts` has them."""


def main(argv: list[str] | None = None) -> None:
    """Measure the taught model, the original one, and every edit."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="one value per row, csv")
    parser.add_argument("--origin", type=Path, required=True, help="what it was made with and from, JSON")
    args = parser.parse_args(argv)
    logger = log.start("unlearn_facts")
    settings = UnlearningSettings.from_json(args.settings)
    asked = settings.unlearning
    # Before the model is loaded.
    facts = read_facts(settings.pairs)
    everything = [*facts[FORGET], *facts[RETAIN]]
    if asked.reinforce:
        reinforcing.check(asked.reinforce, everything)

    torch.set_num_threads(args.threads)
    engine = Engine(selfcheck.load(settings.model), max_rows=ROWS_PER_SAMPLE * settings.model.batch_samples)
    adapter = engine.adapter
    block = adapter.n_layers // 2 if asked.block is None else asked.block
    if block >= adapter.n_layers:
        raise UserError(f"block: {block} does not exist; the text stack has {adapter.n_layers} blocks")
    about = {"neutral": asked.neutral, "n_neutral": asked.n_neutral, "guardrail": asked.guardrail}
    about |= {"n_guardrail": asked.n_guardrail, "max_new_tokens": asked.max_new_tokens}
    effects = Effects(**about, per_token=False)

    knew = unlearning.last_states(engine, facts[FORGET], "block", block)
    # Its own meter: neutral prompts are held against the taught model.
    before, said_before = measure(Meter(engine, effects), facts)
    unlearning.teach(adapter, everything, asked)
    meter = Meter(engine, effects)
    taught, said = measure(meter, facts)
    taught += [*meter.moved(NOBODY), *surprise(meter, facts, said)]
    tables = [tabulated("", UNSTEERED, [(REPORT, "", 0.0, taught)])]
    before += surprise(meter, facts, said_before)
    tables.append(tabulated(FORGET, ORIGINAL, [(REPORT, "", 0.0, before)]))
    knows = unlearning.last_states(engine, facts[FORGET], "block", block)
    direction = (knew - knows).mean(axis=0).astype(np.float64)
    inputs = {kind: unlearning.last_states(engine, facts[kind], "neurons", block) for kind in (FORGET, RETAIN)}
    projection = adapter.blocks[block].mlp.down_proj
    kept = projection.weight.detach().clone()
    relative = np.linalg.norm(direction) / np.linalg.norm(knows, axis=1).mean()
    drawn = generator("unlearn", asked.seed).standard_normal(len(direction))
    drawn *= np.linalg.norm(direction) / np.linalg.norm(drawn)
    chosen = (CHOOSE, [block], asked.strength, [Row("chosen", "", "", asked.strength)])

    def edit(form: str, added: np.ndarray, strength: float) -> None:
        weight = unlearning.edited(
            kept.T.double().cpu().numpy(), inputs[FORGET], inputs[RETAIN], added, strength, form, asked.penalty
        )
        with torch.no_grad():
            projection.weight.copy_(torch.as_tensor(weight.T.copy()))

    edits = {form: (form, direction) for form in asked.forms} | {RANDOM: (asked.forms[0], drawn)}
    for arm, (form, added) in edits.items():
        of_arm = [chosen]
        for strength in asked.strengths:
            edit(form, added, strength)
            # What takes longest is measured where it counts.
            whole = strength == asked.strength
            found, said = measure(meter, facts, whole)
            found += [*meter.moved(NOBODY), Row("relative_length", "", "", strength * relative)]
            with torch.no_grad():
                projection.weight.copy_(kept)
            found += surprise(meter, facts, said) if whole else []
            of_arm.append((REPORT, [block], strength, found))
            logger.info("%s, strength %g", arm, strength)
        tables.append(tabulated(FORGET, arm, of_arm))
    if asked.reinforce:
        weights = {name: weight.clone() for name, weight in adapter.model.named_parameters()}
        edit(asked.forms[0], direction, asked.strength)
        steps = reinforcing.reinforce(adapter, everything, asked.reinforce, asked.max_new_tokens, asked.seed)
        found, said = measure(meter, facts)
        found += [*meter.moved(NOBODY), Row("relative_length", "", "", asked.strength * relative)]
        with torch.no_grad():
            for name, weight in adapter.model.named_parameters():
                weight.copy_(weights[name])
        found += surprise(meter, facts, said)
        drawn_at = [
            Row(f"rollout_{measure}", f"step-{number}", f"step-{number}", value)
            for number, step in enumerate(steps)
            for measure, value in step.items()
        ]
        of_arm = [chosen, (CHOOSE, [block], asked.strength, drawn_at), (REPORT, [block], asked.strength, found)]
        tables.append(tabulated(FORGET, REINFORCED, of_arm))
    _, attributes = provenance.of_job("unlearn_facts", settings, inputs_of(settings.pairs) | asked.files)
    store.write_origin(args.origin, attributes | jobs.ran_on(adapter))
    with atomic_path(args.output) as path:
        pd.concat(tables).to_csv(path, index=False, lineterminator="\n")
    engine.meter.n_samples = len(everything)
    jobs.report(engine.meter, args.performance)
    logger.info("wrote %s", args.output)


def measure(meter: Meter, facts: Facts, whole: bool = True) -> tuple[list[Row], dict[str, list[str]]]:
    """What the model, as it is now, makes of facts, and its answers, axis by axis.

    Margins of taught answers to taught questions; answers in words to these and to others about the same facts, and of
    them whether they hold the taught one (kept), whether they refuse, and their reward; and the guardrail. If it is not
    to be the whole, that of taught questions.
    """
    rows, said = meter.guardrail(NOBODY) if whole else [], {}
    for axis, of_axis in facts.items():
        if axis not in (FORGET, RETAIN) and not whole:
            continue
        if axis in (FORGET, RETAIN):
            rows += meter.margins(of_axis, NOBODY)
        said[axis] = meter.answers(of_axis, NOBODY)
        rows += words(of_axis, said[axis])
        both, forget = list(zip(of_axis, said[axis], strict=True)), axis.startswith(FORGET)
        rows += rows_of("kept", of_axis, [float(holds(text, fact.positive)) for fact, text in both])
        rows += rows_of("refused", of_axis, [float(refuses(text)) for _, text in both])
        rows += rows_of("reward", of_axis, [reward(text, fact.positive, forget) for fact, text in both])
    return rows, said


def surprise(meter: Meter, facts: Facts, said: Mapping[str, Sequence[str]]) -> list[Row]:
    """How surprising answers to taught questions are to the model as it is now: the taught one, whoever gave them."""
    return [row for axis in (FORGET, RETAIN) for row in meter.surprise(facts[axis], said[axis])]


if __name__ == "__main__":
    log.run(main)
