"""The SIGReg autoencoder (docs/mathematics.md, SIGReg).

Balestriero & LeCun (2025), "LeJEPA: Provable and Scalable Self-Supervised Learning Without the
Heuristics", arXiv 2511.08544: the test of Epps and Pulley (1983) on random projections, as the
penalty of an autoencoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from hebae.kernels import unit
from hebae.methods import Count, Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior

# Of the integral over [-5, 5], of which half is taken, by symmetry. The paper has 8 steps: codes
# 2 pi 8 / 5 = 10 apart would look equal.
LARGEST, STEPS = 5.0, 16


@dataclass(frozen=True, kw_only=True)
class SIGReg(Objective):
    """z = mu, without noise; every projection of the codes is pulled to N(0, 1)."""

    penalty_weight: Weight = 10.0
    """Weight lambda of the penalty."""
    directions: Count = 64
    """Random directions per step that the codes are projected on."""

    display_name = "SIGReg"
    colour = "#117733"
    marker = "h"
    units: ClassVar = {"epps_pulley": ""}
    stochastic = False

    @property
    def weights(self) -> dict[str, float]:
        """``{"epps_pulley": penalty_weight}``."""
        return {"epps_pulley": self.penalty_weight}

    def smallest_batch(self, latent_dim: int) -> int:
        """Two: one code says nothing about a distribution."""
        return 2

    def noise_shapes(self, batch_size: int, latent_dim: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of the directions, which all codes share."""
        return {"directions": (self.directions, latent_dim)}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu and ``epps_pulley``, the mean of the statistic over the directions.

        ``m * integral |phi(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt``, phi the empirical
        characteristic function of a projection. Its mean for codes from N(0, I) is
        sqrt(2 pi) (1 - 1 / sqrt(3)) = 1.06, for any m and k.
        """
        t = torch.linspace(0, LARGEST, STEPS + 1, dtype=mean.dtype, device=mean.device)
        angles = (mean @ unit(noise["directions"]).mT)[..., None] * t
        normal = (-0.5 * t.square()).exp()
        distance = (angles.cos().mean(0) - normal).square() + angles.sin().mean(0).square()
        integral = 2 * torch.trapezoid(distance * normal, t)
        return mean, {"epps_pulley": mean.shape[0] * integral.mean()}
