"""N(0, I), the paper's prior, and the normal that has the codes' own moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch

from hebae.errors import HebaeError, UndefinedMetric
from hebae.priors.base import Doubles, Floats, Sampler, check_codes, normal_log_density

__all__ = ["FittedNormal", "StandardNormal"]

VARIANCE_FLOOR = 1e-6
"""Least variance of the codes in any direction, over their mean variance.

A collapsed dimension of a deterministic encoder has none of its own, and no density without it.
"""


@dataclass(frozen=True)
class StandardNormal(Sampler):
    """N(0, I): the prior that the paper samples from.

    Parameters
    ----------
    latent_dim : int
        k.
    """

    latent_dim: int

    name = "normal"

    def _draw(self, count: int, generator: np.random.Generator) -> Floats:
        return generator.standard_normal((count, self.latent_dim), dtype=np.float32)

    def _log_density(self, z: Doubles) -> Doubles:
        density: Doubles = -0.5 * ((z**2).sum(axis=1) + self.latent_dim * np.log(2 * np.pi))
        return density


@dataclass(frozen=True, eq=False)
class FittedNormal(Sampler):
    """N(beta, C), with the mean and covariance of the codes (mathematics, section 6).

    Parameters
    ----------
    mean : ndarray, shape (k,)
    covariance : ndarray, shape (k, k)
        Positive definite.
    """

    mean: Doubles
    covariance: Doubles

    name = "fitted-normal"

    def __post_init__(self) -> None:
        """Refuse what is no covariance."""
        factor_of(self.covariance)

    @classmethod
    def fit(cls, codes: npt.ArrayLike) -> Self:
        """Take the moments of codes (n, k).

        In directions where the codes do not vary, the variance is a millionth of their mean
        variance.

        Raises
        ------
        HebaeError
            If the codes are all equal, or not finite.
        """
        mean, values, directions = principal_moments(check_codes(codes))
        return cls(mean, (directions * values) @ directions.T)

    @property
    def latent_dim(self) -> int:  # type: ignore[override]
        """Dimensions k of the codes."""
        return len(self.mean)

    def _draw(self, count: int, generator: np.random.Generator) -> Floats:
        noise = generator.standard_normal((count, self.latent_dim))
        return (self.mean + noise @ factor_of(self.covariance).T).astype(np.float32)

    def _log_density(self, z: Doubles) -> Doubles:
        factor = torch.from_numpy(factor_of(self.covariance))
        density = normal_log_density(z, torch.from_numpy(self.mean)[None], factor[None])
        return np.asarray(density[:, 0])


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


def factor_of(covariances: Doubles) -> Doubles:
    """Cholesky factors of covariances (..., k, k)."""
    try:
        factors = np.linalg.cholesky(covariances).astype(np.float64)
    except np.linalg.LinAlgError:
        raise HebaeError(
            "a covariance is not positive definite, so it is that of no normal density; fit the "
            "sampler with its fit method."
        ) from None
    return factors
