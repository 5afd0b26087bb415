"""I(i; z) against quadrature, torch.distributions, bounds and limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hebae import gaussian, inference
from hebae.building import build
from hebae.config import ModelSettings
from hebae.evaluation.information import log_ratio, mutual_information, posterior_information
from hebae.evaluation.posterior import Posteriors

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def posteriors(batch):
    """Means, log-scales and a noise factor, in float64."""

    def make(seed=0, n=60, one_scale=False):
        mean, log_scale, _ = batch(n, 3, seed, "scalar" if one_scale else "vector")
        return mean, log_scale - 0.5, torch.linalg.cholesky(torch.cov(batch(12, 3, seed)[2].mT))

    return make


@pytest.mark.parametrize(("distance", "scales"), [(1.0, (1.0, 1.0)), (2.0, (0.5, 2.0))])
def test_two_posteriors_match_quadrature(distance, scales):
    """(1/2) sum_i int q_i log(q_i / q), also where many examples share the two posteriors."""
    z = np.linspace(-30, 30, 200_001)
    density = np.array(
        [
            np.exp(-((z - mu) ** 2) / (2 * s**2)) / (s * math.sqrt(2 * math.pi))
            for mu, s in zip((0.0, distance), scales, strict=True)
        ]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        integrand = np.nan_to_num(density * np.log(density / density.mean(0)))
    expected = integrand.sum() * (z[1] - z[0]) / 2

    mean = torch.tensor([[0.0], [distance]], dtype=torch.float64).repeat(500, 1)
    log_scale = torch.tensor(scales, dtype=torch.float64).log()[:, None].repeat(500, 1)
    result = posterior_information(mean, log_scale, draws=20)
    assert result.standard_error < 0.01
    assert result.value == pytest.approx(expected, abs=4 * result.standard_error)


@given(seed=seeds, one_scale=st.booleans())
def test_information_stays_below_log_n_and_the_noise_rate(posteriors, seed, one_scale):
    """I <= log N and I <= mean_i KL(q(z | x_i) || N(beta, C)), within the estimate's error."""
    mean, log_scale, L = posteriors(seed, one_scale=one_scale)
    result = posterior_information(mean, log_scale, L, draws=10)
    assert result.ceiling == math.log(60)
    assert result.value <= result.ceiling
    _, Sigma = gaussian.batch_moments(mean)
    C = gaussian.aggregate_covariance(L @ L.mT, Sigma, log_scale)
    rate = gaussian.noise_rate(gaussian.cholesky(C), gaussian.log_determinant(L), log_scale)
    assert result.value <= float(rate) + 4 * result.standard_error


@pytest.mark.parametrize("log_scale", [-10.0, -60.0, -700.0])
def test_examples_far_apart_are_distinguished(posteriors, log_scale):
    """Also where the noise drowns in the rounding of the mean."""
    mean, _, L = posteriors()
    result = posterior_information(mean + 1000, torch.full((60, 3), log_scale), L)
    assert result.value == pytest.approx(math.log(60), abs=1e-12)
    assert result.value <= result.ceiling


def test_examples_with_one_posterior_cannot_be_distinguished(posteriors):
    mean, log_scale, L = posteriors()
    result = posterior_information(mean[:1].repeat(60, 1), log_scale[:1].repeat(60, 1), L)
    assert (result.value, result.standard_error) == pytest.approx((0, 0), abs=1e-12)


def test_a_deterministic_code_has_the_entropy_of_its_values(posteriors):
    mean, _, _ = posteriors(n=7)
    assert posterior_information(mean, None).value == math.log(7)
    shared = posterior_information(mean[[0, 1, 1, 2, 2, 2]], None)
    p = np.array([1, 2, 3]) / 6
    assert shared.value == pytest.approx(-(p * np.log(p)).sum())
    assert (shared.standard_error, shared.ceiling) == (0, math.log(6))


