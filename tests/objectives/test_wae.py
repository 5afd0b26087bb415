"""The Wasserstein autoencoder: where its prior comes from, and which kernel is used."""

import pytest
import torch

from hebae import kernels
from hebae.objectives import WAE


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("mmd_imq_sigma2_1", WAE()),
        ("mmd_imq_sigma2_2", WAE(base_variance=2.0)),
        ("mmd_rbf_sigma2_1", WAE(kernel="rbf")),
    ],
)
def test_penalty_matches_the_oracle(oracle, name, objective):
    terms = objective.penalty(oracle["mu"], oracle["mu"], None, prior=oracle["prior"])
    oracle.check(name, terms["mmd"])


def test_codes_take_no_noise_and_the_noise_serves_as_prior(batch):
    """Through `__call__` nothing is drawn, so that many models can run under vmap."""
    mean, _, epsilon = batch(8, 3)
    z, terms = WAE()(mean, None, epsilon)
    assert torch.equal(z, mean)
    assert torch.equal(terms["mmd"], kernels.mmd_imq(mean, epsilon))


def test_without_a_prior_the_penalty_draws_its_own(batch):
    mean, _, _ = batch(8, 3)
    torch.manual_seed(1)
    first = WAE().penalty(mean, mean, None)["mmd"]
    second = WAE().penalty(mean, mean, None)["mmd"]
    torch.manual_seed(1)
    expected = kernels.mmd_imq(mean, torch.randn_like(mean))
    assert torch.equal(first, expected)
    assert not torch.equal(first, second)


def test_penalty_is_that_of_z(batch):
    mean, _, epsilon = batch(8, 3)
    terms = WAE().penalty(mean + 1, mean, None, prior=epsilon)
    assert torch.equal(terms["mmd"], kernels.mmd_imq(mean + 1, epsilon))
