"""Moments, divergences and the noise floor, against NumPy, torch.distributions and simulation."""

import math

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import oas
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from hebae import gaussian

seeds = st.integers(0, 2**32 - 1)


def same(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def rate_of(Sigma, C, log_scale):
    return gaussian.noise_rate(
        gaussian.cholesky(C), gaussian.log_determinant(gaussian.cholesky(Sigma)), log_scale
    )


# --- Values made by independent code ---------------------------------------------------------


def test_moments_match_the_oracle(oracle):
    beta, Sigma = gaussian.batch_moments(oracle["mu"])
    oracle.check("beta", beta)
    oracle.check("sigma_matrix", Sigma)


def test_theorem_1_matches_the_oracle(oracle):
    """mean_i KL(N(mu_i, D Sigma D) || N(mu_i, D^2)) is penalty - beta.beta/2, whatever D."""
    beta, Sigma = oracle["beta"], oracle["sigma_matrix"]
    divergence = gaussian.kl_to_standard_normal(torch.zeros_like(beta), Sigma)
    oracle.check("theorem1_lhs_mean", divergence)
    penalty = gaussian.kl_to_standard_normal(beta, Sigma)
    gap = penalty - divergence - beta.square().sum() / 2
    assert abs(oracle.values["theorem1_gap"]) < 1e-11
    assert abs(gap) <= {torch.float64: 1e-10, torch.float32: 1e-4}[oracle.dtype] * penalty


def test_aggregate_covariance_divergence_and_rate_match_the_oracle(oracle):
    """KL(N(beta, C) || N(0, I)) + R = mean_i KL(q(z | x_i) || N(0, I))."""
    beta, Sigma, log_scale = oracle["beta"], oracle["sigma_matrix"], oracle["log_scale"]
    C = gaussian.aggregate_covariance(Sigma, Sigma, log_scale)
    divergence = gaussian.kl_to_standard_normal(beta, C)
    rate = rate_of(Sigma, C, log_scale)
    oracle.check("aggregate_covariance", C)
    oracle.check("aggregate_kl", divergence)
    oracle.check("rate", rate)
    oracle.check("hebae_kl_to_standard_normal_mean", divergence + rate)


# --- Moments -----------------------------------------------------------------------------------


def test_moments_of_codes_far_from_zero_keep_their_precision_in_float32(batch):
    """The mean goes first: sum of squares minus square of sum would lose all digits here."""
    mean = batch(64, 3)[0]
    _, expected = gaussian.batch_moments(mean)
    _, Sigma = gaussian.batch_moments((mean + 3000).float())
    assert (Sigma - expected).norm() < 1e-3 * expected.norm()


def test_shapes_are_checked_at_run_time():
    """The import hook of conftest is at work: a vector is no batch, one k is not another."""
    with pytest.raises(jaxtyping.TypeCheckError):
        gaussian.batch_moments(torch.zeros(3))
    with pytest.raises(jaxtyping.TypeCheckError):
        gaussian.batch_moments(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(jaxtyping.TypeCheckError):
        gaussian.kl_to_standard_normal(torch.zeros(3), torch.eye(2))


# --- Cholesky factor and divergences ---------------------------------------------------------


@given(seed=seeds, k=st.integers(1, 8))
def test_factor_is_lower_triangular_and_its_square_is_the_covariance(batch, seed, k):
    _, Sigma = gaussian.batch_moments(batch(4 * k + 4, k, seed)[0])
    R = gaussian.cholesky(Sigma)
    same(R @ R.mT, Sigma)
    assert (R.triu(1) == 0).all()
    assert (R.diagonal() > 0).all()
    same(gaussian.log_determinant(R), torch.logdet(Sigma))


def test_factor_of_an_indefinite_matrix_is_nan_and_leaves_the_stack_alone():
    """One model of many may fail without stopping the others, and without an exception."""
    stack = torch.stack([torch.eye(3), -torch.eye(3), 4 * torch.eye(3)])
    factors = torch.func.vmap(gaussian.cholesky)(stack)
    assert factors[1].isnan().all()
    same(factors[0], torch.eye(3))
    same(factors[2], 2 * torch.eye(3))
    assert gaussian.kl_to_standard_normal(torch.zeros(3), stack[1]).isnan()


@given(seed=seeds, k=st.integers(1, 8))
def test_divergence_is_that_of_torch_distributions(batch, seed, k):
    beta, Sigma = gaussian.batch_moments(batch(4 * k + 4, k, seed)[0])
    standard = MultivariateNormal(torch.zeros(k).double(), torch.eye(k).double())
    expected = kl_divergence(MultivariateNormal(beta, Sigma), standard)
    same(gaussian.kl_to_standard_normal(beta, Sigma), expected)
    same(gaussian.kl_from_factor(beta, torch.linalg.cholesky(Sigma)), expected)


def test_divergence_has_the_right_gradient(batch):
    """Half of (I - Sigma^-1), and beta; by finite differences as well."""
    beta, Sigma = gaussian.batch_moments(batch(20, 3)[0])
    beta.requires_grad_()
    Sigma.requires_grad_()
    gradients = torch.autograd.grad(gaussian.kl_to_standard_normal(beta, Sigma), (beta, Sigma))
    same(gradients[0], beta.detach())
    same(gradients[1], (torch.eye(3).double() - torch.linalg.inv(Sigma.detach())) / 2)

    def of_symmetric(beta, A):
        return gaussian.kl_to_standard_normal(beta, (A + A.mT) / 2)

    assert torch.autograd.gradcheck(of_symmetric, (beta, Sigma))


@pytest.mark.parametrize("scale", ["vector", "scalar"])
@given(seed=seeds, m=st.integers(1, 10), k=st.integers(1, 8))
def test_mean_divergence_of_the_vae_is_that_of_torch_distributions(batch, scale, seed, m, k):
    mean, log_scale, _ = batch(m, k, seed, scale)
    posterior = Normal(mean, log_scale.exp().expand_as(mean))
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = kl_divergence(posterior, standard).sum(1).mean()
    same(gaussian.mean_kl_to_standard_normal(mean, log_scale), expected)


@pytest.mark.parametrize("log_scale", [2**-9, -(2**-9), 3 * 2**-10, -5 * 2**-11])
def test_mean_divergence_keeps_its_digits_near_the_prior_in_float32(log_scale):
    """sigma^2 - 1 - log sigma^2 is about 2 l^2 at l = log sigma: 1 must not swallow it."""
    kl = gaussian.mean_kl_to_standard_normal(torch.zeros(1, 1), torch.full((1, 1), log_scale))
    expected = (math.expm1(2 * log_scale) - 2 * log_scale) / 2
    assert float(kl) == pytest.approx(expected, rel=1e-3)


# --- The noise floor ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "k", "floor"), [(128, 20, 0.9535), (100, 64, 14.38), (1000, 64, 1.096)]
)
def test_floor_has_the_known_values(m, k, floor):
    digits = len(str(floor).split(".")[1])
    assert round(gaussian.penalty_floor(m, k), digits) == floor


@pytest.mark.parametrize(("m", "k"), [(128, 20), (6, 2), (10, 8)])
def test_floor_is_the_mean_penalty_of_standard_normal_codes(m, k):
    generator = torch.Generator().manual_seed(1)
    codes = torch.randn(1000, m, k, generator=generator, dtype=torch.float64)
    penalties = torch.func.vmap(
        lambda mean: gaussian.kl_to_standard_normal(*gaussian.batch_moments(mean))
    )(codes)
    error = penalties.std() / math.sqrt(len(penalties))
    assert abs(penalties.mean() - gaussian.penalty_floor(m, k)) < 4 * error
    assert error < 0.05 * penalties.mean()  # so that the line above says something


@pytest.mark.parametrize(("m", "k"), [(20, 20), (5, 21), (0, 1), (10, 0), (10, -1)])
def test_floor_refuses_impossible_sizes(m, k):
    with pytest.raises(ValueError, match=f" {k}[:;]"):
        gaussian.penalty_floor(m, k)


# --- Shrinkage ------------------------------------------------------------------------------------


def weight_of(Sigma, shrunk):
    """The weight w of (1 - w) Sigma + w tr(Sigma)/k I, by projection."""
    k = len(Sigma)
    target = Sigma.diagonal().mean() * torch.eye(k, dtype=Sigma.dtype)
    return float(((shrunk - Sigma) * (target - Sigma)).sum() / (target - Sigma).square().sum())


@given(seed=seeds, m=st.integers(2, 60), k=st.integers(2, 12))
def test_shrinkage_weight_is_that_of_oas(batch, seed, m, k):
    """Chen et al. (2010), eq. 23; scikit-learn leaves out the terms 2/k, which bounds the ratio."""
    mean = batch(m, k, seed)[0]
    _, Sigma = gaussian.batch_moments(mean)
    shrunk = gaussian.shrink(Sigma, m)
    S = Sigma.numpy()
    square, trace = np.trace(S @ S), np.trace(S)
    weight = ((1 - 2 / k) * square + trace**2) / ((m + 1 - 2 / k) * (square - trace**2 / k))
    assert weight_of(Sigma, shrunk) == pytest.approx(min(weight, 1), rel=1e-6)
    mean_square = np.eye(k) * trace / k
    np.testing.assert_allclose(
        shrunk, (1 - min(weight, 1)) * S + min(weight, 1) * mean_square, rtol=1e-8, atol=1e-10
    )
    _, others = oas(mean.numpy())
    assert (1 - 2 / k) * others - 1e-9 <= weight_of(Sigma, shrunk)
    assert weight_of(Sigma, shrunk) <= others / (1 - 2 / (k * (m + 1))) + 1e-9


@given(seed=seeds, m=st.integers(2, 12), k=st.integers(1, 12))
def test_shrinkage_keeps_the_trace_and_makes_any_covariance_positive_definite(batch, seed, m, k):
    _, Sigma = gaussian.batch_moments(batch(m, k, seed)[0])
    shrunk = gaussian.shrink(Sigma, m)
    same(shrunk.trace(), Sigma.trace())
    assert torch.linalg.eigvalsh(shrunk).min() > 0


@pytest.mark.parametrize("k", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("variance", [0.1, 0.7, 3.0])
def test_shrinkage_leaves_a_multiple_of_the_identity_as_it_is(dtype, k, variance):
    """Sigma is the target, so any weight would do; 0/0 must not appear, nor in the gradient."""
    Sigma = (variance * torch.eye(k, dtype=dtype)).requires_grad_()
    shrunk = gaussian.shrink(Sigma, 5)
    torch.testing.assert_close(shrunk, Sigma)
    (gradient,) = torch.autograd.grad(shrunk.trace(), Sigma)
    torch.testing.assert_close(gradient, torch.eye(k, dtype=dtype))


@pytest.mark.parametrize("m", [2, 4, 12])
def test_shrinkage_has_the_right_gradient(batch, m):
    mean = batch(m, 3)[0].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda mean: gaussian.shrink(gaussian.batch_moments(mean)[1], m), (mean,)
    )
