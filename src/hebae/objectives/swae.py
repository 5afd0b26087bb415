"""The sliced Wasserstein autoencoder (docs/mathematics.md, SWAE).

Kolouri, Pope, Martin, Rohde (2018), "Sliced-Wasserstein Autoencoder: An Embarrassingly Simple
Generative Model".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from hebae import kernels
from hebae.methods import Count, Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class SWAE(Objective):
    """z = mu, without noise; in random directions, the codes are pulled to draws of the prior."""

    penalty_weight: Weight = 10.0
    """Weight lambda of the penalty."""
    directions: Count = 50
    """Random directions per step onto which the codes are projected."""

    display_name = "SWAE"
    colour = "#44AA99"
    marker = "x"
    units: ClassVar = {"sliced_wasserstein": ""}
    stochastic = False
    draws = ("prior",)

    @property
    def weights(self) -> dict[str, float]:
        """``{"sliced_wasserstein": penalty_weight}``."""
        return {"sliced_wasserstein": self.penalty_weight}

    def noise_shapes(self, batch_size: int, latent_dim: int) -> dict[str, tuple[int, ...]]:
        """Draws of the prior, and directions before they are scaled to length 1."""
        shapes = super().noise_shapes(batch_size, latent_dim)
        return shapes | {"directions": (self.directions, latent_dim)}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu and ``sliced_wasserstein``.

        The squared distance W_2^2 between codes and as many draws of the prior, both projected onto
        a direction, averaged over the directions.
        """
        directions = kernels.unit(noise["directions"])
        codes = (mean @ directions.mT).sort(dim=0).values
        draws = (prior.transform(noise["prior"]) @ directions.mT).sort(dim=0).values
        return mean, {"sliced_wasserstein": (codes - draws).square().mean()}
