"""A mixture of normals with full covariances: the prior for codes that are not normal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hebae.errors import HebaeError
from hebae.priors.base import Doubles, Floats, Sampler, normal_log_density
from hebae.priors.normal import factor_of

__all__ = ["Mixture"]


@dataclass(frozen=True, eq=False)
class Mixture(Sampler):
    """sum_c w_c N(m_c, C_c).

    Parameters
    ----------
    weights : ndarray, shape (c,)
        Above 0, of sum 1.
    means : ndarray, shape (c, k)
    covariances : ndarray, shape (c, k, k)
        Positive definite.

    See Also
    --------
    hebae.priors.fit_mixture : Fits one to codes.
    """

    weights: Doubles
    means: Doubles
    covariances: Doubles

    name = "mixture"

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit, and what is no covariance."""
        c, k = self.means.shape
        if self.weights.shape != (c,) or self.covariances.shape != (c, k, k):
            raise HebaeError(
                f"a mixture with means {self.means.shape} takes weights ({c},) and covariances "
                f"({c}, {k}, {k}), not {self.weights.shape} and {self.covariances.shape}."
            )
        if not (self.weights > 0).all() or abs(self.weights.sum() - 1) > 1e-9:
            raise HebaeError("the weights of a mixture must be above 0 and have the sum 1.")
        _ = self._factors

    @property
    def latent_dim(self) -> int:  # type: ignore[override]
        """Dimensions k of the codes."""
        return int(self.means.shape[1])

    @property
    def components(self) -> int:
        """How many normals are mixed."""
        return len(self.weights)

    @cached_property
    def _factors(self) -> Doubles:
        return factor_of(self.covariances)

    def _draw(self, count: int, generator: np.random.Generator) -> Floats:
        component = generator.choice(self.components, size=count, p=self.weights)
        z = self.means[component]
        noise = generator.standard_normal(z.shape)
        for c in np.unique(component):  # a factor for each draw would be k numbers times as many
            rows = component == c
            z[rows] += noise[rows] @ self._factors[c].T
        return z.astype(np.float32)

    def _log_density(self, z: Doubles) -> Doubles:
        means, factors = torch.from_numpy(self.means), torch.from_numpy(self._factors)
        joint = normal_log_density(z, means, factors) + torch.from_numpy(self.weights).log()
        return np.asarray(joint.logsumexp(dim=1))
