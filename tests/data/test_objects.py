"""Sparse matrices, data sets of torch and of Hugging Face."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from hebae import data
from hebae.errors import HebaeError

X = np.random.default_rng(0).random((10, 4)).astype(np.float32)
COUNTS = np.random.default_rng(0).poisson(0.4, (10, 4))


def load(source, **options):
    return data.load(source, validation_size=0, **options).train


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_array", "lil_matrix"])
def test_sparse_matrices_stay_sparse(form, tmp_path):
    matrix = getattr(sparse, form)(COUNTS)
    for source in (matrix, tmp_path / "x.npz"):
        if source is not matrix:
            sparse.save_npz(source, matrix.tocsr())
        examples = load(source)
        assert examples.is_sparse
        assert examples.values.dtype == np.float32
        assert examples.pixels is False
        assert np.array_equal(examples.values.toarray(), COUNTS)


def test_sparse_matrices_that_cannot_be_used_are_refused():
    wrong = sparse.lil_matrix(COUNTS.astype(float))
    wrong[2, 3] = np.nan
    with pytest.raises(HebaeError, match="holds nan in row 3, column 4"):
        load(wrong)
    large = sparse.lil_matrix(COUNTS)
    large[2, 3] = 2**24 + 1
    with pytest.raises(HebaeError, match=r"holds 16777217 in row 3, column 4.*would round"):
        load(large)
    with pytest.raises(HebaeError, match="type complex128"):
        load(sparse.csr_matrix(COUNTS * 1j))


class Items(Dataset):
    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return self.item(index)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


@pytest.mark.parametrize(
    "source",
    [
        Items(lambda i: torch.from_numpy(X[i])),
        Items(lambda i: (X[i], i % 3)),
        Items(lambda i: {"image": X[i], "label": torch.tensor(i % 3)}),
        Items(lambda i: {"anything": X[i], "y": i % 3}),
        TensorDataset(torch.from_numpy(X), torch.arange(10) % 3),
        Stream(),
    ],
)
def test_data_sets_of_torch(source):
    examples = load(source)
    assert np.array_equal(examples.values, X)
    if examples.labels is None:
        assert isinstance(source, Stream) or isinstance(source[0], torch.Tensor)
    else:
        assert np.array_equal(examples.labels, np.arange(10) % 3)


def test_items_that_differ_are_named():
    with pytest.raises(HebaeError, match=r"Item 3 of Items is float32 of shape \(3,\), but item 0"):
        load(Items(lambda i: X[i][:3] if i == 3 else X[i]))
    with pytest.raises(HebaeError, match="Item 0 of Items is a dict with the keys a, b"):
        load(Items(lambda i: {"a": X[i], "b": X[i]}))


def test_data_sets_of_hugging_face():
    datasets = pytest.importorskip("datasets")
    labels = datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"x": datasets.List(datasets.Value("float32")), "label": labels})
    rows = datasets.Dataset.from_dict({"x": X, "label": [0, 1] * 5}, features=features)
    examples = load(rows)
    assert np.allclose(examples.values, X)
    assert (examples.labels.tolist(), examples.label_names) == ([0, 1] * 5, ("cat", "dog"))
    table = datasets.Dataset.from_dict({"a": list(range(20)), "b": ["u", "v"] * 10})
    small = datasets.Dataset.from_dict({"a": [3], "b": ["v"]})
    both = data.load(datasets.DatasetDict(train=table, test=small))
    assert both.test.values.tolist() == [[3, 1]]
    assert both.train.columns == both.test.columns
    with pytest.raises(HebaeError, match="splits train, extra"):
        load(datasets.DatasetDict(train=table, extra=small))


def test_images_of_hugging_face():
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), np.uint8)
    rows = datasets.Dataset.from_dict({"image": [Image.fromarray(p) for p in pixels]})
    examples = load(rows.cast_column("image", datasets.Image()))
    assert np.array_equal(examples.values, pixels.transpose(0, 3, 1, 2))
