"""Draw where each text token reads the audio, block by block, in the base, the prompted and the steered pass."""

import argparse
from pathlib import Path

from wheretolisten import log
from wheretolisten.benchmark import read_shard
from wheretolisten.config.positions import order_positions
from wheretolisten.errors import UserError
from wheretolisten.figures.attention_map import Pass, draw_attention_map
from wheretolisten.figures.reading import Event
from wheretolisten.figures.style import save
from wheretolisten.statistics.names import method_name, model_name
from wheretolisten.steering.kinds import missing_vectors
from wheretolisten.store import read_attention_map


def main(argv: list[str] | None = None) -> None:
    """Write the map of one query as PDF and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attention", type=Path, required=True, help="attention of one query by text token, HDF5")
    parser.add_argument("--events", type=Path, required=True)
    parser.add_argument("--vector", default="sample", help="kind of the vector that steered")
    parser.add_argument("--model", required=True)
    parser.add_argument("--pdf", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logger = log.start("plot_attention_map")

    query = read_attention_map(arguments.attention)
    events = read_shard(arguments.events)
    missing = missing_vectors(arguments.vector, events).get((query.sample_id, query.position))
    if missing:
        logger.warning("%s has no vector for the query: %s", query.method, missing)
    positions = order_positions(events["position"])
    events = events[events["sample_id"] == query.sample_id].set_index("position")
    if set(events.index) != set(positions):
        raise UserError(
            f"{arguments.events}: sample {query.sample_id} of {arguments.attention} is not listed with all its "
            "positions; build the benchmark again"
        )
    events = events.loc[positions]
    names = {
        "base": "Base",
        "prompted": method_name("prompt_only"),
        "steered": method_name(f"steering_{query.method}"),
    }
    figure = draw_attention_map(
        [
            Pass(names[name], *of_pass, *(["no vector"] if missing and name == "steered" else []))
            for name, *of_pass in zip(query.passes, query.text, query.attention, strict=True)
        ],
        [Event(*times) for times in zip(events["label"], events["onset"], events["offset"], strict=True)],
        positions.index(query.position),
        query.tokens_per_second,
        events["sample_seconds"].iloc[0],
        f"{model_name(arguments.model)}, sample {query.sample_id}: where text reads the audio; "
        f"queried: {events.loc[query.position, 'label']}",
    )
    save(figure, arguments.pdf, arguments.png)
    logger.info("sample %s, %s: %s", query.sample_id, query.position, arguments.pdf)


if __name__ == "__main__":
    log.run(main)
