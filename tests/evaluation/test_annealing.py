"""Annealed importance sampling against exact log p(x): closed forms and quadrature."""

import math

import numpy as np
import pytest
import torch
from hebae.evaluation.annealing_path import (
    PILOT_CHAINS,
    PILOT_TEMPERATURES,
    AnnealingPath,
    annealing_schedule,
    find_path,
)
from hebae.evaluation.bidirectional import bidirectional
from hebae.evaluation.decoder_likelihood import decoder_log_likelihood, simulate
from torch import nn
from torch.distributions import MultivariateNormal

import hebae.data
from hebae import AE, HebaeError
from hebae.config import ModelSettings
from hebae.evaluation.annealing import ais, anneal
from hebae.evaluation.hamiltonian import with_gradient
from hebae.model import build

SCALE = 0.5
schedules = pytest.mark.parametrize("schedule", ["sigmoid", "linear"])


def same(actual, expected, tolerance=1e-9):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def linear_gaussian(k=10, d=50, seed=0):
    """x = W z + b + SCALE noise, W z of variance about 1; and p(x) in closed form."""
    settings = ModelSettings(
        method="ae", latent_dim=k, likelihood="gaussian", likelihood_scale=SCALE
    )
    decoder = nn.Linear(k, d)
    model = build(settings, (d,), decoder=decoder).double()
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(d, k, generator=generator, dtype=torch.float64) / math.sqrt(k)
    b = torch.randn(d, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        decoder.weight.copy_(W)
        decoder.bias.copy_(b)
    covariance = W @ W.T + SCALE**2 * torch.eye(d, dtype=torch.float64)
    return model, MultivariateNormal(b, covariance)


def simulated(model, count, seed=1):
    z, x = simulate(model, count, torch.Generator().manual_seed(seed))
    return z, x.numpy()


def log_density(exact, x):
    return exact.log_prob(torch.from_numpy(x)).numpy()


def tiny(likelihood, d=6, seed=0, **settings):
    """A decoder of one code that is far from linear, in float64."""
    torch.manual_seed(seed)
    decoder = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, d))
    for layer in (decoder[0], decoder[2]):
        nn.init.normal_(layer.weight, std=1.5)
        nn.init.normal_(layer.bias)
    settings = ModelSettings(method="ae", latent_dim=1, likelihood=likelihood, **settings)
    return build(settings, (d,), decoder=decoder).double()


def by_quadrature(model, x):
    """log p(x) of a model with one code, on a fine grid."""
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    log_prior = -(z[:, 0] ** 2) / 2 - math.log(2 * math.pi) / 2
    with torch.no_grad():
        rows = [
            model.log_likelihood(example.expand(len(z), -1), z) for example in torch.from_numpy(x)
        ]
    return (torch.stack(rows) + log_prior + math.log(18 / 20_000)).logsumexp(1).numpy()


# --- Temperatures and step sizes -------------------------------------------------------------


@schedules
@pytest.mark.parametrize("count", [2, 3, 50, 1001])
def test_schedules_rise_from_0_to_1_and_are_symmetric(schedule, count):
    t = annealing_schedule(count, schedule)
    assert t.shape == (count,)
    assert (t[0], t[-1]) == (0, 1)
    assert (t.diff() > 0).all()
    same(t + t.flip(0), torch.ones(count))


def test_schedules_are_those_they_are_named_for():
    same(annealing_schedule(5, "linear"), [0, 0.25, 0.5, 0.75, 1])
    ends = [1 / (1 + math.exp(-4 * u)) for u in (-1, -0.5, 1)]
    expected = (ends[1] - ends[0]) / (ends[2] - ends[0])
    assert float(annealing_schedule(5)[1]) == pytest.approx(expected)


