"""Bounds on log p(x) against linear-Gaussian models, where log p(x) and q(z | x) are known."""

import math

import numpy as np
import pytest
import torch
from linear_gaussian import LinearGaussian
from torch.distributions import MultivariateNormal, kl_divergence

from hebae import VAE, HebaeError, data
from hebae.config import ModelSettings
from hebae.evaluation.bounds import bits_per_dimension, elbo, iwae
from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.posterior import Posteriors, noise_factor, posteriors_of
from hebae.model import build


@pytest.fixture(scope="module")
def linear():
    return LinearGaussian()


def assert_mean(differences, expected, sigmas=4):
    error = np.std(differences, ddof=1) / math.sqrt(len(differences))
    assert abs(np.mean(differences) - expected) < sigmas * error


# --- Known values --------------------------------------------------------------------------------


def test_the_exact_posterior_gives_log_p_from_any_number_of_samples(linear):
    found = iwae(linear.model(), linear.x, samples=3)
    np.testing.assert_allclose(found.per_example, linear.exact, atol=1e-5)
    assert found.effective_sample_size == pytest.approx(1)
    assert found.value == pytest.approx(linear.exact.mean())
    error = linear.exact.std(ddof=1) / math.sqrt(len(linear.x))
    assert found.standard_error == pytest.approx(error)


def test_the_elbo_is_log_p_at_the_exact_posterior(linear):
    found = elbo(linear.model(), linear.x, draws=500)
    assert_mean(found.per_example - linear.exact, 0)
    assert np.std(found.per_example - linear.exact) < 0.2


@pytest.mark.parametrize(("method", "log_scale"), [("hebae", 0.3), ("vae", 0.0), ("vae", -0.5)])
def test_the_elbo_falls_short_by_the_divergence_from_the_exact_posterior(linear, method, log_scale):
    """log p(x) - ELBO = KL(q(z | x) || p(z | x))."""
    model = linear.model(method, log_scale)
    found = elbo(model, linear.x, draws=500)
    q, _ = normals(posteriors_of(model, linear.x[:2]))
    posterior = MultivariateNormal(q.mean, linear.posterior_covariance)
    gap = float(kl_divergence(q, posterior)[0])
    assert gap > 0.1
    assert_mean(linear.exact - found.per_example, gap)


@pytest.mark.parametrize(
    ("method", "log_scale", "proposal"),
    [("hebae", 0.2, "encoder"), ("vae", 0.1, "encoder"), ("wae", 0.0, "gaussian-width")],
)
def test_five_thousand_samples_reach_log_p(linear, method, log_scale, proposal):
    width = 1.1 * linear.best_width.numpy() if proposal == "gaussian-width" else None
    model = linear.model(method, log_scale)
    found = iwae(model, linear.x[:20], samples=5000, proposal=proposal, width=width)
    assert abs(found.value - linear.exact[:20].mean()) < 0.02
    assert np.abs(found.per_example - linear.exact[:20]).max() < 0.05
    assert 0.1 < found.effective_sample_size < 1


def test_bounds_rise_from_the_elbo_to_log_p():
    """By more than four standard errors of the paired differences, but for the last step."""
    linear = LinearGaussian(n=400)
    model = linear.model("vae", 0.5)
    bounds = [elbo(model, linear.x)]
    bounds += [iwae(model, linear.x, samples=samples) for samples in (3, 10, 100)]
    steps = np.diff([bound.per_example for bound in bounds], axis=0)
    errors = steps.std(axis=1, ddof=1) / math.sqrt(400)
    assert (steps.mean(axis=1) > 4 * errors).all()
    shortfall = linear.exact - bounds[-1].per_example
    assert shortfall.mean() > -4 * shortfall.std(ddof=1) / math.sqrt(400)
    assert bounds[-1].samples == 100


def test_one_importance_sample_is_the_elbo_on_average():
    linear = LinearGaussian(n=2000)
    model = linear.model("vae", 0.3)
    one, many = iwae(model, linear.x, samples=1), elbo(model, linear.x, draws=5)
    assert_mean(one.per_example - many.per_example, 0)
    assert one.effective_sample_size == pytest.approx(1)


def test_weights_of_one_sample_have_its_effective_size(linear):
    """A proposal far off: one of the weights outweighs all the others."""
    found = iwae(linear.model("wae"), linear.x, samples=50, proposal="gaussian-width", width=1e3)
    assert found.effective_sample_size == pytest.approx(1 / 50, rel=1e-3)


def test_parts_of_the_elbo_sum_to_it(linear):
    found = elbo(linear.model("vae"), linear.x, draws=3)
    assert found.value == pytest.approx(-(found.reconstruction.value + found.kl.value))
    assert found.samples == 3


# --- The posteriors ------------------------------------------------------------------------------


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


@pytest.mark.parametrize("noise", ["cholesky", "diagonal"])
@pytest.mark.parametrize("scale", ["vector", "scalar"])
def test_a_models_posteriors_are_what_it_draws_from(noise, scale):
    model = build(
        ModelSettings(
            latent_dim=3,
            noise=noise,
            scale=scale,
            likelihood="gaussian",
            encoder_widths=(8,),
            decoder_widths=(8,),
        ),
        (5,),
    )
    factor = torch.tensor([[1.0, 0, 0], [2, 1, 0], [0, -3, 2]])
    model.population_covariance.copy_(factor @ factor.mT)
    x, epsilon = torch.randn(20, 8, generator=torch.Generator().manual_seed(0)).split((5, 3), 1)
    with torch.no_grad():
        z = model.draw(*model.encode(x), epsilon)
    found, _ = posteriors_of(model, x.numpy()).draw(epsilon.double())
    torch.testing.assert_close(found.float(), z, rtol=1e-5, atol=1e-5)


