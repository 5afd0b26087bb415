"""-log p(x | z) in nats, summed over an example, against torch.distributions and integration."""

import inspect
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal, Poisson

from hebae import likelihoods
from hebae.model import Autoencoder
from hebae.objectives import AE

NUMBERS = ("bernoulli", "continuous_bernoulli", "gaussian")  # others: test_table_likelihoods.py
seeds = st.integers(0, 2**32 - 1)
LOGITS = [-40.0, -8.0, -1.0, -0.31, -0.1, -1e-2, -1e-4, 0.0, 1e-6, 0.05, 0.11, 0.29, 2.0, 15.0]


def output_and_x(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(shape, generator=generator, dtype=torch.float64)
    return output.to(dtype), torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)


def quadrature(count=200):
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def same(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


shapes = st.sampled_from([(3, 5), (2, 1, 4, 4), (1, 3, 2, 2), (4, 1)])


# --- Against torch.distributions: sums over the numbers of an example, never means ----------------


@given(seed=seeds, shape=shapes)
def test_bernoulli_is_the_cross_entropy_summed_over_an_example(seed, shape):
    output, x = output_and_x(shape, seed)
    likelihood = likelihoods.Bernoulli()
    losses = likelihood.negative_log_likelihood(output, x)
    probability = torch.sigmoid(output)
    entropy = -(x * probability.log() + (1 - x) * (1 - probability).log())
    same(losses, entropy.reshape(len(x), -1).sum(1))
    binary = x.round()
    expected = -Bernoulli(logits=output).log_prob(binary).reshape(len(x), -1).sum(1)
    same(likelihood.negative_log_likelihood(output, binary), expected)
    same(likelihood.mean(output), Bernoulli(logits=output).mean)


@given(seed=seeds, shape=shapes)
def test_continuous_bernoulli_is_that_of_torch_distributions(seed, shape):
    output, x = output_and_x(shape, seed)
    output = 3 * output
    likelihood = likelihoods.ContinuousBernoulli()
    other = ContinuousBernoulli(logits=output)
    expected = -other.log_prob(x).reshape(len(x), -1).sum(1)
    # Theirs takes logits by way of probabilities, which costs it some digits.
    same(likelihood.negative_log_likelihood(output, x), expected, 1e-8)
    same(likelihood.mean(output), other.mean, 1e-8)


@given(seed=seeds, shape=shapes, scale=st.floats(0.01, 100))
def test_gaussian_of_fixed_scale_is_that_of_torch_distributions(seed, shape, scale):
    output, x = output_and_x(shape, seed)
    likelihood = likelihoods.Gaussian(scale).double()
    expected = -Normal(output, scale).log_prob(x).reshape(len(x), -1).sum(1)
    # The scale was stored in float32, as all parameters are made.
    same(likelihood.negative_log_likelihood(output, x), expected, 1e-5)
    same(likelihood.mean(output), output)


@pytest.mark.parametrize("name", NUMBERS)
def test_density_says_whether_the_likelihood_integrates_to_one(name):
    """Over its support, one number, by quadrature."""
    likelihood = likelihoods.LIKELIHOODS[name]()
    x, weights = quadrature()
    low, high = likelihood.support
    if math.isinf(low):
        low, high = -12.0, 14.0
    x = (low + (high - low) * x)[:, None]
    output = torch.full_like(x, 0.8)
    likelihood.eval()
    density = (-likelihood.negative_log_likelihood(output, x)).exp()
    integral = float((high - low) * (weights * density).sum())
    assert (abs(integral - 1) < 1e-6) is likelihood.density


# --- The continuous Bernoulli's normaliser and mean ---------------------------------------------


@pytest.mark.parametrize("logit", LOGITS)
def test_mean_is_the_integral_of_x_times_the_density(dtype, logit):
    x, weights = quadrature()
    output = torch.full((len(x), 1), logit, dtype=torch.float64)
    likelihood = likelihoods.ContinuousBernoulli()
    density = (-likelihood.negative_log_likelihood(output, x[:, None])).exp()
    mean = likelihood.mean(torch.tensor([[logit]], dtype=dtype))
    assert mean.dtype == dtype
    tolerance = {torch.float64: 1e-9, torch.float32: 2e-6}[dtype]
    assert float(mean) == pytest.approx(float((weights * x * density).sum()), rel=tolerance)


def exact_log_normaliser(logit):
    """``log(2 atanh(1 - 2 lambda) / (1 - 2 lambda))`` by 60 digits, as ``l / tanh(l / 2)``."""
    with localcontext(prec=60):
        half = Decimal(logit) / 2
        tanh = (half.exp() - (-half).exp()) / (half.exp() + (-half).exp())
        return float((2 * half / tanh).ln()) if half else math.log(2)


def exact_slope(logit):
    """Its derivative, ``1/l - 1/sinh(l)``, by 60 digits."""
    with localcontext(prec=60):
        exact = Decimal(logit)
        return float(1 / exact - 2 / (exact.exp() - (-exact).exp())) if exact else 0.0


AROUND_HALF = [0.0] + [s * 10.0**e for e in (-12, -8, -6, -4, -3, -2, -1) for s in (1, -3, 9.99)]


@pytest.mark.parametrize("logit", [*AROUND_HALF, 0.0999, 0.1001, *LOGITS])
def test_normaliser_and_its_gradient_are_stable_at_and_near_one_half(dtype, logit):
    """lambda = 1/2 is 0/0 in the formula; both sides of the switch agree with 60 digits."""
    logits = torch.tensor([logit], dtype=dtype, requires_grad=True)
    value = likelihoods.log_normaliser(logits)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    precise = dtype == torch.float64
    exact = float(logits.detach().double())  # float32 rounds the logit itself
    assert value.item() == pytest.approx(
        exact_log_normaliser(exact), rel=1e-11 if precise else 1e-6
    )
    assert slope.item() == pytest.approx(
        exact_slope(exact), rel=1e-8 if precise else 2e-4, abs=1e-300
    )


def test_large_logits_give_finite_losses_and_gradients(dtype):
    output = torch.tensor([[-1e4, -100.0, 100.0, 1e4]], dtype=dtype, requires_grad=True)
    x = torch.tensor([[0.0, 0.5, 1.0, 1.0]], dtype=dtype)
    for likelihood in (likelihoods.Bernoulli(), likelihoods.ContinuousBernoulli()):
        loss = likelihood.negative_log_likelihood(output, x)
        (gradient,) = torch.autograd.grad(loss.sum(), output)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()
        assert likelihood.mean(output).isfinite().all()


# --- The Gaussian's scale ------------------------------------------------------------------------


@given(seed=seeds, shape=shapes, factor=st.floats(0.2, 5).filter(lambda f: abs(f - 1) > 1e-2))
def test_optimal_scale_minimises_the_loss(seed, shape, factor):
    """s^2 = mean((x - output)^2): any other scale costs more."""
    output, x = output_and_x(shape, seed)
    best = likelihoods.Gaussian("optimal").negative_log_likelihood(output, x).mean()
    root = float((x - output).square().mean().sqrt())
    at_root = likelihoods.Gaussian(root).double().negative_log_likelihood(output, x).mean()
    other = likelihoods.Gaussian(factor * root).double().negative_log_likelihood(output, x).mean()
    same(best, at_root, 1e-5)
    assert other > best


def test_optimal_scale_loses_no_gradient():
    """Holding s constant gives the same gradient as s^2 being a function of the output."""
    output, x = output_and_x((4, 3, 2, 2))
    output.requires_grad_()
    ours = likelihoods.Gaussian().negative_log_likelihood(output, x).mean()
    variance = (x - output).square().mean()
    whole = -Normal(output, variance.sqrt()).log_prob(x).flatten(1).sum(1).mean()
    (gradient,) = torch.autograd.grad(ours, output)
    (expected,) = torch.autograd.grad(whole, output)
    same(ours, whole)
    same(gradient, expected)


def test_learned_scale_is_a_parameter_that_the_loss_draws_to_the_optimum():
    output, x = output_and_x((50, 4))
    likelihood = likelihoods.Gaussian("learned").double()
    assert [name for name, _ in likelihood.named_parameters()] == ["log_scale"]
    expected = -Normal(output, 1.0).log_prob(x).sum(1)
    same(likelihood.negative_log_likelihood(output, x), expected)  # it starts at 1
    likelihood.log_scale.data = (x - output).square().mean().log() / 2
    likelihood.negative_log_likelihood(output, x).mean().backward()
    same(likelihood.log_scale.grad, torch.zeros(()).double())


def test_evaluation_mode_uses_the_stored_scale():
    """A held-out example is scored by the training set's scale, in any batch."""
    output, x = output_and_x((6, 3))
    likelihood = likelihoods.Gaussian("optimal").double()
    likelihood.log_scale.copy_(likelihoods.optimal_log_scale(torch.tensor(0.04)))
    training = likelihood.negative_log_likelihood(output, x)
    likelihood.eval()
    evaluation = likelihood.negative_log_likelihood(output, x)
    same(evaluation, -Normal(output, 0.2).log_prob(x).sum(1), 1e-6)
    same(likelihood.negative_log_likelihood(output[:1], x[:1]), evaluation[:1])
    assert not torch.allclose(training, evaluation)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf, "best", "0.5"])
