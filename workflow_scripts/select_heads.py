"""Choose the heads whose attention to the audio goes with right answers, on calibration items alone (ASH)."""

import json
from pathlib import Path

import numpy as np

from wheretolisten import arguments, log
from wheretolisten.clips.randomness import generator
from wheretolisten.config.passes import OF_HEADS, UNSTEERED_CHOICES
from wheretolisten.config.studies import Choosing
from wheretolisten.directions.heads import correlations, random_heads, specialists
from wheretolisten.errors import UserError
from wheretolisten.files import write_text
from wheretolisten.questions.splits import CALIBRATION, REPORT, sources_of, split
from wheretolisten.statistics.choices import correct
from wheretolisten.store import read_choices


def main(argv: list[str] | None = None) -> None:
    """Write sides of the items, correlations of the heads, and the settings to try, as JSON.

    `events` is the table of the sequences that the questions are about, or nothing: then every recording is a source.
    """
    args = arguments.parse(
        __doc__, argv, choices=[Path], events=[Path], choosing=Choosing.from_json, model=str, output=Path
    )
    logger = log.start("select_heads")
    choosing = args.choosing
    found = read_choices(args.choices, args.model)
    sources = sources_of(found.recording, args.events)
    sides = np.full(len(found.recording), REPORT, dtype=object)
    if choosing.n_heads:
        try:
            sides = split(found.recording, sources, choosing.seed, choosing.calibration)
        except UserError as error:
            # A run to try things out has few items; its answers are no less right without heads.
            logger.warning("no heads are chosen: %s", error)
    is_right = correct(found, choosing.score)[found.passes.index(UNSTEERED_CHOICES[0])]
    chosen = (sides == CALIBRATION) & np.isfinite(found.right)
    correlation = np.full(found.head_mass.shape[1:], np.nan)
    if chosen.any():
        correlation = correlations(found.head_mass[chosen], is_right[chosen])
    passes = {}
    for n_heads in choosing.n_heads:
        listening = specialists(correlation, n_heads)
        others = random_heads(correlation.shape, len(listening), listening, generator("heads", choosing.seed, n_heads))
        for kind, heads in zip(OF_HEADS, (listening, others), strict=True):
            for strength in choosing.strengths:
                setting = {"kind": kind, "n_heads": n_heads, "strength": strength, "heads": heads}
                passes[f"{kind}_{n_heads}_{strength:g}"] = setting
    if chosen.any() and not np.isfinite(correlation).any():
        logger.warning(
            "no head goes with right answers: all %d calibration items are answered alike, so that nothing is steered",
            chosen.sum(),
        )
    write_text(
        args.output,
        json.dumps(
            {
                "n_calibration": int(chosen.sum()),
                "sides": dict(zip(found.item_id.tolist(), sides.tolist(), strict=True)),
                "sources": dict(zip(found.recording.tolist(), map(sorted, sources), strict=True)),
                # NaN is no JSON.
                "correlation": [[None if np.isnan(r) else round(float(r), 6) for r in layer] for layer in correlation],
                "passes": passes,
            }
        )
        + "\n",
    )
    logger.info("%d calibration items of %d: %s", chosen.sum(), len(sides), args.output)


if __name__ == "__main__":
    log.run(main)
