"""Bounds on log p(x) against linear-Gaussian models, where log p(x) and q(z | x) are known."""

import math

import numpy as np
import pytest
import torch
from linear_gaussian import LinearGaussian, MixtureLinearGaussian
from torch.distributions import MultivariateNormal, kl_divergence

from hebae import VAE, HebaeError, data
from hebae.building import build
from hebae.config import ModelSettings
from hebae.errors import UndefinedMetric
from hebae.evaluation import bits_per_dimension, elbo, fit_width, iwae
from hebae.evaluation.posterior import Posteriors, posteriors_of
from hebae.objectives import HEBAE


@pytest.fixture(scope="module")
def linear():
    return LinearGaussian()


@pytest.fixture(scope="module")
def images():
    return data.load("mnist-mini").test.values[:20]


def small(method="vae", likelihood="continuous_bernoulli"):
    widths = {"encoder_widths": (8,), "decoder_widths": (8,)}
    settings = ModelSettings(method=method, latent_dim=3, likelihood=likelihood, **widths)
    return build(settings, (1, 28, 28)).eval()


def assert_mean(differences, expected, sigmas=4):
    error = np.std(differences, ddof=1) / math.sqrt(len(differences))
    assert abs(np.mean(differences) - expected) < sigmas * error


def test_the_exact_posterior_gives_log_p_from_any_number_of_samples(linear):
    result = iwae(linear.model(), linear.x, samples=3)
    np.testing.assert_allclose(result.per_example, linear.exact, atol=1e-5)
    assert result.effective_sample_size == pytest.approx(1)
    assert result.value == pytest.approx(linear.exact.mean())
    error = linear.exact.std(ddof=1) / math.sqrt(len(linear.x))
    assert result.standard_error == pytest.approx(error)


@pytest.mark.parametrize(
    ("method", "log_scale"), [("hebae", 0.0), ("hebae", 0.3), ("vae", 0.0), ("vae", -0.5)]
)
def test_the_elbo_falls_short_by_the_divergence_from_the_exact_posterior(linear, method, log_scale):
    """log p(x) - ELBO = KL(q(z | x) || p(z | x)); HEBAE's q is exact at scale 0."""
    model = linear.model(method, log_scale)
    result = elbo(model, linear.x, draws=300)
    q, _ = normals(posteriors_of(model, linear.x[:2]))
    posterior = MultivariateNormal(q.mean, linear.posterior_covariance)
    gap = float(kl_divergence(q, posterior)[0])
    assert gap > 0.1 or (method, log_scale) == ("hebae", 0.0)
    assert_mean(linear.exact - result.per_example, gap)
    assert result.value == pytest.approx(-(result.reconstruction.value + result.kl.value))
    assert result.samples == 300


def test_bounds_rise_from_the_elbo_to_log_p():
    """By more than four standard errors of the paired differences, except at the last step."""
    linear = LinearGaussian(n=400)
    model = linear.model("vae", 0.5)
    bounds = [elbo(model, linear.x)]
    bounds += [iwae(model, linear.x, samples=samples) for samples in (3, 10, 100)]
    steps = np.diff([bound.per_example for bound in bounds], axis=0)
    errors = steps.std(axis=1, ddof=1) / math.sqrt(400)
    assert (steps.mean(axis=1) > 4 * errors).all()
    shortfall = linear.exact - bounds[-1].per_example
    assert shortfall.mean() > -4 * shortfall.std(ddof=1) / math.sqrt(400)


