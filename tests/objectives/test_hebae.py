"""The hierarchical empirical Bayes autoencoder: its noise, its penalty, its rate, its theorem."""

import dataclasses
import math

import pytest
import torch
from calls import call, terms_of
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, kl_divergence

from hebae import gaussian
from hebae.objectives import HEBAE, Moments

seeds = st.integers(0, 2**32 - 1)
scales = pytest.mark.parametrize("scale", ["vector", "scalar"])
noises = pytest.mark.parametrize("noise", ["cholesky", "diagonal"])


def same(actual, expected, tolerance=1e-9):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def posteriors(objective, mean, log_scale):
    """q(z | x_i) = N(mu_i, D_i N D_i) with torch.distributions, Sigma being the batch's own."""
    centred = mean - mean.mean(0)
    N = centred.mT @ centred / len(mean)
    if objective.noise == "diagonal":
        N = torch.diag(N.diagonal())
    D = torch.diag_embed(log_scale.exp().expand_as(mean))
    return MultivariateNormal(mean, D @ N @ D)


def standard_normal(k):
    return MultivariateNormal(torch.zeros(k).double(), torch.eye(k).double())


def moments_term(mean, objective=None):
    """The penalty of codes alone; it knows neither z nor sigma."""
    objective = HEBAE() if objective is None else objective
    return terms_of(objective, mean, torch.zeros_like(mean))["moments"]


# --- Values made by independent code ---------------------------------------------------------


@pytest.mark.parametrize(("scale", "columns"), [("vector", slice(None)), ("scalar", slice(0, 1))])
def test_z_matches_the_oracle(oracle, scale, columns):
    """z_i = mu_i + sigma_i * (R epsilon_i) (Eq. 8)."""
    z = HEBAE(scale=scale).draw(oracle["mu"], oracle["log_scale"][:, columns], oracle["eps"])
    oracle.check(f"z_{scale}_scale", z)


def test_penalty_and_its_gradient_match_the_oracle(oracle):
    mean = oracle["mu"].requires_grad_()
    penalty = moments_term(mean)
    oracle.check("hebae_penalty", penalty)
    oracle.check("hebae_penalty_grad_mu", torch.autograd.grad(penalty, mean)[0])


# --- Theorem 1, and the penalty's gradient ---------------------------------------------------


@scales
@given(seed=seeds, k=st.integers(1, 8), more=st.integers(1, 30))
def test_theorem_1(batch, scale, seed, k, more):
    """(1/m) sum_i KL(N(mu_i, D Sigma D) || N(mu_i, D^2)) + beta.beta/2 equals the penalty."""
    mean, log_scale, _ = batch(k + more, k, seed, scale)
    D = torch.diag_embed(log_scale.exp().expand_as(mean))
    posterior = posteriors(HEBAE(), mean, log_scale)
    divergence = kl_divergence(posterior, MultivariateNormal(mean, D @ D)).mean()
    same(divergence + mean.mean(0).square().sum() / 2, moments_term(mean), 1e-7)


@given(seed=seeds, k=st.integers(1, 8), more=st.integers(1, 30))
def test_gradient_of_the_penalty_has_its_closed_form(batch, seed, k, more):
    """d penalty / d mu_i = (1/m) [(I - Sigma^-1)(mu_i - beta) + beta]."""
    mean = batch(k + more, k, seed)[0].requires_grad_()
    (gradient,) = torch.autograd.grad(moments_term(mean), mean)
    mean = mean.detach()
    beta, Sigma = mean.mean(0), torch.cov(mean.mT, correction=0).reshape(k, k)
    pull = torch.eye(k).double() - torch.linalg.inv(Sigma)
    expected = ((mean - beta) @ pull + beta) / len(mean)
    assert (gradient - expected).norm() <= 1e-7 * (1 + expected.norm())


# --- The penalty's invariances -----------------------------------------------------------------


@given(seed=seeds, k=st.integers(1, 6), more=st.integers(1, 30))
def test_penalty_knows_neither_the_order_of_examples_nor_the_axes(batch, seed, k, more):
    mean = batch(k + more, k, seed)[0]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(mean), generator=generator)
    rotation, _ = torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64))
    penalty = moments_term(mean)
    same(moments_term(mean[order]), penalty, 1e-8)
    same(moments_term(mean @ rotation), penalty, 1e-8)
    same(moments_term(-mean), penalty, 1e-8)


