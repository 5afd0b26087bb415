"""N(0, I), the paper's prior, and the normal with the codes' own moments."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.errors import HebaeError, UndefinedMetric
from hebae.priors.base import Doubles, Prior, check_codes, normal_log_density

__all__ = ["FittedNormal", "StandardNormal"]

VARIANCE_FLOOR = 1e-6
"""Smallest variance of the codes in any direction, relative to their mean variance.

A collapsed dimension of a deterministic encoder has no variance, and would have no density.
"""


class StandardNormal(Prior):
    """N(0, I): the paper's prior.

    Parameters
    ----------
    latent_dim : int
        k.
    """

    name = "normal"

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior`."""
        return -0.5 * (z.square().sum(dim=-1) + self.latent_dim * math.log(2 * math.pi))

    def transform(self, epsilon: Tensor) -> Tensor:
        """Return epsilon itself."""
        return epsilon


class FittedNormal(Prior):
    """N(beta, C), with the mean and covariance of the codes (mathematics, section 6).

    Parameters
    ----------
    mean : array or Tensor, shape (k,)
    covariance : array or Tensor, shape (k, k)
        Positive definite.
    """

    name = "fitted-normal"
    mean: Tensor
    covariance: Tensor

    def __init__(self, mean: npt.ArrayLike | Tensor, covariance: npt.ArrayLike | Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", as_double(mean))
        self.register_buffer("covariance", as_double(covariance))
        self.latent_dim = len(self.mean)
        factor_of(self.covariance)

    @classmethod
    def fit(cls, codes: npt.ArrayLike) -> Self:
        """Compute the moments of codes (n, k).

        In directions where the codes do not vary, the variance is a millionth of their mean
        variance.

        Raises
        ------
        HebaeError
            If the codes are all equal, or not finite.
        """
        mean, values, directions = principal_moments(check_codes(codes))
        return cls(mean, (directions * values) @ directions.T)

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior`."""
        return normal_log_density(z, self.mean[None], factor_of(self.covariance)[None])[:, 0]

    def transform(self, epsilon: Tensor) -> Tensor:
        """``mean + R epsilon``, R the Cholesky factor of the covariance."""
        return self.mean + epsilon.to(self.mean) @ factor_of(self.covariance).mT


class PrincipalMoments(NamedTuple):
    """Moments of codes along the axes of their covariance."""

    mean: Doubles
    """Shape (k,)."""
    variances: Doubles
    """Shape (k,); none below the floor."""
    directions: Doubles
    """Shape (k, k), orthonormal columns."""


def principal_moments(z: Doubles) -> PrincipalMoments:
    """Moments of codes (n, k), the covariance as (directions * variances) @ directions.T."""
    mean = z.mean(axis=0)
    deviation = z - mean
    values, directions = np.linalg.eigh(deviation.T @ deviation / len(z))
    average = values.mean()
    if not average > np.finfo(np.float32).eps ** 2 * (mean**2).mean():  # codes come in float32
        raise UndefinedMetric(
            "the codes of all examples are equal, so no sampler can be fitted to them; the model "
            "has collapsed. The sampler 'normal' needs no fit."
        )
    return PrincipalMoments(mean, np.maximum(values, VARIANCE_FLOOR * average), directions)


def as_double(values: npt.ArrayLike | Tensor) -> Tensor:
    """Return an array as a float64 tensor of its own."""
    if isinstance(values, Tensor):
        return values.detach().double().clone()
    return torch.from_numpy(np.array(values, dtype=np.float64))


def factor_of(covariances: Tensor) -> Tensor:
    """Cholesky factors of covariances (..., k, k)."""
    factors: Tensor
    factors, failed = torch.linalg.cholesky_ex(covariances)
    if bool(failed.any()):
        raise HebaeError(
            "a covariance is not positive definite, so it belongs to no normal density; fit the "
            "sampler with its fit method."
        )
    return factors