def test_step_sizes_follow_the_width_of_each_example():
    """Posteriors of widths 1, 0.1 and 0.01: at t = 1 the steps stand in the same proportion."""
    precision = torch.tensor([0.0, 99.0, 9999.0], dtype=torch.float64)
    log_likelihood = with_gradient(lambda z: -precision / 2 * z.square().sum(-1))
    generator = torch.Generator().manual_seed(0)
    path = find_path(log_likelihood, (16, 3, 5), annealing_schedule(300), 3, generator)
    assert path.step_sizes.shape == (300, 3)
    at_the_end = path.step_sizes[-1] / path.step_sizes[-1, 0]
    assert at_the_end.tolist() == pytest.approx([1, 0.1, 0.01], rel=0.35)
    prior = torch.randn(16, 3, 5, generator=generator, dtype=torch.float64)
    assert anneal(log_likelihood, prior, path, generator).acceptance == pytest.approx(0.65, abs=0.1)


def test_the_preliminary_run_costs_the_same_however_many_the_temperatures():
    calls = []

    def counted(z):
        calls.append(tuple(z.shape))
        return -z.square().sum(-1), -2 * z

    for count in (5, 2000):
        find_path(counted, (16, 2, 3), annealing_schedule(count), 1, torch.Generator())
    assert set(calls) == {(PILOT_CHAINS, 2, 3)}
    assert len(calls) / 2 < 1.2 * PILOT_TEMPERATURES


# --- Weights ---------------------------------------------------------------------------------


def posterior_draws(model, x, count, generator):
    """Exact draws of one example's posterior, for one code, by its cdf on a fine grid."""
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        log_density = model.log_likelihood(x.expand(len(z), -1), z) - z[:, 0] ** 2 / 2
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    return z[torch.searchsorted(log_density.softmax(0).cumsum(0), u).clamp(max=len(z) - 1)]


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_weights_are_unbiased_however_badly_chains_mix(back):
    """E[w] = p(x), and back from exact draws of the posterior E[w] = 1 / p(x): 6 temperatures.

    By a decoder of bounded likelihood; of others, weights back may have no variance.
    """
    model = tiny("bernoulli", d=2)
    _, x = simulated(model, 3)
    examples = torch.from_numpy(x)
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(20_000, 3, 1, generator=generator, dtype=torch.float64)
    if back:
        draws = torch.stack([posterior_draws(model, e, 20_000, generator) for e in examples], 1)
    path = AnnealingPath(annealing_schedule(6), torch.full((6, 3), 0.9, dtype=torch.float64), 1)
    with decoder_log_likelihood(model, examples, 10**6) as log_likelihood:
        found = anneal(log_likelihood, draws, path.reversed() if back else path, generator)
    log_p = by_quadrature(model, x)
    ratio = np.exp(found.log_weights + (log_p if back else -log_p))
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert (error < 0.02).all()
    assert (abs(ratio.mean(0) - 1) < 4 * error).all()
    same(found.per_example - log_p, (-1 if back else 1) * np.log(ratio.mean(0)))


def test_two_temperatures_are_importance_sampling_from_the_prior():
    model, _ = linear_gaussian(k=2, d=3)
    _, x = simulated(model, 4)
    found = ais(model, x, temperatures=2, chains=7, seed=3)
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(7, 4, 2, generator=generator, dtype=torch.float64)
    with decoder_log_likelihood(model, torch.from_numpy(x), 100) as log_likelihood:
        same(found.log_weights, log_likelihood(z)[0])
    assert found.acceptance is None


def test_what_is_reported_is_made_of_the_weights():
    model, _ = linear_gaussian(k=2, d=3)
    _, x = simulated(model, 5)
    found = ais(model, x, temperatures=10, chains=8)
    assert (found.temperatures, found.chains) == (10, 8)
    weights = np.exp(found.log_weights)
    assert weights.shape == (8, 5)
    same(found.per_example, np.log(weights.mean(0)))
    same(found.effective_sample_size, weights.sum(0) ** 2 / (weights**2).sum(0))
    assert found.value == pytest.approx(found.per_example.mean())
    assert found.standard_error == pytest.approx(found.per_example.std(ddof=1) / math.sqrt(5))
    one = ais(model, x, temperatures=10, chains=1)
    same(one.per_example, one.log_weights[0])
    same(one.effective_sample_size, np.ones(5))


# --- Known values of log p(x) ----------------------------------------------------------------


