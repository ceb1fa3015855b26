"""Result files: what was written comes back, and nothing else is taken for it."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.unit.stored import write_passes
from wheretolisten import store
from wheretolisten.errors import UserError
from wheretolisten.store.attributes import read_attributes

IDENTITY = "a" * 64


PASSES = store.schema.passes("attention", "extract_activations")
NAMES = [["base", ""], ["prompted", "begin"], ["prompted", "end"]]
ATTRIBUTES = {"tokens_per_second": 25.0, "examples_digest": "b" * 64, "model": "someone/model@abc", "passes": NAMES}


def batch(first, n_tokens):
    """Columns of a part with three passes: samples `first` and `first + 1`, the second one token shorter."""
    attention = np.random.default_rng(first).random((2, 3, 4, n_tokens), dtype=np.float32)
    attention[1, ..., -1] = np.nan
    return {
        "sample_id": np.array([f"{first:05d}", f"{first + 1:05d}"]).astype("S"),
        "recording": np.array([b"a.flac", b"b.flac"]),
        "n_audio_tokens": np.array([n_tokens, n_tokens - 1]),
        "target": np.array([[b"", b"begin", b"end"]] * 2),
        "label": np.array([[b"", b"dog", b"cat"]] * 2),
        "attention": attention,
    }


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "0.h5"
    result = store.PartedFile(path, PASSES, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    result.write(1, batch(2, 9))
    result.merge(2)
    return path


def test_parts_come_back_joined_and_padded(written):
    passes = store.read_passes([written])
    assert passes.sample_id.tolist() == ["00000", "00001", "00002", "00003"]
    assert passes.n_audio_tokens.tolist() == [7, 6, 9, 8]
    assert passes.passes == (("base", ""), ("prompted", "begin"), ("prompted", "end"))
    assert passes.names == ("base", "prompted")
    assert passes.values.shape == (4, 3, 4, 9)
    np.testing.assert_array_equal(passes.of("base")[:2, :, :7], batch(0, 7)["attention"][:, 0])
    np.testing.assert_array_equal(passes.of("prompted", "end")[2:], batch(2, 9)["attention"][:, 2])
    with pytest.raises(KeyError, match="prompted about middle"):
        passes.of("prompted", "middle")
    assert np.isnan(passes.of("base")[0, :, 7:]).all()
    assert passes.target[0].tolist() == ["", "begin", "end"]
    assert passes.label[3].tolist() == ["", "dog", "cat"]
    assert passes.tokens_per_second == 25.0
    assert not written.with_name("0.h5.parts").exists()


def test_shards_of_different_widths_are_joined(written, tmp_path):
    other = tmp_path / "1.h5"
    result = store.PartedFile(other, PASSES, IDENTITY, ATTRIBUTES)
    result.write(0, batch(4, 12))
    result.merge(1)
    values = store.read_passes([written, other]).values
    assert values.shape == (6, 3, 4, 12)
    assert np.isnan(values[0, ..., 7:]).all()


def test_text_tokens_come_back_as_many_as_there_are(tmp_path):
    schema = store.schema.passes("text", "steer_attention")
    result = store.PartedFile(tmp_path / "0.h5", schema, IDENTITY, ATTRIBUTES)
    for part, n_text in enumerate((2, 4)):
        columns = batch(part, 5) | {"attention": np.ones((2, 3, 4, n_text, 5), "f4")}
        columns["n_text_tokens"] = np.full((2, 3), n_text)
        columns["text"] = np.char.encode(np.full((2, 3, n_text), "wörd"), "utf-8")
        result.write(part, columns)
    result.merge(2)
    passes = store.read_passes([tmp_path / "0.h5"])
    assert passes.text[0] == [["wörd"] * 2] * 3
    assert passes.text[3] == [["wörd"] * 4] * 3
    assert np.isnan(passes.values[0, :, :, 2:]).all()


def test_every_dataset_has_a_checksum_axes_and_a_unit(written):
    with h5py.File(written) as file:
        for column in PASSES.columns:
            assert file[column.name].fletcher32
            assert file[column.name].chunks[0] == 1
            assert {"axes", "unit", "about"} <= set(file[column.name].attrs)


def test_same_content_same_bytes(written, tmp_path):
    again = tmp_path / "again.h5"
    result = store.PartedFile(again, PASSES, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    result.write(1, batch(2, 9))
    result.merge(2)
    assert again.read_bytes() == written.read_bytes()


def test_finished_parts_are_kept_and_foreign_or_damaged_ones_are_not(tmp_path, caplog):
    path = tmp_path / "0.h5"
    store.PartedFile(path, PASSES, IDENTITY, ATTRIBUTES).write(0, batch(0, 7))
    restarted = store.PartedFile(path, PASSES, IDENTITY, ATTRIBUTES)
    assert restarted.has(0)
    assert not restarted.has(1)

    damaged = tmp_path / "0.h5.parts" / "000000.h5"
    data = bytearray(damaged.read_bytes())
    position = data.find(batch(0, 7)["attention"][0].tobytes())
    data[position] ^= 0xFF
    damaged.write_bytes(data)
    assert not restarted.has(0)
    assert not damaged.exists()
    assert "is not readable" in caplog.text

    store.PartedFile(path, PASSES, "c" * 64, ATTRIBUTES).write(0, batch(0, 7))
    assert not restarted.has(0)
    assert "other settings or code" in caplog.text


def test_wrong_columns_are_refused(tmp_path):
    result = store.PartedFile(tmp_path / "0.h5", PASSES, IDENTITY, ATTRIBUTES)
    with pytest.raises(ValueError, match="expected"):
        result.write(0, {"sample_id": np.array([b"0"])})
    columns = batch(0, 7)
    columns["n_audio_tokens"] = np.array([7])
    with pytest.raises(ValueError, match="numbers of rows"):
        result.write(0, columns)


def refused(what, rebuilt_by="extract_activations"):
    """The one sentence that a reader ends with: the file, what is wrong, the command, and the rule it leads to."""
    return pytest.raises(UserError, match=rf"^\S+\.h5: {what}.*; delete it \(rm \S+\.h5\) .*{rebuilt_by}$")


def test_reader_names_other_schema_examples_and_model(written):
    with refused("it was made from examples with digest bbbbbbbbbbbb, this one has cccccccccccc"):
        store.read_passes([written], ["c" * 64])
    with refused("it was made with the model someone/model@abc, this run has resources/mine"):
        store.read_passes([written], ["b" * 64], "resources/mine")
    assert len(store.read_passes([written], ["b" * 64], "someone/model@abc").sample_id) == 4
    with pytest.raises(
        UserError, match=r"the file's schema is 'where-to-listen/passes/1', this version .* rebuilds it$"
    ):
        store.read_states(written, ["positive"])


def read_everything(path):
    passes = store.read_passes([path])
    arrays = [passes.sample_id, passes.recording, passes.n_audio_tokens, passes.target, passes.label, passes.values]
    return [array.tobytes() for array in arrays], sorted(passes.attributes.items())


@pytest.mark.parametrize("column", PASSES.column_names)
def test_a_flipped_byte_in_any_column_is_refused(written, column):
    with h5py.File(written) as file:
        chunk = file[column].id.get_chunk_info(1)
    data = bytearray(written.read_bytes())
    data[chunk.byte_offset] ^= 0xFF
    written.write_bytes(data)
    with refused("the file is damaged", "rebuilds it"):
        read_everything(written)


def test_a_flipped_byte_anywhere_is_refused_or_changes_nothing(written):
    good = read_everything(written)
    data = bytearray(written.read_bytes())
    positions = np.random.default_rng(0).choice(len(data), 300, replace=False)
    n_refused = 0
    for position in positions:
        data[position] ^= 0xFF
        written.write_bytes(data)
        data[position] ^= 0xFF
        try:
            assert read_everything(written) == good, position
        except UserError:
            n_refused += 1
    assert n_refused > 100


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(written, share):
    data = written.read_bytes()
    written.write_bytes(data[: int(len(data) * share)])
    with refused("the file is damaged", "rebuilds it"):
        store.read_passes([written])


def test_a_changed_attribute_is_refused(written):
    with h5py.File(written, "r+") as file:
        file.attrs["tokens_per_second"] = 50.0
    with refused("the file is damaged", "rebuilds it"):
        store.read_passes([written])


def cannot_be_read(path, what):
    """The one sentence for a file that may be whole: it says so of no file that it is damaged or should go."""
    damage = r"damag|delet|\brm\b|rebuil"
    return pytest.raises(UserError, match=rf"^(?!.*(?:{damage})){re.escape(str(path))}: cannot be read, {what}[^\n]*$")


READERS = {
    "passes": lambda path: store.read_passes([path]),
    "attributes": read_attributes,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_cannot_be_had_just_now_is_not_called_damaged(written, tmp_path, reader):
    read = READERS[reader]
    with cannot_be_read(tmp_path / "no.h5", "there is no such file"):
        read(tmp_path / "no.h5")
    with cannot_be_read(tmp_path, "it is a folder"):
        read(tmp_path)
    with cannot_be_read(written / "0.h5", "its path leads through a file"):
        read(written / "0.h5")
    read(written)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_file = os.dup(0)
    os.close(next_file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_file, limits[1]))
    try:
        with cannot_be_read(written, r"too many files are open .*ulimit -n"):
            read(written)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    read(written)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EAGAIN, errno.ESTALE, errno.EIO, errno.EMFILE])
def test_a_refusal_of_the_system_costs_no_finished_part(tmp_path, monkeypatch, number):
    path = tmp_path / "0.h5"
    result = store.PartedFile(path, PASSES, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    (part,) = path.with_name("0.h5.parts").iterdir()
    before = part.read_bytes()
    really_open = h5py.File

    def refusing_open(name, mode, **keys):
        if mode == "r":
            told = f"(file read failed: errno = {number}, error message = '{os.strerror(number)}')"
            raise OSError(number, f"Unable to synchronously open file {told}")
        return really_open(name, mode, **keys)

    with monkeypatch.context() as patched:
        patched.setattr(h5py, "File", refusing_open)
        for use in (lambda: result.has(0), lambda: result.merge(1)):
            with cannot_be_read(part, "") as caught:
                use()
            assert os.strerror(number) in str(caught.value)
    # So does an error in the middle of a file, which h5py raises as one of another kind.
    with monkeypatch.context() as patched:
        told = f"Unable to open object (file read failed: errno = {number}, error message = '...')"
        patched.setattr(h5py.Group, "__getitem__", lambda *_: (_ for _ in ()).throw(KeyError(told)))
        with cannot_be_read(part, ""):
            result.has(0)
    assert part.read_bytes() == before
    assert result.has(0)


def test_a_part_that_is_damaged_when_parts_are_joined_is_named(tmp_path):
    path = tmp_path / "0.h5"
    result = store.PartedFile(path, PASSES, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    (part,) = path.with_name("0.h5.parts").iterdir()
    part.write_bytes(part.read_bytes()[:500])
    with pytest.raises(UserError, match=r"000000\.h5: the file is damaged .*; run the same command again, which comp"):
        result.merge(1)
    assert not path.exists()


HOLD = """
import sys
import h5py
with h5py.File(sys.argv[1], sys.argv[2]):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Call it with a file and a mode: another process, a notebook for example, has it open."""
    holders = []

    def start(path, mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(process)
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in holders:
        process.kill()
        process.communicate()


def test_a_notebook_that_has_a_result_open_stops_no_run_and_costs_no_result(written, hold):
    before = written.read_bytes()
    reading = hold(written, "r")
    assert len(store.read_passes([written]).sample_id) == 4
    result = store.PartedFile(written, PASSES, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    result.merge(1)
    assert len(store.read_passes([written]).sample_id) == 2

    writing = hold(written, "a")
    way_out = "another program has it open for writing, or was killed .*; close the notebook .*h5clear -s"
    for read in READERS.values():
        with cannot_be_read(written, way_out):
            read(written)
    result.write(0, batch(0, 7))
    result.write(1, batch(2, 9))
    result.merge(2)
    assert written.read_bytes() == before
    writing.communicate("")
    reading.communicate("")
    assert written.read_bytes() == before

    killed = hold(written, "a")
    killed.kill()
    killed.wait()
    with cannot_be_read(written, way_out):
        store.read_passes([written])


NO_LOCKS = """
#include <errno.h>
int flock(int file, int operation) { (void)file; (void)operation; errno = ENOLCK; return -1; }
"""

ROUND_TRIP = """
import sys
import h5py
from tests.unit.test_store import ATTRIBUTES, IDENTITY, PASSES, batch
from wheretolisten import log, store