@given(seed=seeds, k=st.integers(1, 6), more=st.integers(1, 30), size=st.floats(0.05, 2))
def test_penalty_is_zero_for_standard_moments_and_only_for_them(batch, seed, k, more, size):
    """Whitened codes cost nothing; any shift, stretch or correlation costs what Eq. 17 says."""
    mean, _, epsilon = batch(k + more, k, seed)
    centred = mean - mean.mean(0)
    R = torch.linalg.cholesky(centred.mT @ centred / len(mean))
    white = torch.linalg.solve_triangular(R, centred.mT, upper=False).mT
    same(moments_term(white), torch.zeros(()).double(), 1e-8)
    shift = size * epsilon[0] / epsilon[0].norm()
    same(moments_term(white + shift), torch.tensor(size**2 / 2).double(), 1e-7)
    stretched = moments_term(white * (1 + size))
    variance = (1 + size) ** 2
    same(stretched, torch.tensor(k / 2 * (variance - 1 - math.log(variance))).double(), 1e-7)
    sheared = white + size * white.roll(1, dims=1).tril()
    assert moments_term(sheared) > 1e-4 or k == 1


@scales
def test_penalty_of_the_paper_leaves_the_scale_alone(batch, scale):
    """Nothing in the paper's objective holds sigma up: what the rate is for."""
    mean, log_scale, epsilon = batch(12, 3, scale=scale)
    log_scale.requires_grad_()
    _, terms = call(HEBAE(scale=scale), mean.requires_grad_(), log_scale, epsilon)
    (gradient,) = torch.autograd.grad(terms["moments"], log_scale, allow_unused=True)
    assert gradient is None
    _, terms = call(HEBAE(scale=scale, rate_weight=1.0), mean, log_scale, epsilon)
    (gradient,) = torch.autograd.grad(terms["rate"], log_scale)
    assert gradient.sum() < 0  # so that a step down the rate widens the noise


# --- The noise ------------------------------------------------------------------------------------


@scales
def test_diagonal_noise_is_epsilon_times_the_standard_deviations(batch, scale):
    mean, log_scale, epsilon = batch(9, 4, scale=scale)
    z = HEBAE(scale=scale, noise="diagonal").draw(mean, log_scale, epsilon)
    same(z, mean + log_scale.exp() * mean.std(0, correction=0) * epsilon)


@scales
def test_diagonal_noise_passes_no_gradient_through_sigma(batch, scale):
    """dz/dmu is the identity alone; with the Cholesky noise it is not."""
    mean, log_scale, epsilon = batch(5, 2, scale=scale)
    identity = torch.eye(10).double().reshape(5, 2, 5, 2)

    def jacobian(noise):
        objective = HEBAE(scale=scale, noise=noise)
        return torch.func.jacrev(lambda mean: objective.draw(mean, log_scale, epsilon))(mean)

    assert torch.equal(jacobian("diagonal"), identity)
    assert (jacobian("cholesky") - identity).abs().max() > 0.01


# --- The rate -------------------------------------------------------------------------------------


@scales
@noises
@given(seed=seeds, k=st.integers(1, 6), more=st.integers(1, 30))
def test_aggregate_and_rate_sum_to_the_mean_divergence(batch, scale, noise, seed, k, more):
    """At weights of 1 the penalty is (1/m) sum_i KL(q(z | x_i) || N(0, I)): a true ELBO."""
    mean, log_scale, epsilon = batch(k + more, k, seed, scale)
    objective = HEBAE(rate_weight=1.0, scale=scale, noise=noise)
    _, terms = call(objective, mean, log_scale, epsilon)
    assert objective.weights == {"aggregate": 1.0, "rate": 1.0}
    posterior = posteriors(objective, mean, log_scale)
    expected = kl_divergence(posterior, standard_normal(k)).mean()
    same(terms["aggregate"] + terms["rate"], expected, 1e-7)
    assert terms["rate"] > 0
    assert terms["aggregate"] > 0


