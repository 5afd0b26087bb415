from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from command_line import small
from hypothesis import given
from hypothesis import strategies as st

from hebae import data
from hebae.data import splits
from hebae.errors import HebaeError


def table(n):
    return np.arange(2 * n, dtype=np.float32).reshape(n, 2)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_a_draw_is_disjoint_complete_and_that_of_earlier_versions(sizes):
    """Or resumed runs and stored results would have other validation examples."""
    available, kept = sizes
    count = available - kept
    dataset = data.load(table(available), validation_size=count)
    if count == 0:
        assert dataset.validation is None and dataset.notes == ()
        return
    kept, drawn = (part.values[:, 0] / 2 for part in (dataset.train, dataset.validation))
    expected = np.sort(np.random.default_rng(0).permutation(available)[:count])
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(kept, np.setdiff1d(np.arange(available), drawn))
    assert f"{count:,} drawn" in dataset.notes[0]


def test_a_tenth_is_set_aside_over_the_whole_of_a_sorted_source():
    dataset = data.load(table(1000))
    drawn = dataset.validation.values[:, 0] / 2
    assert (len(dataset.train), len(dataset.validation)) == (900, 100)
    assert np.histogram(drawn, 4, (0, 1000))[0].min() >= 15
    [note] = dataset.notes
    assert "1,000" in note and "100 drawn with a fixed permutation" in note


@pytest.mark.parametrize(
    ("size", "words"),
    [(50, "0 to 49"), (51, "is 51"), (-1, "is -1"), (0.1, "is 0.1, .*whole number")],
)
def test_impossible_sizes_are_refused(size, words):
    with pytest.raises(HebaeError, match=words):
        data.load(table(50), validation_size=size)


def test_a_source_with_a_validation_split_keeps_it_or_drops_it(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, train=table(20), validation=table(5))
    assert len(data.load(path).validation) == 5
    assert data.load(path, validation_size=0).held_out() is None
    with pytest.raises(HebaeError, match=r"a\.npz has a validation split of its own"):
        data.load(path, validation_size=3)


def test_everything_known_about_examples_is_carried_into_the_splits():
    values = table(40)
    ids = np.array([f"cell {i}" for i in range(40)])
    missing = np.arange(80).reshape(40, 2) % 7 == 0
    train = data.Examples(values, np.arange(40), ids, ("a", "b"), missing)
    for kind in (np.asarray, scipy.sparse.csr_array):
        given = replace(
            train, values=kind(values), missing=None if kind is not np.asarray else missing
        )
        dataset = splits.hold_out(data.Dataset("cells", given, None, None, "f"), 13)
        for part in (dataset.train, dataset.validation):
            assert part.feature_names == ("a", "b")
            np.testing.assert_array_equal(part.ids, ids[part.labels])
            if part.missing is not None:
                np.testing.assert_array_equal(part.missing, missing[part.labels])
            dense = part.values.toarray() if part.is_sparse else part.values
            np.testing.assert_array_equal(dense, values[part.labels])


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_large_map_is_split_on_disk_as_it_would_be_in_memory(kind, tmp_path, cache):
    """Data larger than memory must not be copied into it for their split."""
    side = 600  # 18 MB or more: several blocks
    values = np.random.default_rng(0).integers(0, 256, (50, 1, side, side)).astype(kind)
    np.save(tmp_path / "x.npy", values)
    train = data.Examples(
        np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(50), np.arange(50).astype(str)
    )
    whole = data.Dataset("x", train, None, None, "the data")
    in_memory = splits.hold_out(whole, 11)
    for _ in range(2):  # the second time, the files are there
        on_disk = splits.hold_out(whole, 11, on_disk_from=1)
        for one, other in (
            (in_memory.train, on_disk.train),
            (in_memory.validation, on_disk.validation),
        ):
            assert isinstance(other.values, np.memmap) and not other.values.flags.writeable
            for name in ("values", "labels", "ids"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert len([p for p in (cache / "splits").iterdir() if p.is_dir()]) == 1
    for other in (replace(whole, fingerprint="other data"), whole):
        splits.hold_out(other, 12 if other is whole else 11, on_disk_from=1)
    assert len([p for p in (cache / "splits").iterdir() if p.is_dir()]) == 3


def test_a_limited_number_of_training_examples_is_a_fixed_draw(hebae, vectors):
    whole, part = (data.load(vectors, validation_size=40, train_size=n) for n in (None, 25))
    assert len(part.train) == 25
    assert part.fingerprint == whole.fingerprint
    np.testing.assert_array_equal(part.validation.values, whole.validation.values)
    rows = {row.tobytes() for row in whole.train.values}
    assert all(row.tobytes() in rows for row in part.train.values)
    again = data.load(vectors, validation_size=40, train_size=25)
    np.testing.assert_array_equal(again.train.values, part.train.values)
    for wrong in (0, 261):
        with pytest.raises(HebaeError, match=f"train_size is {wrong}.*1 to 260"):
            data.load(vectors, validation_size=40, train_size=wrong)
    flags = ("--data", vectors, *small(epochs=1), "--train-size", "64", "--output", "run")
    assert hebae("train", *flags).status == 0
    assert hebae("sample", "run", "--sampler", "fitted-normal", "--output", "s.npy").status == 0
