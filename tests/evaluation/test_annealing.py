"""Annealed importance sampling against exact log p(x): closed forms and quadrature."""

import math

import numpy as np
import pytest
import torch
from linear_gaussian import LinearGaussian, MixtureLinearGaussian
from torch import nn

from hebae import HebaeError
from hebae.building import build
from hebae.config import ModelSettings
from hebae.evaluation import ais, bidirectional, iwae
from hebae.evaluation.annealing import anneal, annealing_schedule, simulate, target
from hebae.evaluation.hamiltonian import fit_step_sizes, standard_normal, state_at, with_gradient

FEW = {"temperatures": 8, "chains": 3, "leapfrog_steps": 1}


def same(actual, expected, tolerance=1e-9):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def linear_gaussian(n=4, k=4, d=12, **options):
    linear = LinearGaussian(n=n, k=k, d=d, **options)
    return linear, linear.model("ae")


def simulated(model, count, seed=1):
    z, x, _ = simulate(model, count, torch.Generator().manual_seed(seed), torch.device("cpu"))
    return z, x.numpy()


def tiny(likelihood, d=6, seed=0, **settings):
    """A decoder of one code that is far from linear, in float64."""
    torch.manual_seed(seed)
    decoder = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, d))
    for layer in (decoder[0], decoder[2]):
        nn.init.normal_(layer.weight, std=1.5)
        nn.init.normal_(layer.bias)
    settings = ModelSettings(method="ae", latent_dim=1, likelihood=likelihood, **settings)
    return build(settings, (d,), decoder=decoder).double()


GRID = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]


def log_joint(model, x):
    """log p(x, z) of a model with one code, on a fine grid: shape (n, grid)."""
    log_prior = -(GRID[:, 0] ** 2) / 2 - math.log(2 * math.pi) / 2
    with torch.no_grad():
        rows = [
            model.log_likelihood(example.expand(len(GRID), -1), GRID)
            for example in torch.from_numpy(x)
        ]
    return torch.stack(rows) + log_prior


def by_quadrature(model, x):
    return (log_joint(model, x) + math.log(18 / 20_000)).logsumexp(1).numpy()


def test_temperatures_are_a_sigmoid():
    for count in (2, 3, 50, 1001):
        sigmoid = 1 / (1 + np.exp(-4 * np.linspace(-1, 1, count)))
        same(annealing_schedule(count), (sigmoid - sigmoid[0]) / (sigmoid[-1] - sigmoid[0]))


def test_step_sizes_follow_the_width_of_each_example():
    """Posteriors of widths 1, 0.1 and 0.01: at t = 1 the steps have the same proportion."""
    precision = torch.tensor([0.0, 99.0, 9999.0], dtype=torch.float64)
    log_likelihood = with_gradient(lambda z: -precision / 2 * z.square().sum(-1))
    evaluate = state_at(standard_normal, log_likelihood)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(16, 3, 5, generator=generator, dtype=torch.float64)
    t = annealing_schedule(300)
    steps = fit_step_sizes(evaluate, z, t, 3, generator)
    assert steps.shape == (300, 3)
    assert (steps[-1] / steps[-1, 0]).tolist() == pytest.approx([1, 0.1, 0.01], rel=0.35)
    result = anneal(evaluate, z, t, steps, 3, generator)
    assert result.acceptance == pytest.approx(0.65, abs=0.1)


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_weights_are_unbiased_however_badly_chains_mix(back):
    """E[w] = p(x), and back from exact draws of the posterior E[w] = 1 / p(x): 6 temperatures.

    With a decoder of bounded likelihood: for others, weights back may have no variance.
    """
    model = tiny("bernoulli", d=2)
    _, x = simulated(model, 3)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(20_000, 3, 1, generator=generator, dtype=torch.float64)
    if back:
        u = torch.rand(3, 20_000, generator=generator, dtype=torch.float64)
        cdf = log_joint(model, x).softmax(1).cumsum(1)
        draws = GRID[torch.searchsorted(cdf, u).clamp(max=len(GRID) - 1)].transpose(0, 1)
    t, steps = annealing_schedule(6), torch.full((6, 3), 0.9, dtype=torch.float64)
    evaluate = target(model, torch.from_numpy(x), 10**6)
    result = anneal(evaluate, draws, t.flip(0) if back else t, steps, 1, generator)
    log_p = by_quadrature(model, x)
    ratio = np.exp(result.log_weights + (log_p if back else -log_p))
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert (error < 0.02).all()
    assert (abs(ratio.mean(0) - 1) < 4 * error).all()
    same(result.per_example - log_p, (-1 if back else 1) * np.log(ratio.mean(0)))


