"""Likelihoods p(x | z): what the decoder's output means (section 1 of docs/mathematics.md).

Each is a small module that turns the decoder's raw output into ``-log p(x | z)``, in nats, summed
over the numbers of an example and never averaged over them, and into the mean of p(x | z).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "ContinuousBernoulli",
    "Gaussian",
    "Likelihood",
    "optimal_log_scale",
]


class Likelihood(nn.Module):
    """The distribution that a decoder's output parametrises."""

    support: ClassVar[tuple[float, float]]
    """Values that x may take, both ends included."""

    density: ClassVar[bool]
    """Whether p(x | z) integrates to 1 over the support."""

    @abstractmethod
    def negative_log_likelihood(
        self, output: Float[Tensor, "batch *shape"], x: Float[Tensor, "batch *shape"]
    ) -> Float[Tensor, " batch"]:
        """``-log p(x | z)`` of each example, in nats, summed over its numbers."""

    @abstractmethod
    def mean(self, output: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """``E[x | z]``, in the units of x."""

    @abstractmethod
    def sample(
        self, output: Float[Tensor, "batch *shape"], generator: torch.Generator
    ) -> Float[Tensor, "batch *shape"]:
        """X ~ p(x | z), one draw of each number, made where the generator is."""


class Bernoulli(Likelihood):
    """Cross-entropy on logits: what the paper uses for MNIST.

    On grey levels it is not a normalised density: `ContinuousBernoulli` is.
    """

    support = (0.0, 1.0)
    density = False

    def negative_log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood`; `output` holds logits."""
        losses = F.binary_cross_entropy_with_logits(output, x, reduction="none")
        return losses.flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """See `Likelihood`."""
        return output.sigmoid()

    def sample(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """See `Likelihood`: zeros and ones, never grey levels."""
        return (_uniform(output, generator) < output.sigmoid()).to(output)


class ContinuousBernoulli(Likelihood):
    """Bernoulli's relative that is a density on [0, 1] (Loaiza-Ganem & Cunningham 2019)."""

    support = (0.0, 1.0)
    density = True

    def negative_log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood`; `output` holds logits."""
        losses = F.binary_cross_entropy_with_logits(output, x, reduction="none")
        return (losses - log_normaliser(output)).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        """See `Likelihood`: ``sigmoid(l) / tanh(l/2) - 1/l``, which is 1/2 at l = 0."""
        near_zero = output.abs() < 0.3  # below, the difference of two large numbers
        safe = torch.where(near_zero, torch.ones_like(output), output)
        exact = safe.sigmoid() / torch.tanh(safe / 2) - 1 / safe
        small = torch.where(near_zero, output, torch.zeros_like(output))
        square = small.square()
        series = 1 / 12 - square / 720 + square**2 / 30240 - square**3 / 1209600
        return torch.where(near_zero, 0.5 + small * series, exact)

    def sample(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """See `Likelihood`, by the inverse of the cdf ``expm1(l x) / expm1(l)``."""
        # For -|l|, which cannot overflow, then mirrored; the smallest |l| gives u itself.
        rate = output.abs().clamp(min=1e-30)
        u = _uniform(output, generator)
        x = (-torch.log1p(u * torch.expm1(-rate)) / rate).clamp(0, 1)
        return torch.where(output > 0, 1 - x, x)


def log_normaliser(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``log C`` of the continuous Bernoulli: ``C = l / tanh(l/2)`` for logits l, which is 2 at 0.

    With ``lambda = sigmoid(l)`` it is the paper's ``2 atanh(1 - 2 lambda) / (1 - 2 lambda)``. Near
    zero, where that is 0/0, the Taylor series to the sixth order serves.
    """
    near_zero = logits.abs() < 1e-1
    # `where` passes gradients to both branches: the one not taken must be finite as well.
    safe = torch.where(near_zero, torch.ones_like(logits), logits).abs()
    exact = safe.log() - torch.tanh(safe / 2).log()
    square = torch.where(near_zero, logits, torch.zeros_like(logits)).square()
    series = math.log(2) + square / 12 - 7 * square**2 / 1440 + 31 * square**3 / 90720
    return torch.where(near_zero, series, exact)


class Gaussian(Likelihood):
    """N(x; output, s^2 I) with one scale s for all numbers of all examples.

    Parameters
    ----------
    scale : float, "learned" or "optimal"
        A fixed s; a parameter trained with the weights; or the best s for each batch,
        ``s^2 = mean((x - output)^2)``, as in the sigma-VAE (Rybkin et al. 2021). The optimum over
        the training set is stored after training, and used in evaluation mode.
    """

    support = (-math.inf, math.inf)
    density = True
    log_scale: Tensor

    def __init__(self, scale: float | Literal["learned", "optimal"] = "optimal") -> None:
        super().__init__()
        if isinstance(scale, str) and scale not in ("learned", "optimal"):
            raise ValueError(
                f"the Gaussian likelihood's scale is {scale!r}; allowed are a positive number, "
                "'learned' and 'optimal'."
            )
        if not isinstance(scale, str) and not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"the Gaussian likelihood's scale is {scale}; it must be above 0.")
        self.scale = scale
        initial = torch.tensor(0.0 if isinstance(scale, str) else math.log(scale))
        if scale == "learned":
            self.log_scale = nn.Parameter(initial)
        else:
            self.register_buffer("log_scale", initial)

    def negative_log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        """See `Likelihood`; `output` holds means."""
        numbers = math.prod(output.shape[1:])
        squares = (x - output).square().flatten(1).sum(1)
        log_scale = self.log_scale
        if self.scale == "optimal" and self.training:
            # At the optimum the loss does not change with s, so no gradient is lost.
            log_scale = optimal_log_scale(squares.detach().mean() / numbers)
        constant = numbers * (log_scale + 0.5 * math.log(2 * math.pi))
        return 0.5 * squares * torch.exp(-2 * log_scale) + constant

    def mean(self, output: Tensor) -> Tensor:
        """See `Likelihood`."""
        return output

    def sample(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """See `Likelihood`; an optimal scale is the one that was stored."""
        noise = torch.randn(
            output.shape, generator=generator, device=generator.device, dtype=output.dtype
        )
        return output + torch.exp(self.log_scale) * noise.to(output.device)


def optimal_log_scale(mean_squared_error: Float[Tensor, "*members"]) -> Float[Tensor, "*members"]:
    """``log s`` of the best Gaussian: ``s^2 = mean((x - output)^2)`` (Rybkin et al. 2021).

    A perfect fit has no best scale: the smallest float32 stands for zero.
    """
    return 0.5 * mean_squared_error.clamp(min=torch.finfo(torch.float32).tiny).log()


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    u = torch.rand(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return u.to(like.device)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
}