def test_bounds_use_the_models_own_prior():
    """With p(z) = N(m, A A^T): log p(x), and the divergence from p(z), in closed form."""
    linear = LinearGaussian(n=200, prior=True)
    model = linear.model()
    assert not np.allclose(linear.exact, LinearGaussian(n=200).exact, atol=1)
    result = iwae(model, linear.x, samples=3)
    np.testing.assert_allclose(result.per_example, linear.exact, atol=1e-5)
    bound = elbo(model, linear.x, draws=300)
    assert_mean(linear.exact - bound.per_example, 0)
    # The divergence by Monte Carlo: the exact one of the linear-Gaussian posterior and prior.
    q, _ = normals(posteriors_of(model, linear.x))
    expected = kl_divergence(q, linear.prior_distribution).mean()
    assert bound.kl.value == pytest.approx(float(expected), abs=0.05)
    width = fit_width(linear.model("wae"), linear.x, samples=1, steps=200, batch_size=32)
    assert np.abs(np.log(width / linear.best_width.numpy())).mean() < 0.1


def test_without_its_whitening_term_the_loss_is_the_negative_elbo():
    """HEBAE, gamma = 1, a learned prior: reconstruction and rate are the bound for any lambda."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linear = MixtureLinearGaussian(n=200)
    model = linear.model()
    model.objective = HEBAE(penalty_weight=7.0, rate_weight=1.0)
    with torch.no_grad():
        model.encoder.bias[model.latent_dim :] = -0.3
    x = torch.from_numpy(linear.x)
    mean = model.encode(x)[0].detach()
    model.population_covariance.copy_(torch.cov(mean.mT, correction=0))  # as the batch's
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(500):
        noise = {"posterior": torch.randn(mean.shape, generator=generator, dtype=mean.dtype)}
        step = model(x, noise)
        losses.append(float(step.loss.detach() - 7.0 * step.terms["aggregate"]))
    bound = elbo(model, linear.x, draws=500)
    error = np.std(losses, ddof=1) / math.sqrt(len(losses))
    assert abs(np.mean(losses) + bound.value) < 6 * error  # both are means of as many draws
    assert error < 0.05


def normals(posteriors):
    factors = posteriors.scale[:, :, None] * posteriors.factor
    k = posteriors.mean.shape[1]
    prior = MultivariateNormal(torch.zeros(k).double(), torch.eye(k).double())
    return MultivariateNormal(posteriors.mean, scale_tril=factors), prior


@pytest.mark.parametrize("one_scale", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_posteriors_match_torch_distributions(batch, one_scale, full):
    mean, log_scale, epsilon = batch(30, 4, scale="scalar" if one_scale else "vector")
    L = torch.linalg.cholesky(torch.cov(batch(20, 4, seed=1)[0].mT)) if full else None
    posteriors = Posteriors.checked(mean, log_scale, L)
    each, prior = normals(posteriors)
    z, log_density = posteriors.draw(epsilon)
    torch.testing.assert_close(log_density, each.log_prob(z))
    torch.testing.assert_close(posteriors.log_density(z.flip(0)), each.log_prob(z.flip(0)))
    torch.testing.assert_close(posteriors.kl_to_standard_normal(), kl_divergence(each, prior))
    part, _ = posteriors[3:5].draw(epsilon[3:5])
    torch.testing.assert_close(part, z[3:5])


@pytest.mark.parametrize(("noise", "scale"), [("cholesky", "vector"), ("diagonal", "scalar")])
def test_a_models_posteriors_are_what_it_draws_from(noise, scale):
    widths = {"encoder_widths": (8,), "decoder_widths": (8,), "likelihood": "gaussian"}
    model = build(ModelSettings(latent_dim=3, noise=noise, scale=scale, **widths), (5,))
    factor = torch.tensor([[1.0, 0, 0], [2, 1, 0], [0, -3, 2]])
    model.population_covariance.copy_(factor @ factor.mT)
    x, epsilon = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)).split((5, 3), 1)
    with torch.no_grad():
        z = model.draw(*model.encode(x), epsilon)
    result, _ = posteriors_of(model, x.numpy()).draw(epsilon.double())
    torch.testing.assert_close(result.float(), z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("mixing", "samples", "tolerance"), [(0.1, 1, 0.1), (0, 1, 1e-3), (0, 20, 0.05)]
)
def test_the_best_widths_are_found(mixing, samples, tolerance):
    """1 / sqrt(diagonal of the precision): for one sample, or where q can be p(z | x)."""
    linear = LinearGaussian(mixing=mixing, n=100)
    result = fit_width(linear.model("wae"), linear.x, samples=samples, steps=300, batch_size=32)
    np.testing.assert_allclose(result, linear.best_width, rtol=tolerance)


def test_dimensions_that_the_decoder_does_not_use_get_the_priors_width():
    linear = LinearGaussian(n=100)
    model = linear.model("wae")
    with torch.no_grad():
        model.decoder.weight[:, :2] = 0
        model.encoder.weight[:2] = 0  # so that their codes have no spread at first
        model.encoder.bias[:2] = 0
    result = fit_width(model, linear.x, samples=1, steps=300)
    np.testing.assert_allclose(result[:2], 1, rtol=1e-3)
    assert (result[2:] < 0.8).all()


def test_several_samples_make_wider_and_better_proposals():
    """If dimensions depend on each other given x, which q cannot express."""
    linear = LinearGaussian(mixing=0.5, n=200)
    model = linear.model("wae")
    widths = [fit_width(model, linear.x, samples=samples) for samples in (1, 20)]
    single, several = (
        iwae(model, linear.x, samples=200, proposal="gaussian-width", width=width).per_example
        for width in widths
    )
    assert (widths[1] > widths[0]).all()
    gain = several - single
    assert gain.mean() > 4 * gain.std(ddof=1) / math.sqrt(len(gain))


def test_bits_per_dimension_are_of_the_unit_of_the_data(images):
    """A density of grey levels 0..255 is 1/255 of that of values in [0, 1]."""
    model = small()
    levels, units = elbo(model, images), elbo(model, (images / 255).astype(np.float32))
    assert levels.value == pytest.approx(units.value, rel=1e-6)
    assert units.bits_per_dimension == pytest.approx(-units.value / (784 * math.log(2)))
    difference = levels.bits_per_dimension - units.bits_per_dimension
    assert difference == pytest.approx(math.log2(255), rel=1e-6)
    # The uniform density on [0, 255] has log2(255) bits per number.
    assert bits_per_dimension(model, images, 0.0) == math.log2(255)
    assert iwae(small(likelihood="bernoulli"), images, samples=2).bits_per_dimension is None


@pytest.mark.parametrize("block", [1, 7, 12, 1000])
def test_the_size_of_blocks_does_not_matter(linear, block):
    """Whether it holds part of an example's samples or several examples."""
    model = linear.model("vae", 0.2)
    for score in (
        lambda b: elbo(model, linear.x, draws=6, block=b),
        lambda b: iwae(model, linear.x, samples=10, block=b),
    ):
        np.testing.assert_allclose(score(block).per_example, score(25).per_example, rtol=1e-12)


def test_an_estimator_is_left_unchanged(images):
    estimator = VAE(3, epochs=1, encoder_widths=(8,), decoder_widths=(8,), random_state=0)
    model = estimator.fit(images).module_.train()
    model.zero_grad(set_to_none=True)
    state = torch.random.get_rng_state()
    assert elbo(estimator, images).value == elbo(model, images).value
    assert elbo(estimator, images).value != elbo(model, images, seed=1).value
    width = fit_width(estimator, images, steps=3)
    iwae(estimator, images, samples=2, proposal="gaussian-width", width=width)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("method", "fact"), [("wae", "deterministic"), ("hebae", "singular")])
def test_a_posterior_without_a_density_has_no_bound(images, method, fact):
    model = small(method)
    model.population_covariance.zero_()
    for score in (elbo, iwae):
        with pytest.raises(UndefinedMetric, match=fact):
            score(model, images)


def test_weights_that_are_not_finite_are_found(images):
    model = small()
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(math.nan)
    with pytest.raises(HebaeError, match="not finite for 20 of 20 examples"):
        elbo(model, images)
    with pytest.raises(HebaeError, match="gradient is not finite"):
        fit_width(model, images)
