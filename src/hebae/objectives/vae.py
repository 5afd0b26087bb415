"""The variational autoencoder, and the beta-VAE by its weight (section 2 of docs/mathematics.md).

Kingma & Welling (2014); Higgins et al. (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hebae import gaussian
from hebae.objectives.base import (
    Covariance,
    Covariances,
    Latents,
    LogScales,
    Objective,
    Terms,
    require_non_negative,
)

__all__ = ["VAE"]


@dataclass(frozen=True, kw_only=True)
class VAE(Objective):
    """z = mu + sigma * epsilon; each posterior is pulled to N(0, I).

    Parameters
    ----------
    penalty_weight : float
        lambda, at least 0. At 1 the negated loss is the ELBO; other values give the beta-VAE.
    """

    penalty_weight: float = 1.0

    stochastic = True

    def __post_init__(self) -> None:
        require_non_negative("penalty_weight", self.penalty_weight)

    @property
    def weights(self) -> dict[str, float]:
        """``{"kl": penalty_weight}``."""
        return {"kl": self.penalty_weight}

    def draw(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        covariance: Covariance | None = None,
    ) -> Latents:
        """z_i = mu_i + sigma_i * epsilon_i."""
        assert log_scale is not None, "the VAE's noise needs the encoder's log_scale"
        return mean + log_scale.exp() * epsilon

    def penalty(self, z: Latents, mean: Latents, log_scale: LogScales) -> Terms:
        """``kl``: the mean of KL(q(z | x_i) || N(0, I)) over the batch (Eq. 4, its sign mended)."""
        assert log_scale is not None, "the VAE's penalty needs the encoder's log_scale"
        return {"kl": gaussian.mean_kl_to_standard_normal(mean, log_scale)}

    def noise_covariance(self, covariance: Covariances) -> Covariances:
        """I: the noise of one dimension knows nothing of another's."""
        identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
        return identity.expand_as(covariance)
