"""The plain autoencoder: no noise, no penalty. The yardstick for what a penalty costs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hebae.objectives.base import Objective

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
        mean: Tensor,
        log_scale: Tensor | None,
        epsilon: Tensor,
        covariance: Tensor | None = None,
    ) -> Tensor:
        """Z = mu."""
        return mean

    def penalty(self, z: Tensor, mean: Tensor, log_scale: Tensor | None) -> dict[str, Tensor]:
        """No terms."""
        return {}
