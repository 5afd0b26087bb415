"""Covariance, correlation and scale of codes."""

from __future__ import annotations

import numpy as np
import pytest

from hebae.evaluation import latent


def test_covariance_is_numpys_divided_by_n() -> None:
    codes = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) + 100
    expected = np.cov(codes.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(latent.covariance(codes), expected, rtol=1e-6, atol=1e-9)


def test_correlation_is_numpys_and_nan_where_a_dimension_never_varies() -> None:
    codes = np.random.default_rng(0).normal(size=(50, 4))
    found = latent.correlation(latent.covariance(codes))
    np.testing.assert_allclose(found, np.corrcoef(codes.T), rtol=1e-12)
    codes[:, 1] = 3.0
    found = latent.correlation(latent.covariance(codes))
    assert np.isnan(found[1]).all()
    assert np.isfinite(np.delete(np.delete(found, 1, 0), 1, 1)).all()


def test_mean_absolute_off_diagonal_leaves_out_the_diagonal_and_what_is_undefined() -> None:
    matrix = np.array([[1.0, -0.5, np.nan], [-0.5, 1.0, 0.1], [np.nan, 0.1, 1.0]])
    assert latent.mean_absolute_off_diagonal(matrix) == pytest.approx(0.3)
    assert latent.mean_absolute_off_diagonal(np.ones((1, 1))) is None


def test_median_scale_is_of_sigma_and_none_without_noise() -> None:
    assert latent.median_scale(np.log(np.array([[1.0, 2.0, 4.0]]))) == pytest.approx(2.0)
    assert latent.median_scale(None) is None
