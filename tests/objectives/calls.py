"""Objectives called with one epsilon, which serves as every kind of noise, and a decoder."""

from functools import cache

import torch
from torch import nn

from hebae.priors import StandardNormal


def noise_of(objective, epsilon):
    shapes = objective.noise_shapes(*epsilon.shape)
    rows = {name: -(-shape[0] // len(epsilon)) for name, shape in shapes.items()}
    return {
        name: torch.cat([epsilon.roll(i + j, dims=0) + j for j in range(rows[name])])[: shape[0]]
        for i, (name, shape) in enumerate(shapes.items())
    }


class Decoder(nn.Module):
    """Curved, with weights in the precision of z that need no random numbers."""

    def __init__(self, latent_dim, dtype):
        super().__init__()
        values = torch.arange(1.0, 5 * latent_dim + 1, dtype=dtype).cos()
        self.weight = nn.Parameter(values.reshape(latent_dim, 5), requires_grad=False)

    def forward(self, z):
        return (z @ self.weight).tanh()


@cache
def critic_of(objective, latent_dim, dtype):
    """Ask for it before vmap, which forbids the random numbers of its first weights."""
    with torch.device("meta"):
        critic = objective.critic(latent_dim)
    critic.to_empty(device="cpu").to(dtype)
    for p in critic.parameters():
        values = torch.arange(1.0, p.numel() + 1).cos() / p.shape[-1] ** 0.5
        p.data = values.reshape(p.shape).to(dtype)
    return critic


def call(objective, mean, log_scale, epsilon, running=None):
    prior = StandardNormal(mean.shape[-1])
    critic = None
    if objective.adversarial:
        critic = critic_of(objective, mean.shape[-1], mean.dtype)
    noise = noise_of(objective, epsilon)
    z, terms = objective(mean, log_scale, noise, prior, running=running, critic=critic)
    return z, terms | objective.decode(Decoder(mean.shape[-1], mean.dtype), z, noise)[1]


def terms_of(objective, mean, log_scale):
    return call(objective, mean, log_scale, mean.detach() * 0)[1]
