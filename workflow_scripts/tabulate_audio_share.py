"""Tabulate the share of attention that goes to the audio, by condition and layer."""

import json
from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.errors import UserError
from wheretolisten.report.names import model_name
from wheretolisten.statistics.audio_share import summarize_by_layer, summarize_second_half
from wheretolisten.statistics.tables import write_table
from wheretolisten.store import read_passes


def main(argv: list[str] | None = None) -> None:
    """Write the table by layer, and that of the mean over the second half of the layers, as csv.

    `shares` are the files `<study>/<model>/all/<shard>.h5`, `models` the identities of the models by name, JSON.
    """
    args = arguments.parse(__doc__, argv, shares=[Path], models=json.loads, by_layer=Path, second_half=Path)
    logger = log.start("tabulate_audio_share")

    shards: dict[tuple[str, str], list[Path]] = {}
    for path in args.shares:
        shards.setdefault((path.parents[1].name, path.parents[2].name), []).append(path)
    by_layer, second_half = [], []
    for (model, study), paths in shards.items():
        result = read_passes(paths, None, args.models[model])
        if not len(result.sample_id):
            raise UserError(
                f"no item of study {study!r} can be used; repair the questions or correct their audio folder, "
                f"results/logs/analyze_attention/{study}/{model}/ names the reason of each"
            )
        of_half = summarize_second_half(result.values, result.names, result.recording)
        for row in of_half[of_half["condition"] != "original"].itertuples():
            logger.info(
                "%s, %s, %s: %+.2f percentage points of attention to the audio in the second half of the layers "
                "(95 %% interval %+.2f to %+.2f; %d items)",
                *(model_name(model), study, row.condition),
                *(100 * value for value in (row.difference, row.difference_low, row.difference_high)),
                row.n,
            )
        of_layers = summarize_by_layer(result.values, result.names, result.recording)
        for tables, table in ((by_layer, of_layers), (second_half, of_half)):
            table.insert(0, "model", model)
            table.insert(1, "study", study)
            tables.append(table)
    for tables, target in ((by_layer, args.by_layer), (second_half, args.second_half)):
        write_table(pd.concat(tables), target, decimals=6)


if __name__ == "__main__":
    log.run(main)
