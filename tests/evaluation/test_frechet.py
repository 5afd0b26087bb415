"""Frechet and kernel distance: independent values, closed forms, invariances, bias and error."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hebae.evaluation import (
    FeatureMoments,
    frechet_distance,
    frechet_extrapolated,
    frechet_from_moments,
    kernel_distance,
)

EPS = np.finfo(np.float64).eps
seeds = st.integers(0, 2**32 - 1)


def pair(seed, n=40, d=5):
    """Two samples of correlated features, apart from each other and from zero."""
    generator = np.random.default_rng(seed)
    mixing = np.eye(d) + 0.4 * generator.standard_normal((2, d, d))
    x, y = generator.standard_normal((2, n, d)) @ mixing
    return x + generator.standard_normal(d), y + generator.standard_normal(d)


def rotation(seed, d=5):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


def sample_of(mean, covariance, n=50, seed=0):
    """Features whose mean and covariance (divided by n - 1) are exactly these."""
    noise = np.random.default_rng(seed).standard_normal((n, len(mean)))
    white = np.linalg.qr(noise - noise.mean(axis=0))[0] * np.sqrt(n - 1)
    return mean + white @ scipy.linalg.cholesky(covariance)


def by_singular_values(x, y):
    """The distance without either covariance: tr (S_x S_y)^{1/2} is a nuclear norm of the data."""
    shift = x.mean(axis=0) - y.mean(axis=0)
    a, b = (z - z.mean(axis=0) for z in (x, y))
    a, b = a / np.sqrt(len(a) - 1), b / np.sqrt(len(b) - 1)
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return shift @ shift + (a * a).sum() + (b * b).sum() - 2 * root


@given(
    st.lists(st.tuples(*[st.floats(-3, 3)] * 2, *[st.floats(1e-3, 9)] * 2), min_size=1, max_size=6),
    seeds,
)
def test_commuting_covariances(axes, seed):
    """||m - n||^2 + sum_j (sqrt a_j - sqrt b_j)^2, with eigenvalues a and b on the same axes."""
    m, n, a, b = np.array(axes).T
    Q = rotation(seed, len(m))
    x = sample_of(m, Q @ np.diag(a) @ Q.T)
    y = sample_of(n, Q @ np.diag(b) @ Q.T, n=70, seed=1)
    expected = ((m - n) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10, abs=1e-11)


@pytest.mark.parametrize("sizes", [(9, 30), (30, 9), (9, 9), (20, 21), (200, 300)])
def test_the_singular_values_of_the_data_give_the_distance(sizes):
    generator = np.random.default_rng(0)
    x, y = (generator.standard_normal((n, 20)) + 1 for n in sizes)
    result = frechet_distance(x, y, allow_rank_deficient=True)
    # A distance is a difference of sums of 20 x 20 products, of the size of the traces. For (20,
    # 21), y's covariance has a Cholesky factor of condition 1e2, and an error of eps times that.
    assert result == pytest.approx(by_singular_values(x, y), rel=20**2 * 1e2 * EPS)
    # The null space of singular covariances is known to the root of their rounding only.
    moments = FeatureMoments().update(x), FeatureMoments().update(y)
    from_moments = frechet_from_moments(*moments, allow_rank_deficient=True)
    assert from_moments == pytest.approx(result, rel=20 * EPS**0.5)


@given(seeds, st.floats(0.01, 100))
def test_a_rotation_changes_nothing_and_a_scale_is_squared(seed, scale):
    x, y = pair(seed)
    Q = scale * rotation(seed)
    expected = scale**2 * frechet_distance(x, y)
    assert frechet_distance(x @ Q, y @ Q) == pytest.approx(expected, rel=1e-10)


@given(seeds, st.lists(st.floats(-100, 100), min_size=5, max_size=5))
def test_a_translation_adds_its_square(seed, translation):
    x, y = pair(seed)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = frechet_distance(x, y) + np.square(translation).sum()
    assert frechet_distance(x, y + translation) == pytest.approx(expected, rel=1e-10)


@given(seeds, st.integers(2, 12), st.floats(-9, 9))
def test_identical_sets_are_at_zero(seed, n, exponent):
    """Up to rounding and never below; with repeated, constant and too many features as well."""
    x = np.random.default_rng(seed).standard_normal((n, 6)) * 10**exponent
    x[:, 1], x[:, 2] = x[:, 0], 0.1
    result = frechet_distance(x, x, allow_rank_deficient=True)
    assert 0 <= result <= 1e-7 * x.var(axis=0).sum()


@given(seeds, st.lists(st.integers(1, 30), max_size=4))
def test_batches_have_the_moments_of_the_whole(seed, cuts):
    x = 1e4 + pair(seed)[0]  # sums of squares would lose eight digits
    moments = FeatureMoments()
    for batch in np.split(x, sorted(set(cuts))):
        moments.update(batch)
    assert moments.count == len(x)
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-9, atol=1e-10)


def test_parts_merge_in_any_order_and_stay_as_they_are():
    x, y = pair(0)
    parts = [FeatureMoments().update(part) for part in (x[:1], x[1:9], x[9:])]
    parts = [pickle.loads(pickle.dumps(part)) for part in (*parts, FeatureMoments())]
    for order in itertools.permutations(parts):
        merged = FeatureMoments()
        for part in order:
            merged.merge(part)
        assert merged.count == 40
        np.testing.assert_allclose(merged.mean, x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(merged.covariance, np.cov(x.T), rtol=1e-12)
        result = frechet_from_moments(merged, FeatureMoments().update(y))
        assert result == pytest.approx(frechet_distance(x, y), rel=1e-12)
    assert [part.count for part in parts] == [1, 8, 31, 0]
    np.testing.assert_array_equal(parts[0].mean, x[0])


@pytest.mark.parametrize("scale", [1, 1.5])
def test_extrapolation_has_no_bias_and_the_stated_error(scale):
    """N(0, I) and N(0, s^2 I) in 8 dimensions are at 8 (s - 1)^2; the plain distance is above."""
    generator = np.random.default_rng(0)
    pairs = [generator.standard_normal((2, 400, 8)) for _ in range(40)]
    expected, pairs = 8 * (scale - 1) ** 2, [(x, scale * y) for x, y in pairs]
    result = [frechet_extrapolated(*pair) for pair in pairs]
    z = np.array([(estimate.value - expected) / estimate.standard_error for estimate in result])
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert 0.6 < z.std() < 1.6
    assert np.mean([frechet_distance(*pair) for pair in pairs]) > expected + 0.05


X, Y = np.random.default_rng(0).standard_normal((2, 60, 4))
Y = Y + 0.5


def by_double_loop(x, y):
    """Unbiased squared MMD of Gretton et al. (2012), eq. 3, pair by pair."""

    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return np.mean([(a[i] @ b[j] / a.shape[1] + 1) ** 3 for i, j in pairs])

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


def test_kernel_distance_is_the_double_sum_over_disjoint_random_blocks():
    generator = np.random.default_rng(5)
    x, y = X[generator.permutation(60)], Y[generator.permutation(60)]
    values = [by_double_loop(x[i : i + 20], y[i : i + 20]) for i in (0, 20, 40)]
    result = kernel_distance(X, Y, block_size=20, seed=5)
    assert result.value == pytest.approx(np.mean(values), rel=1e-12)
    assert result.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(3), rel=1e-10)
    assert result != kernel_distance(X, Y, block_size=20, seed=6)


def test_kernel_distance_has_no_bias_and_the_stated_error_where_the_distributions_are_one():
    generator = np.random.default_rng(1)
    result = [
        kernel_distance(*generator.standard_normal((2, 200, 6)), block_size=20) for _ in range(100)
    ]
    values = np.array([estimate.value for estimate in result])
    errors = np.array([estimate.standard_error for estimate in result])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert 0.3 < (values < 0).mean() < 0.7
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.3)
