"""Draw how steering with the label at each position moves attention, averaged over a benchmark of equal samples."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from wheretolisten import log
from wheretolisten.config.directions import Direction
from wheretolisten.config.layers import select_layers
from wheretolisten.config.positions import order_positions
from wheretolisten.config.probe import Localization
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.errors import UserError
from wheretolisten.figures.attention_change import draw_attention_change
from wheretolisten.figures.style import save
from wheretolisten.statistics.attention import mean_attention_change
from wheretolisten.statistics.names import method_name, model_name
from wheretolisten.store import read_passes


def main(argv: list[str] | None = None) -> None:
    """Write the heat map of one model as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unsteered", type=Path, nargs="+", required=True)
    parser.add_argument("--steered", type=Path, nargs="+", required=True, help="<event>/<shard>.h5")
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--settings", required=True, help="section localization as JSON; its layers are averaged")
    parser.add_argument("--method", required=True, help="name of the method whose steering is drawn")
    parser.add_argument("--direction", required=True, help="what it steers with, JSON")
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_attention_change")

    settings = Localization.from_json(arguments.settings)
    unsteered = read_passes(arguments.unsteered)
    base = unsteered.of("base")
    n_tokens = int(unsteered.n_audio_tokens[0])
    if (unsteered.n_audio_tokens != n_tokens).any():
        raise UserError(
            f"{arguments.unsteered[0]}: samples have different numbers of audio tokens, so they cannot be averaged "
            "token by token; choose a benchmark with equal clip_seconds"
        )
    layers = select_layers(settings.layers, base.shape[1])
    events = pd.read_csv(arguments.events, dtype={"sample_id": str, "label": str}, keep_default_na=False)
    missing = missing_vectors(Direction.from_json(arguments.direction), events)
    positions = order_positions(events["position"])
    changes, counts = [], []
    for position in positions:
        paths = [path for path in arguments.steered if path.parent.name == position]
        attention = read_passes(paths)
        if not np.array_equal(attention.sample_id, unsteered.sample_id):
            raise UserError(f"{paths[0]}: holds other samples than {arguments.unsteered[0]}; run steer_attention again")
        reasons = [missing.get((sample_id, position)) for sample_id in unsteered.sample_id]
        if all(reasons):
            logger.warning("%s: %s has no vector for any sample: %s", position, arguments.method, reasons[0])
            changes.append(np.full(n_tokens, np.nan))
            counts.append(0)
            continue
        steered = attention.of(arguments.method, position)[:, :, :n_tokens]
        change, count = mean_attention_change(base[:, :, :n_tokens], steered, layers)
        if count == 0:
            raise UserError(f"{paths[0]}: no sample has finite attention; look at the log of steer_attention")
        if count < len(reasons):
            logger.warning(
                "%s: %d samples left out, %d of them without a vector, the others without attention",
                *(position, len(reasons) - count, len(reasons) - reasons.count(None)),
            )
        changes.append(change)
        counts.append(count)
    figure = draw_attention_change(
        np.stack(changes),
        positions,
        _true_events(events, arguments.events),
        unsteered.tokens_per_second,
        f"{model_name(arguments.model)}: {method_name(f'steering_{arguments.method}').lower()}, "
        f"{_describe(layers)} weighted equally",
        min(counts),
    )
    save(figure, arguments.pdf, arguments.png)
    logger.info("%d samples, %d audio tokens: %s", min(counts), n_tokens, arguments.pdf)


def _true_events(events: pd.DataFrame, path: Path) -> list[tuple[float, float]]:
    """Onset and offset at each position, in seconds; all samples must agree."""
    times = []
    for position in order_positions(events["position"]):
        rows = events.loc[events["position"] == position, ["onset", "offset"]]
        if rows.empty or np.ptp(rows.to_numpy(), axis=0).max() > 1e-3:
            raise UserError(
                f"{path}: events at position {position!r} differ in time; choose a benchmark of equal samples"
            )
        times.append((float(rows["onset"].iloc[0]), float(rows["offset"].iloc[0])))
    return times


def _describe(layers: list[int]) -> str:
    if len(layers) == 1:
        return f"block {layers[0]}"
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"blocks {layers[0]} to {layers[-1]}"
    if len(layers) > 6:
        return f"{len(layers)} blocks from {layers[0]} to {layers[-1]}"
    return f"blocks {', '.join(map(str, layers))}"


if __name__ == "__main__":
    log.run(main)
