"""The population's moments and held-out terms, of one model or of a stack of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hebae.building import build
from hebae.config import Settings
from hebae.data.examples import Examples
from hebae.errors import HebaeError
from hebae.likelihoods import Likelihood
from hebae.model import Autoencoder, Step, to_floats
from hebae.objectives import Noise
from hebae.training.batches import Batch, Batches
from hebae.training.likelihood import seen_of

PASS_SIZE, PASS_NUMBERS = 1000, 1000 * 3 * 64 * 64
"""Most examples at a time where the result does not depend on it, and most numbers in these."""

SMALLEST_DEVIATION = 1e-18
"""Of a column that is standardised: squares of a hundredth of it are above 0 in float32."""
LEARNED_AT_ONCE = 2**18
"""Numbers at a time that a likelihood learns from: each takes some 50 bytes meanwhile."""

Estimates = dict[str, tuple[float | None, float | None]]
"""Mean and standard error of each term, by name."""


def model_for(
    settings: Settings,
    train: Examples,
    *,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
) -> Autoencoder:
    """Build a model for training examples; its likelihood learns what it needs of them.

    Settings must be complete. Raises a `HebaeError` if a network does not take the examples.
    """
    try:
        model = build(
            settings,
            train.shape,
            seed=settings.seed,
            encoder=encoder,
            decoder=decoder,
            seen=seen_of(settings, train),
        )
    except ValueError as error:
        raise HebaeError(str(error)) from None
    likelihood = model.likelihood
    likelihood.incomplete = train.summary.missing > 0
    # Images in [-1, 1] are given to the networks as they are.
    if len(train.shape) == 1 or likelihood.incomplete or max(map(abs, train.range)) > 1:

        def batches() -> Iterator[Tensor]:
            size = max(1, min(PASS_SIZE, LEARNED_AT_ONCE // math.prod(train.shape)))
            for rows in train.parts(size):
                yield to_floats(torch.from_numpy(np.array(rows)), pixels=train.are_pixels)

        likelihood.learn(batches)
        _require_sizeable(likelihood)
    return model


def _require_sizeable(likelihood: Likelihood) -> None:
    """Refuse standard deviations whose squares are 0 in float32."""
    for part in likelihood.modules():
        if isinstance(part, Likelihood) and part.unit is not None:
            smallest = float(part.unit.min())
            if smallest < SMALLEST_DEVIATION:
                raise HebaeError(
                    f"the training examples hold a column whose standard deviation is "
                    f"{smallest:.1g}, too small for 32-bit numbers; multiply it by a constant."
                )


def _pass_size(model: Autoencoder) -> int:
    return max(1, min(PASS_SIZE, PASS_NUMBERS // math.prod(model.input_shape)))


@torch.no_grad()
def store_population(model: Autoencoder, batches: Batches, limit: int | None = None) -> None:
    """Store what evaluation needs of the examples (`limit` of them): beta, Sigma, C and more.

    One pass in evaluation mode (section 4, last point). Also stored are the optimal scale of a
    Gaussian likelihood and the components of a VampPrior.
    """
    was_training = model.training
    model.eval()
    beta, Sigma, C = population_moments(model, batches, limit)
    model.population_mean.copy_(beta)
    model.population_covariance.copy_(Sigma)
    model.aggregate_covariance.copy_(C)
    if getattr(model.likelihood, "scale", None) == "optimal":
        model.store_optimal_scale(_mean_squared_error(model, batches, limit))
    model.store_prior()
    model.train(was_training)


@torch.no_grad()
def start_prior(model: Autoencoder, batches: Batches, seed: int) -> None:
    """Start a learned prior from training examples and their codes, before the first step."""
    count = model.prior.examples_for_start
    if not count:
        return
    store_population(model, batches, count)
    was_training = model.training
    model.eval()
    generator = torch.Generator(model.population_mean.device).manual_seed(seed)

    def examples() -> Iterator[tuple[Tensor, Tensor]]:
        for x, condition in batches.in_order(_pass_size(model), count):
            mean, log_scale = model.encode(x, model.describe(x, condition))
            noise = _noise(model, {"posterior": tuple(mean.shape)}, x, generator)
            yield (
                model.likelihood.encoder_input(x, model.likelihood.describe(x)),
                model.draw(mean, log_scale, noise["posterior"]),
            )

    model.prior.start(examples(), seed)
    model.store_prior()
    model.train(was_training)


def population_moments(
    model: Autoencoder, batches: Batches, limit: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean beta and covariance Sigma of the encoder's means, and C of the aggregated posterior.

    Each batch is centred on its own mean, and the batches are combined by the update of Chan, Golub
    and LeVeque (1983), in float64: as exact as two passes. Sums of raw squares are not, if codes
    are far from 0.
    """
    widest, exact = _precisions(model)
    beta = torch.zeros_like(exact(model.population_mean))
    scatter = torch.zeros_like(exact(model.population_covariance))
    scale_squares = torch.zeros_like(scatter)
    count = 0
    for batch in batches.in_order(_pass_size(model), limit):
        x, condition = _for_members(model, batch)
        mean, log_scale = model.encode(x, model.describe(x, condition))
        mean = mean.to(widest)
        m = mean.shape[-2]
        centre = mean.mean(-2)
        centred = mean - centre[..., None, :]
        shift = exact(centre) - beta
        scatter += exact(centred.mT @ centred)
        scatter += shift[..., :, None] * shift[..., None, :] * (count * m / (count + m))
        beta += shift * (m / (count + m))
        count += m
        if log_scale is not None:
            scale = log_scale.to(widest).exp().expand_as(mean)
            scale_squares += exact(scale.mT @ scale)
    Sigma = scatter / count
    C = Sigma + model.objective.noise_covariance(Sigma) * (scale_squares / count)
    return beta, Sigma, C


