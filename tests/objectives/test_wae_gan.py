"""The adversarial Wasserstein autoencoder, against NumPy and the optimal critic."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import nn

from hebae.building import build
from hebae.config import ModelSettings
from hebae.objectives import WAEGAN
from hebae.priors import StandardNormal


def test_losses_are_those_of_numpy(batch):
    """Mean of -log D(z); mean of -log D(p) and of -log(1 - D(z)); D by a critic that is linear."""
    mean, _, epsilon = batch(9, 3)
    critic = nn.Linear(3, 1).double()
    noise, prior = {"prior": epsilon}, StandardNormal(3)
    w, b = (p.detach().numpy() for p in critic.parameters())

    def probability(x):
        return 1 / (1 + np.exp(-(x.numpy() @ w[0] + b)))

    z, terms = WAEGAN()(mean, None, noise, prior, critic=critic)
    assert torch.equal(z, mean)
    np.testing.assert_allclose(terms["adversarial"].item(), -np.log(probability(mean)).mean())
    expected = -np.log(probability(epsilon)).mean() - np.log(1 - probability(mean)).mean()
    np.testing.assert_allclose(WAEGAN().critic_loss(critic, z, noise, prior).item(), expected)


def test_large_logits_give_finite_losses_and_gradients():
    critic = nn.Linear(1, 1).double()
    critic.weight.data.fill_(1e4)
    z = torch.tensor([[-1.0], [1.0]], dtype=torch.float64, requires_grad=True)
    _, terms = WAEGAN()(z, None, {}, StandardNormal(1), critic=critic)
    loss = WAEGAN().critic_loss(critic, z, {"prior": z.detach()}, StandardNormal(1))
    assert torch.stack([terms["adversarial"], loss]).isfinite().all()
    (gradient,) = torch.autograd.grad(terms["adversarial"], z)
    assert gradient[0] != 0  # not saturated where the critic is sure


class Ratio(nn.Module):
    """a log(p(z) / q(z)) + b for p = N(0, 1), q = N(1.5, 0.7^2): optimal at a = 1, b = 0."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones(()).double())
        self.b = nn.Parameter(torch.zeros(()).double())

    def forward(self, z):
        p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.5, 0.7)
        return self.a * (p.log_prob(z) - q.log_prob(z)) + self.b


def test_the_loss_of_the_optimal_critic_is_the_jensen_shannon_divergence():
    """2 log 2 - 2 JS(p, q), stationary there (Goodfellow et al. 2014), over 200,000 draws."""
    n = 200_000
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z, draws = 1.5 + 0.7 * noise[:, :1], noise[:, 1:]
    critic = Ratio()
    loss = WAEGAN().critic_loss(critic, z, {"prior": draws}, StandardNormal(1))
    p, q = norm(0, 1), norm(1.5, 0.7)

    def integrand(x):
        total = p.pdf(x) + q.pdf(x)
        return -p.pdf(x) * np.log(p.pdf(x) / total) - q.pdf(x) * np.log(q.pdf(x) / total)

    assert loss.item() == pytest.approx(quad(integrand, -10, 10)[0], abs=0.005)
    loss.backward()
    assert abs(critic.a.grad) < 0.005
    assert abs(critic.b.grad) < 0.005


def test_critic_and_encoder_learn_from_their_own_losses_alone():
    settings = ModelSettings(
        method="wae-gan", latent_dim=2, encoder_widths=(8,), decoder_widths=(8,),
        critic_widths=(8,), likelihood="gaussian",
    )  # fmt: skip
    model = build(settings, (5,))
    generator = torch.Generator().manual_seed(0)
    noise = {"prior": torch.randn(6, 2, generator=generator)}
    step = model(torch.rand(6, 5, generator=generator), noise)
    critic, main = list(model.critic.parameters()), model.main_parameters()
    assert len(critic) + len(main) == len(list(model.parameters()))
    step.loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in main)
    assert all(p.grad is None for p in critic)
    model.zero_grad()
    model.critic_loss(step.z, noise).backward()
    assert all(p.grad is None for p in main)
    assert all(p.grad is not None for p in critic)
