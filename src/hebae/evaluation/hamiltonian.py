"""Hamiltonian Monte Carlo for p(z) p(x | z)^t, the distributions between prior and p(z | x).

Many chains of many examples move at once and independently. The temperature t in [0, 1] multiplies
the log-likelihood alone, so a state stays valid when t changes, and a transition of L leapfrog
steps needs L gradients. All masses are 1. Everything runs on the device and in the precision of z.

Source: Neal (2011), "MCMC using Hamiltonian dynamics", in the Handbook of Markov Chain Monte Carlo.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

WithGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps z (chains, n, k) to a log-density (chains, n) and its gradient with respect to z."""

JITTER = 0.5
"""Share by which step sizes vary at random. With equal steps a chain of a nearly normal target
could turn by the same angle each time and never change its energy (Neal 2011, section 3.2)."""

ACCEPTANCE = 0.65  # near the optimum in many dimensions: Neal (2011), section 4.4
FIRST_STEP_SIZE = 0.5  # about half of what N(0, I) allows
PILOT_CHAINS = 4
PILOT_TEMPERATURES = (50, 200)  # as many as the path, within these limits
SETTLING = 20  # transitions at the first temperature before step sizes are recorded
RATE = 0.3  # change of a log step size per unit of difference in acceptance
WINDOW = 9  # temperatures that log step sizes are averaged over


class State(NamedTuple):
    """Where the chains are, with both log-densities and their gradients there."""

    z: Float[Tensor, "chains n latent"]
    log_prior: Float[Tensor, "chains n"]
    prior_gradient: Float[Tensor, "chains n latent"]
    log_likelihood: Float[Tensor, "chains n"]
    likelihood_gradient: Float[Tensor, "chains n latent"]


Evaluate = Callable[[Tensor], State]


def state_at(log_prior: WithGradient, log_likelihood: WithGradient) -> Evaluate:
    """Make the function that maps z (chains, n, k) to its `State`."""
    return lambda z: State(z, *log_prior(z), *log_likelihood(z))


def standard_normal(z: Tensor) -> tuple[Tensor, Tensor]:
    """``log N(z; 0, I)`` up to a constant, and its gradient."""
    return -0.5 * z.square().sum(-1), -z


def with_gradient(function: Callable[[Tensor], Tensor]) -> WithGradient:
    """Add its gradient to a function z (chains, n, k) -> (chains, n), each value of its own z."""

    def value_and_gradient(z: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            z = z.detach().clone().requires_grad_()
            value = function(z)
            # With respect to z alone: parameters keep no gradient.
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    return value_and_gradient


def leapfrog(
    state: State,
    momentum: Float[Tensor, "chains n latent"],
    temperature: float,
    step_size: Float[Tensor, "chains n"],
    steps: int,
    evaluate: Evaluate,
) -> tuple[State, Float[Tensor, "chains n latent"]]:
    """Follow Hamilton's equations for p(z) p(x | z)^t; reversible and volume-preserving."""
    step = step_size[..., None]
    force = state.prior_gradient + temperature * state.likelihood_gradient
    momentum = momentum + 0.5 * step * force
    for left in reversed(range(steps)):
        state = evaluate(state.z + step * momentum)
        force = state.prior_gradient + temperature * state.likelihood_gradient
        momentum = momentum + (step if left else 0.5 * step) * force
    return state, momentum


def transition(
    state: State,
    temperature: float,
    step_size: Float[Tensor, " n"],
    steps: int,
    evaluate: Evaluate,
    generator: torch.Generator,
) -> tuple[State, Float[Tensor, "chains n"]]:
    """Move each chain once, leaving p(z) p(x | z)^t invariant.

    `step_size` is an example's average; each chain's varies at random. The generator is on the CPU,
    for the same draws on every device. Returns the new state and the probability of accepting each
    proposal: 0 if it diverged.
    """

    def energy(at: State, momentum: Tensor) -> Tensor:
        kinetic = 0.5 * momentum.square().sum(-1)
        return kinetic - at.log_prior - temperature * at.log_likelihood

    z = state.z
    jitter = torch.rand(z.shape[:-1], generator=generator, dtype=z.dtype).to(z.device)
    step_size = step_size * (1 + JITTER * (2 * jitter - 1))
    momentum = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
    proposal, last = leapfrog(state, momentum, temperature, step_size, steps, evaluate)
    change = energy(proposal, last) - energy(state, momentum)
    acceptance = torch.where(change.isfinite(), torch.exp(-change.clamp(min=0)), 0.0)
    level = torch.rand(acceptance.shape, generator=generator, dtype=z.dtype).to(z.device)
    accepted = level < acceptance
    moved = (
        torch.where(accepted[..., None] if new.ndim > accepted.ndim else accepted, new, old)
        for new, old in zip(proposal, state, strict=True)
    )
    return State(*moved), acceptance


def fit_step_sizes(
    evaluate: Evaluate,
    z: Float[Tensor, "chains n latent"],
    temperatures: Float[Tensor, " count"],
    leapfrog_steps: int,
    generator: torch.Generator,
) -> Float[Tensor, "count n"]:
    """Fit step sizes along temperatures from 0 to 1 so that about 65 % of transitions are accepted.

    In a separate run of at most 220 transitions, since step sizes that adapt while weights
    accumulate would bias these. After each transition an example's log step size moves by the
    difference of its mean acceptance from 0.65. z holds draws from the prior, `PILOT_CHAINS` of
    which are used; the temperatures are on the CPU.
    """
    count = pilot_transitions(len(temperatures)) - SETTLING
    pilot = _resampled(temperatures[None], count)[0].tolist()
    state = evaluate(z[:PILOT_CHAINS])
    log_step = torch.full_like(z[0, :, 0], math.log(FIRST_STEP_SIZE))
    history = []
    for temperature in [pilot[0]] * SETTLING + pilot:
        state, acceptance = transition(
            state, temperature, log_step.exp(), leapfrog_steps, evaluate, generator
        )
        log_step = log_step + RATE * (acceptance.mean(0) - ACCEPTANCE)
        history.append(log_step)
    fitted = torch.stack(history[SETTLING:], dim=1)
    padded = F.pad(fitted[:, None], (WINDOW // 2, WINDOW // 2), mode="replicate")
    smooth = F.avg_pool1d(padded, WINDOW, stride=1)[:, 0]
    return _resampled(smooth, len(temperatures)).mT.exp()


def pilot_transitions(temperatures: int) -> int:
    """Return how many transitions the separate run of `fit_step_sizes` has."""
    least, most = PILOT_TEMPERATURES
    return SETTLING + min(max(temperatures, least), most)


def _resampled(values: Float[Tensor, "n count"], count: int) -> Float[Tensor, "n places"]:
    """Values at `count` even places from the first to the last, by linear interpolation."""
    return F.interpolate(values[None], size=count, mode="linear", align_corners=True)[0]