def test_bad_scales_are_refused(scale):
    """By the likelihood itself: unwrapped, past the run-time check of annotations."""
    with pytest.raises(ValueError, match="the Gaussian likelihood's scale is"):
        inspect.unwrap(likelihoods.Gaussian.__init__)(
            likelihoods.Gaussian.__new__(likelihoods.Gaussian), scale
        )


# --- Draws from p(x | z) --------------------------------------------------------------------------


def draws(likelihood, logit, count=20_000, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return likelihood.sample(torch.full((count, 1), logit, dtype=dtype), generator)[:, 0]


@pytest.mark.parametrize("name", NUMBERS)
def test_draws_repeat_with_the_generator_and_stay_in_the_support(name, dtype):
    likelihood = likelihoods.LIKELIHOODS[name]()
    output = 30 * output_and_x((50, 2, 3), dtype=dtype)[0]
    once, again, other = (
        likelihood.sample(output, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert (once.shape, once.dtype) == (output.shape, dtype)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    low, high = likelihood.support
    assert ((once >= low) & (once <= high)).all()


@pytest.mark.parametrize("logit", LOGITS)
def test_bernoulli_draws_ones_as_often_as_its_mean_says(logit):
    x = draws(likelihoods.Bernoulli(), logit)
    assert set(x.tolist()) <= {0.0, 1.0}
    p = 1 / (1 + math.exp(-logit))
    assert float(x.mean()) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / len(x)) + 1e-12)


@pytest.mark.parametrize("logit", [*LOGITS, -1e3, 1e3])
def test_continuous_bernoulli_draws_follow_its_density(logit, dtype):
    """Kolmogorov-Smirnov against scipy's truncated exponential, from the end of more mass."""
    x = draws(likelihoods.ContinuousBernoulli(), logit, dtype=dtype).double().numpy()
    law = stats.truncexpon(abs(logit), scale=1 / abs(logit)) if logit else stats.uniform()
    assert stats.kstest(1 - x if logit > 0 else x, law.cdf).pvalue > 1e-4


@pytest.mark.parametrize("scale", [0.3, "learned", "optimal"])
def test_gaussian_draws_have_its_mean_and_scale(scale):
    likelihood = likelihoods.Gaussian(scale)
    with torch.no_grad():
        likelihood.log_scale.fill_(math.log(0.3))
        x = draws(likelihood, 2.0)
    assert stats.kstest(x.numpy(), stats.norm(2, 0.3).cdf).pvalue > 1e-4


# --- Missing values, and a mean that depends on more than z ---------------------------------------


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("missing", [math.nan, 1e30])
def test_missing_numbers_count_for_nothing(name, missing):
    """The loss and its gradient are those of the observed numbers alone, in nats, not rescaled."""
    output, x = output_and_x((6, 5))
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(3)) < 0.6
    likelihood = likelihoods.LIKELIHOODS[name](shape=(5,)).double()
    context = likelihoods.Context(mask=mask)
    output.requires_grad_()
    holes = x.masked_fill(~mask, missing)
    losses = likelihood.negative_log_likelihood(output, holes, context)
    (gradient,) = torch.autograd.grad(losses.sum(), output)
    assert (gradient[~mask] == 0).all()
    assert gradient.isfinite().all()
    assert likelihood.encoder_input(holes, context).isfinite().all()
    observed = likelihood.negative_log_likelihood(output[mask][:, None], x[mask][:, None])
    same(losses.sum(), observed.sum())


