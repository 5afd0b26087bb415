"""InfoVAE: its terms against the oracle, and its weights."""

import pytest
import torch

from hebae import kernels
from hebae.objectives import InfoVAE
from hebae.priors import StandardNormal


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
