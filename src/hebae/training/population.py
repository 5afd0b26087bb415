"""What a pass over examples gives: the population's moments, and held-out terms.

Of one model or, with a leading dimension, of a stack of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hebae.model import Autoencoder, Step
from hebae.objectives import Noise
from hebae.training.batches import Batches

__all__ = [
    "held_out_estimates",
    "held_out_terms",
    "member_estimates",
    "population_moments",
    "store_population",
]

PASS_SIZE = 1000
"""Examples at a time where the result does not depend on it."""

Estimates = dict[str, tuple[float | None, float | None]]
"""Mean and standard error of each term, by name."""


@torch.no_grad()
def store_population(model: Autoencoder, batches: Batches, limit: int | None = None) -> None:
    """Store beta, Sigma, C and the optimal scale of the examples (`limit` of them) in `model`.

    One pass in evaluation mode (section 4, last point).
    """
    was_training = model.training
    model.eval()
    beta, Sigma, C = population_moments(model, batches, limit)
    model.population_mean.copy_(beta)
    model.population_covariance.copy_(Sigma)
    model.aggregate_covariance.copy_(C)
    if getattr(model.likelihood, "scale", None) == "optimal":
        model.store_optimal_scale(_mean_squared_error(model, batches, limit))
    model.train(was_training)


def population_moments(
    model: Autoencoder, batches: Batches, limit: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean beta and covariance Sigma of the encoder's means, and C of the aggregated posterior.

    Each batch is centred on its own mean, and the batches are combined by the update of Chan, Golub
    and LeVeque (1983), in float64: as exact as two passes. Sums of raw squares are not, where codes
    lie far from 0.
    """
    # MPS has no float64: batches are centred there, and combined on the CPU.
    device = model.population_mean.device
    on_mps = device.type == "mps"
    exact = torch.float32 if on_mps else torch.float64
    total = {"device": "cpu" if on_mps else device, "dtype": torch.float64}
    beta = torch.zeros_like(model.population_mean, **total)  # type: ignore[arg-type]
    scatter = torch.zeros_like(model.population_covariance, **total)  # type: ignore[arg-type]
    scale_squares = torch.zeros_like(scatter)
    count = 0
    for x in batches.in_order(PASS_SIZE, limit):
        mean, log_scale = _encode(model, x)
        mean = mean.to(exact)
        m = mean.shape[-2]
        batch_beta = mean.mean(-2)
        centred = mean - batch_beta[..., None, :]
        difference = batch_beta.to(**total) - beta  # type: ignore[arg-type]
        between = difference[..., :, None] * difference[..., None, :]
        scatter += (centred.mT @ centred).to(**total)  # type: ignore[arg-type]
        scatter += between * (count * m / (count + m))
        beta += difference * (m / (count + m))
        count += m
        if log_scale is not None:
            scale = log_scale.to(exact).exp().expand_as(mean)
            scale_squares += (scale.mT @ scale).to(**total)  # type: ignore[arg-type]
    Sigma = scatter / count
    C = Sigma + model.objective.noise_covariance(Sigma) * (scale_squares / count)
    return beta, Sigma, C


def _mean_squared_error(model: Autoencoder, batches: Batches, limit: int | None) -> Tensor:
    members = model.population_mean.shape[:-1]
    total = torch.zeros(members, dtype=torch.float64)
    count = 0
    generator = torch.Generator(model.population_mean.device).manual_seed(0)
    for x in batches.in_order(PASS_SIZE, limit):
        mean, log_scale = _encode(model, x)
        if log_scale is not None:
            epsilon = _noise(model, {"posterior": mean.shape[-2:]}, x, generator)["posterior"]
            mean = model.draw(mean, log_scale, epsilon)
        squares = (_stacked(model, x) - model.decode(mean)).square()
        total += squares.flatten(len(members)).sum(-1, dtype=_sum_type(x)).cpu().double()
        count += math.prod(squares.shape[len(members) :])
    return (total / count).to(model.population_mean.device, model.population_mean.dtype)


def _sum_type(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64


def _stacked(model: Autoencoder, x: Tensor) -> Tensor:
    """Give each member of a stack the examples that are for all."""
    members = model.population_mean.shape[:-1]
    is_shared = x.dim() == 1 + len(model.input_shape)
    return x.expand(*members, *x.shape) if members and is_shared else x


def _encode(model: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor | None]:
    return model.encode(_stacked(model, x))


def _noise(
    model: Autoencoder, shapes: dict[str, tuple[int, ...]], x: Tensor, generator: torch.Generator
) -> Noise:
    """Draw noise, the same for every member of a stack."""
    members = model.population_mean.shape[:-1]
    return {
        name: torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype).expand(
            *members, *shape
        )
        for name, shape in shapes.items()
    }


def held_out_terms(model: Autoencoder, batches: Batches) -> dict[str, float | None]:
    """Mean terms over held-out examples, with one draw of z each; the model does not change.

    Noise is shaped by the population's covariance. The penalty is taken over batches of the
    training batch size, so that it has the same noise floor, and in a random order, the same each
    time: neighbours in a file may be alike, which looks like codes that are not matched. A smaller
    last batch is left out, unless it is the only one. A term that such a batch does not define is
    None.
    """
    return {name: value for name, (value, _) in held_out_estimates(model, batches).items()}


def held_out_estimates(model: Autoencoder, batches: Batches) -> Estimates:
    """`held_out_terms` with standard errors over batches; None for one batch."""
    return member_estimates(model, batches)[0]


@torch.no_grad()
def member_estimates(
    model: Autoencoder, batches: Batches, take: Callable[[Tensor, Noise], Step] | None = None
) -> list[Estimates]:
    """`held_out_estimates` of each member of a stack, or of the one model.

    `take` is ``model.held_out_step``, or a replay of it.
    """
    take = take or model.held_out_step
    was_training = model.training
    model.eval()
    generator = torch.Generator(model.population_mean.device).manual_seed(0)
    names = ["loss", "reconstruction", *model.objective.weights]
    rows: list[Tensor] = []
    size = 0
    for x in batches.epoch(0):
        x = _stacked(model, x)
        m = x.shape[-1 - len(model.input_shape)]
        if m < size:
            break
        size = m
        step = take(x, _noise(model, model.noise_shapes(m), x, generator))
        rows.append(torch.stack([step.loss, *step.terms.values()], dim=-1))
    model.train(was_training)
    values = torch.stack(rows).cpu().double().view(len(rows), -1, len(names))
    means = values.mean(0)
    errors = torch.full_like(means, math.nan)
    if len(rows) > 1:
        errors = values.std(0) / math.sqrt(len(rows))
    return [
        {
            name: (value if math.isfinite(value) else None, error if math.isfinite(error) else None)
            for name, value, error in zip(names, *pair, strict=True)
        }
        for pair in zip(means.tolist(), errors.tolist(), strict=True)
    ]
