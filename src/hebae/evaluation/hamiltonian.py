"""Hamiltonian Monte Carlo for p(z) p(x | z)^t, the distributions between the prior and p(z | x).

Many chains of many examples move at once, each for itself. The temperature t in [0, 1] multiplies
the log-likelihood alone, so that a state keeps its log-likelihood and gradient when t changes, and
a transition of L leapfrog steps takes L gradients. All masses are 1. Calculated in the precision
of z; log-likelihoods may come in a lower one.

References
----------
Neal (2011), "MCMC using Hamiltonian dynamics", in the Handbook of Markov Chain Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["LogLikelihood", "State", "leapfrog", "transition", "with_gradient"]

LogLikelihood = Callable[[Tensor], tuple[Tensor, Tensor]]
"""z (chains, n, k) -> log p(x_i | z) (chains, n) and its gradient with respect to z."""

JITTER = 0.5
"""Step sizes vary by this share, up and down, from one transition of a chain to the next. Without,
a chain would turn by the same angle again and again, and so never change its energy where the
target is nearly normal (Neal 2011, section 3.2)."""


class State(NamedTuple):
    """Where the chains are, and what is known of the log-likelihood there."""

    z: Float[Tensor, "chains n latent"]
    log_likelihood: Float[Tensor, "chains n"]
    gradient: Float[Tensor, "chains n latent"]


def with_gradient(function: Callable[[Tensor], Tensor]) -> LogLikelihood:
    """Add its gradient to a function z (chains, n, k) -> (chains, n), each value of its own z."""

    def value_and_gradient(z: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            z = z.detach().clone().requires_grad_()
            value = function(z)
            # With respect to z alone: nothing is done for parameters, and nothing kept in them.
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    return value_and_gradient


def leapfrog(
    state: State,
    momentum: Float[Tensor, "chains n latent"],
    temperature: float,
    step_size: Float[Tensor, "chains n"],
    steps: int,
    log_likelihood: LogLikelihood,
) -> tuple[State, Float[Tensor, "chains n latent"]]:
    """Follow Hamilton's equations for ``steps`` steps: reversible, and keeps volumes.

    Parameters
    ----------
    state, momentum
        Where to begin.
    temperature : float
        t of the target p(z) p(x | z)^t.
    step_size : Tensor, shape (chains, n)
    steps : int, at least 1
    log_likelihood : LogLikelihood

    Returns
    -------
    state, momentum
        Where it ends. To begin there with the momentum negated leads back.
    """
    step = step_size[..., None]
    z, value, gradient = state
    momentum = momentum + 0.5 * step * (temperature * gradient - z)
    for left in reversed(range(steps)):
        z = z + step * momentum
        value, gradient = log_likelihood(z)
        force = temperature * gradient - z
        momentum = momentum + (step if left else 0.5 * step) * force
    return State(z, value, gradient), momentum


def transition(
    state: State,
    temperature: float,
    step_size: Float[Tensor, " n"],
    steps: int,
    log_likelihood: LogLikelihood,
    generator: torch.Generator,
) -> tuple[State, Float[Tensor, "chains n"]]:
    """Move each chain once, leaving p(z) p(x | z)^t as it is.

    Parameters
    ----------
    state, temperature, steps, log_likelihood
        See `leapfrog`.
    step_size : Tensor, shape (n,)
        Of each example, on average: a chain's varies at random.
    generator : torch.Generator
        Of the momentum, the step sizes and the acceptance.

    Returns
    -------
    state : State
    acceptance : Tensor, shape (chains, n)
        Probability with which each proposal was accepted; 0 where it ran off to infinity.
    """
    z = state.z
    jitter = torch.rand(z.shape[:-1], generator=generator, dtype=z.dtype)
    step_size = step_size * (1 + JITTER * (2 * jitter - 1))
    momentum = torch.randn(z.shape, generator=generator, dtype=z.dtype)
    proposal, last = leapfrog(state, momentum, temperature, step_size, steps, log_likelihood)
    change = _energy(proposal, last, temperature) - _energy(state, momentum, temperature)
    acceptance = torch.where(change.isfinite(), torch.exp(-change.clamp(min=0)), 0.0)
    accepted = torch.rand(acceptance.shape, generator=generator, dtype=z.dtype) < acceptance
    moved = State(
        torch.where(accepted[..., None], proposal.z, z),
        torch.where(accepted, proposal.log_likelihood, state.log_likelihood),
        torch.where(accepted[..., None], proposal.gradient, state.gradient),
    )
    return moved, acceptance


def _energy(state: State, momentum: Tensor, temperature: float) -> Tensor:
    quadratic = 0.5 * (state.z.square() + momentum.square()).sum(-1)
    return quadratic - temperature * state.log_likelihood
