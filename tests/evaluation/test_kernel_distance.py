"""Kernel distance: the double sum, closed forms, no bias, an honest error, limits."""

from __future__ import annotations

import numpy as np
import pytest

from hebae.evaluation import Estimate, kernel_distance

X, Y = np.random.default_rng(0).standard_normal((2, 60, 4))
Y = Y + 0.5


def by_double_loop(x, y, degree=3, gamma=None, coef0=1.0):
    """Unbiased squared MMD of Gretton et al. (2012), eq. 3, pair by pair."""
    gamma = 1 / x.shape[1] if gamma is None else gamma

    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return np.mean([(gamma * a[i] @ b[j] + coef0) ** degree for i, j in pairs])

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@pytest.mark.parametrize("options", [{}, {"degree": 2, "gamma": 0.3, "coef0": 2.0}])
def test_each_block_is_the_double_sum(options):
    """Two blocks that are equal up to order: their mean is the one, and their error zero."""
    a, b = np.repeat(X[:1], 20, axis=0), np.repeat(Y[:1], 20, axis=0)
    found = kernel_distance(a, b, block_size=10, **options)
    assert found.value == pytest.approx(by_double_loop(a[:10], b[:10], **options), rel=1e-10)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_blocks_are_disjoint_and_random():
    """The mean and the error over the blocks of one shuffle, made here by hand."""
    generator = np.random.default_rng(5)
    x, y = X[generator.permutation(60)], Y[generator.permutation(60)]
    values = [by_double_loop(x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40)]
    found = kernel_distance(X, Y, block_size=20, seed=5)
    assert found.value == pytest.approx(np.mean(values), rel=1e-12)
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(3), rel=1e-10)
    assert found != kernel_distance(X, Y, block_size=20, seed=6)


def test_a_linear_kernel_compares_means():
    """||mean x - mean y||^2 less its sampling bias (tr S_x + tr S_y) / n, block by block."""
    many = kernel_distance(X, Y, degree=1, gamma=1.0, coef0=0.0, block_size=30, blocks=400)
    step = X.mean(axis=0) - Y.mean(axis=0)
    bias = (X.var(axis=0, ddof=1).sum() + Y.var(axis=0, ddof=1).sum()) / 60
    # Averaged over all blocks of 30, the unbiased estimate is that of the 60.
    assert many.value == pytest.approx(step @ step - bias, abs=0.02)


def test_sets_of_two_sizes_and_whole_numbers():
    x, y = np.rint(9 * X).astype(np.int8), np.rint(9 * Y[:41]).astype(np.float32)
    expected = kernel_distance(x.astype(float), y.astype(float), block_size=20)
    assert kernel_distance(x, y, block_size=20) == expected


@pytest.fixture(scope="module")
def of_one_distribution():
    generator = np.random.default_rng(1)
    return [
        kernel_distance(*generator.standard_normal((2, 200, 6)), block_size=20) for _ in range(100)
    ]


def test_no_bias_where_the_distributions_are_one(of_one_distribution):
    """As often below zero as above, and zero on average."""
    values = np.array([estimate.value for estimate in of_one_distribution])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert 0.3 < (values < 0).mean() < 0.7


def test_the_standard_error_is_the_deviation_over_samples(of_one_distribution):
    values = np.array([estimate.value for estimate in of_one_distribution])
    errors = np.array([estimate.standard_error for estimate in of_one_distribution])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.3)


def test_more_blocks_than_disjoint_ones_claim_no_smaller_error():
    few = kernel_distance(X, Y, block_size=15)
    many = kernel_distance(X, Y, block_size=15, blocks=400)
    assert few.standard_error / 3 < many.standard_error < few.standard_error * 3


def test_shifts_are_found_in_order():
    values = [kernel_distance(X, Y + shift, block_size=30).value for shift in (0.0, 0.5, 1.0)]
    assert 0 < values[0] < values[1] < values[2]


def test_an_estimate_reads_as_people_write_it():
    assert str(Estimate(0.123456, 0.00789)) == "0.1235 +- 0.0079"
