"""What one pass over examples tells: the population's moments, and held-out terms.

Of one model or, with a leading dimension, of a stack of them (`hebae.training.grid`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hebae.likelihoods import Gaussian
from hebae.objectives import Noise
from hebae.training.batches import Batches
from hebae.training.model import Model
from hebae.training.monitor import Monitor
from hebae.training.noise import draw_noise

__all__ = [
    "estimates",
    "held_out_estimates",
    "held_out_terms",
    "store_population",
    "watch",
]

PASS_SIZE = 1000
"""Examples at a time where the result does not depend on it."""


@torch.no_grad()
def store_population(model: Model, batches: Batches, limit: int | None = None) -> None:
    """Store beta, Sigma, C and the optimal scale of the examples (`limit` of them) in `model`.

    One pass in evaluation mode, sums in float64 (section 4, last point).
    """
    was_training = model.training
    model.eval()
    wide = _widest(model)
    total = torch.zeros_like(model.population_mean, dtype=wide)
    squares = torch.zeros_like(model.population_covariance, dtype=wide)
    scale_squares = torch.zeros_like(squares)
    count = 0
    for x in batches.in_order(PASS_SIZE, limit):
        mean, log_scale = model.encode(x)
        mean = mean.to(wide)
        count += mean.shape[-2]
        total += mean.sum(-2)
        squares += mean.mT @ mean
        if log_scale is not None:
            scale = log_scale.to(wide).exp().expand_as(mean)
            scale_squares += scale.mT @ scale
    beta = total / count
    Sigma = squares / count - beta[..., :, None] * beta[..., None, :]
    C = Sigma + model.objective.noise_covariance(Sigma) * (scale_squares / count)
    model.population_mean.copy_(beta)
    model.population_covariance.copy_(Sigma)
    model.aggregate_covariance.copy_(C)
    if isinstance(model.likelihood, Gaussian) and model.likelihood.scale == "optimal":
        model.store_optimal_scale(_mean_squared_error(model, batches, limit))
    model.train(was_training)


def _mean_squared_error(model: Model, batches: Batches, limit: int | None) -> Tensor:
    total = torch.zeros_like(model.population_mean[..., 0], dtype=_widest(model))
    count = 0
    generator = torch.Generator(model.population_mean.device).manual_seed(0)
    for x in batches.in_order(PASS_SIZE, limit):
        mean, log_scale = model.encode(x)
        noise = _noise(model, x, generator)
        z = model.draw(mean, log_scale, noise["posterior"]) if "posterior" in noise else mean
        squares = (x - model.decode(z)).square()
        total += squares.flatten(total.dim()).sum(-1)
        count += math.prod(squares.shape[total.dim() :])
    return total / count


def _widest(model: Model) -> torch.dtype:
    return torch.float32 if model.population_mean.device.type == "mps" else torch.float64


def _noise(model: Model, x: Tensor, generator: torch.Generator) -> Noise:
    """Draw a batch's noise: the same for every member of a stack."""
    m = x.shape[-1 - len(model.input_shape)]
    return draw_noise(model.noise_shapes(m), generator, x.dtype)


def held_out_terms(model: Model, batches: Batches) -> dict[str, float | None]:
    """Mean terms over held-out examples, with one draw of z each; nothing of the model changes.

    Noise is shaped by the population's covariance. The penalty is taken over batches of the
    training batch size, so that it has the same noise floor, and in a random order, the same each
    time: in the order of the file neighbours may be alike, which looks like codes that are not
    matched. A smaller last batch is left out, unless it is the only one. A term that a batch so
    small does not define is None.
    """
    return {name: value for name, (value, _) in held_out_estimates(model, batches).items()}


def held_out_estimates(
    model: Model, batches: Batches
) -> dict[str, tuple[float | None, float | None]]:
    """`held_out_terms` with standard errors, from their scatter over batches; None of one batch."""
    return estimates(watch(model, batches))


def estimates(monitor: Monitor) -> dict[str, tuple[float | None, float | None]]:
    """Means and standard errors of what a monitor saw of one model."""
    monitor.look()
    values = (monitor.sums / monitor.count).tolist()
    by_batch = torch.stack([step.values for step in monitor.seen])
    errors = [math.nan] * len(values)
    if len(by_batch) > 1:
        errors = (by_batch.std(dim=0) / math.sqrt(len(by_batch))).tolist()
    return {
        name: (_finite(value), _finite(error))
        for name, value, error in zip(monitor.names, values, errors, strict=True)
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@torch.no_grad()
def watch(model: Model, batches: Batches) -> Monitor:
    """Terms of each held-out batch; see `held_out_terms`."""
    was_training = model.training
    model.eval()
    mean = model.population_mean
    generator = torch.Generator(mean.device).manual_seed(0)
    names = ["reconstruction", *model.objective.weights]
    monitor = Monitor(names, mean.device, members=mean.shape[:-1])
    size = 0
    for number, x in enumerate(batches.epoch(0)):
        noise = _noise(model, x, generator)
        m = x.shape[-1 - len(model.input_shape)]
        if m < size:
            break
        size = m
        monitor.add(number, model.held_out_step(x, noise))
    model.train(was_training)
    return monitor
