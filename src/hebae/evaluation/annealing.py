"""log p(x) by annealed importance sampling: comparable between all models with a decoder.

Section 5 of docs/mathematics.md. Chains go from the model's prior p(z) through the distributions
p(z) p(x | z)^t to the posterior; the encoder is not used. Bidirectional Monte Carlo, on data that
the model itself generates, adds the upper bound: the code z that x was generated from is an exact
draw from p(z | x), and chains from there back to the prior bound log p(x) from above. States,
energies and weights are float64, on the model's device; the decoder keeps its own precision.

Sources: Neal (2001), "Annealed importance sampling". Wu et al. (2017), "On the quantitative
analysis of decoder-based generative models". Grosse, Ghahramani, Adams (2015), "Sandwiching the
marginal likelihood using bidirectional Monte Carlo".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from itertools import repeat
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hebae.deprecation import old_parameters
from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike, Device
from hebae.evaluation.estimate import Estimate, mean_estimate
from hebae.evaluation.hamiltonian import (
    PILOT_CHAINS,
    Evaluate,
    State,
    fit_step_sizes,
    pilot_transitions,
    standard_normal,
    state_at,
    transition,
    with_gradient,
)
from hebae.evaluation.posterior import draw_prior, log_likelihood, log_prior
from hebae.inference import (
    batch_of,
    condition_of,
    conditions_as_tensor,
    count_of,
    draw_conditions,
    evaluating,
    module_of,
)
from hebae.likelihoods import Context
from hebae.model import Autoencoder
from hebae.priors import StandardNormal

__all__ = ["Annealed", "Bidirectional", "ais", "bidirectional"]

_old_parameters = old_parameters(
    schedule="the temperatures are those of Wu et al., 'sigmoid'",
    progress="the time is proportional to temperatures * chains, plus that of the step sizes",
)
STEEPNESS = 4.0  # delta of the schedule, as in Wu et al.


@dataclass(frozen=True, eq=False)
class Annealed(Estimate):
    """log p(x) in nats, the mean over examples.

    In expectation over the chains it is a bound: a lower one if they ran from the prior to the
    posterior, an upper one if they ran back.
    """

    per_example: Array
    """Bound on log p(x_i), shape (n,)."""
    log_weights: Array
    """Logarithms of weights whose mean estimates p(x_i) without bias, or 1 / p(x_i) if the chains
    ran back; shape (chains, n)."""
    effective_sample_size: Array
    """(sum w)^2 / sum w^2 of the weights of an example, 1 to `chains`; shape (n,)."""
    acceptance: float | None
    """Mean over all transitions; None with two temperatures, between which there are none."""
    temperatures: int
    chains: int


@dataclass(frozen=True, eq=False)
class Bidirectional(Estimate):
    """The gap ``upper - lower`` in nats, the mean over examples.

    In expectation it is positive and bounds the error of either bound. It holds for examples that
    the model generates, and for others only as far as they are similar.
    """

    lower: Annealed
    """From the prior to the posterior: what `ais` computes."""
    upper: Annealed
    """From the exact draw of the posterior back to the prior."""


@_old_parameters
def ais(
    model: Any,
    data: ArrayLike,
    *,
    temperatures: int = 1000,
    chains: int = 16,
    schedule: Literal["sigmoid", "linear"] = "sigmoid",
    leapfrog_steps: int = 3,
    seed: int = 0,
    block: int = 400,
    progress: Callable[[float], object] | None = None,
    device: Device = None,
) -> Annealed:
    """Stochastic lower bound on log p(x) of each example, from the decoder and the prior alone.

    The work is ``n * chains * temperatures * leapfrog_steps`` gradients of the decoder, plus that
    of fitting the step sizes (at most as much as 55 temperatures at 16 chains).

    On grey levels the "bernoulli" likelihood is not a normalised density in x, so neither is p(x).

    Parameters
    ----------
    model, data, seed, block, device
        See `elbo`.
    temperatures : int, at least 2
        Distributions from prior to posterior, both included. More give a tighter bound; 2 is
        importance sampling from the prior.
    chains, leapfrog_steps : int
        Chains per example, and steps per transition; one transition per temperature.
    schedule, progress
        Deprecated: spacing of the temperatures; called with the share of the work that is done.
    """
    module, values = checks.examples(model, data)
    checks.counts(chains=chains, leapfrog_steps=leapfrog_steps, block=block)
    t = annealing_schedule(temperatures, schedule)
    generator = torch.Generator().manual_seed(seed)
    with checks.on_device(module, device) as work, evaluating(module), torch.inference_mode(False):
        x, condition = batch_of(module, values), condition_of(module, values)
        evaluate = target(module, x, block, condition)
        if progress is not None:
            evaluate = _reporting(evaluate, progress, len(t), leapfrog_steps, chains)
        z = draw_prior(module, (chains, count_of(values)), generator, work)
        start = draw_prior(module, (PILOT_CHAINS, count_of(values)), generator, work)
        steps = fit_step_sizes(evaluate, start, t, leapfrog_steps, generator)
        return anneal(evaluate, z, t, steps, leapfrog_steps, generator)


@_old_parameters
def bidirectional(
    model: Any,
    count: int = 100,
    *,
    temperatures: int = 1000,
    chains: int = 16,
    schedule: Literal["sigmoid", "linear"] = "sigmoid",
    leapfrog_steps: int = 3,
    seed: int = 0,
    block: int = 400,
    progress: Callable[[float], object] | None = None,
    device: Device = None,
) -> Bidirectional:
    """Bound log p(x) of simulated examples from both sides, to see how close `ais` comes to it.

    Parameters
    ----------
    model, temperatures, chains, schedule, leapfrog_steps, block, progress, device
        See `ais`. All chains of an example start back from its one exact draw; the bound remains
        valid.
    count : int, at least 2
        Examples ``x ~ p(x | z)``, ``z ~ p(z)`` to simulate.
    seed : int
        Seed of the simulated examples and of the chains.
    """
    module = module_of(model)
    checks.counts(2, count=count)
    checks.counts(chains=chains, leapfrog_steps=leapfrog_steps, block=block)
    t = annealing_schedule(temperatures, schedule)
    generator = torch.Generator().manual_seed(seed)
    with checks.on_device(module, device) as work, evaluating(module), torch.inference_mode(False):
        exact, x, condition = simulate(module, count, generator, work)
        evaluate = target(module, x, block, condition)
        if progress is not None:
            evaluate = _reporting(evaluate, progress, len(t), leapfrog_steps, 2 * chains)
        z = draw_prior(module, (chains, count), generator, work)
        start = draw_prior(module, (PILOT_CHAINS, count), generator, work)
        steps = fit_step_sizes(evaluate, start, t, leapfrog_steps, generator)
        lower = anneal(evaluate, z, t, steps, leapfrog_steps, generator)
        z, t, steps = exact.expand(z.shape), t.flip(0), steps.flip(0)
        upper = anneal(evaluate, z, t, steps, leapfrog_steps, generator)
    gap = mean_estimate(upper.per_example - lower.per_example)
    return Bidirectional(*astuple(gap), lower=lower, upper=upper)


def annealing_schedule(count: int, kind: str = "sigmoid") -> Float[Tensor, " count"]:
    """Return `count` temperatures from 0 to 1, at least 2.

    "sigmoid" has small steps at both ends: t is proportional to sigmoid(4 u) - sigmoid(-4) for u in
    equal steps from -1 to 1 (Wu et al.).
    """
    checks.counts(2, temperatures=count)
    checks.require(kind in ("sigmoid", "linear"), "schedule", kind, "'sigmoid' or 'linear'")
    rising = torch.linspace(-1, 1, count, dtype=torch.float64)
    if kind == "sigmoid":
        rising = torch.sigmoid(STEEPNESS * rising)
    return (rising - rising[0]) / (rising[-1] - rising[0])  # the ends are exactly 0 and 1


def _reporting(
    evaluate: Evaluate,
    progress: Callable[[float], object],
    temperatures: int,
    leapfrog_steps: int,
    chains: int,
) -> Evaluate:
    """Call `progress` at each evaluation, with the share of all that is done."""
    transitions = pilot_transitions(temperatures)
    work = PILOT_CHAINS * (1 + transitions * leapfrog_steps)
    work += chains * (1 + (temperatures - 2) * leapfrog_steps)
    done = 0

    def reporting(z: Tensor) -> State:
        nonlocal done
        state = evaluate(z)
        done += len(z)
        progress(done / work)
        return state

    return reporting


def anneal(
    evaluate: Evaluate,
    z: Float[Tensor, "chains n latent"],
    temperatures: Float[Tensor, " count"],
    step_sizes: Float[Tensor, "count n"],
    leapfrog_steps: int,
    generator: torch.Generator,
) -> Annealed:
    """Weigh chains on their way along the temperatures, from 0 to 1 or back.

    They start at z, exact draws from the first distribution. A step from t to t' adds
    ``(t' - t) log p(x | z)`` to the log weight and moves the chain within p(z) p(x | z)^t'.
    """
    ladder = temperatures.tolist()
    last = len(ladder) - 1
    state = evaluate(z)
    if not state.log_likelihood.isfinite().all():
        raise HebaeError(
            "log p(x | z) is not finite for codes of the prior; check the decoder's weights and "
            "the likelihood's scale for NaN, infinite or extreme values."
        )
    log_weights = torch.zeros_like(state.log_likelihood)
    acceptances = torch.zeros_like(log_weights)
    for i in range(1, last + 1):
        log_weights += (ladder[i] - ladder[i - 1]) * state.log_likelihood
        if i < last:
            state, acceptance = transition(
                state, ladder[i], step_sizes[i], leapfrog_steps, evaluate, generator
            )
            acceptances += acceptance

    chains = len(z)
    direction = ladder[-1] - ladder[0]  # -1 if the weights estimate 1 / p(x)
    per_example = direction * (log_weights.logsumexp(0) - math.log(chains))
    size = torch.exp(2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0))
    bounds = per_example.cpu().numpy()
    return Annealed(
        *astuple(mean_estimate(bounds)),
        per_example=bounds,
        log_weights=log_weights.cpu().numpy(),
        effective_sample_size=size.clamp(1, chains).cpu().numpy(),
        acceptance=float(acceptances.mean()) / (last - 1) if last > 1 else None,
        temperatures=len(ladder),
        chains=chains,
    )


def target(
    module: Autoencoder,
    x: Float[Tensor, "n *shape"],
    block: int,
    condition: Float[Tensor, "n _"] | None = None,
) -> Evaluate:
    """Return log p(z) and log p(x_i | z) with gradients; the module must be in evaluation mode.

    At most `block` codes are decoded at once, or all chains of one example.
    """

    def likelihood(z: Tensor) -> tuple[Tensor, Tensor]:
        examples = max(1, block // len(z))
        parts = [
            with_gradient(partial(log_likelihood, module, some, condition=given))(codes)
            for some, given, codes in zip(
                torch.split(x, examples),
                repeat(None) if condition is None else torch.split(condition, examples),
                torch.split(z, examples, dim=1),
                strict=condition is not None,
            )
        ]
        values, gradients = zip(*parts, strict=True)
        return torch.cat(values, dim=1), torch.cat(gradients, dim=1)

    is_standard = isinstance(module.prior, StandardNormal)
    prior = standard_normal if is_standard else with_gradient(partial(log_prior, module))
    return state_at(prior, likelihood)


def simulate(
    module: Autoencoder, count: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes z ~ p(z) (count, k), float64 on `device`, examples x ~ p(x | z), and conditions.

    Conditions, of a conditional model, are as frequent as in training.
    """
    # In the decoder's precision, so that z is exactly what x was generated from.
    z = draw_prior(module, (count,), generator, device).to(module.population_mean)
    drawn = draw_conditions(module, count, generator.initial_seed())
    condition = conditions_as_tensor(module, drawn)
    context = Context(condition=module.code_condition(condition))
    with torch.no_grad():
        x = module.likelihood.sample(module.output(z, context), generator)
    return z.to(device).double(), x, condition
