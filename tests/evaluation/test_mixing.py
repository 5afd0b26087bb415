"""Mixing of batches in codes: known values, and input that is refused."""

import numpy as np
import pytest

from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation import batch_mixing, batch_silhouette


def test_random_batches_are_mixed_and_distant_ones_are_not():
    rng = np.random.default_rng(0)
    codes, batches = rng.normal(size=(600, 3)), rng.choice(["a", "b", "c"], 600, p=[0.6, 0.3, 0.1])
    found = batch_mixing(codes, batches)
    assert abs(found.value - 1) < 4 * max(found.standard_error, 0.02)
    assert abs(batch_silhouette(codes, batches).value) < 0.05
    apart = codes + 100 * np.unique(batches, return_inverse=True)[1][:, None]
    assert batch_mixing(apart, batches).value == 0
    assert batch_silhouette(apart, batches).value > 0.95


def test_alternating_codes_have_the_shares_of_their_neighbours():
    codes = np.arange(6.0)[:, None]
    batches = [0, 1, 0, 1, 0, 1]
    # Both neighbours of an inner code are of the other batch; the second of an end is its own.
    shares = np.array([0.5, 1, 1, 1, 1, 0.5])
    expected = (shares / (3 / 5)).mean()
    assert batch_mixing(codes, batches, neighbours=2).value == pytest.approx(expected)


def test_equal_codes_are_not_their_own_neighbours():
    codes, batches = np.zeros((4, 1)), ["a", "b", "a", "b"]
    assert batch_mixing(codes, batches, neighbours=3).value == pytest.approx(1)


def test_silhouettes_of_a_subset_are_near_those_of_all():
    rng = np.random.default_rng(1)
    batches = rng.integers(0, 2, 800)
    codes = rng.normal(size=(800, 2)) + batches[:, None]
    every, some = batch_silhouette(codes, batches), batch_silhouette(codes, batches, limit=400)
    assert abs(every.value - some.value) < 4 * some.standard_error


def test_one_batch_and_wrong_sizes_are_refused():
    codes = np.zeros((5, 2))
    with pytest.raises(UndefinedMetric, match="of one batch"):
        batch_mixing(codes, np.zeros(5))
    with pytest.raises(UndefinedMetric, match="not defined"):
        batch_silhouette(codes, list("abcde"))
    with pytest.raises(HebaeError, match="one whole number or text for each of the 5"):
        batch_mixing(codes, [0, 1])
    with pytest.raises(HebaeError, match="neighbours is 5; it must be from 1 to 4"):
        batch_mixing(codes, [0, 1, 0, 1, 0], neighbours=5)
