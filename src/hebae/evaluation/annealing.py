"""log p(x) by annealed importance sampling: one yardstick for every model that has a decoder.

Section 5 of docs/mathematics.md. Chains go from the prior N(0, I) through the distributions
p(z) p(x | z)^t to the posterior; the encoder has no part in it. States, energies and weights are
float64, on the CPU; the decoder works in its own precision, where it lies.

References
----------
Neal (2001), "Annealed importance sampling".
Wu, Burda, Salakhutdinov, Grosse (2017), "On the quantitative analysis of decoder-based generative
models".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hebae.errors import HebaeError
from hebae.evaluation.annealing_path import (
    PILOT_WORK,
    AnnealingPath,
    Progress,
    Schedule,
    annealing_schedule,
    find_path,
)
from hebae.evaluation.decoder_likelihood import decoder_log_likelihood
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.examples import batch_of, check_counts, check_examples
from hebae.evaluation.hamiltonian import LogLikelihood, State, transition

__all__ = ["Annealed", "ais", "anneal"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Annealed(Estimate):
    """log p(x) in nats, the mean over examples; its standard error takes them for a sample.

    A bound, in expectation over the chains: from below where they ran from the prior to the
    posterior, from above where they ran back.
    """

    per_example: Array
    """Bound on log p(x_i), shape (n,)."""
    log_weights: Array
    """Logarithms of weights whose mean estimates p(x_i), or 1 / p(x_i) where the chains ran back,
    without bias: shape (chains, n)."""
    effective_sample_size: Array
    """(sum w)^2 / sum w^2 of the weights of an example, 1 to `chains`: shape (n,)."""
    acceptance: float | None
    """Mean over all transitions; None where two temperatures leave room for none."""
    temperatures: int
    chains: int


def ais(
    model: Any,
    data: npt.NDArray[np.generic],
    *,
    temperatures: int = 1000,
    chains: int = 16,
    schedule: Schedule = "sigmoid",
    leapfrog_steps: int = 3,
    seed: int = 0,
    block: int = 400,
    progress: Progress | None = None,
) -> Annealed:
    """Bound log p(x) of each example from below, stochastically; decoder and prior alone count.

    The work is ``n * chains * temperatures * leapfrog_steps`` gradients of the decoder, and that
    of `find_path`, which is as much as 55 temperatures at 16 chains.

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    data : array, shape (n, *shape)
        At least 2 examples, uint8 or float.
    temperatures : int, at least 2
        Distributions from the prior to the posterior, both counted. More give a closer bound; 2 is
        importance sampling from the prior.
    chains : int
        Of each example.
    schedule : {"sigmoid", "linear"}
        See `annealing_schedule`.
    leapfrog_steps : int
        Of the transition at each temperature.
    seed : int
    block : int
        Codes that go through the decoder at once. Memory depends on it, the value by rounding only.
    progress : callable, optional
        Called with the share of the work that is done.

    Returns
    -------
    Annealed

    Raises
    ------
    HebaeError
        If the data are not such as the model was trained on, a number is too small, or log p(x | z)
        is not finite.

    Notes
    -----
    On grey levels the likelihood "bernoulli" is no normalised density in x, and so p(x) is none.
    """
    module = check_examples(model, data)
    x = batch_of(module, data)
    check_counts(chains=chains, leapfrog_steps=leapfrog_steps, block=block)
    path_temperatures = annealing_schedule(temperatures, schedule)
    pilot, run = shares(progress, (PILOT_WORK, chains * temperatures))
    shape = (chains, len(x), module.latent_dim)
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws on every device
    with decoder_log_likelihood(module, x, block) as log_likelihood:
        path = find_path(log_likelihood, shape, path_temperatures, leapfrog_steps, generator, pilot)
        prior = torch.randn(shape, generator=generator, dtype=torch.float64)
        return anneal(log_likelihood, prior, path, generator, run)


def anneal(
    log_likelihood: LogLikelihood,
    z: Float[Tensor, "chains n latent"],
    path: AnnealingPath,
    generator: torch.Generator,
    progress: Progress = lambda share: None,
) -> Annealed:
    """Weigh chains on their way along a path.

    Each step from a temperature t to the next t' adds ``(t' - t) log p(x | z)`` to a chain's log
    weight, then moves the chain by a transition that leaves p(z) p(x | z)^t' as it is.

    Parameters
    ----------
    log_likelihood : LogLikelihood
        Maps z (chains, n, k) to log p(x_i | z) (chains, n) and its gradient.
    z : Tensor, shape (chains, n, k), float64
        Exact draws from the path's first distribution: the prior, or the posterior.
    path : AnnealingPath
    generator : torch.Generator
    progress : callable
        Called with the share of the work that is done.

    Raises
    ------
    HebaeError
        If log p(x | z) is not finite where a chain begins.
    """
    chains, n, _ = z.shape
    temperatures = path.temperatures.tolist()
    last = len(temperatures) - 1
    state = State(z, *log_likelihood(z))
    if not state.log_likelihood.isfinite().all():
        raise HebaeError(
            "log p(x | z) is not finite for codes of the prior; the decoder's weights or the "
            "likelihood's scale are out of bounds."
        )
    log_weights = torch.zeros(chains, n, dtype=torch.float64)
    acceptances = torch.zeros(chains, n, dtype=torch.float64)
    for i in range(1, last + 1):
        log_weights += (temperatures[i] - temperatures[i - 1]) * state.log_likelihood
        if i < last:
            state, acceptance = transition(
                state,
                temperatures[i],
                path.step_sizes[i],
                path.leapfrog_steps,
                log_likelihood,
                generator,
            )
            acceptances += acceptance
        progress(i / last)

    # Of the weights' mean, and of 1 / p(x) where the chains ran from t = 1 to 0.
    direction = temperatures[-1] - temperatures[0]
    per_example = direction * (log_weights.logsumexp(0) - math.log(chains))
    size = torch.exp(2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0))
    return Annealed(
        value=float(per_example.mean()),
        standard_error=float(per_example.std()) / math.sqrt(n),
        per_example=per_example.numpy(),
        log_weights=log_weights.numpy(),
        effective_sample_size=size.clamp(1, chains).numpy(),
        acceptance=float(acceptances.mean()) / (last - 1) if last > 1 else None,
        temperatures=len(temperatures),
        chains=chains,
    )


def shares(progress: Progress | None, work: Sequence[float]) -> list[Progress]:
    """Split a callback into one for each part of the work, in this order."""
    if progress is None:
        return [lambda share: None for _ in work]

    def part(before: float, own: float) -> Progress:
        return lambda share: progress((before + own * share) / sum(work))

    return [part(sum(work[:i]), own) for i, own in enumerate(work)]
