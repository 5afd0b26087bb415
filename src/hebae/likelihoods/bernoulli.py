"""Likelihoods of numbers in [0, 1] (section 1 of docs/mathematics.md)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from hebae.likelihoods.base import EMPTY, Context, Likelihood


class Bernoulli(Likelihood):
    """Cross-entropy on logits: what the paper uses for MNIST.

    On grey levels it is not a normalised density: `ContinuousBernoulli` is.
    """

    support = (0.0, 1.0)
    density = False

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds logits."""
        return F.binary_cross_entropy_with_logits(output, x, reduction="none")

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        return output.sigmoid()

    def mean_steps(self) -> list[dict[str, Any]]:
        """See `Likelihood`."""
        n = math.prod(self.shape)
        return [{"kind": "sigmoid", "count": n, "outputs": n, "trials": 1}]

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`: zeros and ones, never grey levels."""
        return (_uniform(output, generator) < output.sigmoid()).to(output)


class ContinuousBernoulli(Bernoulli):
    """Continuous Bernoulli, a density on [0, 1] (Loaiza-Ganem & Cunningham 2019)."""

    density = True

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds logits."""
        return super().losses(output, x, context) - log_normaliser(output)

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`: ``sigmoid(l) / tanh(l/2) - 1/l``, which is 1/2 at l = 0."""
        near_zero = output.abs() < 0.3  # below, the difference of two large numbers
        safe = torch.where(near_zero, torch.ones_like(output), output)
        exact = safe.sigmoid() / torch.tanh(safe / 2) - 1 / safe
        small = torch.where(near_zero, output, torch.zeros_like(output))
        square = small.square()
        series = 1 / 12 - square / 720 + square**2 / 30240 - square**3 / 1209600
        return torch.where(near_zero, 0.5 + small * series, exact)

    def mean_steps(self) -> list[dict[str, Any]]:
        """See `Likelihood`."""
        n = math.prod(self.shape)
        return [{"kind": "continuous_bernoulli", "count": n, "outputs": n}]

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`, by the inverse of the cdf ``expm1(l x) / expm1(l)``."""
        # For -|l|, which cannot overflow, then mirrored; the smallest |l| gives u itself.
        rate = output.abs().clamp(min=1e-30)
        u = _uniform(output, generator)
        x = (-torch.log1p(u * torch.expm1(-rate)) / rate).clamp(0, 1)
        return torch.where(output > 0, 1 - x, x)


def log_normaliser(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``log C`` of the continuous Bernoulli: ``C = l / tanh(l/2)`` for logits l, which is 2 at 0.

    With ``lambda = sigmoid(l)`` it is the paper's ``2 atanh(1 - 2 lambda) / (1 - 2 lambda)``. Near
    zero, where that is 0/0, the Taylor series to the sixth order is used.
    """
    near_zero = logits.abs() < 1e-1
    # `where` passes gradients to both branches: the one not taken must be finite as well.
    safe = torch.where(near_zero, torch.ones_like(logits), logits).abs()
    exact = safe.log() - torch.tanh(safe / 2).log()
    square = torch.where(near_zero, logits, torch.zeros_like(logits)).square()
    series = math.log(2) + square / 12 - 7 * square**2 / 1440 + 31 * square**3 / 90720
    return torch.where(near_zero, series, exact)


def _uniform(like: Tensor, generator: Generator) -> Tensor:
    u = torch.rand(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return u.to(like.device)
