"""Moments of codes, the aggregated posterior, divergences, and which dimensions are in use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hebae import inference
from hebae.building import build
from hebae.config import ModelSettings
from hebae.evaluation import latent
from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.latent import active_units, collapsed_share, kl_by_dimension


def posteriors(n=50, k=4):
    """Means, log-scales and a noise covariance."""
    rng = np.random.default_rng(0)
    mixing = np.eye(k) + 0.3 * rng.standard_normal((k, k))
    mean = rng.standard_normal((n, k)) @ mixing + rng.standard_normal(k)
    log_scale = 0.5 * rng.standard_normal((n, k)) - 0.5
    return mean, log_scale, np.cov(rng.standard_normal((k, 3 * k)))


def test_covariance_and_correlation_are_numpys():
    """Divided by n; two passes, so a mean far from zero costs no precision, even in float32."""
    codes = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) + np.float32(1e4)
    expected = np.cov(codes.astype(np.float64).T, bias=True)
    np.testing.assert_allclose(latent.covariance(codes), expected, rtol=1e-9)
    np.testing.assert_allclose(latent.correlation(expected), np.corrcoef(codes.T), rtol=1e-6)
    codes[:, 1] = 3.0
    result = latent.correlation(latent.covariance(codes))
    assert np.isnan(result[1]).all(), "a constant has no correlation"
    assert np.isfinite(np.delete(np.delete(result, 1, 0), 1, 1)).all()


def test_summaries_of_a_matrix_and_of_scales():
    matrix = np.array([[2.0, -0.5, np.nan], [-0.5, 0.5, 0.1], [np.nan, 0.1, 1.0]])
    assert latent.mean_absolute_off_diagonal(matrix) == pytest.approx(0.3)
    assert latent.mean_absolute_off_diagonal(np.ones((1, 1))) is None
    assert latent.variance_range(matrix) == (0.5, 2.0)
    assert latent.median_scale(np.log(np.array([[1.0, 2.0, 4.0]]))) == pytest.approx(2.0)
    assert latent.median_scale(None) is None


@pytest.mark.parametrize("method", ["hebae", "vae", "wae"])
@pytest.mark.parametrize("noise", ["cholesky", "diagonal"])
def test_a_models_draws_have_that_covariance(method, noise):
    widths = {"encoder_widths": (8,), "decoder_widths": (8,), "likelihood": "gaussian"}
    model = build(ModelSettings(method=method, noise=noise, latent_dim=2, **widths), (5,))
    model.population_covariance.copy_(torch.tensor([[1.0, -0.8], [-0.8, 2.0]]))
    values = np.random.default_rng(0).standard_normal((40_000, 5), dtype=np.float32)
    codes = inference.encode(model, values)
    z = inference.draw(model, codes, seed=0)
    expected = latent.aggregate_covariance(*codes, latent.noise_covariance(model))
    result = latent.covariance(z)
    error = 5 * np.sqrt(2 / len(z)) * expected.diagonal().max()
    np.testing.assert_allclose(result, expected, atol=error if method != "wae" else 1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e6])
def test_a_constant_dimension_has_no_finite_divergence(constant):
    codes, _, _ = posteriors(n=20_000)
    codes[:, [1, 3]] = constant
    with pytest.raises(UndefinedMetric, match=r"Dimension\(s\) 1, 3 of the code never vary"):
        latent.kl_to_standard_normal(codes.mean(axis=0), latent.covariance(codes))


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_a_singular_covariance_has_no_finite_divergence(scale):
    codes, _, _ = posteriors()
    codes[:, 2] = scale * (codes[:, 0] - codes[:, 1])
    with pytest.raises(UndefinedMetric, match="rank 3 in 4 dimensions"):
        latent.kl_to_standard_normal(codes.mean(axis=0), latent.covariance(codes))
    few = codes[:3, :]
    with pytest.raises(UndefinedMetric, match="rank 2 in 4"):
        latent.kl_to_standard_normal(few.mean(axis=0), latent.covariance(few))


def test_active_units_vary_by_more_than_the_threshold():
    step = np.array([-1.0, 1.0])[:, None]
    result = active_units(step * np.sqrt([0.009, 0.011, 0.0, 1.0]) + 5)
    np.testing.assert_array_equal(result, [False, True, False, True])
    np.testing.assert_array_equal(active_units(step * np.ones(3), 1.0), [False] * 3)


def test_divergence_by_dimension_is_that_of_the_marginals():
    mean, log_scale, N = (torch.from_numpy(array) for array in posteriors())
    marginal = Normal(mean, log_scale.exp() * N.diagonal().sqrt())
    expected = kl_divergence(marginal, Normal(0, 1)).mean(dim=0)
    result = kl_by_dimension(mean.numpy(), log_scale.numpy(), N.numpy())
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_collapsed_dimensions_are_the_priors_for_almost_all_examples():
    mean, log_scale = np.zeros((100, 4)), np.zeros((100, 4))
    log_scale[:, 1] = -1  # noise smaller than the prior's
    mean[:1, 2] = 3  # one example in a hundred is not collapsed
    mean[:2, 3] = 3  # two are
    assert collapsed_share(mean, log_scale, np.eye(4)) == 0.5
    assert collapsed_share(mean, log_scale, np.eye(4), delta=0.02) == 0.75
    assert collapsed_share(mean, log_scale, np.eye(4), delta=0) == 0.25
    assert collapsed_share(mean, log_scale, np.eye(4), epsilon=5) == 1


@pytest.mark.parametrize("measure", [kl_by_dimension, collapsed_share])
def test_no_density_no_divergence(measure):
    mean, log_scale, N = posteriors()
    with pytest.raises(UndefinedMetric, match="encoder is deterministic"):
        measure(mean, None, N)
    N[2] = N[:, 2] = 0
    with pytest.raises(UndefinedMetric, match=r"no variance in dimension\(s\) 2"):
        measure(mean, log_scale, N)