def test_two_temperatures_are_importance_sampling_from_the_prior():
    linear, model = linear_gaussian(k=2, d=3)
    result = ais(model, linear.x, temperatures=2, chains=7, seed=3)
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(7 * 4, 2, generator=generator, dtype=torch.float64).view(7, 4, 2)
    evaluate = target(model, torch.from_numpy(linear.x), 100)
    same(result.log_weights, evaluate(z).log_likelihood)
    assert (result.acceptance, result.temperatures, result.chains) == (None, 2, 7)
    weights = np.exp(result.log_weights)
    same(result.per_example, np.log(weights.mean(0)))
    same(result.effective_sample_size, weights.sum(0) ** 2 / (weights**2).sum(0))
    assert result.value == pytest.approx(result.per_example.mean())
    assert result.standard_error == pytest.approx(result.per_example.std(ddof=1) / math.sqrt(4))


@pytest.mark.parametrize("prior", [True, False])
def test_linear_gaussian_decoder_within_a_twentieth_of_a_nat(prior):
    """From N(0, I) or the model's own prior; on average, since examples vary by about 0.1."""
    linear, model = linear_gaussian(n=24, prior=prior)
    options = {"temperatures": 200, "chains": 64, "block": 10**4}
    error = ais(model, linear.x, **options).per_example - linear.exact
    assert abs(error.mean()) < 0.05
    assert abs(error).max() < 0.7


def test_a_mixture_as_learned_prior_within_a_twentieth_of_a_nat():
    """Chains start from the mixture and follow the gradient of its log density; so does IWAE."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linear = MixtureLinearGaussian()
    model = linear.model()
    options = {"temperatures": 100, "chains": 32, "block": 10**4}
    error = ais(model, linear.x, **options).per_example - linear.exact
    assert abs(error.mean()) < 0.05
    bound = iwae(model, linear.x, samples=2000)
    assert abs((bound.per_example - linear.exact).mean()) < 0.05
    plain = linear.plain.model()
    assert ais(plain, linear.x, **options).value < linear.exact.mean() - 0.2  # as under N(0, I)


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "gaussian"])
def test_decoders_that_are_not_linear_match_quadrature(likelihood):
    settings = {"likelihood_scale": 1.0} if likelihood == "gaussian" else {}
    model = tiny(likelihood, **settings)
    _, x = simulated(model, 10)
    result = ais(model, x, temperatures=50, chains=64, block=10**4)
    error = result.per_example - by_quadrature(model, x)
    assert abs(error.mean()) < 0.1


def test_the_seed_decides_and_the_size_of_blocks_does_not():
    linear, model = linear_gaussian(n=5, k=3, d=4)
    result = ais(model, linear.x, **FEW)
    for block in (1, 6):  # one example at a time, two and a rest
        same(ais(model, linear.x, block=block, **FEW).log_weights, result.log_weights)
    assert ais(model, linear.x, seed=1, **FEW).value != result.value


def test_the_model_is_left_unchanged_and_dropout_is_off():
    decoder = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    settings = ModelSettings(method="ae", latent_dim=2, likelihood="bernoulli")
    model = build(settings, (3,), decoder=decoder).train()
    x = np.zeros((2, 3), dtype=np.float32)
    result = ais(model, x, **FEW)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    model.eval()
    same(ais(model, x, **FEW).log_weights, result.log_weights)


def test_a_model_without_finite_log_likelihoods_is_refused():
    model = tiny("bernoulli", d=3)
    with torch.no_grad():
        model.decoder[0].weight.fill_(math.nan)
    with pytest.raises(HebaeError, match="not finite for codes"):
        ais(model, np.zeros((4, 3)), temperatures=2)


@pytest.mark.parametrize(("temperatures", "prior"), [(20, True), (200, False)])
def test_both_bounds_hold_the_exact_value_between_them(temperatures, prior):
    linear, model = linear_gaussian(prior=prior)
    _, x = simulated(model, 20, seed=0)  # those that bidirectional simulates from this seed
    log_p = linear.marginal.log_prob(torch.from_numpy(x)).numpy()
    result = bidirectional(model, 20, temperatures=temperatures, chains=8)
    above, below = result.upper.per_example - log_p, log_p - result.lower.per_example
    for distance in (above, below):
        assert distance.mean() > -2 * distance.std() / math.sqrt(20)
    assert result.value == pytest.approx(above.mean() + below.mean())
    assert result.standard_error == pytest.approx((above + below).std(ddof=1) / math.sqrt(20))
    assert (result.value < 0.3) is (temperatures == 200)
