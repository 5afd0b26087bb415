"""The Wasserstein autoencoder: its penalty against the oracle, and what its noise is."""

import pytest
import torch

from hebae import kernels
from hebae.objectives import WAE
from hebae.priors import FittedNormal, StandardNormal


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("mmd_imq_sigma2_1", WAE()),
        ("mmd_imq_sigma2_2", WAE(base_variance=2.0)),
        ("mmd_rbf_sigma2_1", WAE(kernel="rbf")),
    ],
)
def test_penalty_matches_the_oracle(oracle, name, objective):
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
