"""The way from the prior to the posterior: temperatures, and step sizes fitted to each.

Step sizes adapt in a run of its own, by few chains and few of the temperatures. Were they to adapt
while weights are gathered, transitions would depend on the chains' past and leave no distribution
as it is, and the weights would be biased. For other chains, what the run found is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hebae.errors import HebaeError
from hebae.evaluation.hamiltonian import LogLikelihood, State, transition

__all__ = ["AnnealingPath", "Progress", "Schedule", "annealing_schedule", "find_path"]

Schedule = Literal["sigmoid", "linear"]
Progress = Callable[[float], object]
"""Called with the share of the work that is done, 0 to 1."""

STEEPNESS = 4.0  # delta of the sigmoid schedule, as Wu et al. have it
ACCEPTANCE = 0.65  # near the best for many dimensions: Neal (2011), section 4.4
FIRST_STEP_SIZE = 0.5  # about half of what N(0, I), where chains begin, would bear
PILOT_CHAINS = 4
PILOT_TEMPERATURES = 200
SETTLING = 20  # transitions at the first temperature before step sizes count
RATE = 0.3  # change of a log step size for an acceptance that is off by 1
PILOT_WORK = PILOT_CHAINS * (PILOT_TEMPERATURES + SETTLING)  # transitions an example
WINDOW = 9  # temperatures that log step sizes are averaged over


@dataclass(frozen=True, eq=False)
class AnnealingPath:
    """How chains move: temperatures, and the Hamiltonian transition at each."""

    temperatures: Float[Tensor, " count"]
    """From 0 to 1, or back."""
    step_sizes: Float[Tensor, "count n"]
    """Of each example at each temperature; at the first and last no chain moves."""
    leapfrog_steps: int

    def reversed(self) -> AnnealingPath:
        """Return the same way back."""
        return AnnealingPath(
            self.temperatures.flip(0), self.step_sizes.flip(0), self.leapfrog_steps
        )


def annealing_schedule(count: int, kind: Schedule = "sigmoid") -> Float[Tensor, " count"]:
    """Return `count` temperatures from 0 to 1.

    Parameters
    ----------
    count : int, at least 2
    kind : {"sigmoid", "linear"}
        "sigmoid" takes small steps at both ends: t proportional to sigmoid(4 u) - sigmoid(-4) for
        u in equal steps from -1 to 1 (Wu et al. 2017).

    Raises
    ------
    HebaeError
        If there are fewer, or the kind is another.
    """
    if count < 2:
        raise HebaeError(
            f"temperatures is {count}; annealing takes at least 2, those of prior and posterior."
        )
    if kind not in ("sigmoid", "linear"):
        raise HebaeError(f"schedule is {kind!r}; allowed are 'sigmoid' and 'linear'.")
    u = torch.linspace(-1, 1, count, dtype=torch.float64)
    rising = torch.sigmoid(STEEPNESS * u) if kind == "sigmoid" else u
    return (rising - rising[0]) / (rising[-1] - rising[0])  # ends are 0 and 1 exactly


def find_path(
    log_likelihood: LogLikelihood,
    shape: tuple[int, int, int],
    temperatures: Float[Tensor, " count"],
    leapfrog_steps: int,
    generator: torch.Generator,
    progress: Progress = lambda share: None,
) -> AnnealingPath:
    """Find step sizes along temperatures from 0 to 1, by few chains and few of the temperatures.

    It takes 220 transitions of at most 4 chains of each example, however many the temperatures.

    Parameters
    ----------
    log_likelihood : LogLikelihood
        Maps z (chains, n, k) to log p(x_i | z) (chains, n) and its gradient.
    shape : (int, int, int)
        (chains, n, k).
    temperatures : Tensor, shape (count,)
    leapfrog_steps : int
    generator : torch.Generator
    progress : callable
        Called with the share of the work that is done.
    """
    chains, n, k = shape
    place = torch.linspace(0, 1, len(temperatures), dtype=torch.float64)
    if len(temperatures) == 2:
        return AnnealingPath(temperatures, torch.ones(2, n, dtype=torch.float64), leapfrog_steps)
    pilot_place = torch.linspace(0, 1, PILOT_TEMPERATURES + 1, dtype=torch.float64)[1:]
    pilot_temperatures = _interpolate(place, pilot_place, temperatures[:, None])[:, 0]
    start = torch.randn(min(chains, PILOT_CHAINS), n, k, generator=generator, dtype=torch.float64)
    found = _adapted_step_sizes(
        start, pilot_temperatures, leapfrog_steps, log_likelihood, generator, progress
    )
    return AnnealingPath(temperatures, _interpolate(pilot_place, place, found), leapfrog_steps)


def _adapted_step_sizes(
    z: Tensor,
    temperatures: Tensor,
    steps: int,
    log_likelihood: LogLikelihood,
    generator: torch.Generator,
    progress: Progress,
) -> Float[Tensor, "count n"]:
    """Step sizes by which 65 % of transitions are accepted, one transition a temperature.

    After each, an example's log step size moves by what the acceptance, averaged over its chains,
    is above 0.65 or below.
    """
    state = State(z, *log_likelihood(z))
    log_step = torch.full(z.shape[1:2], math.log(FIRST_STEP_SIZE), dtype=z.dtype)
    visited = [float(temperatures[0])] * SETTLING + temperatures.tolist()
    history = []
    for count, temperature in enumerate(visited, start=1):
        state, acceptance = transition(
            state, temperature, log_step.exp(), steps, log_likelihood, generator
        )
        log_step = log_step + RATE * (acceptance.mean(0) - ACCEPTANCE)
        history.append(log_step)
        progress(count / len(visited))
    found = torch.stack(history[SETTLING:], dim=1)
    reach = WINDOW // 2
    padded = F.pad(found[:, None], (reach, reach), mode="replicate")
    return F.avg_pool1d(padded, WINDOW, stride=1)[:, 0].mT.exp()


def _interpolate(x: Tensor, at: Tensor, y: Float[Tensor, "count n"]) -> Float[Tensor, "places n"]:
    """Interpolate along the first axis linearly; constant outside of x."""
    right = torch.searchsorted(x, at).clamp(1, len(x) - 1)
    left = right - 1
    share = ((at - x[left]) / (x[right] - x[left])).clamp(0, 1)[:, None]
    return y[left] + share * (y[right] - y[left])
