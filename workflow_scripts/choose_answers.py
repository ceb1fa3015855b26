"""How likely a model finds the choices of questions, under every method, and where its heads look meanwhile.

With heads, what the audio adds in the blocks that hold them is added at the end of the model instead (ASH).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wheretolisten import jobs, log, passes, store
from wheretolisten.config.directions import State
from wheretolisten.config.passes import REPLACED, ChoiceSettings
from wheretolisten.config.probe import Steering
from wheretolisten.directions.heads import listening_direction
from wheretolisten.engine.forward import Heard
from wheretolisten.models.adapter import silence_like
from wheretolisten.questions import shards
from wheretolisten.questions.asking import Asking, ask
from wheretolisten.questions.audio import load_recording, other_recording
from wheretolisten.questions.mmau import Item, read_items


def main(argv: list[str] | None = None) -> None:
    """Read every question of a shard in all passes, batch by batch, after the batches a killed job left."""
    parser = shards.parser_of(__doc__)
    parser.add_argument("--heads", type=Path, help="what select_heads wrote; without it, the study's methods")
    parser.add_argument("--output", type=Path, required=True, help="log-probabilities, HDF5")
    args = parser.parse_args(argv)
    logger = log.start("choose_answers")
    settings = ChoiceSettings.from_json(args.settings)
    items = shards.usable_items(args, settings)
    everything = [*read_items(args.questions, 0, args.first, settings.splits, "skip"), *items] if args.first else items
    by_id = {item.item_id: item for item in items}

    def load(item: Item) -> np.ndarray:
        return load_recording(item, args.audio, settings.max_seconds)

    batches = shards.batches_of(items, args.audio, settings)
    heads = json.loads(args.heads.read_text()) if args.heads else None
    inputs = {"questions": args.questions} | ({"heads": args.heads} if args.heads else {})
    job = jobs.Job("choose_answers", settings, args.threads, inputs)
    names = [each.name for each in job.passes] + list(REPLACED) if heads is None else list(heads["passes"])
    result = job.file(
        args.output,
        store.schema.choices("choose_answers", heads is None),
        passes=names,
        first=args.first,
        stop=args.stop,
        audio_digest=shards.audio_digest(items, args.audio),
    )
    if not items:
        logger.warning("none of the items %d to %d can be used", args.first, args.stop - 1)
    elif heads is None:
        job.describe(passes.columns_of(job.passes, []), batches[0])
    else:
        steering = steering_of_heads(settings)
        recording, prompt = batches[0].recording(0, job.adapter), settings.passes[0].prompt
        told = job.engine.describe(steering, recording, prompt.format(**batches[0].examples[0].fields))
        logger.info("%d settings of heads and strength: %s", len(names), told)

    def work(batch: jobs.Batch, heard: Heard) -> list[dict[str, np.ndarray]]:
        here = [by_id[example.example_id] for example in batch.examples]
        if not here:
            return [_nothing(job, len(names), heads is None)]
        if heads is None:
            others = [other_recording(item, everything, load) for item in here]
            found = by_methods(job, batch, heard, here, others)
        else:
            found = by_heads(job, batch, heard, here, heads)
        return [_about(here) | found]

    job.run(batches, [result], work, args.performance)
    logger.info("wrote %s", args.output)


def by_methods(
    job: jobs.Job, batch: jobs.Batch, heard: Heard, items: list[Item], others: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """All passes of the study's methods, and those that hear something else than the recording."""
    settings, n = job.settings, len(items)
    own = list(range(n))
    unsteered, *further = job.passes
    columns = passes.columns_of([unsteered], [])
    mass, states = passes.read(job.engine, heard, batch.examples, columns, settings)
    asked = []
    for each in (unsteered, *further):
        vectors = None if each.direction is None else shards.vectors_of(each.direction, states, batch.examples)
        asked.append(Asking(each.prompt, own, vectors, each.steering))
    # In the order of REPLACED.
    more = job.engine.hear([*map(silence_like, heard.recordings), *others])
    everything = Heard((*heard.recordings, *more.recordings), (*heard.audio, *more.audio))
    asked += [Asking(unsteered.prompt, [n * number + row for row in own]) for number, _ in enumerate(REPLACED, start=1)]
    return ask(job.engine, everything, items, asked, settings.choosing) | {"head_mass": mass[:, 0]}


def by_heads(
    job: jobs.Job, batch: jobs.Batch, heard: Heard, items: list[Item], heads: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """A pass for every number of heads and strength, of the listening ones and of random ones."""
    prompt, n_layers = job.settings.passes[0].prompt, job.adapter.n_layers
    states = {"heard": State(prompt=prompt), "silent": State(prompt=prompt, heard="silence")}
    _, left = passes.read(
        job.engine,
        heard,
        batch.examples,
        [],
        job.settings.model_copy(update={"states": states, "readout": "attention"}),
    )
    asked, own = [], list(range(len(items)))
    for setting in heads["passes"].values():
        vectors = np.full((len(items), n_layers, job.adapter.hidden_size), np.nan, np.float32)
        if setting["heads"]:
            direction = listening_direction(left["heard"][:, 0], left["silent"][:, 0], setting["heads"])
            vectors[:] = 0
            vectors[:, -1] = setting["strength"] * direction
        asked.append(Asking(prompt, own, vectors, steering_of_heads(job.settings)))
    return ask(job.engine, heard, items, asked, job.settings.choosing)


def steering_of_heads(settings: ChoiceSettings) -> Steering:
    """h_final + β·s(x) at the last prompt token and at every decoding step; β is in the vectors (ASH)."""
    return Steering(
        scale=1.0, layers="last", site=settings.choosing.site, positions="last", decoding="all", preserve_norm=False
    )


def _about(items: list[Item]) -> dict[str, np.ndarray]:
    right = [np.nan if item.answer is None else item.choices.index(item.answer) for item in items]
    return {
        "sample_id": store.texts([item.item_id for item in items]),
        "recording": store.texts([item.audio_id for item in items]),
        "groups": store.texts(["\n".join(item.groups) for item in items]),
        "right": np.array(right, np.float32),
    }


def _nothing(job: jobs.Job, n_passes: int, with_heads: bool) -> dict[str, np.ndarray]:
    likely = np.zeros((0, n_passes, 1, 1), np.float32)
    n_heads = job.adapter.text_config.num_attention_heads
    found = _about([]) | {"choices": likely, "letters": likely, "words": likely[..., 0], "n_tokens": likely[:, 0, 0]}
    for name in ("sample_id", "recording", "groups"):
        found[name] = np.zeros(0, "S1")
    return found | ({"head_mass": np.zeros((0, job.adapter.n_layers, n_heads), np.float32)} if with_heads else {})


if __name__ == "__main__":
    log.run(main)