@schedules
def test_linear_gaussian_decoder_within_a_twentieth_of_a_nat(schedule):
    """k = 10, d = 50, 2,000 temperatures, 16 chains; the mean, since a single one varies by 0.1."""
    model, exact = linear_gaussian()
    _, x = simulated(model, {"sigmoid": 16, "linear": 32}[schedule])
    error = ais(model, x, temperatures=2000, schedule=schedule).per_example - log_density(exact, x)
    assert abs(error.mean()) < 0.05
    assert abs(error).max() < 0.7


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "gaussian"])
def test_decoders_that_are_not_linear_match_quadrature(likelihood):
    settings = {"likelihood_scale": 1.0} if likelihood == "gaussian" else {}
    model = tiny(likelihood, **settings)
    _, x = simulated(model, 10)
    error = ais(model, x, temperatures=100, chains=64).per_example - by_quadrature(model, x)
    assert abs(error.mean()) < 0.05
    assert abs(error).max() < 0.25


def test_the_bound_is_from_below_and_tightens_with_temperatures():
    model, exact = linear_gaussian()
    _, x = simulated(model, 20)
    log_p = log_density(exact, x).mean()
    gaps = [log_p - ais(model, x, temperatures=t, chains=4).value for t in (2, 10, 50, 200)]
    assert gaps[0] > 4 * gaps[1] > 16 * gaps[2] > 0
    assert gaps[3] < 0.3 * gaps[2]


# --- The model -------------------------------------------------------------------------------


def test_decoder_and_prior_alone_count():
    settings = ModelSettings(
        method="vae", latent_dim=3, likelihood="bernoulli", encoder_widths=(8,), decoder_widths=(8,)
    )
    one, other = build(settings, (5,), seed=0), build(settings, (5,), seed=1)
    x = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    found = ais(one, x, temperatures=5, leapfrog_steps=1)
    assert ais(other, x, temperatures=5, leapfrog_steps=1).value != found.value
    other.decoder.load_state_dict(one.decoder.state_dict())
    same(ais(other, x, temperatures=5, leapfrog_steps=1).log_weights, found.log_weights)


def test_the_value_repeats_with_the_seed_and_is_the_same_for_all_blocks():
    model, _ = linear_gaussian(k=3, d=4)
    _, x = simulated(model, 5)
    found = ais(model, x, temperatures=12, chains=3, leapfrog_steps=1)
    for block in (1, 6, 1600):  # one example at a time, two and a rest, all
        again = ais(model, x, temperatures=12, chains=3, leapfrog_steps=1, block=block)
        same(again.log_weights, found.log_weights)
    assert ais(model, x, temperatures=12, chains=3, leapfrog_steps=1, seed=1).value != found.value


def test_progress_is_told_and_changes_nothing():
    model, _ = linear_gaussian(k=3, d=4)
    _, x = simulated(model, 3)
    for call in (
        lambda **options: ais(model, x, temperatures=12, chains=3, leapfrog_steps=1, **options),
        lambda **options: bidirectional(
            model, 3, temperatures=12, chains=3, leapfrog_steps=1, **options
        ),
    ):
        told = []
        same(call(progress=told.append).value, call().value, 0)
        assert told == sorted(told)
        assert 0 < told[0] < 0.1
        assert told[-1] == pytest.approx(1)


def test_the_model_is_left_as_it_was_and_dropout_plays_no_part():
    decoder = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    settings = ModelSettings(method="ae", latent_dim=2, likelihood="bernoulli")
    model = build(settings, (3,), decoder=decoder).train()
    x = np.zeros((2, 3), dtype=np.float32)
    found = ais(model, x, temperatures=5, leapfrog_steps=1)
    assert model.training
    assert decoder[1].training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    model.eval()
    same(ais(model, x, temperatures=5, leapfrog_steps=1).log_weights, found.log_weights)
    assert not model.training


