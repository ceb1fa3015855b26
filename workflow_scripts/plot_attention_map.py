"""Draw where each text token reads the audio, block by block, in the base, the prompted and the steered pass."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.benchmark import read_shard
from wheretolisten.config.directions import Direction
from wheretolisten.config.positions import order_positions
from wheretolisten.directions.sources import missing_vectors
from wheretolisten.errors import UserError
from wheretolisten.figures.attention_map import Pass, draw_attention_map
from wheretolisten.figures.reading import Event
from wheretolisten.figures.style import save
from wheretolisten.statistics.names import method_name, model_name
from wheretolisten.store import read_passes


def main(argv: list[str] | None = None) -> None:
    """Write the map of one query as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attention", type=Path, required=True, help="attention of one query by text token, HDF5")
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--method", required=True, help="name of the method that steers")
    parser.add_argument("--direction", required=True, help="what it steers with, JSON")
    parser.add_argument("--model", required=True)
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_attention_map")

    query = read_passes([arguments.attention])
    (sample_id,), position = query.sample_id, query.attributes["event"]
    events = read_shard(arguments.events)
    missing = missing_vectors(Direction.from_json(arguments.direction), events).get((sample_id, position))
    if missing:
        logger.warning("%s has no vector for the query: %s", arguments.method, missing)
    positions = order_positions(events["position"])
    events = events[events["sample_id"] == sample_id].set_index("position")
    if set(events.index) != set(positions):
        raise UserError(
            f"{arguments.events}: sample {sample_id} of {arguments.attention} is not listed with all its "
            "positions; build the benchmark again"
        )
    events = events.loc[positions]
    names = {
        "base": "Base",
        "prompted": method_name("prompt_only"),
        "steered": method_name(f"steering_{arguments.method}"),
    }
    figure = draw_attention_map(
        [
            Pass(names[name], text, values[:, : len(text)], *(["no vector"] if missing and name == "steered" else []))
            for (name, _), text, values in zip(query.passes, query.text[0], query.values[0], strict=True)
        ],
        [Event(*times) for times in zip(events["label"], events["onset"], events["offset"], strict=True)],
        positions.index(position),
        query.tokens_per_second,
        events["sample_seconds"].iloc[0],
        f"{model_name(arguments.model)}, sample {sample_id}: where text reads the audio; "
        f"queried: {events.loc[position, 'label']}",
    )
    save(figure, arguments.pdf, arguments.png)
    logger.info("sample %s, %s: %s", sample_id, position, arguments.pdf)


if __name__ == "__main__":
    log.run(main)
