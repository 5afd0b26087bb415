"""The plain autoencoder: no noise, no penalty. The yardstick for what a penalty costs."""

from __future__ import annotations

from dataclasses import dataclass

from hebae.objectives.base import Covariance, Latents, LogScales, Objective, Terms

__all__ = ["AE"]


@dataclass(frozen=True, kw_only=True)
class AE(Objective):
    """z = mu; the loss is the reconstruction alone."""

    stochastic = False

    @property
    def weights(self) -> dict[str, float]:
        """No terms."""
        return {}

    def draw(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        covariance: Covariance | None = None,
    ) -> Latents:
        """Z = mu."""
        return mean

    def penalty(self, z: Latents, mean: Latents, log_scale: LogScales) -> Terms:
        """No terms."""
        return {}
