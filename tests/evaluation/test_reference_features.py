"""Features of reference examples: in batches, in their order, computed once."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy_images import dataset_of, images, is_refused

from hebae.errors import HebaeError
from hebae.evaluation.features import extractor, reference_features, reference_rows
from hebae.evaluation.features.base import FeatureExtractor

pytestmark = pytest.mark.usefixtures("cache")


class Counting(nn.Module):
    """Two features of an image, and how many images were seen."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return torch.stack([x.float().mean((1, 2, 3)), x.float().amax((1, 2, 3))], 1)


def test_batches_change_nothing_and_another_width_is_refused():
    x = images()
    features = FeatureExtractor(Counting(), "counting", 2, "0" * 64, batch_size=7)(x)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, Counting()(torch.from_numpy(x)).numpy())
    with is_refused(r"\(40, 2\) .*must give \(40, 4\)"):
        FeatureExtractor(Counting(), "counting", 4, "0" * 64)(x)


def references():
    x = images(70, (1, 4, 3))
    return dataset_of(x[:50], x[50:])


def counting(mark="a"):
    return FeatureExtractor(Counting(), "counting", 2, hashlib.sha256(mark.encode()).hexdigest())


@given(st.integers(1, 300), st.integers(0, 99), st.data())
def test_rows_are_a_sample_without_replacement_that_grows(available, seed, data):
    count = data.draw(st.integers(1, available))
    rows = reference_rows(available, count, seed)
    assert len(set(rows)) == count
    assert set(rows) <= set(range(available))
    np.testing.assert_array_equal(rows, reference_rows(available, available, seed)[:count])


@pytest.mark.parametrize("split", ["train", "test"])
def test_features_of_the_chosen_examples_in_their_order(split):
    data = references()
    result = reference_features(data, split, 15, extractor("pixels", dataset=data), seed=3)
    assert result.dtype == np.float32
    values = getattr(data, split).values
    expected = values[reference_rows(len(values), 15, 3)].reshape(15, -1)
    np.testing.assert_array_equal(np.rint(255 * result), expected)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"split": "test"},
        {"count": 19},
        {"seed": 1},
        {"extractor": counting("b")},
        {"dataset": replace(references(), fingerprint="other")},
    ],
    ids=lambda change: next(iter(change), "nothing"),
)
def test_they_are_computed_once_for_all_that_they_depend_on(change):
    asked = {"dataset": references(), "split": "train", "count": 20, "extractor": counting()}
    first = reference_features(**asked)
    changed = asked | change
    changed["extractor"].network.seen = 0
    result = reference_features(**changed)
    assert changed["extractor"].network.seen == (changed["count"] if change else 0)
    assert change or np.array_equal(result, first)


@pytest.mark.parametrize(
    ("split", "count", "sentence"),
    [
        ("train", 51, "51.* train split of toy .*1 to 50"),
        ("test", 0, "from 1 to 20"),
        ("validation", 5, "toy .*validation.* train, test"),
    ],
)
def test_what_the_data_do_not_have_is_refused(split, count, sentence):
    with pytest.raises(HebaeError, match=sentence):
        reference_features(references(), split, count, counting())


def test_a_damaged_cache_is_named(cache):
    reference_features(references(), "train", 20, counting())
    [path] = cache.glob("features/*/features.npy")
    for content in (path.read_bytes()[:-9], b""):
        path.write_bytes(content)
        with pytest.raises(HebaeError, match=r"damaged .*delete that folder"):
            reference_features(references(), "train", 20, counting())
