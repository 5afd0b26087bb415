"""The rate against a learned prior: its closed form, its gradient, and the bound that it gives."""

import math

import pytest
import torch
from calls import noise_of

from hebae.objectives import HEBAE, VAE, InfoVAE
from hebae.priors import Flow, LearnedMixture, StandardNormal

VARIANTS = [
    VAE(),
    InfoVAE(),
    *(
        HEBAE(rate_weight=1.0, noise=noise, scale=scale, moments=moments)
        for noise in ("cholesky", "diagonal")
        for scale in ("vector", "scalar")
        for moments in ("batch", "running", "shrunk")
    ),
]


def name_of(objective):
    values = (objective.display_name, *(getattr(objective, n, "") for n in ("noise", "scale")))
    return "-".join(map(str, (*values, getattr(objective, "moments", ""))))


def rate(objective, mean, log_scale, epsilon, prior, running=None):
    """All divergence from the prior: what the closed form divides into two for HEBAE."""
    noise = noise_of(objective, epsilon)
    if "prior" in noise:
        noise["prior"] = torch.zeros(*epsilon.shape[:-1], prior.noise_dim).to(epsilon)
    _, terms = objective(mean, log_scale, noise, prior, running=running)
    both = isinstance(objective, HEBAE) and isinstance(prior, StandardNormal)
    return terms["aggregate"] + terms["rate"] if both else terms[objective.prior_term]


@pytest.mark.parametrize("objective", VARIANTS, ids=name_of)
def test_monte_carlo_agrees_with_the_closed_form_for_a_standard_normal(batch, objective):
    """A mixture that has not been started is N(0, I), as a learned prior sees it.

    HEBAE's closed form, ``aggregate + rate``, takes the codes' own moments; mixed and shrunk ones
    leave it.
    """
    mean, log_scale, _ = batch(30, 3, scale=getattr(objective, "scale", "vector"))
    prior = LearnedMixture(3, 2).double()
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(1000, 30, 3, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        found = torch.stack([rate(objective, mean, log_scale, e, prior) for e in draws])
        if getattr(objective, "moments", "batch") == "shrunk":
            Sigma = objective.estimate(mean).Sigma
            N = objective.noise_covariance(Sigma)
            variance = (log_scale.exp().square() * N.diagonal()).expand_as(mean)
            log_volume = log_scale.expand_as(mean).sum(1) + 0.5 * torch.logdet(N)
            expected = (0.5 * (variance + mean.square() - 1).sum(1) - log_volume).mean()
        else:
            expected = rate(objective, mean, log_scale, draws[0], StandardNormal(3))
    assert abs(found.mean() - expected) < 4 * found.std() / math.sqrt(len(draws))


@pytest.mark.parametrize("objective", VARIANTS, ids=name_of)
def test_gradients_of_the_rate(batch, objective):
    """Of the encoder's outputs by finite differences; the prior's parameters all get one."""
    mean, log_scale, epsilon = batch(8, 2, scale=getattr(objective, "scale", "vector"))
    prior = Flow(2, "maf", 2, (4,)).double()

    def of_outputs(mean, log_scale):
        return rate(objective, mean, log_scale, epsilon, prior)

    if getattr(objective, "noise", "") != "diagonal":  # no gradient through its diagonal
        inputs = (mean.requires_grad_(), log_scale.requires_grad_())
        assert torch.autograd.gradcheck(of_outputs, inputs)
    of_outputs(mean, log_scale).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in prior.parameters())
    assert any(p.grad.any() for p in prior.parameters())


def test_diagonal_noise_gets_no_gradient_from_the_rate(batch):
    """As z does not: shifting all means leaves only log p(z) to change."""
    mean, log_scale, epsilon = batch(9, 2)
    objective = HEBAE(rate_weight=1.0, noise="diagonal")
    prior = LearnedMixture(2, 1).double()  # N(0, I)
    mean.requires_grad_()
    (gradient,) = torch.autograd.grad(rate(objective, mean, log_scale, epsilon, prior), mean)
    z = objective.draw(mean, log_scale, epsilon).detach()
    torch.testing.assert_close(gradient, z / len(z))


def test_the_mmd_compares_with_draws_of_the_prior_and_does_not_train_it(batch):
    mean, log_scale, epsilon = batch(30, 2)
    prior = Flow(2, "maf", 1, (4,)).double()
    objective = InfoVAE(alpha=0.0, penalty_weight=10.0)
    noise = noise_of(objective, epsilon)
    far = Flow(2, "maf", 1, (4,)).double()
    with torch.no_grad():
        for parameter in far.parameters():
            parameter.add_(1)
    near_mmd, far_mmd = (objective(mean, log_scale, noise, p)[1]["mmd"] for p in (prior, far))
    assert float(near_mmd.detach()) != pytest.approx(float(far_mmd.detach()), rel=0.01)
    assert not near_mmd.requires_grad