# --- Units and what must not matter --------------------------------------------------------------


@pytest.fixture(scope="module")
def images():
    return data.load("mnist-mini").test.values[:20]


def small(method="vae", likelihood="continuous_bernoulli"):
    settings = ModelSettings(
        method=method,
        latent_dim=3,
        likelihood=likelihood,
        encoder_widths=(8,),
        decoder_widths=(8,),
    )
    return build(settings, (1, 28, 28)).eval()


def test_bits_per_dimension_are_of_the_unit_of_the_data(images):
    """A density of grey levels 0..255 is 1/255 of that of values in [0, 1]."""
    model = small()
    levels, units = elbo(model, images), elbo(model, (images / 255).astype(np.float32))
    assert levels.value == pytest.approx(units.value, rel=1e-6)
    assert units.bits_per_dimension == pytest.approx(-units.value / (784 * math.log(2)))
    difference = levels.bits_per_dimension - units.bits_per_dimension
    assert difference == pytest.approx(math.log2(255), rel=1e-6)
    # The uniform density on [0, 255] has log2(255) bits a number.
    assert bits_per_dimension(model, images, 0.0) == math.log2(255)


def test_no_bits_where_the_likelihood_is_no_density(images):
    model = small(likelihood="bernoulli")
    assert elbo(model, images).bits_per_dimension is None
    assert iwae(model, images, samples=2).bits_per_dimension is None


@pytest.mark.parametrize("block", [1, 7, 12, 1000])
def test_the_size_of_blocks_does_not_matter(linear, block):
    """Whether it holds part of an example's samples or several examples."""
    model = linear.model("vae", 0.2)
    for score in (
        lambda b: elbo(model, linear.x, draws=6, block=b),
        lambda b: iwae(model, linear.x, samples=10, block=b),
    ):
        np.testing.assert_allclose(score(block).per_example, score(25).per_example, rtol=1e-12)


def test_the_seed_decides(images):
    model = small()
    assert elbo(model, images, seed=3).value == elbo(model, images, seed=3).value
    assert elbo(model, images, seed=3).value != elbo(model, images, seed=4).value


def test_an_estimator_will_do_and_is_left_as_it_was(images):
    estimator = VAE(3, epochs=1, encoder_widths=(8,), decoder_widths=(8,), random_state=0)
    model = estimator.fit(images).module_.train()
    state = torch.random.get_rng_state()
    assert elbo(estimator, images).value == elbo(model, images).value
    iwae(estimator, images, samples=2, proposal="gaussian-width", width=0.1)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)


# --- What does not exist, and refusals -----------------------------------------------------------


def test_a_deterministic_encoder_has_no_bound_of_its_own(images):
    for score in (elbo, iwae):
        with pytest.raises(UndefinedMetric, match="encoder is deterministic"):
            score(small("wae"), images)


def test_singular_noise_has_no_density(images):
    model = small("hebae")
    model.population_covariance.zero_()
    with pytest.raises(UndefinedMetric, match="singular"):
        elbo(model, images)
    with pytest.raises(UndefinedMetric, match="singular"):
        noise_factor(model)


def test_weights_that_are_not_finite_are_found(images):
    model = small()
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(math.nan)
    with pytest.raises(HebaeError, match="of 20 of 20 examples is not finite"):
        elbo(model, images)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"block": 0}, "block is 0"),
        ({"proposal": "prior"}, "'prior'; allowed are 'encoder' and 'gaussian-width'"),
        ({"proposal": "gaussian-width"}, "a width goes with"),
        ({"width": 0.1}, "a width goes with"),
        ({"proposal": "gaussian-width", "width": 0.0}, "width is 0.0; it must be finite and above"),
        ({"proposal": "gaussian-width", "width": np.ones(4)}, r"width has shape \(4,\)"),
        ({"proposal": "gaussian-width", "width": math.inf}, "finite and above 0"),
        ({"data": np.zeros((5, 784), np.uint8)}, r"shape \(5, 784\); this model takes \(n, 1, 28"),
        ({"data": np.zeros((1, 1, 28, 28), np.uint8)}, "n of at least 2"),
        ({"data": np.full((5, 1, 28, 28), 2.0)}, r"ranges from 2 to 2; .* in \[0, 1\]"),
        ({"data": np.full((5, 1, 28, 28), math.nan)}, "ranges from nan to nan"),
        ({"model": None}, "the model is of type NoneType"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(images, arguments, sentence):
    arguments = {"model": small(), "data": images, "samples": 2} | arguments
    with pytest.raises(HebaeError, match=sentence):
        iwae(**arguments)


def test_a_code_of_one_example_stays_with_it(images):
    """Draws are shared by no two examples, and examples keep their own in any company."""
    model = small()
    twice = np.repeat(images[:1], 2, axis=0)
    first, second = iwae(model, twice, samples=5).per_example
    assert first != second
    assert iwae(model, images, samples=5).per_example[0] == pytest.approx(first, abs=1e-4)
