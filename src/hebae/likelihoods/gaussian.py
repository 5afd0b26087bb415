"""Gaussian likelihoods: one scale for all numbers, or one per column (docs/mathematics.md, 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from hebae.likelihoods.base import EMPTY, Context, Likelihood, Moments, unit_of

SMALLEST_SCALE = 0.01
"""Of a column, in its standard deviations: the density of a column that the code determines, or
that is constant, would grow without bound."""


class Gaussian(Likelihood):
    """N(x; mean, s^2 I) with one scale s for all numbers of all examples.

    Data with numbers beyond [-1, 1] are standardised internally, by one mean and one standard
    deviation of the training examples. Means, samples and s are in the units of the data.

    Parameters
    ----------
    scale : float, "learned" or "optimal"
        A fixed s; a parameter trained with the weights; or the best s for each batch,
        ``s^2 = mean((x - mean)^2)``, as in the sigma-VAE (Rybkin et al. 2021). The optimum over
        the training set is stored after training, and used in evaluation mode.
    shape : sequence of int
        Shape of one example.
    """

    support = (-math.inf, math.inf)
    density = True
    options: ClassVar = {"scale": "likelihood_scale"}
    log_scale: Tensor

    def __init__(
        self,
        scale: float | Literal["learned", "optimal"] = "optimal",
        *,
        shape: Sequence[int] = (),
    ) -> None:
        super().__init__(shape=shape)
        if isinstance(scale, str) and scale not in ("learned", "optimal"):
            raise ValueError(
                f"the Gaussian likelihood's scale is {scale!r}; allowed are a positive number, "
                "'learned' and 'optimal'."
            )
        if not isinstance(scale, str) and not (scale > 0 and math.isfinite(scale)):
            raise ValueError(
                f"the Gaussian likelihood's scale is {scale}; it must be above 0 and finite."
            )
        self.scale = scale
        initial = torch.full(self.scale_shape, 0.0 if isinstance(scale, str) else math.log(scale))
        if scale == "learned":
            self.log_scale = nn.Parameter(initial)
        else:
            self.register_buffer("log_scale", initial)

    def set_statistics(self, of_features: Moments, extremes: tuple[float, float]) -> None:
        """See `Likelihood`."""
        count, mean, variance = of_features.count, of_features.mean, of_features.variance
        self.filling = mean.float()
        if extremes[0] < -1 or extremes[1] > 1:
            share = count / count.sum()
            centre = (share * mean).sum()
            self.shift = centre.float()
            self.unit = unit_of((share * (variance + (mean - centre).square())).sum())
        self._start_scale()

    def _start_scale(self) -> None:
        if self.scale == "learned" and self.unit is not None:
            self.log_scale.copy_(self.unit.log())

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds standardised means."""
        squares = (x - self.mean(output)).square()
        log_scale = self.log_scale
        if self.scale == "optimal" and self.training:
            # At the optimum the loss does not change with s, so no gradient is lost.
            log_scale = self.best_log_scale(self._mean_square(squares.detach(), context.mask))
        return 0.5 * squares * torch.exp(-2 * log_scale) + (log_scale + 0.5 * math.log(2 * math.pi))

    def _mean_square(self, squares: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            return self._total(squares.masked_fill(~mask, 0).sum()) / self._total(mask.sum())
        if self.shared is None:
            return squares.mean()
        return self.shared.mean(squares.flatten(1).mean(1))

    def _total(self, x: Tensor) -> Tensor:
        return x if self.shared is None else self.shared.total(x)

    def best_scales(self, mean_squared_error: Tensor) -> dict[str, Tensor]:
        """See `Likelihood`."""
        return {"log_scale": self.best_log_scale(mean_squared_error)}

    def best_log_scale(self, mean_squared_error: Tensor) -> Tensor:
        """Return ``log s`` of the best scale, given the mean squared error of what it is for."""
        return optimal_log_scale(mean_squared_error)

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        if self.shift is None or self.unit is None:
            return output
        return output * self.unit + self.shift

    def mean_steps(self) -> list[dict[str, Any]]:
        """See `Likelihood`; unit and shift are of all numbers, or of each column."""
        n = math.prod(self.shape)
        scaled = self.shift is not None and self.unit is not None
        moments = {"unit": self.unit, "offset": self.shift} if scaled else {}
        return [{"kind": "affine", "count": n, "outputs": n, **moments}]

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`; an optimal scale is the one that was stored."""
        noise = torch.randn(
            output.shape, generator=generator, device=generator.device, dtype=output.dtype
        )
        return self.mean(output) + torch.exp(self.log_scale) * noise.to(output.device)


class GaussianColumns(Gaussian):
    """Normal densities with one scale per column of a table.

    Columns are standardised internally, by the training examples. The scale of a column is at
    least .01 of its standard deviation (.01 for one that does not vary).

    Parameters
    ----------
    scale : float, "learned" or "optimal"
        See `Gaussian`; a number is the scale of every column, in its units.
    shape : sequence of int
        Shape of one example.
    """

    standardises = True
    tables_only = True

    def __init__(
        self,
        scale: float | Literal["learned", "optimal"] = "optimal",
        *,
        shape: Sequence[int] = (1,),
    ) -> None:
        self.scale_shape = tuple(shape)
        super().__init__(scale, shape=shape)

    def set_statistics(self, of_features: Moments, extremes: tuple[float, float]) -> None:
        """See `Likelihood`."""
        Likelihood.set_statistics(self, of_features, extremes)
        self._start_scale()

    def _mean_square(self, squares: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            count = self._total(mask.sum(-2)).clamp(min=1)
            return self._total(squares.masked_fill(~mask, 0).sum(-2)) / count
        return squares.mean(-2) if self.shared is None else self.shared.mean(squares)

    def best_scales(self, mean_squared_error: Tensor) -> dict[str, Tensor]:
        """See `Likelihood`."""
        return {"log_scale": self.best_log_scale(mean_squared_error)}

    def best_log_scale(self, mean_squared_error: Tensor) -> Tensor:
        """See `Gaussian`."""
        smallest = SMALLEST_SCALE * (1.0 if self.unit is None else self.unit)
        squares = torch.maximum(
            mean_squared_error, torch.as_tensor(smallest**2).to(mean_squared_error)
        )
        return 0.5 * squares.log()


def optimal_log_scale(mean_squared_error: Float[Tensor, "*members"]) -> Float[Tensor, "*members"]:
    """``log s`` of the best Gaussian: ``s^2 = mean((x - mean)^2)`` (Rybkin et al. 2021).

    A perfect fit has no best scale; the smallest positive float32 replaces a variance of zero.
    """
    return 0.5 * mean_squared_error.clamp(min=torch.finfo(torch.float32).tiny).log()
