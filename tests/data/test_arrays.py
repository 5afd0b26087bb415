import numpy as np
import pytest
import torch

from hebae import data
from hebae.errors import HebaeError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), np.uint8)


@pytest.mark.parametrize(
    ("given", "shape"),
    [(IMAGES, (3, 4, 6)), (IMAGES[:, 0], (1, 4, 6)), (IMAGES[:, 0, 0], (6,)), (IMAGES[:1], None)],
)
def test_uint8_is_taken_as_it_is(given, shape):
    dataset = data.load(given)
    assert dataset.shape == (shape or (3, 4, 6))
    assert np.shares_memory(dataset.train.values, given)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.bool_, ">f4"])
def test_floats_and_truth_values_become_float32(kind):
    given = (IMAGES > 99).astype(kind)
    dataset = data.load(given)
    assert dataset.train.values.dtype == np.float32
    np.testing.assert_array_equal(dataset.train.values, given.astype(np.float32))
    assert dataset.train.range == (0.0, 1.0)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float64, torch.bfloat16, torch.bool])
def test_tensors_are_read_as_arrays_are(kind):
    tensor = torch.from_numpy((IMAGES > 99).astype(np.uint8)).to(kind)
    if tensor.is_floating_point():
        tensor.requires_grad_()
    dataset = data.load(tensor)
    expected = np.uint8 if kind == torch.uint8 else np.float32
    assert (dataset.name, dataset.train.values.dtype) == ("tensor", expected)
    np.testing.assert_array_equal(dataset.train.values, IMAGES > 99)


def test_examples_and_data_sets_pass_through():
    examples = data.Examples(IMAGES)
    dataset = data.load(examples)
    assert dataset.train is examples and dataset.held_out() is None
    assert data.load(dataset) is dataset


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((4, 2), np.int64), "int64: convert it to uint8"),
        (np.zeros((4, 2), np.uint16), "uint16: convert"),
        (np.zeros((4, 2), complex), "complex128"),
        (np.array([[{}], [1]]), "object"),
        (np.array([["a"]]), "<U1"),
        (np.zeros((0, 2)), r"\(0, 2\)"),
        (np.zeros((4, 0)), r"\(4, 0\)"),
        (np.zeros(4), r"\(4,\)"),
        (np.zeros((1, 1, 1, 1, 1)), r"allowed are \(n, d\), \(n, h, w\) and \(n, c, h, w\)"),
        (np.zeros((4, 28, 28, 3)), "channels last: transpose"),
        (np.zeros((4, 28, 28, 1), np.uint8), "channels last: transpose"),
        ([[1.0, 2.0]], "type list"),
        (None, "type NoneType"),
    ],
)
def test_other_arrays_are_refused(given, words):
    with pytest.raises(HebaeError, match=words):
        data.load(given)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_counted_and_placed(wrong, monkeypatch):
    monkeypatch.setattr("hebae.data.examples._BLOCK_BYTES", 64)
    given = np.zeros((20, 4))
    given[7, 2] = given[7, 3] = given[19, 0] = wrong
    with pytest.raises(HebaeError, match=r"holds 3 value.*index \(7, 2\)"):
        data.load(given)
