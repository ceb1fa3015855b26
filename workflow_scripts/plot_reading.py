"""Draw the reading of one query: sound, attention without and with steering, window score and chosen window."""

import argparse
import io
import logging
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
from wheretolisten.figures.reading import Event, draw_reading
from wheretolisten.figures.style import save
from wheretolisten.files import refusal
from wheretolisten.localization.windows import find_window, without_vector
from wheretolisten.statistics.attention import mean_share
from wheretolisten.statistics.names import model_name
from wheretolisten.statistics.overlap import window_overlap
from wheretolisten.store import read_passes

_log = logging.getLogger("plot_reading")


def main(argv: list[str] | None = None) -> None:
    """Write the reading of one sample and position as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unsteered", type=Path, nargs="+", required=True)
    parser.add_argument("--attention", type=Path, nargs="+", required=True, help="steered at the position that is read")
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--benchmark-folder", type=Path, required=True, help="where paths of audio start")
    parser.add_argument("--model", required=True)
    parser.add_argument("--settings", required=True, help="section localization as JSON")
    parser.add_argument("--sample", type=int, required=True, help="index of the sample")
    parser.add_argument("--position", required=True, help="event that is read")
    parser.add_argument("--method", required=True, help="name of the method whose steering is drawn")
    parser.add_argument("--direction", required=True, help="what it steers with, JSON")
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    log.start("plot_reading")

    settings = Localization.from_json(arguments.settings)
    of_benchmark = pd.read_csv(arguments.events, dtype={"sample_id": str, "label": str}, keep_default_na=False)
    events = _events_of(of_benchmark, arguments.events, arguments.sample, arguments.position)
    sample_id = events["sample_id"].iloc[0]
    event = events.loc[arguments.position]

    unsteered, attention = read_passes(arguments.unsteered), read_passes(arguments.attention)
    row = _row_of(sample_id, unsteered.sample_id, arguments.unsteered)
    n_tokens, rate = int(unsteered.n_audio_tokens[row]), unsteered.tokens_per_second
    base = unsteered.of("base")[row]
    steered = attention.of(arguments.method, arguments.position)
    steered = steered[_row_of(sample_id, attention.sample_id, arguments.attention)]
    window = find_window(base, steered, event["duration"], rate, n_tokens, settings)
    found = f"overlap {100 * window_overlap(window, event['onset'], event['offset']):.0f} %"
    if reason := missing_vectors(Direction.from_json(arguments.direction), of_benchmark).get(
        (sample_id, arguments.position)
    ):
        window, found = without_vector(reason, rate), "no vector"
    layers = select_layers(settings.layers, len(base))
    # A failed query is drawn, too: attention that is not finite leaves gaps, and the reason stands in the last panel.
    shares = [mean_share(values[:, :n_tokens], layers) for values in (base, steered)]
    figure = draw_reading(
        _read_audio(arguments.benchmark_folder / event["path"]),
        [Event(*times) for times in zip(events["label"], events["onset"], events["offset"], strict=True)],
        events.index.get_loc(arguments.position),
        *shares,
        window,
        event["sample_seconds"],
        f"{model_name(arguments.model)}, sample {sample_id}: where is the sound of {event['label']}? "
        f"{found.capitalize()}",
    )
    save(figure, arguments.pdf, arguments.png)
    _log.info("sample %s, %s: %s: %s", sample_id, arguments.position, found, arguments.pdf)


def _events_of(events: pd.DataFrame, path: Path, sample: int, position: str) -> pd.DataFrame:
    """Events of a sample by position, in order of time."""
    positions = order_positions(events["position"])
    if position not in positions:
        raise UserError(f"{path}: there is no event {position!r} ({', '.join(positions)}); choose one of these")
    events = events[events["sample_id"].astype(int) == sample].set_index("position", drop=False)
    if set(events["position"]) != set(positions):
        raise UserError(f"{path}: sample {sample} is not listed with all its positions; choose another sample")
    return events.loc[positions]


def _row_of(sample_id: str, sample_ids: np.ndarray, paths: list[Path]) -> int:
    rows = np.flatnonzero(sample_ids == sample_id)
    if rows.size == 0:
        raise UserError(f"{paths[0]}: sample {sample_id} is not in it; pass the shard that holds the sample")
    return int(rows[0])


def _read_audio(path: Path) -> np.ndarray | None:
    """The sound [frame] at 16 kHz, or None where it, or the library that reads it, is not at hand."""
    try:
        import soundfile  # only here: everything but the spectrogram can be drawn without it

        audio, _ = soundfile.read(io.BytesIO(path.read_bytes()), dtype="float32")
    except (ImportError, OSError, RuntimeError) as error:
        if not isinstance(error, FileNotFoundError) and (refused := refusal(path, error)):
            raise refused from error
        _log.warning("no spectrogram: %s: %s", path, error)
        return None
    return audio


if __name__ == "__main__":
    log.run(main)
