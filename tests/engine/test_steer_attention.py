"""The script that steers: whom it asks about, and what it refuses before a model is loaded."""

import pytest
import steer_attention

from wheretolisten.config.models import Model
from wheretolisten.config.passes import PassSettings
from wheretolisten.errors import UserError
from wheretolisten.examples.shards import COLUMNS, write_shard


def test_an_event_that_samples_do_not_have_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch):
    rows = [
        dict.fromkeys(COLUMNS, "x")
        | {"sample_id": "00000", "position": position, "onset": 2.0 * number, "offset": 2.0 * number + 1}
        | {"duration": 1.0, "sample_seconds": 9.0, "path": "audio/0.flac", "audible": 1.0}
        for number, position in enumerate(("event-1", "event-2"))
    ]
    write_shard(rows, tmp_path / "0.csv")
    monkeypatch.setattr(steer_attention.jobs, "Job", lambda *_: pytest.fail("a model was loaded"))
    files = {"shard": "0.csv", "states": "s.h5", "directions": "d.h5", "performance": "p.json"}
    arguments = ["--settings", PassSettings(model=Model(checkpoint="nowhere")).as_json()]
    arguments += [word for name, file in files.items() for word in (f"--{name}", str(tmp_path / file))]
    for more in (
        ["--output", str(tmp_path / "middle/0.h5")],
        ["--event", "middle", "--output", str(tmp_path / "0.h5")],
    ):
        with pytest.raises(
            UserError, match=r"0\.csv: its samples have no event 'middle'; choose from event-1, event-2"
        ):
            steer_attention.main([*arguments, *more])
    # A folder that is called as an event is none where all are asked about.
    with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
        steer_attention.main([*arguments, "--all-events", "--output", str(tmp_path / "middle/0.h5")])
    # States may be those of the same events in other recordings, and of no other events.
    write_shard([row | {"digest": "y"} for row in rows], tmp_path / "same.csv")
    write_shard([row | {"label": "y"} for row in rows], tmp_path / "other.csv")
    arguments += ["--all-events", "--output", str(tmp_path / "0.h5"), "--states-shard"]
    with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
        steer_attention.main([*arguments, str(tmp_path / "same.csv")])
    with pytest.raises(UserError, match=r"other\.csv: its events are not those of .*0\.csv, which its states shall"):
        steer_attention.main([*arguments, str(tmp_path / "other.csv")])