# --- Batches that are too small ------------------------------------------------------------------


@noises
@given(
    seed=seeds,
    m=st.integers(1, 8),
    k=st.integers(1, 8),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_singular_batches_have_no_finite_penalty(batch, noise, seed, m, k, dtype):
    """m <= k: log|Sigma| is -inf, and rounding must not hide that, at m = k in particular."""
    mean, log_scale, epsilon = batch(min(m, k), k, seed, dtype=dtype)
    for moments in ("batch", "running"):  # running, with nothing run yet, is the batch's
        objective = HEBAE(moments=moments, noise=noise)
        assert not moments_term(mean, objective).isfinite()
        assert not call(objective, mean, log_scale, epsilon)[1]["moments"].isfinite()
    if noise == "cholesky":
        assert not HEBAE().draw(mean, log_scale, epsilon).isfinite().any()
        terms = terms_of(HEBAE(rate_weight=0.5), mean, log_scale)
        assert not terms["rate"].isfinite()


@pytest.mark.parametrize("moments", ["running", "shrunk"])
@given(seed=seeds, m=st.integers(2, 8), k=st.integers(1, 8))
def test_other_moments_allow_batches_below_the_latent_dimension(batch, moments, seed, m, k):
    """Running moments once they have run; shrunk ones always."""
    mean, log_scale, epsilon = batch(m, k, seed)
    mean.requires_grad_()
    running = Moments(torch.zeros(k).double(), torch.eye(k).double())
    z, terms = call(HEBAE(moments=moments), mean, log_scale, epsilon, running)
    (gradient,) = torch.autograd.grad(terms["moments"] + z.sum(), mean)
    assert all(value.isfinite().all() for value in (z, terms["moments"], gradient))


# --- Other estimates of the moments -----------------------------------------------------------


@given(seed=seeds, decay=st.floats(0, 0.99))
def test_running_moments_mix_the_values_and_keep_the_batchs_gradient(batch, seed, decay):
    """rho old + (1 - rho) new; the gradient (1 - rho) d new is scaled back by 1 / (1 - rho)."""
    mean = batch(12, 3, seed)[0].requires_grad_()
    old = Moments(torch.ones(3).double(), 2 * torch.eye(3).double())
    new = gaussian.batch_moments(mean)
    mixed = HEBAE(moments="running", moments_decay=decay).estimate(mean, old)
    for name, before, now, value in zip(Moments._fields, old, new, mixed, strict=True):
        same(value, decay * before + (1 - decay) * now)
        direction = torch.arange(1.0, now.numel() + 1).double().reshape(now.shape)
        (expected,) = torch.autograd.grad((direction * now).sum(), mean, retain_graph=True)
        (gradient,) = torch.autograd.grad((direction * value).sum(), mean, retain_graph=True)
        assert gradient.norm() > 0, name
        same(gradient, expected)


@scales
def test_shrunk_moments_are_used_throughout(batch, scale):
    """Both noise and penalty see the shrunk Sigma."""
    mean, log_scale, epsilon = batch(7, 3, scale=scale)
    beta, Sigma = gaussian.batch_moments(mean)
    Sigma = gaussian.shrink(Sigma, 7)
    objective = HEBAE(scale=scale, moments="shrunk")
    z, terms = call(objective, mean, log_scale, epsilon)
    same(z, mean + log_scale.exp() * (epsilon @ torch.linalg.cholesky(Sigma).mT))
    same(terms["moments"], gaussian.kl_to_standard_normal(beta, Sigma))


# --- The floor ------------------------------------------------------------------------------------


def test_floor_is_known_for_the_papers_penalty_alone():
    assert HEBAE().penalty_floor(128, 20) == gaussian.penalty_floor(128, 20)
    assert HEBAE(noise="diagonal").penalty_floor(128, 20) == gaussian.penalty_floor(128, 20)
    for change in ({"rate_weight": 0.1}, {"moments": "running"}, {"moments": "shrunk"}):
        assert dataclasses.replace(HEBAE(), **change).penalty_floor(128, 20) is None
    assert HEBAE().penalty_floor(20, 20) is None
