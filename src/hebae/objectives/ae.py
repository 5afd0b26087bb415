"""The plain autoencoder: no noise, no penalty. It shows what a penalty costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class AE(Objective):
    """z = mu; the loss is the reconstruction alone."""

    display_name = "AE"
    colour = "#000000"
    marker = "D"
    stochastic = False

    @property
    def weights(self) -> dict[str, float]:
        """No terms."""
        return {}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return the means; no terms."""
        return mean, {}
