"""Frechet distance: independent values, closed forms, invariances, moments in parts, limits."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hebae.evaluation import (
    FeatureMoments,
    frechet,
    frechet_distance,
    frechet_extrapolated,
    frechet_from_moments,
)

ORACLES = Path(__file__).parent.parent / "oracles" / "frechet.json"
CASES = [
    (np.array(case["x"]), np.array(case["y"]), case["frechet"])
    for case in json.loads(ORACLES.read_text())["frechet"]
]
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


# --- Values made by independent code ---------------------------------------------------------


@pytest.mark.parametrize(("x", "y", "expected"), CASES[:2], ids=["d4", "d16"])
def test_the_oracle(x, y, expected):
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_the_oracle_with_fewer_examples_than_features():
    """SciPy's sqrtm of a singular product is good to 2e-9 only, as the singular values tell."""
    x, y, expected = CASES[2]
    found = frechet_distance(x, y, allow_rank_deficient=True)
    assert found == pytest.approx(by_singular_values(x, y), rel=1e-12)
    assert found == pytest.approx(expected, rel=1e-8)


# --- Closed forms ----------------------------------------------------------------------------


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


@given(seeds)
def test_two_dimensions(seed):
    """tr (A B)^{1/2} = sqrt(tr AB + 2 sqrt(|A| |B|)) for A and B that do not commute."""
    x, y = pair(seed, d=2)
    A, B = np.cov(x.T), np.cov(y.T)
    root = np.sqrt(np.trace(A @ B) + 2 * np.sqrt(np.linalg.det(A) * np.linalg.det(B)))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(A + B) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-10, abs=1e-11)


@pytest.mark.parametrize("sizes", [(9, 30), (30, 9), (9, 9), (20, 21)])
def test_rank_deficient_covariances(sizes):
    generator = np.random.default_rng(0)
    x, y = (generator.standard_normal((n, 20)) + 1 for n in sizes)
    found = frechet_distance(x, y, allow_rank_deficient=True)
    assert found == pytest.approx(by_singular_values(x, y), rel=1e-12)


def test_singular_covariances_with_a_decaying_spectrum():
    """Of which eigenvalues would lose half of the digits: rank 49 of 100, and of 49 in 50."""
    generator = np.random.default_rng(0)
    for d in (50, 100):
        mixing = generator.standard_normal((d, d)) * np.exp(-np.arange(d) / 10)
        x, y = generator.standard_normal((2, 50, d)) @ mixing
        found = frechet_distance(x, y, allow_rank_deficient=True)
        assert found == pytest.approx(by_singular_values(x, y), rel=1e-11)


def test_variation_along_different_axes():
    """S_x S_y = 0: the traces add."""
    x, y = np.zeros((2, 20, 3))
    x[:, 0], y[:, 1] = np.linspace(0, 1, 20), np.linspace(0, 3, 20)
    expected = 0.5**2 + 1.5**2 + x[:, 0].var(ddof=1) + y[:, 1].var(ddof=1)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)


# --- Invariances -----------------------------------------------------------------------------


@given(seeds)
def test_symmetric(seed):
    x, y = pair(seed)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-10)


@given(seeds)
def test_a_rotation_of_both_changes_nothing(seed):
    x, y = pair(seed)
    Q = rotation(seed)
    assert frechet_distance(x @ Q, y @ Q) == pytest.approx(frechet_distance(x, y), rel=1e-10)


@given(seeds, st.floats(0.01, 100))
def test_a_scale_of_both_is_squared(seed, scale):
    x, y = pair(seed)
    expected = scale**2 * frechet_distance(x, y)
    assert frechet_distance(scale * x, scale * y) == pytest.approx(expected, rel=1e-10)


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
    found = frechet_distance(x, x, allow_rank_deficient=True)
    assert 0 <= found <= 1e-7 * x.var(axis=0).sum()


def test_constant_sets():
    """Covariances of zero: the square of the step between them."""
    x = np.ones((9, 4))
    assert frechet_distance(x, x) == 0
    assert frechet_distance(x, x + 2) == 4 * 2**2


def test_float32_and_integers_are_calculated_in_float64():
    x, y = (np.rint(100 * z) for z in pair(0))
    expected = frechet_distance(x, y)
    for dtype in (np.float32, np.int16):
        assert frechet_distance(x.astype(dtype), y.astype(dtype)) == expected


