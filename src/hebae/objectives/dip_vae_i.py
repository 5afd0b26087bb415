"""DIP-VAE-I: a VAE with uncorrelated means (docs/mathematics.md, DIP-VAE).

Kumar, Sattigeri, Balakrishnan (2018), "Variational Inference of Disentangled Latent Concepts from
Unlabeled Observations", Eq. 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from hebae import gaussian
from hebae.methods import Weight
from hebae.objectives.base import (
    Covariance,
    Latents,
    LogScales,
    Noise,
    Objective,
    Terms,
    mean_kl,
)
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class DIPVAEI(Objective):
    """z = mu + sigma * epsilon; a VAE whose means have a covariance near I."""

    penalty_weight: Weight = 10.0
    """Weight lambda of the off-diagonal covariances."""
    diagonal_factor: Weight = 10.0
    """Weight of the deviation of the variances from 1, as a multiple of penalty_weight."""

    display_name = "DIP-VAE-I"
    colour = "#E69F00"
    marker = "*"
    units: ClassVar = {"off_diagonal": "", "diagonal": ""}
    stochastic = True
    draws = ("posterior",)
    prior_term = "kl"

    @property
    def weights(self) -> dict[str, float]:
        """``{"kl": 1, "off_diagonal": penalty_weight, "diagonal": factor * penalty_weight}``."""
        lambda_d = self.diagonal_factor * self.penalty_weight
        return {"kl": 1.0, "off_diagonal": self.penalty_weight, "diagonal": lambda_d}

    def smallest_batch(self, latent_dim: int) -> int:
        """Two: one example has no covariance."""
        return 2

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z and ``kl``, ``off_diagonal`` and ``diagonal``.

        With the covariance S: ``sum_{i != j} S_ij^2`` and ``sum_i (S_ii - 1)^2``.
        """
        assert log_scale is not None, "the KL term needs the encoder's log_scale"
        epsilon = noise["posterior"]
        z = self.draw(mean, log_scale, epsilon)
        S = self.covariance(mean, log_scale)
        variances = S.diagonal()
        return z, {
            "kl": mean_kl(mean, log_scale, z, epsilon, prior),
            "off_diagonal": (S - variances.diag_embed()).square().sum(),
            "diagonal": (variances - 1).square().sum(),
        }

    def covariance(self, mean: Latents, log_scale: LogScales) -> Covariance:
        """Cov(mu) over the batch, divided by m."""
        return gaussian.batch_moments(mean)[1]
