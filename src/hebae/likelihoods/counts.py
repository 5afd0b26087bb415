"""Likelihoods of counts: Poisson, negative binomial and zero-inflated (docs/mathematics.md, 11).

The mean of count j in example i is ``m_ij = l_i softmax(rho_i)_j``: l_i, the size of the example
(a cell's library size), is the sum of its observed counts, and the softmax is over these. p(x | z)
is therefore conditional on l; samples draw it as the sizes of training examples are distributed.
Source: Lopez et al. (2018), "Deep generative modeling for single-cell transcriptomics".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from hebae.likelihoods.base import EMPTY, Context, Likelihood, moments

LOG_DISPERSION_LIMIT = 7.0
"""Largest ``|log theta|``: beyond, the negative binomial is a Poisson distribution, or zero, in
float32."""
SMALLEST_MEAN = 1e-3
"""Typical count at which a column without larger ones starts."""
QUANTILES = 257
"""Numbers that stand for the distribution of the sizes of training examples."""


class Poisson(Likelihood):
    """Poisson distributions of counts, with means in proportion to the size of the example.

    The encoder is given ``log(1 + x l / l_i)``, l the mean size of the training examples. The
    decoder's output rho is added to logarithms of typical counts of the training examples, so that
    training starts near the mean of each column.
    """

    support = (0.0, math.inf)
    density = True
    whole = True
    tables_only = True
    sized: bool = True
    """Whether means are in proportion to the size of the example, or to the mean of the column."""

    def describe(self, x: Tensor) -> Context:
        """See `Likelihood`."""
        size = self.size_of(x) if self.sized else None
        return super().describe(x)._replace(size_factor=size)

    def size_of(self, x: Tensor) -> Tensor:
        """Sum of the observed counts of each example, at least 1."""
        return x.nansum(-1).clamp(min=1)

    def features(self, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`."""
        if not self.sized:
            return x.log1p()
        size = self.size_of(x) if context.size_factor is None else context.size_factor
        return (x * (self._size.to(x) / size)[..., None]).log1p()

    @property
    def _size(self) -> Tensor:
        return torch.tensor(1e4) if self.typical is None else self.typical

    @torch.no_grad()
    def learn(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """See `Likelihood`; first the mean size of an example, or the mean of each column."""
        if self.sized:
            sizes = torch.cat([self.size_of(x).double() for x in batches()])
            self.typical = sizes.mean().float()
            self.size_quantiles = _quantiles(sizes).float()
            of_shares = moments((x / self.size_of(x)[..., None]) for x in batches())
            self._start(of_shares.mean * self.typical, of_shares.variance * self.typical**2)
        else:
            of_counts = moments(batches())
            self.typical = of_counts.mean.clamp(min=1e-3).float()
            self._start(of_counts.mean, of_counts.variance)
        super().learn(batches)

    def _start(self, mean: Tensor, variance: Tensor) -> None:
        """Start parameters from the moments of counts, of examples of one size."""

    def log_mean(self, rho: Tensor, context: Context) -> Tensor:
        """``log m``, without zero inflation."""
        if not self.sized:
            return rho if self.typical is None else rho + self.typical.log()
        if self.filling is not None:
            rho = rho + self.filling.expm1().clamp(min=SMALLEST_MEAN).log()
        observed = rho if context.mask is None else rho.masked_fill(~context.mask, -math.inf)
        size = self._size.to(rho) if context.size_factor is None else context.size_factor
        return rho - observed.logsumexp(-1, keepdim=True) + size.log()[..., None]

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds rho."""
        log_mean = self.log_mean(output, context)
        return log_mean.exp() - x * log_mean + (x + 1).lgamma()

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`; for an example of the mean size, if the context has no size."""
        return self.log_mean(output, context).exp()

    def mean_steps(self) -> list[dict[str, Any]]:
        """See `Likelihood`; of an example of the mean size."""
        n = math.prod(self.shape)
        if not self.sized:
            start = None if self.typical is None else self.typical.log()
            return [{"kind": "exponential", "count": n, "outputs": n, "offset": start}]
        if (start := self.filling) is not None:
            start = start.expm1().clamp(min=SMALLEST_MEAN).log()
        step = {"kind": "shares", "count": n, "outputs": n, "offset": start}
        return [step | {"size": float(self._size), "gated": False}]

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`; without a size in the context, one is drawn for each example.

        It is drawn as the sizes of the training examples are distributed, whatever z is.
        """
        return _poisson(self.mean(output, self._with_size(output, generator, context)), generator)

    def _with_size(self, output: Tensor, generator: Generator, context: Context) -> Context:
        if not self.sized or self.size_quantiles is None or context.size_factor is not None:
            return context
        count = output.shape[: output.ndim - len(self.output_shape)]
        u = torch.rand(count, generator=generator, device=generator.device).to(self.size_quantiles)
        place = u * (len(self.size_quantiles) - 1)
        low = place.floor().long().clamp(max=len(self.size_quantiles) - 2)
        size = torch.lerp(self.size_quantiles[low], self.size_quantiles[low + 1], place - low)
        return context._replace(size_factor=size.to(output))


class NegativeBinomial(Poisson):
    """Negative binomial distributions of counts, with one dispersion per column.

    The variance is ``m + m^2 / theta``; theta is trained with the weights. `Poisson` has the means,
    and what the encoder is given.
    """

    log_dispersion: Tensor

    def __init__(self, *, shape: Sequence[int] = (1,), sized: bool = True) -> None:
        super().__init__(shape=shape)
        self.sized = sized
        self.log_dispersion = nn.Parameter(torch.zeros(self.shape))
        """log theta."""

    def _start(self, mean: Tensor, variance: Tensor) -> None:
        excess = (variance - mean).clamp(min=1e-6)
        self.log_dispersion.copy_((mean.square() / excess).clamp(0.1, 100).log())

    @property
    def _log_theta(self) -> Tensor:
        return self.log_dispersion.clamp(-LOG_DISPERSION_LIMIT, LOG_DISPERSION_LIMIT)

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds rho."""
        return -self._log_density(self.log_mean(output, context), x)

    def _log_density(self, log_mean: Tensor, x: Tensor) -> Tensor:
        log_theta = self._log_theta
        theta = log_theta.exp()
        log_total = torch.logaddexp(log_theta.expand_as(log_mean), log_mean)
        return (
            (x + theta).lgamma()
            - theta.lgamma()
            - (x + 1).lgamma()
            + theta * (log_theta - log_total)
            + x * (log_mean - log_total)
        )

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`, and `Poisson` for the size."""
        context = self._with_size(output, generator, context)
        mean = self.log_mean(self._rho(output), context).exp().double()
        theta = self._log_theta.exp().expand_as(mean).to(generator.device, torch.float64)
        rate = torch._standard_gamma(theta, generator=generator)  # as torch.distributions does
        return _poisson(mean * (rate / theta).to(mean), generator).to(output)

    def _rho(self, output: Tensor) -> Tensor:
        return output


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """A negative binomial distribution, or 0 with a probability pi for each example and column.

    The decoder's output is (2, columns): rho, and the logits of pi. The mean is ``(1 - pi) m``.
    """

    @property
    def output_shape(self) -> tuple[int, ...]:
        """See `Likelihood`."""
        return (2, *self.shape)

    def losses(self, output: Tensor, x: Tensor, context: Context) -> Tensor:
        """See `Likelihood`; `output` holds rho and the logits of pi."""
        rho, gate = output.unbind(-2)
        log_p = self._log_density(self.log_mean(rho, context), x) + F.logsigmoid(-gate)
        return -torch.where(x == 0, torch.logaddexp(F.logsigmoid(gate), log_p), log_p)

    def mean(self, output: Tensor, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        rho, gate = output.unbind(-2)
        return (-gate).sigmoid() * super().mean(rho, context)

    def mean_steps(self) -> list[dict[str, Any]]:
        """See `Likelihood`: rho first, then the logits of pi."""
        (step,) = super().mean_steps()
        return [step | {"outputs": 2 * step["count"], "gated": True}]

    def sample(self, output: Tensor, generator: Generator, context: Context = EMPTY) -> Tensor:
        """See `Likelihood`."""
        counts = super().sample(output, generator, context)
        gate = output[..., 1, :]
        u = torch.rand(gate.shape, generator=generator, device=generator.device).to(gate)
        return counts.masked_fill(u < gate.sigmoid(), 0)

    def _rho(self, output: Tensor) -> Tensor:
        return output[..., 0, :]


def _quantiles(values: Tensor) -> Tensor:
    """Return evenly spaced quantiles, from the smallest value to the largest."""
    ranked = values.flatten().sort().values
    place = torch.linspace(0, len(ranked) - 1, QUANTILES, dtype=torch.float64)
    low = place.floor().long()
    high = place.ceil().long()
    weight = (place - low).to(ranked)
    return torch.lerp(ranked[low], ranked[high], weight)


def _poisson(rate: Tensor, generator: Generator) -> Tensor:
    draws = torch.poisson(rate.to(generator.device, torch.float64), generator=generator)
    return draws.to(rate)