def test_grey_levels_are_shares_of_255_and_estimators_stand_for_their_model():
    data = hebae.data.load("mnist-mini").train.values[:3]
    settings = ModelSettings(
        method="ae", latent_dim=2, likelihood="bernoulli", encoder_widths=(8,), decoder_widths=(8,)
    )
    estimator = AE()
    estimator.module_ = build(settings, data.shape[1:])
    found = ais(estimator, data, temperatures=4, chains=2, leapfrog_steps=1)
    scaled = data.astype(np.float32) / 255
    same(
        ais(estimator.module_, scaled, temperatures=4, chains=2, leapfrog_steps=1).value,
        found.value,
        1e-5,
    )


# --- Bidirectional Monte Carlo ---------------------------------------------------------------


@pytest.mark.parametrize("temperatures", [50, 400])
def test_both_bounds_hold_the_exact_value_between_them(temperatures):
    model, exact = linear_gaussian()
    _, x = simulated(model, 20, seed=0)  # those that bidirectional simulates from this seed
    log_p = log_density(exact, x)
    found = bidirectional(model, 20, temperatures=temperatures)
    above, below = found.upper.per_example - log_p, log_p - found.lower.per_example
    for distance in (above, below):
        assert distance.mean() > -2 * distance.std() / math.sqrt(20)
    assert 0 < found.value == pytest.approx(above.mean() + below.mean())
    assert found.standard_error == pytest.approx((above + below).std(ddof=1) / math.sqrt(20))
    assert (found.value < 0.3) is (temperatures == 400)


def test_bounds_hold_for_binary_draws_too():
    model = tiny("bernoulli")
    _, x = simulated(model, 50, seed=0)
    log_p = by_quadrature(model, x).mean()
    found = bidirectional(model, 50, temperatures=30, chains=4)
    assert found.lower.value < log_p < found.upper.value
    assert found.value < 0.5


def test_simulated_examples_are_of_their_codes():
    model, exact = linear_gaussian(k=2, d=3)
    z, x = simulate(model, 20_000, torch.Generator().manual_seed(0))
    noise = x - model.decoder(z).detach()
    assert float(noise.std()) == pytest.approx(SCALE, rel=0.02)
    np.testing.assert_allclose(np.cov(x.T), exact.covariance_matrix, atol=0.1)


# --- Bad input -------------------------------------------------------------------------------

SMALL = tiny("bernoulli", d=3)
X = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        (X, {"temperatures": 1}, "temperatures is 1; annealing takes at least 2"),
        (X, {"chains": 0}, "chains is 0; it must be at least 1"),
        (X, {"leapfrog_steps": 0}, "leapfrog_steps is 0"),
        (X, {"block": 0}, "block is 0"),
        (X, {"schedule": "cosine"}, "schedule is 'cosine'; allowed are 'sigmoid' and 'linear'"),
        (X[:, :2], {}, r"data has shape \(4, 2\); this model takes \(n, 3\)"),
        (X[0], {}, r"data has shape \(3,\)"),
        (X[:1], {}, "at least 2"),
        (X + 1.5, {}, r"finite values in \[0, 1\]"),
        (X - 0.1, {}, r"finite values in \[0, 1\]"),
        (X * np.nan, {}, "data ranges from nan"),
    ],
)
def test_what_cannot_be_annealed_is_refused_in_a_sentence(data, options, sentence):
    with pytest.raises(HebaeError, match=sentence):
        ais(SMALL, data, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"count": 1}, "count is 1"),
        ({"temperatures": 1}, "temperatures is 1"),
        ({"chains": 0}, "chains is 0"),
        ({"schedule": "cosine"}, "schedule is 'cosine'"),
    ],
)
def test_bidirectional_refuses_the_same(options, sentence):
    with pytest.raises(HebaeError, match=sentence):
        bidirectional(SMALL, **{"count": 3} | options)


def test_a_model_without_finite_log_likelihoods_is_refused():
    model = tiny("bernoulli", d=3)
    with torch.no_grad():
        model.decoder[0].weight.fill_(math.nan)
    with pytest.raises(HebaeError, match="not finite for codes"):
        ais(model, X, temperatures=5)


def test_what_is_no_model_is_refused():
    with pytest.raises(HebaeError, match="the model is of type Linear"):
        ais(nn.Linear(2, 2), X)
