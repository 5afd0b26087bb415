"""I(i; z): how much a code tells of the example it was drawn for, in nats.

Section 7 of docs/mathematics.md. `index_dependence` is the paper's view of the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.errors import HebaeError
from hebae.evaluation.estimate import Estimate

__all__ = ["Information", "mutual_information"]

Values = Tensor | npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Information(Estimate):
    """A mutual information in nats; its standard error takes the examples for a sample."""

    ceiling: float
    """The most that the value may be: log N for N examples."""


def mutual_information(
    mean: Values,
    log_scale: Values | None,
    noise_factor: Values | None = None,
    *,
    seed: int = 0,
    draws: int = 1,
    block: int = 64,
) -> Information:
    """I(i; z) = mean_i KL(q(z | x_i) || q(z)) for q(z) the exact mixture of all N posteriors.

    The posteriors are ``q(z | x_i) = N(mu_i, D_i L L^T D_i)`` with D_i = diag(sigma_i). Each KL is
    estimated by the mean of ``log q(z | x_i) - log q(z)`` over draws z ~ q(z | x_i); its bias is
    none, so that where I is nearly 0 the estimate may fall below. N^2 k operations a draw, N^2 k^2
    where L and the D_i do not commute.

    Parameters
    ----------
    mean : Tensor or array, shape (N, k)
        mu_i, N >= 2. The work is done where it lies, in float64.
    log_scale : Tensor or array, shape (N, k) or (N, 1); None for a deterministic encoder
        log sigma_i. With None the code is mu_i itself, and I the entropy of the codes, exactly:
        log N if all differ.
    noise_factor : Tensor or array, shape (k, k), optional
        Lower triangular L: for HEBAE the Cholesky factor of the covariance of its noise. Left
        out: I, the VAE's.
    seed : int
        Of the draws.
    draws : int
        For each example.
    block : int
        Examples a side of the blocks that all pairs are worked through in; memory, not the value,
        depends on it: about 24 k block^2 bytes.

    Returns
    -------
    Information
        Standard error 0 where nothing had to be estimated.

    Raises
    ------
    HebaeError
        If shapes do not fit, a value or sigma is not finite, a sigma is 0, L has no inverse or is
        not lower triangular, or a number is below 1.

    References
    ----------
    Hoffman, Johnson (2016), "ELBO surgery: yet another way to carve up the variational evidence
    lower bound".
    """
    mean = _finite("mean", mean)
    if mean.ndim != 2 or len(mean) < 2 or mean.shape[1] < 1:
        raise HebaeError(f"mean has shape {tuple(mean.shape)}; it must be (N, k), N at least 2.")
    for name, number in (("draws", draws), ("block", block)):
        if number < 1:
            raise HebaeError(f"{name} is {number}; it must be at least 1.")
    if log_scale is None:
        if noise_factor is not None:
            raise HebaeError("A noise_factor without log_scale: a deterministic code has no noise.")
        return _entropy_of_codes(mean)

    posteriors = _Posteriors(mean, log_scale, noise_factor)
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws on every device
    ratio = torch.zeros_like(mean[:, 0])
    for _ in range(draws):
        epsilon = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
        ratio += posteriors.log_ratio(epsilon.to(mean.device), block) / draws
    ceiling = math.log(len(mean))
    return Information(
        value=min(ceiling + float(ratio.mean()), ceiling),
        standard_error=float(ratio.std()) / math.sqrt(len(mean)),
        ceiling=ceiling,
    )


def _entropy_of_codes(codes: Tensor) -> Information:
    _, counts = torch.unique(codes, dim=0, return_counts=True)
    shared = float((counts.double() * counts.double().log()).sum()) / len(codes)
    ceiling = math.log(len(codes))
    return Information(value=ceiling - shared, standard_error=0.0, ceiling=ceiling)


class _Posteriors:
    """N posteriors N(mu_i, D_i L L^T D_i) and their densities, all without the same constant."""

    def __init__(self, mean: Tensor, log_scale: Values, noise_factor: Values | None) -> None:
        n, k = mean.shape
        log_scale = _finite("log_scale", log_scale).to(mean.device)
        if log_scale.shape not in ((n, k), (n, 1)):
            shape = tuple(log_scale.shape)
            raise HebaeError(f"log_scale has shape {shape}; it must be {(n, k)} or {(n, 1)}.")
        scale = log_scale.exp()
        if not ((scale > 0) & scale.isfinite()).all():
            raise HebaeError("log_scale has values whose exponential is 0 or infinite in float64.")
        self.factor = self.whitener = None
        if noise_factor is not None:
            L = _invertible("noise_factor", noise_factor, k).to(mean.device)
            if log_scale.shape[1] == 1 or torch.equal(L, L.diagonal().diag()):
                # L commutes with every D_i: codes L^-1 z have noise of covariance D_i^2, and the
                # same mutual information.
                mean = torch.linalg.solve_triangular(L, mean.mT, upper=False).mT.contiguous()
            else:
                self.factor = L
                identity = torch.eye(k, dtype=L.dtype, device=L.device)
                self.whitener = torch.linalg.solve_triangular(L, identity, upper=False)
        self.mean = mean
        self.scale = scale.expand_as(mean)
        self.log_volume = log_scale.expand_as(mean).sum(dim=1)

    def log_ratio(self, epsilon: Tensor, block: int) -> Tensor:
        """``log q(z_i | x_i) - log sum_j q(z_i | x_j)`` at z_i = mu_i + D_i L epsilon_i: (N,)."""
        shaped = epsilon if self.factor is None else epsilon @ self.factor.mT
        z = self.mean + self.scale * shaped
        # Not from epsilon, which z has forgotten where it is small beside the mean: both densities
        # must see the same rounding for the ratio to stay below 0.
        own = self._log_density(z, self.mean, self.scale, self.log_volume)
        mixture = [self._log_mixture(part, block) for part in torch.split(z, block)]
        return (own - torch.cat(mixture)).clamp(max=0)

    def _log_mixture(self, z: Tensor, block: int) -> Tensor:
        total = z.new_full((len(z),), -math.inf)
        parts = zip(
            *(torch.split(x, block) for x in (self.mean, self.scale, self.log_volume)), strict=True
        )
        for part in parts:
            total = torch.logaddexp(total, self._log_density(z[:, None], *part).logsumexp(dim=1))
        return total

    def _log_density(self, z: Tensor, mean: Tensor, scale: Tensor, log_volume: Tensor) -> Tensor:
        """``-|L^-1 D^-1 (z - mu)|^2 / 2 - log |D|``, over the last axis."""
        residual = (z - mean).div_(scale)
        if self.whitener is not None:
            residual = residual @ self.whitener.mT
        return -0.5 * residual.square_().sum(dim=-1) - log_volume


def _finite(name: str, values: Values) -> Tensor:
    tensor = torch.as_tensor(values).detach().to(torch.float64)
    if not tensor.isfinite().all():
        raise HebaeError(f"{name} holds NaN or infinite values.")
    return tensor


def _invertible(name: str, values: Values, size: int) -> Tensor:
    factor = _finite(name, values)
    if factor.shape != (size, size):
        raise HebaeError(f"{name} has shape {tuple(factor.shape)}; it must be {(size, size)}.")
    if factor.triu(1).any() or not factor.diagonal().all():
        raise HebaeError(f"{name} must be lower triangular, without a zero on its diagonal.")
    return factor
