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

    Parameters
    ----------
    model, data, device
        See `elbo`. The value depends on the number N of examples and is at most log N.
    seed, draws, block
        See `posterior_information`.

    Raises
    ------
    UndefinedMetric
        If the covariance of HEBAE's noise is singular.
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

    References
    ----------
    Hoffman, Johnson (2016), "ELBO surgery".
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
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws on every device
    ratio = torch.zeros_like(means[:, 0])
    for _ in range(draws):
        epsilon = torch.randn(means.shape, generator=generator, dtype=torch.float64)
        z, _ = posteriors.draw(epsilon.to(means.device))
        ratio += log_ratio(posteriors, z, block) / draws
    value, error = ceiling + float(ratio.mean()), float(ratio.std()) / math.sqrt(len(means))
    return Information(min(value, ceiling), error, ceiling)


def log_ratio(
    posteriors: Posteriors, z: Float[Tensor, "n latent"], block: int
) -> Float[Tensor, " n"]:
    """``log q(z_i | x_i) - log sum_j q(z_i | x_j)`` for one code per example; at most 0.

    With A_j = (D_j L L^T D_j)^-1, ``(z - mu_j)^T A_j (z - mu_j)`` is linear in the numbers
    ``(z z^T, z, 1)``, so all pairs of codes and posteriors are one product of matrices. It loses
    digits to cancellation where sigma is small compared to mu. There the product still tells which
    few posteriors matter at a code, and these are computed again from the difference z - mu_j.
    """
    n, k = z.shape
    precision = posteriors.whitener.mT @ posteriors.whitener  # of the noise
    rows, columns = precision.triu().nonzero(as_tuple=True)
    weight = precision[rows, columns] * torch.where(rows == columns, -0.5, -1.0)
    centre = posteriors.mean.mean(dim=0)  # differences from it lose fewer digits
    centred, inverse = z - centre, 1 / posteriors.scale
    scaled = (posteriors.mean - centre) * inverse
    linear = scaled @ precision
    at_centre = -0.5 * ((linear * scaled).sum(dim=1) + k * math.log(2 * math.pi))
    constant = at_centre - posteriors.log_volume
    # Near z = mu_j, products of size |mu_j|^T |A_j| |mu_j| cancel to almost nothing.
    size = (scaled.abs() @ precision.abs() * scaled.abs()).sum(1) + posteriors.log_volume.abs()
    rounding = (len(weight) + k + 1) * torch.finfo(size.dtype).eps * (1 + size)

    def terms(x: Tensor, factor: Tensor | float, *others: Tensor) -> Tensor:
        """Products x_a x_b for the nonzero entries (a, b) of A_j, each pair once; and others."""
        return torch.cat((x[:, rows] * x[:, columns] * factor, *others), dim=1)

    # From z and not from its noise, which rounding removes from z where it is small compared to
    # the mean: both densities must see the same rounding for the ratio to stay below 0.
    log_posterior = posteriors.log_density(z)
    total = torch.full_like(log_posterior, -math.inf)
    blocks = [slice(start, start + block) for start in range(0, n, block)]
    for codes in blocks:
        floor = (log_posterior[codes] - NEGLIGIBLE)[:, None]
        of_codes = terms(centred[codes], weight, centred[codes], torch.ones_like(floor))
        for part in blocks:
            of_part = (linear[part] * inverse[part], constant[part, None])
            densities = of_codes @ terms(inverse[part], 1.0, *of_part).mT
            if not rounding[part].max() <= ROUNDING:
                negligible = densities < floor - rounding[part].max()
                pairs = (~negligible).nonzero()  # including NaN
                for some in torch.split(pairs, max(1, PAIRS // k)):
                    code, example = some.unbind(dim=1)
                    exact = posteriors[part][example].log_density(z[codes][code])
                    densities[code, example] = exact
            # Only for speed: exp is slow where it underflows.
            densities.clamp_(min=floor)
            if part == codes:
                densities.diagonal().copy_(log_posterior[codes])
            total[codes] = torch.logaddexp(total[codes], densities.logsumexp(dim=1))
    return (log_posterior - total).clamp(max=0)
