"""InfoVAE: its terms against the oracle, its weights, and the methods that it contains."""

import pytest
import torch

from hebae import kernels
from hebae.objectives import VAE, InfoVAE
from hebae.priors import StandardNormal


def loss_of(objective, mean, log_scale, noise):
    z, terms = objective(mean, log_scale, noise, StandardNormal(mean.shape[1]))
    return z, sum(weight * terms[name] for name, weight in objective.weights.items())


@pytest.mark.parametrize(
    ("name", "options"),
    [("mmd_imq_sigma2_1", {}), ("mmd_rbf_sigma2_1", {"kernel": "rbf"})],
)
def test_terms_match_the_oracle(oracle, name, options):
    """Without noise z = mu, and the MMD is that of the oracle's codes."""
    mean, log_scale = oracle["mu"], oracle["log_scale"]
    noise = {"posterior": torch.zeros_like(mean), "prior": oracle["prior"]}
    _, terms = InfoVAE(**options)(mean, log_scale, noise, StandardNormal(mean.shape[1]))
    oracle.check("vae_kl_mean", terms["kl"])
    oracle.check(name, terms["mmd"])


def test_the_loss_is_that_of_the_paper(batch):
    mean, log_scale, epsilon = batch(8, 3)
    noise = {"posterior": epsilon, "prior": epsilon.flip(0)}
    alpha, weight = 0.25, 7.0
    _, loss = loss_of(InfoVAE(alpha=alpha, penalty_weight=weight), mean, log_scale, noise)
    z = mean + log_scale.exp() * epsilon
    kl = 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(1).mean()
    mmd = kernels.mmd_imq(z, epsilon.flip(0))
    torch.testing.assert_close(loss, (1 - alpha) * kl + (alpha + weight - 1) * mmd)


def test_without_alpha_and_at_lambda_1_it_is_the_vae(batch):
    mean, log_scale, epsilon = batch(8, 3)
    noise = {"posterior": epsilon, "prior": epsilon.flip(0)}
    torch.testing.assert_close(
        loss_of(InfoVAE(alpha=0.0, penalty_weight=1.0), mean, log_scale, noise),
        loss_of(VAE(), mean, log_scale, noise),
    )


def test_at_alpha_1_no_kl_is_left():
    assert InfoVAE(alpha=1.0, penalty_weight=5.0).weights == {"kl": 0.0, "mmd": 5.0}


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
