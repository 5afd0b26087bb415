"""Whether models are faster together than in turn, found out by a few steps of each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache

import torch

from hebae.config import Settings
from hebae.model import build
from hebae.training.grid.optimizer import StackedAdam
from hebae.training.grid.stack import Stack
from hebae.training.jobs import Job
from hebae.training.loop import make_fabric
from hebae.training.precision import tensor_cores
from hebae.training.trial import TRIED, stepper

__all__ = ["pays", "seconds_a_member"]

TURNS = 3


def pays(jobs: Sequence[Job]) -> bool:
    """Tell whether these jobs are trained in less time together than in turn, on this machine.

    Small models are: their steps are mostly fixed costs, which a grid pays once. Of large ones on a
    CPU the weights of all members no longer stay in its cache from one step to the next.
    """
    prepared = jobs[0].prepared
    settings = Settings(**{name: getattr(prepared.settings, name) for name in _TRIED})
    alone, together = seconds_a_member(settings, prepared.dataset.shape, len(jobs))
    return together < alone


@cache
def seconds_a_member(settings: Settings, shape: tuple[int, ...], count: int) -> tuple[float, float]:
    """Seconds of a step alone, and a member's share of a step of `count` models together.

    Medians of a few steps on random examples, taken in turn.

    Parameters
    ----------
    settings : Settings
        Completed by ``training.checks``, with precision and compile decided.
    shape : tuple of int
        Of one example.
    count : int
    """
    with torch.random.fork_rng():
        alone, together = stepper(settings, shape), _stacked_stepper(settings, shape, count)
        alone(), together()  # the first ones allocate
        readings = [(_of_as_many(alone, count), together()) for _ in range(TURNS)]
    first, second = (statistics.median(times) for times in zip(*readings, strict=True))
    return first, second / count


def _of_as_many(alone: Callable[[], float], count: int) -> float:
    """Seconds of one step, several in a row as in a run of its own, whose weights stay in cache."""
    steps = min(count, 8)
    return sum(alone() for _ in range(steps)) / steps


def _stacked_stepper(settings: Settings, shape: tuple[int, ...], count: int) -> Callable[[], float]:
    fabric = make_fabric(settings)
    model = build(settings, shape).to(fabric.device)
    if settings.precision == "64-true":
        model.double()
    stack = Stack([model] * count)
    optimizer = StackedAdam(stack, [1e-3] * count, (0.9, 0.999), settings.gradient_clip)
    like = stack.population_mean
    x = torch.rand(count, settings.batch_size, *shape, device=like.device, dtype=like.dtype)
    shapes = stack.noise_shapes(settings.batch_size)
    noise = {
        n: torch.randn(count, *s, device=like.device, dtype=like.dtype) for n, s in shapes.items()
    }

    def take() -> float:
        begin = time.perf_counter()
        with tensor_cores(fabric.device):
            with fabric.autocast():
                step = stack(x, noise)
            optimizer.step(step.loss.sum())
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        return time.perf_counter() - begin

    return take


_TRIED = TRIED | {"precision", "compile"}
"""Settings that a step's time depends on."""