def _mean_squared_error(model: Autoencoder, batches: Batches, limit: int | None) -> Tensor:
    """Over all observed numbers, or those of each column (``likelihood.scale_shape``)."""
    widest, exact = _precisions(model)
    members = model.population_mean.shape[:-1]
    by_column = bool(model.likelihood.scale_shape)
    total = count = exact(torch.zeros_like(model.population_mean[..., 0]))[..., None]
    generator = torch.Generator(model.population_mean.device).manual_seed(0)
    for batch in batches.in_order(_pass_size(model), limit):
        x, condition = _for_members(model, batch)
        context = model.describe(x, condition)
        z, log_scale = model.encode(x, context)
        if log_scale is not None:
            noise = _noise(model, {"posterior": tuple(z.shape[-2:])}, x, generator)
            z = model.draw(z, log_scale, noise["posterior"])
        squares = (x - model.decode(z, context)).square().flatten(len(members) + 1)
        squares = squares if by_column else squares.flatten(len(members))[..., None]
        observed = ~squares.isnan()
        total = total + exact(squares.nan_to_num(0.0).sum(-2, dtype=widest))
        count = count + observed.sum(-2)
    return total / count.clamp(min=1) if by_column else (total / count)[..., 0]


def _precisions(model: Autoencoder) -> tuple[torch.dtype, Callable[[Tensor], Tensor]]:
    """Return the widest type of the model's device, and what moves sums to where float64 is."""
    device = model.population_mean.device
    on_mps = device.type == "mps"  # has no float64
    widest = torch.float32 if on_mps else torch.float64
    return widest, lambda t: t.to(device="cpu" if on_mps else device, dtype=torch.float64)


def _for_members(model: Autoencoder, batch: Batch) -> Batch:
    """Give each member of a stack the examples that are for all."""
    members = model.population_mean.shape[:-1]
    is_shared = batch.x.dim() == 1 + len(model.input_shape)
    if not (members and is_shared):
        return batch
    x, condition = batch
    if condition is not None:
        condition = condition.expand(*members, *condition.shape)
    return Batch(x.expand(*members, *x.shape), condition)


def _noise(
    model: Autoencoder, shapes: dict[str, tuple[int, ...]], x: Tensor, generator: torch.Generator
) -> Noise:
    """Draw noise, the same for every member of a stack."""
    members = model.population_mean.shape[:-1]
    noise = {}
    for name, shape in shapes.items():
        draws = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        noise[name] = draws.expand(*members, *shape)
    return noise


@torch.no_grad()
def held_out_estimates(
    model: Autoencoder, batches: Batches, take: Callable[..., Step] | None = None
) -> list[Estimates]:
    """Mean terms over held-out examples, of each member of a stack, or of the one model.

    One z is drawn for each example, with noise shaped by the population's covariance. The penalty
    is taken over batches of the training batch size, so that it has the same noise floor, and in a
    random order, the same each time: neighbours in a file may be alike, which looks like codes that
    are not matched. A smaller last batch is left out, unless it is the only one. A term that such a
    batch does not define is None; so are standard errors, which are over batches, for one batch.
    `take` is ``model.held_out_step``, or a replay of it; the model does not change.
    """
    take = take or model.held_out_step
    was_training = model.training
    model.eval()
    names = ["loss", "reconstruction", *model.objective.weights]
    generator = torch.Generator(model.population_mean.device).manual_seed(0)
    rows: list[Any] = []
    size = 0
    for batch in batches.epoch(0):
        x, condition = _for_members(model, batch)
        m = x.shape[-1 - len(model.input_shape)]
        if m < size:
            break
        size = m
        step = take(x, _noise(model, model.noise_shapes(m), x, generator), condition)
        row = torch.stack([step.loss, *step.terms.values()], dim=-1)
        # A GPU need not wait. In host memory, a small tensor that is kept may lie where the batch
        # was, so that no batch fits there again and the memory grows by a batch in each step.
        rows.append(row.tolist() if row.device.type == "cpu" else row)
    model.train(was_training)
    rows = [row.tolist() if isinstance(row, Tensor) else row for row in rows]
    values = torch.tensor(rows, dtype=torch.float64).view(len(rows), -1, len(names))
    errors = values.std(0) if len(rows) > 1 else torch.full_like(values[0], math.nan)
    numbers = torch.stack([values.mean(0), errors / math.sqrt(len(rows))], dim=-1)
    return [
        {
            name: tuple(number if math.isfinite(number) else None for number in pair)
            for name, pair in zip(names, member, strict=True)
        }
        for member in numbers.tolist()
    ]
