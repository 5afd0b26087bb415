"""DIP-VAE-II: a VAE with an uncorrelated aggregated posterior (docs/mathematics.md, DIP-VAE).

Kumar, Sattigeri, Balakrishnan (2018), "Variational Inference of Disentangled Latent Concepts from
Unlabeled Observations", Eq. 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from hebae import gaussian
from hebae.methods import Weight
from hebae.objectives.base import Covariance, Latents, LogScales
from hebae.objectives.dip_vae_i import DIPVAEI


@dataclass(frozen=True, kw_only=True)
class DIPVAEII(DIPVAEI):
    """z = mu + sigma * epsilon; a VAE whose codes z have a covariance near I."""

    penalty_weight: Weight = 10.0
    """Weight lambda of the off-diagonal covariances."""
    diagonal_factor: Weight = 1.0
    """Weight of the deviation of the variances from 1, as a multiple of penalty_weight."""

    display_name = "DIP-VAE-II"
    colour = "#661100"
    marker = "H"
    units: ClassVar = {"off_diagonal": "", "diagonal": ""}
    stochastic = True

    def covariance(self, mean: Latents, log_scale: LogScales) -> Covariance:
        """Cov(z) = Cov(mu) + mean_i diag sigma_i^2, by the law of total variance."""
        assert log_scale is not None, "the covariance needs the encoder's log_scale"
        Sigma = gaussian.batch_moments(mean)[1]
        identity = torch.eye(Sigma.shape[-1], dtype=mean.dtype, device=mean.device)
        return gaussian.aggregate_covariance(identity, Sigma, log_scale)
