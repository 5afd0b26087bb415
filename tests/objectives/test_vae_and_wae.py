"""VAE, WAE and InfoVAE: terms against the oracle, weights, priors."""

import pytest
import torch
from calls import terms_of
from torch.distributions import Normal, kl_divergence

from hebae import kernels
from hebae.objectives import VAE, WAE, InfoVAE
from hebae.priors import FittedNormal, StandardNormal


def test_kl_matches_the_oracle(oracle):
    terms = terms_of(VAE(), oracle["mu"], oracle["log_scale"])
    oracle.check("vae_kl_mean", terms["kl"])


def test_kl_is_zero_at_the_prior_and_has_its_least_there():
    mean = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    log_scale = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    penalty = terms_of(VAE(), mean, log_scale)["kl"]
    assert penalty == 0
    for gradient in torch.autograd.grad(penalty, (mean, log_scale)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_free_bits_are_a_floor_of_each_dimensions_kl(batch):
    """sum_j max(lambda, mean_i KL_ij), with KL_ij by torch.distributions; flat below lambda."""
    mean, log_scale, _ = batch(9, 4)
    mean[:, 2], log_scale[:, 2] = 0.05 * mean[:, 2], 0.01 * log_scale[:, 2]
    mean.requires_grad_()
    kl = kl_divergence(Normal(mean, log_scale.exp()), Normal(0.0, 1.0)).mean(0)
    kl = sorted(kl.tolist())
    assert kl[0] < 0.3 < kl[1]
    term = terms_of(VAE(free_bits=0.3), mean, log_scale)["kl_free_bits"]
    expected = sum(max(0.3, one) for one in kl)
    assert term.item() == pytest.approx(expected, rel=1e-12)
    (gradient,) = torch.autograd.grad(term, mean)
    assert [bool(column.any()) for column in gradient.T] == [True, True, False, True]


def test_the_weight_rises_to_one_in_the_last_epoch_of_the_warm_up():
    factors = [VAE(warm_up_epochs=4).weight_factor(epoch) for epoch in range(6)]
    assert factors == [0.25, 0.5, 0.75, 1, 1, 1]
    assert VAE().weight_factor(0) == 1


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("mmd_imq_sigma2_1", WAE()),
        ("mmd_imq_sigma2_2", WAE(base_variance=2.0)),
        ("mmd_rbf_sigma2_1", WAE(kernel="rbf")),
    ],
)
def test_mmd_matches_the_oracle(oracle, name, objective):
    prior = StandardNormal(oracle["mu"].shape[1])
    _, terms = objective(oracle["mu"], None, {"prior": oracle["prior"]}, prior)
    oracle.check(name, terms["mmd"])


def test_codes_are_the_means_compared_with_draws_from_the_prior(batch):
    mean, _, epsilon = batch(8, 3)
    root = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [-0.3, 0.2, 0.7]]).double()
    prior = FittedNormal(torch.ones(3), root @ root.mT)
    noise = torch.cat([torch.zeros(8, 1), epsilon], dim=1)  # the first selects the component
    z, terms = WAE()(mean, None, {"prior": noise}, prior)
    assert torch.equal(z, mean)
    torch.testing.assert_close(terms["mmd"], kernels.mmd_imq(mean, 1 + epsilon @ root.mT))


@pytest.mark.parametrize(
    ("name", "options"),
    [("mmd_imq_sigma2_1", {}), ("mmd_rbf_sigma2_1", {"kernel": "rbf"})],
)
def test_terms_of_infovae_match_the_oracle(oracle, name, options):
    """Without noise z = mu, and the MMD is that of the oracle's codes."""
    mean, log_scale = oracle["mu"], oracle["log_scale"]
    noise = {"posterior": torch.zeros_like(mean), "prior": oracle["prior"]}
    _, terms = InfoVAE(**options)(mean, log_scale, noise, StandardNormal(mean.shape[1]))
    oracle.check("vae_kl_mean", terms["kl"])
    oracle.check(name, terms["mmd"])


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_the_loss_is_that_of_the_paper(batch, alpha):
    """At alpha = 1 no KL is left; alpha = 0 and lambda = 1 would be the VAE."""
    mean, log_scale, epsilon = batch(8, 3)
    objective = InfoVAE(alpha=alpha, penalty_weight=7.0)
    noise = {"posterior": epsilon, "prior": epsilon.flip(0)}
    _, terms = objective(mean, log_scale, noise, StandardNormal(3))
    kl = 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(1).mean()
    mmd = kernels.mmd_imq(mean + log_scale.exp() * epsilon, epsilon.flip(0))
    loss = sum(weight * terms[name] for name, weight in objective.weights.items())
    torch.testing.assert_close(loss, (1 - alpha) * kl + (alpha + 6) * mmd)


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ({"alpha": 1.5}, ("alpha", "1.5", "at most 1")),
        ({"alpha": 0.25, "penalty_weight": 0.5}, ("0.25", "0.5", "at least 1")),
    ],
)
def test_weights_below_zero_are_refused(options, facts):
    with pytest.raises(ValueError, match="must be") as caught:
        InfoVAE(**options)
    assert all(fact in str(caught.value) for fact in facts)