def main():
    result = store.PartedFile(sys.argv[1], PASSES, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    assert result.has(0)
    result.merge(1)
    try:
        h5py.File(sys.argv[1])
        print("there are locks")
    except OSError:  # as everything that opens the file without the store's care
        print(len(store.read_passes([sys.argv[1]]).sample_id))

log.run(main)
"""


def test_storage_without_locks_serves(tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("imitating storage without locks needs a C compiler (gcc or cc)")
    (tmp_path / "no_locks.c").write_text(NO_LOCKS)
    library = tmp_path / "no_locks.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "no_locks.c"], check=True)

    def run(**variables):
        environment = {key: value for key, value in os.environ.items() if key != "HDF5_USE_FILE_LOCKING"}
        return subprocess.run(
            [sys.executable, "-c", ROUND_TRIP, tmp_path / "0.h5"],
            cwd=Path(__file__).parents[2],
            env=environment | {"PYTHONPATH": "workflow_scripts", "LD_PRELOAD": str(library)} | variables,
            capture_output=True,
            text=True,
        )

    done = run()
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    # Who asks for locks gets them, and is told where there are none.
    done = run(HDF5_USE_FILE_LOCKING="TRUE")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert re.search(r"\.h5: cannot be read, its storage has no locks .*; unset HDF5_USE_FILE_LOCKING", done.stderr)


def test_states_are_read_by_sample_and_name(tmp_path):
    path = tmp_path / "0.h5"
    rng = np.random.default_rng(1)
    columns = {
        "sample_id": np.array([b"00000", b"00001"]),
        "states/positive@silence": rng.random((2, 3, 3, 4), dtype=np.float32),
        "states/negative_1": rng.random((2, 3, 4), dtype=np.float32),
    }
    schema = store.schema.states({"positive@silence": True, "negative_1": False})
    result = store.PartedFile(path, schema, IDENTITY, ATTRIBUTES)
    result.write(0, columns)
    result.merge(1)
    sample_ids, states = store.read_states(path, ["positive@silence", "negative_1"], ["00001", "00000"])
    assert sample_ids.tolist() == ["00001", "00000"]
    np.testing.assert_array_equal(states["positive@silence"], columns["states/positive@silence"][::-1])
    np.testing.assert_array_equal(states["negative_1"][:, 0], columns["states/negative_1"][::-1])
    sample_ids, states = store.read_states(path, ["negative_1"], None, "b" * 64, "someone/model@abc")
    assert sample_ids.tolist() == ["00000", "00001"]
    assert states["negative_1"].shape == (2, 1, 3, 4)
    with refused("it holds no states 'positive@none'"):
        store.read_states(path, ["positive@none"])
    with refused("sample 00009 is not in it"):
        store.read_states(path, ["negative_1"], ["00009"])
    with refused("it was made from examples"):
        store.read_states(path, ["negative_1"], examples_digest="c" * 64)
    with refused("it was made with the model"):
        store.read_states(path, ["negative_1"], examples_digest="b" * 64, model="resources/mine")


def test_label_sums_and_shuffled_labels_come_back(tmp_path):
    path = tmp_path / "directions.h5"
    sums = np.random.default_rng(0).random((2, 2, 4))
    contrast = ("positive", "negative@none")
    origin = {"examples_digests": ["b" * 64, "d" * 64], "model": "resources/mine", "contrasts": [contrast]}
    columns = {
        "label": np.char.encode(["coût", "dog"], "utf-8"),
        "domain": np.array([b"other", b"animals"]),
        "count": np.array([4, 5]),
        "sum/positive/negative@none": sums,
        "shuffled_sum/positive/negative@none": -sums,
        "sample_id": np.array([b"00000", b"00001", b"00002"]),
        "shuffled_label": np.array([[0, 0, 1], [1, 1, 1], [0, 1, 0]]),
    }
    result = store.PartedFile(path, store.schema.directions([contrast]), IDENTITY, origin)
    with pytest.raises(ValueError, match="numbers of rows"):
        result.write(0, columns | {"domain": np.array([b"animals"])})
    result.write(0, columns)
    result.merge(1)
    found = store.read_directions(path, ["00002", "00000"])
    assert (found.labels, found.domains, found.counts.tolist()) == (("coût", "dog"), ("other", "animals"), [4, 5])
    np.testing.assert_array_equal(found.sums[contrast], sums)
    np.testing.assert_array_equal(found.shuffled_sums[contrast], -sums)
    assert found.shuffled_labels == {"00002": ("coût", "dog", "coût"), "00000": ("coût", "coût", "dog")}
    with refused("sample 00009 is not in it", "average_vectors"):
        store.read_directions(path, ["00009"])
    assert store.read_directions(path, ["00002"], "d" * 64, "resources/mine").labels == ("coût", "dog")
    with refused("it was made from examples", "average_vectors"):
        store.read_directions(path, ["00002"], "c" * 64, "resources/mine")
    with refused("it was made with the model resources/mine, this run has resources/other", "average_vectors"):
        store.read_directions(path, ["00002"], "d" * 64, "resources/other")


def test_steered_passes_are_read_by_event_and_only_of_the_same_samples(tmp_path):
    values = np.ones((2, 1, 4, 5), np.float32)
    unsteered = store.read_passes([write_passes(tmp_path / "any/name/0.h5", [("base", "")], values, 5)])
    paths = [
        write_passes(tmp_path / position / "0.h5", [("sample", position)], number * values, 5)
        for number, position in enumerate(("begin", "end"))
    ]
    found = store.read_passes_by_event(paths, unsteered)
    assert {position: passes.of("sample", position).max() for position, passes in found.items()} == {
        "begin": 0,
        "end": 1,
    }
    write_passes(paths[1], [("sample", "end")], values, 5, ["00000", "00002"])
    with pytest.raises(UserError, match=r"end/0\.h5: its samples are not those of the un-steered passes; delete both"):
        store.read_passes_by_event(paths, unsteered)


FULL_DISK = """
import sys
import numpy as np
import pandas as pd
from pathlib import Path
from tests.unit.test_store import ATTRIBUTES, IDENTITY, PASSES, batch
from wheretolisten import log, store
from wheretolisten.clips.folders import replaced_folder
from wheretolisten.clips.pcm import write_flac

def main():
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    if kind == "flac":
        with replaced_folder(folder / "audio") as audio:
            write_flac(audio / "a.flac", np.random.default_rng(0).integers(-9999, 9999, 100_000).astype(np.int16))
    elif kind == "csv":
        store.PartedTable(folder / "0.csv", IDENTITY).write(0, pd.DataFrame({"a": ["x" * 200_000]}))
    else:
        result = store.PartedFile(folder / "0.h5", PASSES, IDENTITY, ATTRIBUTES)
        result.write(0, batch(0, {"part": 2000, "merge": 700}[kind]))
        result.merge(1)

log.run(main)
"""


@pytest.mark.parametrize(
    ("kind", "named"), [("part", "0.h5.parts/000000.h5"), ("merge", "0.h5"), ("csv", "000000.csv"), ("flac", "audio")]
)
def test_a_full_disk_ends_a_job_in_one_sentence_and_gives_its_space_back(small_disk, kind, named):
    (small_disk / "kept").write_bytes(b"x" * 4096)
    before = shutil.disk_usage(small_disk).free
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, small_disk, kind],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "workflow_scripts"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert re.search(
        rf"{named}: cannot be written, the disk is full .*; make room and start the run again", done.stderr
    )
    assert (small_disk / "kept").read_bytes() == b"x" * 4096
    parts = sum(path.stat().st_blocks * 512 for path in small_disk.rglob("*.parts/*.h5"))
    assert shutil.disk_usage(small_disk).free == before - parts


def test_tables_go_on_after_their_finished_parts(tmp_path):
    path = tmp_path / "answers.csv"
    first = pd.DataFrame({"sample_id": ["00000"], "answer": ['5.0, "about"\nhalf way']})
    second = pd.DataFrame({"sample_id": ["00001"], "answer": ["null\r5.0"]})
    store.PartedTable(path, IDENTITY).write(0, first)
    assert not store.PartedTable(path, "c" * 64).has(0)
    restarted = store.PartedTable(path, IDENTITY)
    assert restarted.has(0)
    restarted.write(1, second)
    restarted.merge(2)
    read = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert read["answer"].tolist() == ['5.0, "about"\nhalf way', "null\r5.0"]
    assert not path.with_name("answers.csv.parts").exists()


def test_a_file_may_hold_no_pass(tmp_path):
    result = store.PartedFile(
        tmp_path / "0.h5",
        store.schema.passes("attention", "steer_attention"),
        "id",
        {"passes": [], "tokens_per_second": 6.25, "model": "m"},
    )
    empty = {"target": np.zeros((1, 0), "S1"), "label": store.texts([[]]), "attention": np.empty((1, 0, 4, 0), "f4")}
    for part in range(2):
        known = {"sample_id": np.array([b"0"]), "recording": np.array([b"a"]), "n_audio_tokens": np.array([3])}
        result.write(part, known | empty)
    result.merge(2)
    passes = store.read_passes([tmp_path / "0.h5"])
    assert passes.passes == ()
    assert passes.values.shape == (2, 0, 4, 0)
