"""The library without Snakemake: what docs/python.md shows runs, and finds the sound that is there."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wheretolisten.api import UserError, read_recording


def test_the_program_in_the_documentation_finds_the_sound(root: Path, capsys: pytest.CaptureFixture):
    text = (root / "docs" / "python.md").read_text()
    program, further = re.findall(r"^```python\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    names = {}  # its names are its own
    exec(compile(program, "docs/python.md", "exec"), names)
    printed = capsys.readouterr().out
    # What it says about itself: where the dog is, and what it prints.
    true = [
        float(second) for second in re.search(r"the dog is heard from (\d+) to (\d+)$", program, re.MULTILINE).groups()
    ]
    found = [float(second) for second in re.search(r"from (\S+) to (\S+) s", printed).groups()]
    np.testing.assert_allclose(found, true, atol=0.5)
    (shown,) = re.findall(r"# (the dog is heard from .*)", re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1])
    shown = [float(second) for second in re.search(r"from (\S+) to (\S+) s", shown).groups()]
    # Another processor may round a token (0.08 s) away.
    np.testing.assert_allclose(found, shown, atol=0.1)
    # Answers and choices, as the comments have them.
    number = r"-?\d+\.\d*"
    exec(compile(further, "docs/python.md", "exec"), names)
    printed, comments = capsys.readouterr().out, "\n".join(re.findall(r"^print.*# (\[.*)$", further, re.MULTILINE))
    words, shown = (re.sub(rf"\s*{number}\s*", " ", each).split() for each in (printed, comments))
    assert words == shown
    found, shown = (list(map(float, re.findall(number, each))) for each in (printed, comments))
    assert len(found) == 10
    np.testing.assert_allclose(found, shown, atol=0.2)
    (program,) = (
        block for block in re.findall(r"^  ```python\n(.*?)```", text, re.DOTALL | re.MULTILINE) if "wordings" in block
    )
    exec(compile(textwrap.dedent(program), "docs/python.md", "exec"), names)
    assert names["prompt"] != "Which animal is heard? (A) dog (B) cat (C) hen"  # that of the first
    assert (sorted(names["letters"]), names["chosen"]) == (["A", "B", "C"], 1)


def test_a_recording_is_read_as_models_hear_it(tmp_path: Path):
    time = np.arange(4 * 44_100) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "tone.flac", np.stack([tone, tone], axis=1), 44_100)
    recording = read_recording(tmp_path / "tone.flac")
    assert (recording.dtype, recording.shape) == (np.float32, (4 * 16_000,))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4 * 16_000) / 16_000)
    # Away from the ends, where resampling has no neighbours.
    np.testing.assert_allclose(recording[1000:-1000], expected[1000:-1000], atol=1e-3)
    with pytest.raises(UserError, match=r"nowhere\.wav: the file does not exist; give another recording"):
        read_recording(tmp_path / "nowhere.wav")


def test_nothing_that_the_workflow_runs_depends_on_the_whole_library(root: Path):
    sources = [path for path in (root / "workflow_scripts").rglob("*.py") if path.name != "api.py"]
    assert len(sources) > 100
    assert [path for path in sources if re.search(r"wheretolisten(\.| import )api\b", path.read_text())] == []
