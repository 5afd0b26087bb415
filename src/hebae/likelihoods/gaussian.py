"""The Gaussian likelihood (section 1 of docs/mathematics.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from hebae.likelihoods.base import EMPTY, Context, Likelihood


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
            raise ValueError(f"the Gaussian likelihood's scale is {scale}; it must be above 0.")
        self.scale = scale
        initial = torch.tensor(0.0 if isinstance(scale, str) else math.log(scale))
        if scale == "learned":
            self.log_scale = nn.Parameter(initial)
        else:
            self.register_buffer("log_scale", initial)

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds means."""
        squares = (x - output).square()
        log_scale = self.log_scale
        if self.scale == "optimal" and self.training:
            # At the optimum the loss does not change with s, so no gradient is lost.
            found, mask = squares.detach(), context.mask
            mean = found.mean() if mask is None else found.masked_fill(~mask, 0).sum() / mask.sum()
            log_scale = optimal_log_scale(mean)
        return 0.5 * squares * torch.exp(-2 * log_scale) + (log_scale + 0.5 * math.log(2 * math.pi))

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        return output

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`; an optimal scale is the one that was stored."""
        noise = torch.randn(
            output.shape, generator=generator, device=generator.device, dtype=output.dtype
        )
        return output + torch.exp(self.log_scale) * noise.to(output.device)


def optimal_log_scale(mean_squared_error: Float[Tensor, "*members"]) -> Float[Tensor, "*members"]:
    """``log s`` of the best Gaussian: ``s^2 = mean((x - output)^2)`` (Rybkin et al. 2021).

    A perfect fit has no best scale; the smallest positive float32 replaces a variance of zero.
    """
    return 0.5 * mean_squared_error.clamp(min=torch.finfo(torch.float32).tiny).log()