class ScaledPoisson(likelihoods.Likelihood):
    """Counts with mean l_i exp(output): in no list, given the size factor."""

    support = (0.0, math.inf)
    density = True

    def losses(self, output, x, context):
        rate = self.mean(output, context)
        return rate - x * rate.log() + torch.lgamma(x + 1)

    def mean(self, output, context=likelihoods.Context()):  # noqa: B008
        return context.size_factor[:, None] * output.exp()

    def sample(self, output, generator, context=likelihoods.Context()):  # noqa: B008
        return torch.poisson(self.mean(output, context), generator)

    def encoder_input(self, x, context=likelihoods.Context()):  # noqa: B008
        return x.log1p()


def test_a_mean_may_depend_on_more_than_z():
    """A likelihood of one's own gets a size factor through the whole model."""
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((7, 4), 3.0), generator)
    context = likelihoods.Context(size_factor=torch.rand(7, generator=generator) + 0.5)
    encoder, decoder = nn.Linear(4, 2), nn.Linear(2, 4)
    model = Autoencoder(encoder, decoder, AE(), ScaledPoisson(shape=(4,)), (4,), 2)
    step = model(x, {}, context=context)
    z = encoder(x.log1p())
    rate = context.size_factor[:, None] * decoder(z).exp()
    expected = -Poisson(rate).log_prob(x).sum(1)
    same(step.loss, expected.mean(), 1e-5)
    same(model.log_likelihood(x, z, context), -expected, 1e-5)
    same(model.reconstruct(x, context), rate, 1e-5)
