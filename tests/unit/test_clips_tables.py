"""The table of clips, the files it points to, and folders that are replaced as a whole."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import prepare_clips
import pytest

from wheretolisten.clips.folders import replaced_folder
from wheretolisten.clips.pcm import digest_of, quantise, read_clip, write_flac
from wheretolisten.clips.randomness import generator
from wheretolisten.clips.records import Clip, read_clips, write_clips
from wheretolisten.errors import UserError

PCM = np.arange(-500, 500, dtype=np.int16)
CLIP = Clip("dog-1", "dog", "animals", "7", "audio/dog-1.flac", len(PCM), digest_of(PCM))


def test_a_table_is_read_as_it_was_written(tmp_path):
    odd = dataclasses.replace(CLIP, clip_id="odd", label="None", domain='é, "q"', source="007")
    clips = [CLIP, odd]
    write_clips(clips, tmp_path / "clips.csv")
    assert read_clips(tmp_path / "clips.csv") == clips


HEADER = "clip_id,label,domain,source,path,n_frames,digest\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id,label\na,b\n", "lacks the columns domain, source"),
        ("", "cannot be read"),
        (HEADER + 2 * "a,b,c,d,e,1,f\n", "'a' twice"),
        (HEADER + "a,b,c,d,e,many,f\n", "n_frames"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, text, message):
    (tmp_path / "clips.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_clips(tmp_path / "clips.csv")


def test_a_clip_whose_file_has_changed_is_refused(tmp_path):
    write_flac(tmp_path / CLIP.path, PCM)
    np.testing.assert_array_equal(read_clip(CLIP, tmp_path), PCM)
    write_flac(tmp_path / CLIP.path, PCM + 1)
    with pytest.raises(UserError, match=r"clip dog-1.*digest differs.*--forcerun prepare_clips"):
        read_clip(CLIP, tmp_path)
    (tmp_path / CLIP.path).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_clip(CLIP, tmp_path)


def test_quantising_rounds_and_never_wraps():
    np.testing.assert_array_equal(
        quantise(np.array([0, 1 / 32_768, 1.0, -1.0, -2.0])), [0, 1, 32_767, -32_768, -32_768]
    )


def test_streams_depend_on_their_whole_key():
    draws = {generator(*key).random() for key in (("a", 1), ("a", 1, 0), ("a", "1"), ("a1",), (1, "a"))}
    assert len(draws) == 5
    assert generator("a", 1).random() in draws


def test_a_replaced_folder_keeps_nothing_old(tmp_path):
    target = tmp_path / "audio"
    for name in ("old", "new"):
        with replaced_folder(target) as folder:
            (folder / name).touch()
    assert [path.name for path in target.iterdir()] == ["new"]

    def fail():
        with replaced_folder(target) as folder:
            (folder / "half").touch()
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_the_script_writes_table_and_audio(tmp_path):
    settings = {
        "type": "procedural",
        "labels": ["dog", "cat", "rain"],
        "clips_per_label": 1,
        "clip_seconds": [0.5, 0.6],
    }
    table, audio = tmp_path / "clips.csv", tmp_path / "audio"
    prepare_clips.main(["--settings", json.dumps(settings), "--clips", str(table), "--audio", str(audio)])
    clips = read_clips(table)
    assert [clip.clip_id for clip in clips] == ["dog-0000", "cat-0000", "rain-0000"]
    for clip in clips:
        read_clip(clip, tmp_path)
    with pytest.raises(UserError, match="not a clip library"):
        prepare_clips.main(["--settings", '{"type": "tape"}', "--clips", str(table), "--audio", str(audio)])


def test_reading_tables_and_clips_imports_no_heavy_package(root: Path):
    code = (
        "import sys; import wheretolisten.examples, wheretolisten.clips.records; "
        "sys.exit(sorted({'torch', 'soxr', 'scipy'} & set(sys.modules)) != [])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root / "workflow_scripts", check=True)