@given(
    seed=seeds,
    sigma=st.sampled_from([1e-12, 1e-7, 1e-4, 1e-2, 1.0]),
    condition=st.sampled_from([1.0, 1e3, 1e6]),
    distance=st.sampled_from([0.0, 1.0, 1e4]),
)
def test_products_lose_no_digits_that_count(seed, sigma, condition, distance):
    """The same as from z - mu_j of every pair, for codes that overlap and codes that do not."""
    generator = torch.Generator().manual_seed(seed)
    n, k = 50, 4

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    spread = torch.logspace(0, -math.log10(condition), k, dtype=torch.float64)
    basis, _ = torch.linalg.qr(normal(k, k))
    L = torch.linalg.cholesky(basis * spread @ basis.mT)
    # Pairs of near neighbours, a few posterior widths apart; some scales far from the others'.
    mean = normal(n // 2, k).repeat(2, 1) * L.diagonal() + sigma * normal(n, k) @ L.mT
    mean = mean + distance * normal(k)
    log_scale = math.log(sigma) + 0.3 * normal(n, k)
    log_scale[:5] -= 8
    posteriors = Posteriors.checked(mean, log_scale, L)
    z, _ = posteriors.draw(normal(n, k))
    pairs = torch.cartesian_prod(torch.arange(n), torch.arange(n))
    each = posteriors[pairs[:, 1]].log_density(z[pairs[:, 0]]).reshape(n, n)
    expected = each.diagonal() - each.logsumexp(dim=1)
    torch.testing.assert_close(
        log_ratio(posteriors, z, 16), expected.clamp(max=0), rtol=1e-9, atol=2e-8
    )


@pytest.mark.parametrize("method", ["hebae", "vae", "wae"])
def test_a_model_has_the_information_of_its_posteriors(method):
    widths = {"encoder_widths": (8,), "decoder_widths": (8,), "likelihood": "gaussian"}
    model = build(ModelSettings(method=method, latent_dim=3, **widths), (5,))
    factor = torch.tensor([[1.0, 0, 0], [2, 1, 0], [0, -3, 2]])
    model.population_covariance.copy_(factor @ factor.mT)
    x = np.random.default_rng(0).standard_normal((100, 5), dtype=np.float32)
    L = {"hebae": factor.double(), "vae": torch.eye(3), "wae": None}[method]
    expected = posterior_information(*inference.encode(model, x), L, draws=2, seed=5)
    result = mutual_information(model, x, draws=2, seed=5)
    assert result.value == pytest.approx(expected.value, rel=1e-9)
    assert result.ceiling == math.log(100)


@pytest.mark.parametrize("block", [1, 7, 60, 1000])
def test_the_units_of_the_code_and_the_size_of_blocks_do_not_matter(posteriors, block):
    """I(i; a z + b) = I(i; z)."""
    mean, log_scale, L = posteriors()
    unit = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)
    expected = posterior_information(mean, log_scale, L)
    result = posterior_information(mean * unit + 5, log_scale + unit.log(), L, block=block)
    assert result.value == pytest.approx(expected.value, rel=1e-9)
    assert result.standard_error == pytest.approx(expected.standard_error, rel=1e-9)


def test_the_seed_decides_and_the_standard_error_tells_how_much():
    """Where all examples are alike, the error is that of the draws alone."""
    mean = torch.tensor([[0.0], [1.5]], dtype=torch.float64).repeat(100, 1)
    scale = torch.zeros(200, 1)
    estimates = [posterior_information(mean, scale, seed=seed) for seed in range(60)]
    assert estimates[3] == posterior_information(mean, scale, seed=3)
    spread = np.std([estimate.value for estimate in estimates], ddof=1)
    assert spread == pytest.approx(estimates[0].standard_error, rel=0.35)
    many = posterior_information(mean, scale, draws=16)
    assert many.standard_error == pytest.approx(estimates[0].standard_error / 4, rel=0.35)
