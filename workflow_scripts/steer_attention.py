"""Passes over one shard while vectors that ask for an event are added, beside un-steered ones where there are any."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from wheretolisten import jobs, log, passes, store
from wheretolisten.config.passes import Pass, PassSettings
from wheretolisten.config.positions import ABSENT
from wheretolisten.engine.forward import Heard
from wheretolisten.errors import UserError
from wheretolisten.examples import read_shard
from wheretolisten.files import sha256_of_file
from wheretolisten.stored_directions import Steered, StoredDirections


def main(argv: list[str] | None = None) -> None:
    """Read every sample of a shard once per pass and event, batch by batch, after the batches a killed job left."""
    parser = jobs.parser_of(__doc__)
    parser.add_argument("--shard", type=Path, required=True, help="shard of sequences, csv")
    parser.add_argument("--clips", type=Path, help="table of the sounds, whose labels may be absent from a sample, csv")
    parser.add_argument("--states", type=Path, required=True, help="states of the shard, HDF5")
    parser.add_argument(
        "--states-shard", type=Path, help="shard of sequences that states are of, csv; left out: the same"
    )
    parser.add_argument("--directions", type=Path, required=True, help="label sums of the examples, HDF5")
    parser.add_argument("--samples", type=int, help="read the first samples only")
    parser.add_argument("--sample", type=int, help="read this sample only, by its index")
    about_events = parser.add_mutually_exclusive_group()
    about_events.add_argument("--event", help="ask about this event; by default about that which names the folder")
    about_events.add_argument("--all-events", action="store_true", help="ask about every event")
    parser.add_argument(
        "--output", type=Path, nargs="+", required=True, help="passes, HDF5: <event or absent>/<shard>.h5, or any file"
    )
    args = parser.parse_args(argv)
    logger = log.start("steer_attention")
    settings = PassSettings.from_json(args.settings)
    batches = jobs.batches_of(
        args.shard, settings.model.batch_samples, args.samples, args.clips, settings.n_absent, settings.symbols
    )
    if args.sample is not None:
        batches = jobs.only(batches, args.sample, args.shard)
    positions, absent = passes.positions_of(batches[0].examples), passes.absent_of(batches[0].examples)
    asked = [positions if args.all_events else [args.event or path.parent.name] for path in args.output]
    for event in {event for events in asked for event in events} - {*positions, ABSENT}:
        raise UserError(f"{args.shard}: its samples have no event {event!r}; choose from {', '.join(positions)}")
    states_shard = args.states_shard or args.shard
    check_same_events(args.shard, states_shard)
    inputs = {"examples": args.shard, "states": args.states, "directions": args.directions}
    inputs |= {"clips": args.clips} if settings.n_absent else {}
    job = jobs.Job("steer_attention", settings, args.threads, inputs)
    origin = (sha256_of_file(states_shard), job.attributes["model"])
    sample_ids = [example.example_id for batch in batches for example in batch.examples]
    source = StoredDirections(args.states, args.directions, sample_ids, *origin)

    # Those about absent sounds serve all events.
    files = [
        passes.columns_of(job.passes, [], absent)
        if events == [ABSENT]
        else passes.columns_of(job.passes, events, absent if args.all_events else ())
        for events in asked
    ]
    schema = store.schema.passes(settings.readout, "steer_attention")
    steered = {each.name: each for each in job.passes if each.direction}
    about = {
        "samples": args.samples,
        "event": args.event,
        "directions": {name: each.direction.model_dump(mode="json") for name, each in steered.items()},
    }
    results = [
        job.file(path, schema, passes=[(each.name, event) for each, event in columns], **about)
        for path, columns in zip(args.output, files, strict=True)
    ]
    job.describe(files[0], batches[0])

    def work(batch: jobs.Batch, heard: Heard) -> list[dict[str, np.ndarray]]:
        directions, n_absent = zip(*((each.direction, each.absent) for each in steered.values()), strict=True)
        of_samples = [
            dict(zip(steered, source.of_sample(example, directions, n_absent), strict=True))
            for example in batch.examples
        ]
        return [_part(job, batch, heard, columns, of_samples) for columns in files]

    job.run(batches, results, work, args.performance)
    logger.info("wrote %s", ", ".join(map(str, args.output)))


def check_same_events(shard: Path, states_shard: Path) -> None:
    """Refuse states of other events than those that are asked about.

    Raises
    ------
    UserError
        If the two shards do not hold the same samples, with the same labels at the same times.
    """
    columns = ["sample_id", "position", "label", "onset", "offset"]
    if shard != states_shard and not read_shard(shard)[columns].equals(read_shard(states_shard)[columns]):
        raise UserError(
            f"{states_shard}: its events are not those of {shard}, which its states shall steer; compose both anew, of "
            "the same sounds"
        )


def _part(
    job: jobs.Job,
    batch: jobs.Batch,
    heard: Heard,
    columns: Sequence[tuple[Pass, str]],
    of_samples: Sequence[Mapping[str, Steered]],
) -> dict[str, np.ndarray]:
    """A part of a file of passes; `of_samples` has what steers in each pass, by sample."""
    positions = [*passes.positions_of(batch.examples), *passes.absent_of(batch.examples)]

    def vectors(_: Mapping[str, np.ndarray], steered: list[int]) -> np.ndarray:
        asked = [(columns[number][0].name, positions.index(columns[number][1])) for number in steered]
        return np.stack([[of_sample[name].vectors[event] for name, event in asked] for of_sample in of_samples])

    def texts(attribute: str) -> np.ndarray:
        return store.texts(
            [
                [
                    getattr(of_sample[each.name], attribute)[positions.index(event)] if each.direction else ""
                    for each, event in columns
                ]
                for of_sample in of_samples
            ]
        )

    values, _ = passes.read(job.engine, heard, batch.examples, columns, job.settings, vectors)
    part = jobs.part_of(batch, heard, columns, values, job.settings.readout)
    part |= {"target": texts("targets"), "label": texts("labels")}
    if job.settings.readout == "text":
        part |= passes.text_tokens(job.engine, heard, batch.examples, columns, job.settings.wording)
    return part


if __name__ == "__main__":
    log.run(main)
