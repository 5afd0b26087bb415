"""The two normals against SciPy's, and the moments of their draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hebae import HebaeError
from hebae.priors import FittedNormal, StandardNormal


def codes(n: int, k: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, k)) @ generator.normal(size=(k, k)) + 3


@pytest.mark.parametrize("k", [1, 4])
def test_log_densities_are_those_of_scipy(k: int) -> None:
    z = codes(200, k)
    fitted = FittedNormal.fit(z)
    for sampler, mean, covariance in (
        (StandardNormal(k), np.zeros(k), np.eye(k)),
        (fitted, z.mean(0), np.cov(z.T, bias=True).reshape(k, k)),
    ):
        expected = multivariate_normal(mean, covariance).logpdf(z)
        np.testing.assert_allclose(sampler.log_density(z), expected, rtol=1e-9)
        assert sampler.log_density(z).dtype == np.float64


def test_the_standard_normal_draws_what_the_paper_way_always_drew() -> None:
    expected = np.random.default_rng(5).standard_normal((7, 4), dtype=np.float32)
    assert np.array_equal(StandardNormal(4).sample(7, 5), expected)


def test_a_dimension_without_variance_gets_a_millionth_of_the_mean_variance() -> None:
    z = np.column_stack([codes(500, 2), np.full(500, 7.0)])
    fitted = FittedNormal.fit(z)
    assert fitted.covariance[2, 2] == pytest.approx(1e-6 * z.var(0).mean(), rel=1e-6)
    np.testing.assert_allclose(fitted.covariance[:2, :2], np.cov(z[:, :2].T, bias=True), rtol=1e-6)
    assert np.isfinite(fitted.log_density(z)).all()
    np.testing.assert_allclose(fitted.sample(100, 0)[:, 2], 7, atol=0.05)


def test_bad_input_is_refused() -> None:
    z = codes(50, 3)
    with pytest.raises(HebaeError, match="all examples are equal"):
        FittedNormal.fit(np.full((50, 3), 0.3, dtype=np.float32))
    with pytest.raises(HebaeError, match="not finite"):
        FittedNormal.fit(z + np.nan)
    with pytest.raises(HebaeError, match=r"\(n, k\)"):
        FittedNormal.fit(z[0])
    with pytest.raises(HebaeError, match=r"3 dimensions.*has 4"):
        StandardNormal(4).log_density(z)
    with pytest.raises(HebaeError, match="at least 1"):
        StandardNormal(4).sample(0, 0)
    with pytest.raises(HebaeError, match="positive definite"):
        FittedNormal(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))
