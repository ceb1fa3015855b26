"""What jobs that read questions shard by shard have in common."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from wheretolisten import jobs, provenance
from wheretolisten.config.directions import Direction
from wheretolisten.config.passes import ItemSettings
from wheretolisten.directions.vectors import contrast, random_direction
from wheretolisten.files import sha256_of_file
from wheretolisten.passes import Example
from wheretolisten.questions.audio import load_recording, usable
from wheretolisten.questions.mmau import Item, read_items


def parser_of(description: str) -> argparse.ArgumentParser:
    """What all these scripts are told."""
    parser = jobs.parser_of(description)
    parser.add_argument("--questions", type=Path, required=True, help="question set in MMAU's format, json")
    parser.add_argument("--audio", type=Path, required=True, help="folder that the set's audio paths start from")
    parser.add_argument("--first", type=int, required=True, help="first item of the shard")
    parser.add_argument("--stop", type=int, required=True, help="item after the last one of the shard")
    return parser


def usable_items(args: argparse.Namespace, settings: ItemSettings) -> list[Item]:
    """Items of the shard that can be used."""
    items = read_items(args.questions, args.first, args.stop, settings.splits, settings.on_bad_item)
    return usable(items, args.audio, settings.max_seconds, settings.on_bad_item)


def batches_of(items: Sequence[Item], folder: Path, settings: ItemSettings) -> list[jobs.Batch]:
    """Items in batches; one without any where there are none, for a file without rows."""
    by_id = {item.item_id: item for item in items}
    batches = jobs.cut(
        [
            Example(item.item_id, str(Path(item.audio_id)), {"question": item.question, "choices": item.lettered})
            for item in items
        ],
        settings.model.batch_samples,
        lambda example: load_recording(by_id[example.example_id], folder, settings.max_seconds),
    )
    return batches or [jobs.Batch(0, [], lambda _: np.zeros(0))]


def audio_digest(items: Sequence[Item], folder: Path) -> str:
    """Digest of what is heard."""
    return provenance.digest_of([(item.audio_id, sha256_of_file(folder / item.audio_id)) for item in items])


def vectors_of(direction: Direction, states: Mapping[str, np.ndarray], examples: Sequence[Example]) -> np.ndarray:
    """Each item's own vector, or a random one as long, float32 [item, layer, hidden].

    Parameters
    ----------
    states
        Name → [item, 1, layer, hidden], as `passes.read` leaves them.
    """
    own = contrast(*(states[name][:, 0] for name in direction.contrast))
    if direction.control == "random":
        return random_direction(own, [example.example_id for example in examples], [""] * len(examples))
    return own
