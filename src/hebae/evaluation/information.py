"""I(i; z): how much a code says about which example it was drawn for, in nats.

Section 7 of docs/mathematics.md. `index_dependence` estimates the paper's version of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hebae import inference
from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.evaluation.checks import ArrayLike, Device
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.posterior import Posteriors, checked_means, noise_factor

__all__ = ["Information", "mutual_information", "posterior_information"]

ROUNDING = 1e-8  # nats that a log-density may be off
NEGLIGIBLE = 60.0  # nats below: 1e9 such densities do not change the sum in float64
PAIRS = 2**20  # numbers in the differences between pairs of codes that are held at once


@dataclass(frozen=True)
class Information(Estimate):
    """A mutual information in nats; its standard error treats the examples as a sample."""

    ceiling: float
    """The largest possible value: log N for N examples."""


def mutual_information(
    model: Any,
    data: ArrayLike,
    *,
    seed: int = 0,
    draws: int = 1,
    block: int = 1000,
    device: Device = None,
) -> Information:
    """I(i; z) of a model's codes over examples: `posterior_information` of its posteriors.

    Raises an `UndefinedMetric` if the covariance of HEBAE's noise is singular.

    Parameters
    ----------
    model, data, device
        See `elbo`. The value depends on the number N of examples and is at most log N.
    seed, draws, block
        See `posterior_information`.
    """
    module, values = checks.examples(model, data)
    with checks.on_device(module, device) as work:
        mean, log_scale = inference.encode(module, values)
        factor = None if log_scale is None else noise_factor(module)
        codes = torch.as_tensor(mean, device=work)
        return posterior_information(codes, log_scale, factor, seed=seed, draws=draws, block=block)


def posterior_information(
    mean: ArrayLike,
    log_scale: ArrayLike | None,
    noise_factor: ArrayLike | None = None,
    *,
    seed: int = 0,
    draws: int = 1,
    block: int = 1000,
) -> Information:
    """I(i; z) = mean_i KL(q(z | x_i) || q(z)) for q(z) the exact mixture of all N posteriors.

    The posteriors are ``q(z | x_i) = N(mu_i, D_i L L^T D_i)`` with D_i = diag(sigma_i). Each KL is
    estimated without bias by the mean of ``log q(z | x_i) - log q(z)`` over draws z ~ q(z | x_i).
    It takes N^2 k operations per draw, or N^2 k^2 if L is not diagonal.

    Parameters
    ----------
    mean : array-like, shape (N, k)
        mu_i, N >= 2. A tensor is worked on where it is, in float64.
    log_scale : array-like, shape (N, k) or (N, 1); None for a deterministic encoder
        log sigma_i. With None I is the entropy of the codes, exactly: log N if all differ.
    noise_factor : array-like, shape (k, k), optional
        Lower triangular L: for HEBAE the Cholesky factor of the covariance of its noise. Default:
        the identity, as for the VAE.
    seed, draws, block : int
        See `elbo`; `block` is the number of examples compared with as many at once.

    Source: Hoffman, Johnson (2016), "ELBO surgery".
    """
    means = checked_means(mean)
    checks.counts(draws=draws, block=block)
    ceiling = math.log(len(means))
    if log_scale is None:
        if noise_factor is not None:
            raise HebaeError(
                "noise_factor is given without log_scale, but a deterministic code has no noise; "
                "give both or neither."
            )
        _, counts = torch.unique(means, dim=0, return_counts=True)
        shared = float((counts.double() * counts.double().log()).sum()) / len(means)
        return Information(ceiling - shared, 0.0, ceiling)

    posteriors = Posteriors.checked(means, log_scale, noise_factor)
    mixture = _Mixture(posteriors)
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws on every device
    ratio = torch.zeros_like(means[:, 0])
    for _ in range(draws):
        epsilon = torch.randn(means.shape, generator=generator, dtype=torch.float64)
        z, _ = posteriors.draw(epsilon.to(means.device))
        ratio += mixture.log_ratio(z, block) / draws
    value, error = ceiling + float(ratio.mean()), float(ratio.std()) / math.sqrt(len(means))
    return Information(min(value, ceiling), error, ceiling)


class _Mixture:
    """The log-densities of N posteriors at many codes, by matrix products where these are exact.

    With A_j = (D_j L L^T D_j)^-1, ``(z - mu_j)^T A_j (z - mu_j)`` is linear in the numbers
    ``(z z^T, z, 1)``, so all pairs of codes and posteriors are one product of matrices. It loses
    digits to cancellation where sigma is small compared to mu. There the product still tells which
    few posteriors matter at a code, and these are computed again from the difference z - mu_j.
    """

    def __init__(self, posteriors: Posteriors) -> None:
        self.posteriors = posteriors
        self.centre = posteriors.mean.mean(dim=0)  # differences from it lose fewer digits
        whitener = posteriors.whitener
        self.precision = whitener.mT @ whitener  # of the noise
        self.rows, self.columns = self.precision.triu().nonzero(as_tuple=True)
        weight = self.precision[self.rows, self.columns]
        self.weight = torch.where(self.rows == self.columns, -0.5 * weight, -weight)
        # Near z = mu_j, products of size |mu_j|^T |A_j| |mu_j| cancel to almost nothing.
        scaled = ((posteriors.mean - self.centre) / posteriors.scale).abs()
        size = (scaled @ self.precision.abs() * scaled).sum(dim=1) + posteriors.log_volume.abs()
        terms = len(weight) + len(self.centre) + 1
        self.rounding = terms * torch.finfo(size.dtype).eps * (1 + size)

    def log_ratio(self, z: Float[Tensor, "n latent"], block: int) -> Float[Tensor, " n"]:
        """``log q(z_i | x_i) - log sum_j q(z_i | x_j)`` for one code per example; at most 0."""
        # From z and not from its noise, which rounding removes from z where it is small compared to
        # the mean: both densities must see the same rounding for the ratio to stay below 0.
        log_posterior = self.posteriors.log_density(z)
        blocks = [slice(start, start + block) for start in range(0, len(z), block)]
        ratios = []
        for codes in blocks:
            total = torch.full_like(log_posterior[codes], -math.inf)
            for part in blocks:
                densities = self._log_densities(z[codes], log_posterior[codes] - NEGLIGIBLE, part)
                if part == codes:
                    densities.diagonal().copy_(log_posterior[codes])
                total = torch.logaddexp(total, densities.logsumexp(dim=1))
            ratios.append(log_posterior[codes] - total)
        return torch.cat(ratios).clamp(max=0)

    def _log_densities(self, z: Tensor, floor: Tensor, part: slice) -> Tensor:
        """``log q(z_i | x_j)``, or its floor (m,) where it is lower, of codes z (m, k)."""
        centred = z - self.centre
        terms = (self.weight * self._products(centred), centred, torch.ones_like(z[:, :1]))
        densities = torch.cat(terms, dim=1) @ self._coefficients(self.posteriors[part]).mT
        rounding = self.rounding[part].max()
        if not rounding <= ROUNDING:
            negligible = densities < (floor - rounding)[:, None]
            pairs = (~negligible).nonzero()  # including NaN
            for some in torch.split(pairs, max(1, PAIRS // z.shape[1])):
                code, example = some.unbind(dim=1)
                densities[code, example] = self.posteriors[part][example].log_density(z[code])
        # Only for speed: exp is slow where it underflows.
        return densities.clamp_(min=floor[:, None])

    def _coefficients(self, posteriors: Posteriors) -> Float[Tensor, "n terms"]:
        """``log q(z | x_j)`` as a linear form in the terms of z."""
        k = len(self.centre)
        inverse = 1 / posteriors.scale
        scaled = (posteriors.mean - self.centre) * inverse
        linear = scaled @ self.precision
        at_centre = -0.5 * ((linear * scaled).sum(dim=1) + k * math.log(2 * math.pi))
        constant = (at_centre - posteriors.log_volume)[:, None]
        return torch.cat((self._products(inverse), linear * inverse, constant), dim=1)

    def _products(self, x: Float[Tensor, "n latent"]) -> Float[Tensor, "n products"]:
        """x_a x_b for the nonzero entries (a, b) of A_j, each pair once."""
        return x[:, self.rows] * x[:, self.columns]
