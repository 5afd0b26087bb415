"""DIP-VAE I and II and the beta-TCVAE, against NumPy, SciPy and closed forms."""

import math

import numpy as np
import pytest
import torch
from calls import terms_of
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from hebae.objectives import DIPVAEI, DIPVAEII, VAE, BetaTCVAE
from hebae.priors import StandardNormal


def close(actual, expected, tolerance=1e-10):
    assert float(actual) == pytest.approx(float(expected), rel=tolerance, abs=tolerance)


def loss(objective, terms):
    return sum(weight * terms[name] for name, weight in objective.weights.items())


# --- DIP-VAE --------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [DIPVAEI(penalty_weight=3.0), DIPVAEII(penalty_weight=3.0)])
def test_the_loss_of_a_dip_vae_is_that_of_the_paper(objective, batch):
    """KL + lambda_od sum_{i != j} S_ij^2 + lambda_d sum_i (S_ii - 1)^2, entry by entry.

    S of type II by the second moment of the mixture of posteriors, not by the total variance.
    """
    mean, log_scale, _ = batch(9, 4)
    terms = terms_of(objective, mean, log_scale)
    mu, sigma = mean.numpy(), log_scale.exp().numpy()
    S = np.cov(mu.T, bias=True)
    if isinstance(objective, DIPVAEII):
        second = sum(np.outer(m, m) + np.diag(s**2) for m, s in zip(mu, sigma, strict=True)) / 9
        S = second - np.outer(mu.mean(0), mu.mean(0))
    expected = float(terms_of(VAE(), mean, log_scale)["kl"])
    factor = 1.0 if isinstance(objective, DIPVAEII) else 10.0
    for i in range(4):
        for j in range(4):
            expected += 3 * factor * (S[i, i] - 1) ** 2 if i == j else 3 * S[i, j] ** 2
    close(loss(objective, terms), expected)


@pytest.mark.parametrize(("objective", "scale"), [(DIPVAEI(), 1.0), (DIPVAEII(), 0.6)])
def test_white_codes_are_not_penalised(objective, scale):
    """Covariance I: of the means in type I, of the means and the noise together in type II."""
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).double()
    mean = corners if objective == DIPVAEI() else math.sqrt(1 - scale**2) * corners
    terms = terms_of(objective, mean, torch.full_like(mean, math.log(scale)))
    close(terms["off_diagonal"], 0)
    close(terms["diagonal"], 0)


# --- beta-TCVAE -----------------------------------------------------------------------------------


def test_terms_of_the_tcvae_are_those_of_scipy(batch):
    mean, log_scale, epsilon = batch(7, 3)
    z, terms = BetaTCVAE()(mean, log_scale, {"posterior": epsilon}, StandardNormal(3))
    mu, sigma, codes = mean.numpy(), log_scale.exp().numpy(), z.numpy()
    own, joint, marginal = [], [], []
    for i in range(7):
        densities = [norm.logpdf(codes[i], mu[n], sigma[n]) for n in range(7)]
        own.append(densities[i].sum())
        joint.append(logsumexp([d.sum() for d in densities]) - np.log(7))
        marginal.append(sum(logsumexp([d[j] for d in densities]) - np.log(7) for j in range(3)))
    log_p = multivariate_normal(np.zeros(3)).logpdf(codes)
    close(terms["information"], np.mean(own) - np.mean(joint))
    close(terms["total_correlation"], np.mean(joint) - np.mean(marginal))
    close(terms["marginal_kl"], np.mean(marginal) - log_p.mean())


def test_total_correlation_of_a_normal_distribution():
    """``-1/2 log(1 - rho^2)`` of two codes with correlation rho, here by 3,000 posteriors."""
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(torch.tensor([[0.75, 0.6], [0.6, 0.75]]).double())
    draws = torch.randn(2, 3000, 2, generator=generator, dtype=torch.float64)
    noise = {"posterior": draws[1]}
    log_scale = torch.full((3000, 2), 0.5 * math.log(0.25)).double()
    mean = draws[0] @ root.mT
    objective = BetaTCVAE()
    _, terms = objective(mean, log_scale, noise, StandardNormal(2))
    close(terms["total_correlation"], -0.5 * math.log(1 - 0.6**2), 0.05)
    close(terms["marginal_kl"], 0, 0.05)  # each code is standard normal
    information = 0.5 * math.log((1 - 0.6**2) / 0.25**2)  # (log |Cov(z)| - log |noise|) / 2
    close(terms["information"], information, 0.05)


def test_at_weight_1_the_tcvae_is_the_vae(batch):
    """The three terms sum to the mean of log q(z | x) - log p(z), the KL's integrand."""
    mean, log_scale, epsilon = batch(6, 2)
    objective = BetaTCVAE(penalty_weight=1.0)
    z, terms = objective(mean, log_scale, {"posterior": epsilon}, StandardNormal(2))
    log_q = norm.logpdf(z.numpy(), mean.numpy(), log_scale.exp().numpy()).sum(1)
    close(loss(objective, terms), (log_q - norm.logpdf(z.numpy()).sum(1)).mean())


def test_constant_codes_have_no_information_and_no_correlation():
    terms = terms_of(BetaTCVAE(), torch.ones(5, 3).double(), torch.zeros(5, 3).double())
    close(terms["information"], 0)
    close(terms["total_correlation"], 0)
