"""The variational autoencoder, against the oracle and torch.distributions."""

import torch
from calls import terms_of

from hebae.objectives import VAE


def test_penalty_matches_the_oracle(oracle):
    terms = terms_of(VAE(), oracle["mu"], oracle["log_scale"])
    oracle.check("vae_kl_mean", terms["kl"])


def test_penalty_is_zero_at_the_prior_and_has_its_least_there():
    mean = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    log_scale = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    penalty = terms_of(VAE(), mean, log_scale)["kl"]
    assert penalty == 0
    for gradient in torch.autograd.grad(penalty, (mean, log_scale)):
        assert torch.equal(gradient, torch.zeros_like(gradient))
