"""All intervals that models found in recordings of one's own, and how they agree with what is known to be heard."""

import json
from pathlib import Path

import pandas as pd

from wheretolisten import arguments, log
from wheretolisten.config.examples import Recordings
from wheretolisten.examples.recordings import read_events
from wheretolisten.statistics.sound_events import COLUMNS, score_events
from wheretolisten.statistics.tables import write_table


def main(argv: list[str] | None = None) -> None:
    """Files of intervals are <study>/<model>/<shard>.csv; `known` names studies with events, and their recordings."""
    args = arguments.parse(__doc__, argv, intervals=[Path], known=json.loads, table=Path, scores=[Path])
    logger = log.start("tabulate_intervals")
    parts = [
        pd.read_csv(path, keep_default_na=False, na_values={"onset": [""], "offset": [""]}).assign(
            model=path.parent.name, study=path.parent.parent.name
        )
        for path in args.intervals
    ]
    table = pd.concat(parts, ignore_index=True)
    table = table[["model", "study", *(column for column in table if column not in ("model", "study"))]]
    write_table(table, args.table, decimals=6)
    heard = table[table["onset"].notna()]
    logger.info("%d intervals in %d recordings", len(heard), table["recording"].nunique())
    rows = []
    for (study, model), of_model in table.groupby(["study", "model"], sort=False):
        if study in args.known:
            settings = Recordings.model_validate(args.known[study])
            events = read_events(settings, list(dict.fromkeys(of_model["recording"])))
            asked = of_model[["recording", "sound"]].drop_duplicates().rename(columns={"sound": "label"})
            found = of_model[of_model["onset"].notna()].rename(columns={"sound": "label"})
            rows.append(score_events(events, found, asked).assign(model=model, study=study))
    for path in args.scores:
        write_table(pd.concat(rows, ignore_index=True)[["model", "study", *COLUMNS]], path, decimals=2)


if __name__ == "__main__":
    log.run(main)
