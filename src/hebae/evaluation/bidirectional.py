"""How close annealed importance sampling comes to log p(x), by bidirectional Monte Carlo.

On data that the model itself makes, the code z that an example x was made from is an exact draw
from p(z | x). From it chains run back to the prior and bound log p(x) from above, while those from
the prior bound it from below: between the two lies the truth.

References
----------
Grosse, Ghahramani, Adams (2015), "Sandwiching the marginal likelihood using bidirectional Monte
Carlo".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from hebae.errors import HebaeError
from hebae.evaluation.annealing import (
    Annealed,
    anneal,
    shares,
)
from hebae.evaluation.annealing_path import (
    PILOT_WORK,
    Progress,
    Schedule,
    annealing_schedule,
    find_path,
)
from hebae.evaluation.decoder_likelihood import decoder_log_likelihood, simulate
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.examples import check_counts
from hebae.inference import module_of

__all__ = ["Bidirectional", "bidirectional"]


@dataclass(frozen=True, eq=False)
class Bidirectional(Estimate):
    """The gap ``upper - lower`` in nats, the mean over examples.

    In expectation it is above 0, and above what either bound is from log p(x). It speaks of the
    model's own examples; of others only as far as they are like these.
    """

    lower: Annealed
    """From the prior to the posterior: what `ais` gives."""
    upper: Annealed
    """From the exact draw of the posterior back to the prior."""


def bidirectional(
    model: Any,
    count: int = 100,
    *,
    temperatures: int = 1000,
    chains: int = 16,
    schedule: Schedule = "sigmoid",
    leapfrog_steps: int = 3,
    seed: int = 0,
    block: int = 400,
    progress: Progress | None = None,
) -> Bidirectional:
    """Bound log p(x) of simulated examples from both sides, with the settings of `ais`.

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    count : int, at least 2
        Examples ``x ~ p(x | z)``, ``z ~ N(0, I)`` to simulate.
    temperatures, chains, schedule, leapfrog_steps, block, progress
        See `ais`. The chains of an example all start back from its one exact draw, which leaves
        the bound a bound.
    seed : int
        Of the examples, too.

    Returns
    -------
    Bidirectional

    Raises
    ------
    HebaeError
        If a number is too small, or log p(x | z) is not finite.
    """
    module = module_of(model)
    if count < 2:
        raise HebaeError(f"count is {count}; the standard error takes at least 2 examples.")
    check_counts(chains=chains, leapfrog_steps=leapfrog_steps, block=block)
    path_temperatures = annealing_schedule(temperatures, schedule)
    one_way = chains * temperatures
    pilot, there, back = shares(progress, (PILOT_WORK, one_way, one_way))
    shape = (chains, count, module.latent_dim)
    generator = torch.Generator().manual_seed(seed)
    z, x = simulate(module, count, generator)
    with decoder_log_likelihood(module, x, block) as log_likelihood:
        path = find_path(log_likelihood, shape, path_temperatures, leapfrog_steps, generator, pilot)
        prior = torch.randn(shape, generator=generator, dtype=torch.float64)
        lower = anneal(log_likelihood, prior, path, generator, there)
        upper = anneal(log_likelihood, z.expand(shape), path.reversed(), generator, back)
    gap = upper.per_example - lower.per_example
    return Bidirectional(
        value=float(gap.mean()),
        standard_error=float(gap.std(ddof=1)) / math.sqrt(count),
        lower=lower,
        upper=upper,
    )
