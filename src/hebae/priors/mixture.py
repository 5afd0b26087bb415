"""Mixtures of normals with full covariances, and the normal with the codes' own moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.errors import HebaeError, UndefinedMetric
from hebae.priors.base import (
    BLOCK_ENTRIES,
    Doubles,
    Fit,
    Prior,
    Split,
    check_codes,
    normal_log_density,
)

VARIANCE_FLOOR = 1e-6
"""Smallest variance of the codes in any direction, relative to their mean variance.

A collapsed dimension of a deterministic encoder has no variance, and would have no density.
"""


class MixtureOfNormals(Prior):
    """sum_c w_c N(m_c, R_c R_c^T), however its parts are stored: what all mixtures share.

    Attributes
    ----------
    weights, means, factors : Tensor, shapes (c,), (c, k) and (c, k, k)
        The factors R_c are lower triangular.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    @property
    def components(self) -> int:
        """Number of normals."""
        return len(self.weights)

    @property
    def noise_dim(self) -> int:
        """``k + 1``: the first number selects the component."""
        return self.latent_dim + 1

    def log_prob(self, z: Tensor) -> Tensor:
        """``log sum_c w_c N(z; m_c, R_c R_c^T)``."""
        joint = normal_log_density(z, self.means, self.factors) + self.weights.log()
        return joint.logsumexp(dim=1)

    def transform(self, epsilon: Tensor) -> Tensor:
        """``m_c + R_c epsilon[1:]``, c by the inverse distribution function of the weights."""
        weights, means, factors = self.weights, self.means, self.factors
        u = torch.special.ndtr(epsilon[:, 0].to(weights))
        component = torch.searchsorted(weights.cumsum(0), u).clamp(max=len(weights) - 1)
        noise = epsilon[:, 1:].to(means)
        # In blocks: one factor per draw takes k times the memory of z.
        size = max(1, BLOCK_ENTRIES // factors[0].numel())
        pairs = zip(torch.split(component, size), torch.split(noise, size), strict=True)
        return torch.cat([means[c] + (factors[c] @ e[..., None])[..., 0] for c, e in pairs])


class Mixture(MixtureOfNormals):
    """sum_c w_c N(m_c, C_c) with fixed parts, in float64.

    Parameters
    ----------
    weights : array or Tensor, shape (c,)
        Above 0, with sum 1.
    means : array or Tensor, shape (c, k)
    covariances : array or Tensor, shape (c, k, k)
        Positive definite.

    See Also
    --------
    hebae.priors.fit_mixture : Fits one to codes.
    hebae.priors.LearnedMixture : One that is learned with a model.
    """

    name = "mixture"
    display_name = "mixture"
    summary = "a mixture of normals, whose number is chosen on held-out codes"
    automatic = True
    covariances: Tensor

    def __init__(
        self,
        weights: npt.ArrayLike | Tensor,
        means: npt.ArrayLike | Tensor,
        covariances: npt.ArrayLike | Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("weights", as_double(weights))
        self.register_buffer("means", as_double(means))
        self.register_buffer("covariances", as_double(covariances))
        c, k = self.means.shape
        self.latent_dim = k
        if self.weights.shape != (c,) or self.covariances.shape != (c, k, k):
            raise HebaeError(
                f"a mixture with means {(c, k)} takes weights ({c},) and covariances {(c, k, k)}, "
                f"not {tuple(self.weights.shape)} and {tuple(self.covariances.shape)}."
            )
        if not (self.weights > 0).all() or abs(float(self.weights.sum()) - 1) > 1e-9:
            raise HebaeError("the weights of a mixture must be above 0 and have the sum 1.")
        factors, failed = torch.linalg.cholesky_ex(self.covariances)
        if failed.any():
            raise HebaeError(
                "a covariance of the mixture is not positive definite; fit the sampler with its "
                "fit method."
            )
        self.register_buffer("factors", factors, persistent=False)

    @classmethod
    def fit_split(cls, split: Split, known: Mapping[str, Prior]) -> Fit:
        """Fit as many components as suit the held-out codes: see `fit_mixture`."""
        from hebae.priors.fitting import fit_mixture

        fit = fit_mixture(split.every, split.seed)
        return Fit(fit.mixture, fit.unrefined, fit.curve)

    @classmethod
    def from_tensors(cls, latent_dim: int, tensors: Mapping[str, Tensor]) -> Self:
        """Make a sampler again from what `to_tensors` returned."""
        return cls(**tensors)


class FittedNormal(Mixture):
    """N(beta, C), with the mean and covariance of the codes (mathematics, section 6).

    Parameters
    ----------
    mean : array or Tensor, shape (k,)
    covariance : array or Tensor, shape (k, k)
        Positive definite.
    """

    name = "fitted-normal"
    display_name = "fitted normal"
    summary = "a normal with the mean and covariance of the codes"
    automatic = True

    def __init__(self, mean: npt.ArrayLike | Tensor, covariance: npt.ArrayLike | Tensor) -> None:
        super().__init__(np.ones(1), as_double(mean)[None], as_double(covariance)[None])

    @property
    def mean(self) -> Tensor:
        """Shape (k,)."""
        return self.means[0]

    @property
    def covariance(self) -> Tensor:
        """Shape (k, k)."""
        return self.covariances[0]

    @classmethod
    def fit_split(cls, split: Split, known: Mapping[str, Prior]) -> Fit:
        """Compute the moments of all codes, and of nine tenths."""
        return Fit(cls.fit(split.every), cls.fit(split.train))

    def to_tensors(self) -> dict[str, Tensor]:
        """Mean and covariance."""
        return {"mean": self.mean, "covariance": self.covariance}

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


def principal_moments(z: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return mean (k,), variances (k,) and directions (k, k) of codes (n, k).

    The covariance is ``(directions * variances) @ directions.T``, no variance below the floor.
    """
    mean = z.mean(axis=0)
    deviation = z - mean
    values, directions = np.linalg.eigh(deviation.T @ deviation / len(z))
    average = values.mean()
    if not average > np.finfo(np.float32).eps ** 2 * (mean**2).mean():  # codes come in float32
        raise UndefinedMetric(
            "the codes of all examples are equal, so no sampler can be fitted to them; the model "
            "has collapsed. Use the sampler 'normal', which needs no fit."
        )
    return mean, np.maximum(values, VARIANCE_FLOOR * average), directions


def as_double(values: npt.ArrayLike | Tensor) -> Tensor:
    """Copy an array into a float64 tensor."""
    return torch.as_tensor(values, dtype=torch.float64).detach().clone()
