"""What one pass over examples tells: the population's moments, and held-out terms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hebae.autoencoder import Autoencoder
from hebae.likelihoods import Gaussian
from hebae.training.batches import Batches
from hebae.training.monitor import Monitor

__all__ = ["held_out_estimates", "held_out_terms", "store_population"]

PASS_SIZE = 1000
"""Examples at a time where the result does not depend on it."""


@torch.no_grad()
def store_population(model: Autoencoder, batches: Batches, limit: int | None = None) -> None:
    """Store beta, Sigma, C and the optimal scale of the examples (`limit` of them) in `model`.

    One pass in evaluation mode, sums in float64 (section 4, last point).
    """
    was_training = model.training
    model.eval()
    wide = torch.float32 if model.population_mean.device.type == "mps" else torch.float64
    k = model.latent_dim
    total = model.population_mean.new_zeros(k, dtype=wide)
    squares = model.population_mean.new_zeros(k, k, dtype=wide)
    scale_squares = torch.zeros_like(squares)
    count = 0
    for x in batches.in_order(PASS_SIZE, limit):
        mean, log_scale = model.encode(x)
        mean = mean.to(wide)
        count += len(mean)
        total += mean.sum(0)
        squares += mean.mT @ mean
        if log_scale is not None:
            scale = log_scale.to(wide).exp().expand_as(mean)
            scale_squares += scale.mT @ scale
    beta = total / count
    Sigma = squares / count - torch.outer(beta, beta)
    C = Sigma + model.objective.noise_covariance(Sigma) * (scale_squares / count)
    model.population_mean.copy_(beta)
    model.population_covariance.copy_(Sigma)
    model.aggregate_covariance.copy_(C)
    if isinstance(model.likelihood, Gaussian) and model.likelihood.scale == "optimal":
        model.likelihood.store_optimal_scale(_mean_squared_error(model, batches, limit))
    model.train(was_training)


def _mean_squared_error(model: Autoencoder, batches: Batches, limit: int | None) -> float:
    error, count = 0.0, 0
    generator = torch.Generator(model.population_mean.device).manual_seed(0)
    for x in batches.in_order(PASS_SIZE, limit):
        z = _draw(model, x, generator)
        error += float((x - model.likelihood.mean(model.decoder(z))).square().sum())
        count += x.numel()
    return error / count


def _draw(model: Autoencoder, x: Tensor, generator: torch.Generator) -> Tensor:
    mean, log_scale = model.encode(x)
    epsilon = torch.empty_like(mean).normal_(generator=generator)
    return model.draw(mean, log_scale, epsilon)


def held_out_terms(model: Autoencoder, batches: Batches) -> dict[str, float | None]:
    """Mean terms over held-out examples, with one draw of z each; nothing of the model changes.

    Noise is shaped by the population's covariance. The penalty is taken over batches of the
    training batch size, so that it has the same noise floor, and in a random order, the same each
    time: in the order of the file neighbours may be alike, which looks like codes that are not
    matched. A smaller last batch is left out, unless it is the only one. A term that a batch so
    small does not define is None.
    """
    return {name: value for name, (value, _) in held_out_estimates(model, batches).items()}


def held_out_estimates(
    model: Autoencoder, batches: Batches
) -> dict[str, tuple[float | None, float | None]]:
    """`held_out_terms` with standard errors, from their scatter over batches; None of one batch."""
    monitor = _watched(model, batches)
    values = (monitor.sums / monitor.count).tolist()
    by_batch = torch.stack([values for _, values, _ in monitor.recent]).double()
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
def _watched(model: Autoencoder, batches: Batches) -> Monitor:
    """Terms of each held-out batch."""
    was_training = model.training
    model.eval()
    device = model.population_mean.device
    generator = torch.Generator(device).manual_seed(0)
    monitor = Monitor(["reconstruction", *model.objective.weights], device)
    size = 0
    for number, x in enumerate(batches.epoch(0)):
        if len(x) < size:
            break
        size = len(x)
        epsilon = torch.randn(
            len(x), model.latent_dim, generator=generator, device=device, dtype=x.dtype
        )
        monitor.add(number, model.held_out_step(x, epsilon))
    model.train(was_training)
    return monitor
