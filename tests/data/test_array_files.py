import numpy as np
import pytest

from hebae import data
from hebae.errors import HebaeError

TABLE = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def test_npy_is_memory_mapped_and_cannot_be_written(tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((20, 4, 5), np.uint8))
    values = data.load(path, validation_size=0).train.values
    assert values.shape == (20, 1, 4, 5)
    assert isinstance(values, np.memmap) and not values.flags.writeable


def test_a_path_may_be_a_string_and_gives_what_the_array_gives(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, TABLE)
    from_file, from_memory = data.load(str(path)), data.load(TABLE)
    np.testing.assert_array_equal(from_file.train.values, from_memory.train.values)
    assert from_file.fingerprint == from_memory.fingerprint


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train", "train_labels", "test", "test_labels"),
        ("X", "labels", "test", "y_test"),
    ],
)
def test_npz_by_the_names_in_use(keys, tmp_path):
    path = tmp_path / "table.npz"
    labels = np.arange(20, dtype=np.uint8)
    np.savez(path, **dict(zip(keys, (TABLE, labels, TABLE[:5], labels[:5]), strict=True)))
    dataset = data.load(path)
    assert (len(dataset.train), dataset.validation, len(dataset.test)) == (20, None, 5)
    assert dataset.train.labels.dtype == np.int64
    np.testing.assert_array_equal(dataset.test.labels, labels[:5])


def test_an_only_array_may_have_any_name(tmp_path):
    path = tmp_path / "table.npz"
    np.savez_compressed(path, anything=TABLE)
    np.testing.assert_array_equal(data.load(path, validation_size=0).train.values, TABLE)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"train": TABLE, "weights": TABLE}, r"train, weights.*allowed.*x_train.*y_train"),
        ({"test": TABLE, "y": np.arange(20)}, r"test, y"),
        ({"train": TABLE, "y_test": np.arange(20)}, "train, y_test"),
        ({"train": TABLE, "X": TABLE}, "both train and X"),
        ({"train": TABLE, "test": TABLE[:, :2]}, "test split"),
        ({"train": TABLE, "y": np.arange(19)}, r"labels.*\(19,\)"),
        ({"train": TABLE, "y": np.zeros(20)}, "labels.*float64"),
        ({"train": TABLE, "y": np.array(["a"] * 20)}, "labels.*<U1.*labels must be integers"),
        ({"train": TABLE, "y": np.array([b"a"] * 20)}, r"labels.*\|S1.*labels must be integers"),
        ({"train": TABLE, "test": np.full((2, 3), np.nan)}, r"\(test\) holds 6 value"),
        ({"train": np.array([[None]])}, "without Python objects"),
        ({}, "at least a training split"),
    ],
)
def test_other_npz_files_are_refused_by_name(arrays, words, tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, **arrays)
    with pytest.raises(HebaeError, match=rf"table\.npz.*{words}"):
        data.load(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", ["pickled", "cut short", "text", "empty"])
def test_damaged_array_files_are_refused_by_name(suffix, content, tmp_path):
    path = tmp_path / f"table{suffix}"
    array = np.array([[{}]]) if content == "pickled" else TABLE
    (np.save if suffix == ".npy" else np.savez)(path, array)
    if content == "cut short":
        path.write_bytes(path.read_bytes()[:-40])
    elif content != "pickled":
        path.write_bytes(b"words" if content == "text" else b"")
    with pytest.raises(HebaeError, match=rf"table\{suffix} cannot be read"):
        data.load(path)
