"""Statistics of codes against N(0, I): definitions, invariances, and what normal codes give."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.normality import (
    energy_distance_to_normal,
    kolmogorov_smirnov,
    mardia,
    mean_distance_to_normal,
    sliced_wasserstein_to_normal,
)

seeds = st.integers(0, 2**32 - 1)
AGAINST_STANDARD = [kolmogorov_smirnov, energy_distance_to_normal, sliced_wasserstein_to_normal]


def normal(n=100, k=3, seed=0):
    return np.random.default_rng(seed).standard_normal((n, k))


def rotation(seed, k=3):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((k, k)))[0]


@pytest.mark.parametrize(
    ("statistic", "n", "k", "samples"),
    [
        (kolmogorov_smirnov, 20, 1, 100),
        (kolmogorov_smirnov, 100, 4, 100),
        (lambda codes: mardia(codes).kurtosis, 50, 1, 400),
        (lambda codes: mardia(codes).kurtosis, 150, 4, 400),
        (lambda codes: mardia(codes).skewness, 400, 1, 400),
        (lambda codes: mardia(codes).skewness, 150, 4, 400),
        (energy_distance_to_normal, 60, 4, 100),
        (energy_distance_to_normal, 50, 120, 100),
        (partial(sliced_wasserstein_to_normal, directions=20, replicates=100), 60, 3, 50),
    ],
)
def test_normal_codes_have_the_stated_mean_and_spread(statistic, n, k, samples):
    stated = statistic(normal(n, k))
    values = np.array([statistic(normal(n, k, seed=1 + s)).value for s in range(samples)])
    error = values.std() / math.sqrt(samples)
    assert values.mean() == pytest.approx(stated.normal_mean, abs=4 * error)
    # The spread of `samples` normal values has a relative error of 1 / sqrt(2 samples).
    assert values.std() == pytest.approx(stated.normal_spread, rel=4 / math.sqrt(2 * samples))


@pytest.mark.parametrize("statistic", AGAINST_STANDARD)
@pytest.mark.parametrize(
    "change", [lambda x: x + 0.3, lambda x: 1.3 * x, lambda x: np.sign(x) * 0.9 + 0.1 * x]
)
def test_codes_of_another_distribution_stand_out(statistic, change):
    result = statistic(change(normal(1000)))
    assert result.standard_score > 6
    assert result.count == 1000


def test_kolmogorov_smirnov_with_holms_correction():
    codes = normal(60, 4) + np.array([0, 0.35, 0.4, 0.5])
    tests = [stats.kstest(column, "norm") for column in codes.T]
    result = kolmogorov_smirnov(codes)
    assert result.value == max(test.statistic for test in tests)
    p = sorted(test.pvalue for test in tests)
    assert result.smallest_p_value == pytest.approx(min(1, 4 * p[0]))
    step_down = 0
    while step_down < 4 and p[step_down] < 0.05 / (4 - step_down):
        step_down += 1
    assert result.rejected == step_down
    assert 0 < result.rejected < 4 == result.dimensions
    assert kolmogorov_smirnov(codes, level=1e-9).rejected == 0


def test_mardia_by_definition():
    """The double sum over Mahalanobis products, and the fourth power of the norm."""
    codes = np.random.default_rng(0).exponential(size=(40, 3))
    centred = codes - codes.mean(axis=0)
    products = centred @ np.linalg.inv(np.cov(codes.T, bias=True)) @ centred.T
    result = mardia(codes)
    assert result.skewness.value == pytest.approx((products**3).mean(), rel=1e-10)
    assert result.kurtosis.value == pytest.approx((np.diag(products) ** 2).mean(), rel=1e-10)


@given(seeds)
def test_no_affine_map_changes_mardias_statistics(seed):
    codes = np.random.default_rng(seed).exponential(size=(40, 3))
    expected = mardia(codes)
    scales = np.array([1e-3, 1.0, 1e3])
    result = mardia(codes @ rotation(seed) @ (scales * rotation(seed + 1)) + 7)
    assert result.skewness.value == pytest.approx(expected.skewness.value, rel=1e-6)
    assert result.kurtosis.value == pytest.approx(expected.kurtosis.value, rel=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 20, 64])
def test_mean_distance_to_normal_is_the_hypergeometric_function(k):
    radius = np.concatenate([[0], np.geomspace(1e-3, 1e3, 30)])
    at_zero = math.sqrt(2) * math.exp(math.lgamma((k + 1) / 2) - math.lgamma(k / 2))
    expected = at_zero * special.hyp1f1(-0.5, k / 2, -(radius**2) / 2)
    np.testing.assert_allclose(mean_distance_to_normal(radius, k), expected, rtol=1e-12)


def test_energy_distance_by_definition():
    """In one dimension 2 int (F - Phi)^2, minus F's own variance."""
    codes = 0.5 + 2 * normal(30, 1)
    t = np.linspace(-20, 20, 400_001)
    F = np.searchsorted(np.sort(codes[:, 0]), t, side="right") / 30
    biased = 2 * integrate.trapezoid((F - stats.norm.cdf(t)) ** 2, t)
    pairs = np.abs(codes - codes.T).sum()
    expected = biased + pairs / 30**2 - pairs / (30 * 29)
    assert energy_distance_to_normal(codes).value == pytest.approx(expected, abs=1e-4)


def test_sliced_wasserstein_by_quantiles():
    """In one dimension, the integral of (F^-1 - Phi^-1)^2."""
    codes = 0.5 + 2 * normal(20, 1)
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    quantile = np.sort(codes[:, 0])[(u * 20).astype(int)]
    expected = math.sqrt(((quantile - stats.norm.ppf(u)) ** 2).mean())
    # A direction is +1 or -1: both ways are taken, and have a mean between them.
    mirrored = math.sqrt(((quantile + stats.norm.ppf(u)[::-1]) ** 2).mean())
    result = sliced_wasserstein_to_normal(codes, directions=7).value
    assert min(expected, mirrored) - 1e-6 <= result <= max(expected, mirrored) + 1e-6


def test_mardia_needs_enough_codes_and_a_covariance_of_full_rank():
    codes = normal()
    codes[:, 2] = 1e-5 * codes[:, 0]
    with pytest.raises(UndefinedMetric, match="rank 2 in 3 dimensions"):
        mardia(codes)
    with pytest.raises(UndefinedMetric, match="at least 5 codes"):
        mardia(normal(4))
    assert mardia(normal(5)).skewness.value > 0
