import gzip
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hebae import data
from hebae.data import idx
from hebae.data.idx import FILES
from hebae.errors import HebaeError

# mnist-mini must be the same on every machine and in every version.
FINGERPRINT = "f12ba07f6ee409069aa832c2d7bcc7ff7e683c24c977da76e1dc69cb79173165"


def test_mnist_mini_is_the_first_part_of_mnist(data_dir):
    mini, whole = data.load("mnist-mini"), data.load("mnist", data_dir=data_dir)
    for split in ("train", "test"):
        part, all_of_it = getattr(mini, split), getattr(whole, split)
        np.testing.assert_array_equal(part.values, all_of_it.values[: len(part)])
        np.testing.assert_array_equal(part.labels, all_of_it.labels[: len(part)])


def test_mnist_mini_needs_nothing_but_the_package():
    dataset = data.load("mnist-mini")
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (10_000, 2_000, (1, 28, 28))
    assert dataset.train.values.dtype == np.uint8
    assert dataset.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.validation is None
    assert dataset.fingerprint == FINGERPRINT


def test_validation_is_the_end_of_the_training_images(toy_mnist):
    _, originals = toy_mnist
    whole = data.load("mnist", data_dir=originals)
    split = data.load("mnist", data_dir=originals, validation_size=4)
    assert whole.validation is None and whole.held_out()[0] == "test"
    np.testing.assert_array_equal(split.train.values, whole.train.values[:26])
    np.testing.assert_array_equal(split.validation.values, whole.train.values[26:])
    np.testing.assert_array_equal(split.validation.labels, whole.train.labels[26:])
    assert split.fingerprint == whole.fingerprint


@pytest.mark.parametrize("compressed", [True, False])
def test_a_folder_of_idx_files_is_read_unchecked(compressed, tmp_path, write_idx, toy_mnist):
    _, originals = toy_mnist
    folder = write_idx(tmp_path / "own", train=12, test=3, compressed=compressed)
    dataset = data.load(folder, validation_size=2)
    assert (dataset.name, len(dataset.train), len(dataset.test)) == ("own", 10, 3)
    assert data.load(originals).fingerprint == data.load("mnist", data_dir=originals).fingerprint


def test_a_named_data_directory_is_used_or_refused(
    toy_mnist, tmp_path, monkeypatch, cache, entry, write_idx
):
    """Neither HEBAE_DATA_DIR nor the cache may replace what the user names."""
    _, originals = toy_mnist
    monkeypatch.setenv("HEBAE_DATA_DIR", str(originals))
    shutil.copytree(originals, cache / "mnist")
    named = tmp_path / "named"
    named.mkdir()
    with pytest.raises(HebaeError, match=rf"{named} does not hold mnist.*train-images.*mnist/"):
        data.load("mnist", data_dir=named)
    assert entry("mnist", named).availability == "absent"
    shutil.copytree(originals, named / "mnist")
    assert len(data.load("mnist", data_dir=named).train) == 30
    (named / "mnist" / FILES["test"][1]).unlink()
    with pytest.raises(HebaeError, match=r"named.mnist holds only a part of mnist.*t10k-labels"):
        data.load("mnist", data_dir=named)
    assert entry("mnist", named).availability == "incomplete"
    # Files without .gz, whose checksums are not known, are not passed over.
    plain = write_idx(tmp_path / "plain", compressed=False)
    with pytest.raises(HebaeError, match=r"plain holds only a part of mnist"):
        data.load("mnist", data_dir=plain)
    # Nor may the cache replace an incomplete directory of the environment.
    (originals / FILES["train"][0]).unlink()
    with pytest.raises(HebaeError, match=r"originals holds only a part of mnist"):
        data.load("mnist")


def test_another_file_of_that_name_is_refused_with_both_checksums(toy_mnist, write_idx):
    install, originals = toy_mnist
    known = install().sha256[FILES["test"][0]]
    write_idx(originals, train=30, test=11)
    words = rf"t10k-images-idx3-ubyte\.gz has SHA-256 [0-9a-f]{{64}}.*{known}"
    with pytest.raises(HebaeError, match=words):
        data.load("mnist", data_dir=originals)


def test_labels_must_match_images(tmp_path, write_idx):
    folder = write_idx(tmp_path / "own")
    other = write_idx(tmp_path / "other", train=29)
    (other / FILES["train"][1]).rename(folder / FILES["train"][1])
    with pytest.raises(HebaeError, match=r"own/train-labels-idx1-ubyte\.gz holds 29.*30 images"):
        data.load(folder)


IMAGES = idx.serialise(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, max_side=6)), st.booleans())
def test_what_is_written_is_read(array, compressed):
    raw = idx.serialise(array)
    raw = gzip.compress(raw) if compressed else raw
    read = idx.parse(raw, "file", dimensions=array.ndim)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (gzip.compress(IMAGES, mtime=0)[:-12], "truncated gzip"),
        (gzip.compress(IMAGES, mtime=0)[:-8] + bytes(8), "damaged gzip"),
        (b"", "wrong magic number"),
        (b"\x89PNG and so on", "wrong magic number 0x89504e47.*0x00000803"),
        (idx.serialise(np.zeros(3, np.uint8)), "wrong magic number 0x00000801"),
        (IMAGES[:-1], "23 bytes.*2 x 3 x 4"),
        (IMAGES + b"!", "25 bytes.*2 x 3 x 4"),
        (IMAGES[:10], "0 bytes"),
    ],
)
def test_damage_is_named_with_the_file(raw, words):
    with pytest.raises(HebaeError, match=f"digits.gz.*{words}"):
        idx.parse(raw, "digits.gz", dimensions=3)
