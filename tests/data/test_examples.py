import numpy as np
import pytest
import scipy.sparse

from hebae.data import Dataset, Examples, load
from hebae.data.examples import blocks, fingerprint
from hebae.errors import HebaeError


def test_grey_levels_stand_for_the_unit_interval_and_small_numbers_for_themselves():
    examples = Examples(np.full((3, 1, 2, 2), 7, np.uint8))
    assert examples.range == (7.0, 7.0)
    assert (len(examples), examples.shape) == (3, (1, 2, 2))
    assert Examples(examples.values, pixels=True).range == (0.0, 1.0)
    assert Examples(examples.values * np.uint8(3)).range == (0.0, 1.0)
    mixed = np.concatenate([examples.values, examples.values * np.uint8(9)])
    assert Examples(mixed)[:3].are_pixels  # decided by all of them
    assert Dataset("a", Examples(mixed), examples, None, "").validation.are_pixels


def test_rows_are_dense_with_nan_where_a_number_is_missing():
    mask = np.array([[False, True], [False, False], [True, True]])
    values = np.array([[1, 2], [0, 4], [5, 255]], np.uint8)
    expected = np.where(mask, np.nan, values)
    for missing in (mask, scipy.sparse.csr_array(mask).toarray()):
        examples = Examples(values, missing=missing, pixels=False)
        np.testing.assert_array_equal(examples.rows(slice(None)), expected)
        assert examples.summary == (0, 4, True, 3, 1, 3)
    sparse = Examples(scipy.sparse.csr_array(values), missing=mask, pixels=False)
    np.testing.assert_array_equal(sparse.rows(np.array([2, 0])), expected[[2, 0]])
    grey = Examples(values, missing=mask, pixels=True)
    np.testing.assert_allclose(grey.rows(slice(None)), expected / 255, rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate(list(grey.parts())), grey.rows(slice(None)))
    floats = Examples(expected.astype(np.float32))
    assert floats.summary == (0, 4, True, 3, 1, 3)


def test_range_of_floats_is_found_over_several_blocks():
    values = np.zeros((100, 100_000), np.float32)
    values[0, 1], values[99, 3] = -2.5, 9.0
    assert len(list(blocks(values))) > 1
    assert Examples(values).range == (-2.5, 9.0)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"values": np.zeros((3, 2))}, "float64"),
        ({"values": np.zeros((3, 2, 2), np.uint8)}, r"\(3, 2, 2\)"),
        ({"values": np.zeros((0, 2), np.uint8)}, r"\(0, 2\)"),
        ({"values": scipy.sparse.csc_array(np.eye(3, dtype=np.float32))}, r"csc.*use \.tocsr"),
        ({"labels": np.zeros(2, np.int64)}, r"shape \(2,\)"),
        ({"labels": np.zeros(3, np.int32)}, "int32"),
        ({"ids": np.arange(3)}, r"ids .*must be str_ of shape \(3,\), not int64"),
        ({"ids": np.array(["a", "b"])}, r"ids .*shape \(2,\)"),
        ({"missing": np.zeros((3, 1), bool)}, r"missing values .*bool of shape \(3, 2\)"),
        ({"missing": np.zeros((3, 2))}, "missing values .*float64"),
        ({"feature_names": ("a",)}, "1 feature names for 2 features"),
    ],
)
def test_examples_that_do_not_fit_together_are_refused(what, words):
    with pytest.raises(HebaeError, match=words):
        Examples(**{"values": np.zeros((3, 2), np.uint8)} | what)


def test_held_out_prefers_validation_then_test():
    part = Examples(np.zeros((3, 2), np.float32))
    other = Examples(np.ones((3, 2), np.float32))
    assert Dataset("a", part, other, part, "").held_out() == ("validation", other)
    assert Dataset("a", part, None, other, "").held_out() == ("test", other)
    assert Dataset("a", part, None, None, "").held_out() is None


def test_fingerprint_depends_on_content_and_not_on_memory_layout():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    labels = np.arange(4)
    reference = fingerprint({"train": Examples(values, labels)})
    assert reference == fingerprint({"train": Examples(np.asfortranarray(values), labels)})
    others = [
        {"train": Examples(values)},
        {"test": Examples(values, labels)},
        {"train": Examples(values + 1, labels)},
        {"train": Examples(values, labels[::-1].copy())},
        {"train": Examples(values.reshape(3, 4))},
    ]
    assert len({reference, *map(fingerprint, others)}) == 6


def annotated(n=6):
    """Return n examples with everything that they can carry; row i is known by its label i."""
    return Examples(
        np.arange(2 * n, dtype=np.float32).reshape(n, 2),
        np.arange(n),
        ids=np.array([f"cell {i}" for i in range(n)]),
        feature_names=("GATA1", "SPI1"),
        missing=np.arange(2 * n).reshape(n, 2) % 5 == 0,
    )


@pytest.mark.parametrize("index", [slice(1, 4), np.array([5, 0, 2])])
def test_ids_feature_names_and_missing_values_follow_a_selection(index):
    whole, part = annotated(), annotated()[index]
    np.testing.assert_array_equal(part.ids, whole.ids[index])
    np.testing.assert_array_equal(part.missing, whole.missing[index])
    assert part.feature_names == whole.feature_names
    assert isinstance(index, np.ndarray) or np.shares_memory(whole[index].missing, whole.missing)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_sparse_examples_are_selected_measured_and_hashed_like_dense_ones(kind, dtype):
    dense = np.random.default_rng(0).integers(-3, 4, (20, 7)).clip(0 if dtype == np.uint8 else -3)
    dense = (dense * (dense > 1)).astype(dtype)
    sparse = Examples(kind(dense), np.arange(20))
    assert sparse.is_sparse
    assert (len(sparse), sparse.shape) == (20, (7,))
    assert sparse.range == Examples(dense).range
    for index in (slice(3, 9), np.array([5, 1, 1])):
        part = sparse[index]
        np.testing.assert_array_equal(part.values.toarray(), dense[index])
        np.testing.assert_array_equal(part.labels, np.arange(20)[index])
    # The order of entries and duplicates are no content.
    coo = kind(dense).tocoo()
    order = np.random.default_rng(1).permutation(coo.nnz)
    shuffled = kind((coo.data[order], (coo.row[order], coo.col[order])), shape=dense.shape)
    reference = fingerprint({"train": sparse})
    assert fingerprint({"train": Examples(shuffled, np.arange(20))}) == reference
    dense[0, 0] += 1
    assert fingerprint({"train": Examples(kind(dense), np.arange(20))}) != reference


def test_splits_must_agree_in_shape_feature_names_and_sparseness():
    narrow, wide = (Examples(np.zeros((3, width), np.uint8)) for width in (4, 5))
    with pytest.raises(HebaeError, match=r"table: .*test split.*\(5,\).*\(4,\)"):
        Dataset("table", narrow, None, wide, "")
    train = annotated()
    with pytest.raises(HebaeError, match="test split"):
        Dataset("cells", train, None, Examples(train.values), "")
    dense = np.eye(3, dtype=np.float32)
    with pytest.raises(HebaeError, match="validation split are sparse float32"):
        Dataset("cells", Examples(dense), Examples(scipy.sparse.csr_array(dense)), None, "")


def test_sparse_and_incomplete_examples_are_loaded_as_they_are():
    sparse = Examples(scipy.sparse.csr_array(np.eye(3, dtype=np.float32)))
    assert load(sparse).train is sparse
    whole = annotated()
    assert load(whole).train is whole