# --- Moments in parts ------------------------------------------------------------------------


@given(seeds, st.lists(st.integers(1, 30), max_size=4))
def test_batches_have_the_moments_of_the_whole(seed, cuts):
    x = pair(seed)[0]
    moments = FeatureMoments()
    for batch in np.split(x, sorted(set(cuts))):
        moments.update(batch)
    assert moments.count == len(x)
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-12, atol=1e-13)


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
        found = frechet_from_moments(merged, FeatureMoments().update(y))
        assert found == pytest.approx(frechet_distance(x, y), rel=1e-12)
    assert [part.count for part in parts] == [1, 8, 31, 0]
    np.testing.assert_array_equal(parts[0].mean, x[0])


def test_a_mean_far_from_zero_costs_no_precision():
    """Sums of squares would lose all digits here: 1e8 squared has a last digit of 2."""
    x = np.random.default_rng(0).integers(-9, 10, size=(64, 3)).astype(float)
    moments = FeatureMoments()
    for batch in np.split(x + 1e8, 16):
        moments.update(batch)
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-7)


# --- Infinitely many examples ----------------------------------------------------------------


def test_extrapolation_removes_the_bias():
    """Of one distribution: the plain distance is far above 0, the extrapolated one 0 on average."""
    generator = np.random.default_rng(0)
    pairs = [generator.standard_normal((2, 300, 8)) for _ in range(30)]
    values = np.array([frechet_extrapolated(x, y).value for x, y in pairs])
    error = values.std() / np.sqrt(len(values))
    assert min(frechet_distance(x, y) for x, y in pairs) > 6 * error
    assert abs(values.mean()) < 4 * error


def test_standard_error_is_that_of_other_examples():
    """N(0, I) and N(0, 1.5^2 I) in 8 dimensions are at 8 / 4; the error tells how far it is off."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(40):
        x, y = generator.standard_normal((2, 400, 8))
        found.append(frechet_extrapolated(x, 1.5 * y))
    z = np.array([(estimate.value - 2) / estimate.standard_error for estimate in found])
    assert abs(z.mean()) < 0.6
    assert 0.6 < z.std() < 1.6


@pytest.mark.parametrize("fix_x", [False, True])
def test_extrapolation_is_the_intercept_of_a_line_in_the_inverse_size(monkeypatch, fix_x):
    """And its error is that of least squares, over subsets that share n_x : n_y."""
    seen = []

    def recorded(a, b, **options):
        seen.append((a.count, b.count, frechet_from_moments(a, b, **options)))
        return seen[-1][-1]

    monkeypatch.setattr(frechet, "frechet_from_moments", recorded)
    (x, _), (_, y) = pair(0, n=400), pair(0, n=200)
    found = frechet_extrapolated(x, y, points=9, smallest=25, fix_x=fix_x)
    n_x, n_y, values = np.array(seen).T
    assert (n_y[0], n_y[-1], len(values)) == (200, 25, 9)
    np.testing.assert_array_equal(n_x, 400 if fix_x else 2 * n_y)
    np.testing.assert_allclose(np.diff(1 / n_y), (1 / 25 - 1 / 200) / 8, rtol=0.2)
    line = scipy.stats.linregress(1 / n_y, values)
    assert found.value == pytest.approx(line.intercept, rel=1e-10)
    assert found.standard_error == pytest.approx(line.intercept_stderr, rel=1e-10)


def test_fixed_x_keeps_its_own_bias():
    """Few x and many y: without x's subsets the limit is that of the x there are."""
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((30, 6)), generator.standard_normal((4000, 6))
    fixed = frechet_extrapolated(x, y, fix_x=True)
    truth = frechet_distance(x, sample_of(np.zeros(6), np.eye(6)))
    assert abs(fixed.value - truth) < 4 * fixed.standard_error
    assert frechet_extrapolated(x, y).value < truth / 2


def test_extrapolation_depends_on_the_seed_alone():
    x, y = pair(0, n=200)
    assert frechet_extrapolated(x, y, seed=3) == frechet_extrapolated(x, y, seed=3)
    assert frechet_extrapolated(x, y, seed=3) != frechet_extrapolated(x, y, seed=4)


# --- What is refused -------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((20, 3))


def test_d_plus_1_examples_are_enough():
    assert frechet_distance(X[:4], X[4:8]) == pytest.approx(by_singular_values(X[:4], X[4:8]))
