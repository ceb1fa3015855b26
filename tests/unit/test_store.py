"""Result files: what was written comes back, and nothing else is taken for it."""

import h5py
import numpy as np
import pandas as pd
import pytest

from wheretolisten import store
from wheretolisten.errors import UserError

IDENTITY = "a" * 64
ATTRIBUTES = {"tokens_per_second": 25.0, "benchmark_digest": "b" * 64}


def batch(first, n_tokens):
    """Columns of an activations part: samples `first` and `first + 1`, the second one token shorter."""
    rng = np.random.default_rng(first)
    base = rng.random((2, 3, n_tokens), dtype=np.float32)
    base[1, :, -1] = np.nan
    prompted = rng.random((2, 3, 3, n_tokens), dtype=np.float32)
    prompted[1, :, :, -1] = np.nan
    return {
        "sample_id": np.array([f"{first:05d}", f"{first + 1:05d}"]).astype("S"),
        "n_audio_tokens": np.array([n_tokens, n_tokens - 1]),
        "states/negative": rng.random((2, 3, 4), dtype=np.float32),
        "states/positive": rng.random((2, 3, 3, 4), dtype=np.float32),
        "attention/base": base,
        "attention/prompted": prompted,
    }


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "0.h5"
    result = store.PartedFile(path, store.ACTIVATIONS, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    result.write(1, batch(2, 9))
    result.merge(2)
    return path


def test_parts_come_back_joined_and_padded(written):
    activations = store.read_activations([written])
    assert activations.sample_id.tolist() == ["00000", "00001", "00002", "00003"]
    assert activations.n_audio_tokens.tolist() == [7, 6, 9, 8]
    assert activations.base.shape == (4, 3, 9)
    np.testing.assert_array_equal(activations.base[:2, :, :7], batch(0, 7)["attention/base"])
    np.testing.assert_array_equal(activations.prompted[2:], batch(2, 9)["attention/prompted"])
    assert np.isnan(activations.base[0, :, 7:]).all()
    assert activations.tokens_per_second == 25.0
    assert not written.with_name("0.h5.parts").exists()


def test_shards_of_different_widths_are_joined(written, tmp_path):
    other = tmp_path / "1.h5"
    result = store.PartedFile(other, store.ACTIVATIONS, IDENTITY, ATTRIBUTES)
    result.write(0, batch(4, 12))
    result.merge(1)
    activations = store.read_activations([written, other])
    assert activations.prompted.shape == (6, 3, 3, 12)
    assert np.isnan(activations.prompted[0, ..., 7:]).all()


def test_every_dataset_has_a_checksum_axes_and_a_unit(written):
    with h5py.File(written) as file:
        for column in store.ACTIVATIONS.columns:
            assert file[column.name].fletcher32
            assert file[column.name].chunks[0] == 1
            assert {"axes", "unit", "about"} <= set(file[column.name].attrs)


def test_same_content_same_bytes(written, tmp_path):
    again = tmp_path / "again.h5"
    result = store.PartedFile(again, store.ACTIVATIONS, IDENTITY, ATTRIBUTES)
    result.write(0, batch(0, 7))
    result.write(1, batch(2, 9))
    result.merge(2)
    assert again.read_bytes() == written.read_bytes()


def test_finished_parts_are_kept_and_foreign_or_damaged_ones_are_not(tmp_path, caplog):
    path = tmp_path / "0.h5"
    store.PartedFile(path, store.ACTIVATIONS, IDENTITY, ATTRIBUTES).write(0, batch(0, 7))
    restarted = store.PartedFile(path, store.ACTIVATIONS, IDENTITY, ATTRIBUTES)
    assert restarted.has(0)
    assert not restarted.has(1)

    damaged = tmp_path / "0.h5.parts" / "000000.h5"
    data = bytearray(damaged.read_bytes())
    position = data.find(batch(0, 7)["states/negative"][0].tobytes())
    data[position] ^= 0xFF
    damaged.write_bytes(data)
    assert not restarted.has(0)
    assert not damaged.exists()
    assert "is not readable" in caplog.text

    store.PartedFile(path, store.ACTIVATIONS, "c" * 64, ATTRIBUTES).write(0, batch(0, 7))
    assert not restarted.has(0)
    assert "other settings or code" in caplog.text


def test_wrong_columns_are_refused(tmp_path):
    result = store.PartedFile(tmp_path / "0.h5", store.ACTIVATIONS, IDENTITY, ATTRIBUTES)
    with pytest.raises(ValueError, match="expected"):
        result.write(0, {"sample_id": np.array([b"0"])})
    columns = batch(0, 7)
    columns["n_audio_tokens"] = np.array([7])
    with pytest.raises(ValueError, match="numbers of rows"):
        result.write(0, columns)


def test_reader_names_other_schema_and_other_benchmark(written, tmp_path):
    with pytest.raises(UserError, match="benchmark with digest bbbbbbbbbbbb, this one has cccccccccccc"):
        store.read_activations([written], ["c" * 64])
    assert len(store.read_activations([written], ["b" * 64]).sample_id) == 4
    with pytest.raises(UserError, match=r"schema is 'where-to-listen/activations/1'.*rebuilds it with steer_attention"):
        store.read_attention([written])


def test_reader_names_a_damaged_file(written):
    data = bytearray(written.read_bytes())
    position = data.find(batch(0, 7)["attention/base"][0].tobytes())
    data[position] ^= 0xFF
    written.write_bytes(data)
    with pytest.raises(UserError, match=r"0\.h5: the file is damaged.*extract_activations"):
        store.read_activations([written])
    written.write_bytes(data[:1000])
    with pytest.raises(UserError, match="the file is damaged"):
        store.read_activations([written])


def test_vectors_are_read_by_sample_and_position(tmp_path):
    path = tmp_path / "vectors.h5"
    rng = np.random.default_rng(0)
    own = rng.random((3, 3, 2, 4), dtype=np.float32)
    result = store.PartedFile(path, store.VECTORS, IDENTITY, {})
    result.write(
        0,
        {
            "sample_id": np.array([b"00000", b"00001", b"00002"]),
            "label": np.full((3, 3), b"dog"),
            "vector/sample": own,
            "vector/label_mean": -own,
            "vector/random_direction": 2 * own,
            "norm/sample": own[..., 0],
            "norm/label_mean": own[..., 0],
            "cosine": own[..., 0],
        },
    )
    result.merge(1)
    vectors = store.read_vectors(path, ["00002", "00000"], position=1)
    np.testing.assert_array_equal(vectors[:, 0], own[[2, 0], 1])
    np.testing.assert_array_equal(vectors[:, 1], -own[[2, 0], 1])
    np.testing.assert_array_equal(vectors[:, 2], 2 * own[[2, 0], 1])
    with pytest.raises(UserError, match="no vectors of sample 00009"):
        store.read_vectors(path, ["00009"], position=0)


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
