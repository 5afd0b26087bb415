"""The VISReg autoencoder (docs/mathematics.md, VISReg).

Wu, Balestriero, Levine (2026), "VISReg: Variance-Invariance-Sketching Regularization for JEPA
training", arXiv 2606.02572, as the penalty of an autoencoder. Equation numbers are the paper's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from hebae.kernels import unit
from hebae.methods import Count, Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class VISReg(Objective):
    """z = mu, without noise; centre, scale and shape of the codes have separate penalties."""

    penalty_weight: Weight = 10.0
    """Weight lambda of the penalty."""
    directions: Count = 64
    """Random directions per step that the codes are projected on."""

    display_name = "VISReg"
    colour = "#999933"
    marker = "d"
    units: ClassVar = {"centre": "", "scale": "", "shape": ""}
    stochastic = False

    @property
    def weights(self) -> dict[str, float]:
        """Each of ``centre``, ``scale`` and ``shape`` has the weight ``penalty_weight``."""
        return dict.fromkeys(self.units, self.penalty_weight)

    def smallest_batch(self, latent_dim: int) -> int:
        """Two: one code has no scale."""
        return 2

    def noise_shapes(self, batch_size: int, latent_dim: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of the directions, which all codes share."""
        return {"directions": (self.directions, latent_dim)}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu; ``centre`` (Eq. 6), ``scale`` (Eq. 1) and ``shape`` (Eq. 2 and 5).

        The shape is the squared Wasserstein distance between a projection of the standardised codes
        and N(0, 1), by sorting; no gradient passes through their scale.
        """
        centre, scale = mean.mean(0), mean.std(0, correction=0)
        standardised = (mean - centre) / (scale.detach() + 1e-4)  # finite for constant codes
        projections = standardised @ unit(noise["directions"]).mT
        m = mean.shape[0]
        ranks = torch.arange(1, m + 1, dtype=mean.dtype, device=mean.device)
        quantiles = math.sqrt(2) * torch.erfinv(2 * ranks / (m + 1) - 1)
        distance = projections.sort(dim=0).values - quantiles[:, None]
        return mean, {
            "centre": centre.square().mean(),
            "scale": (1 - scale).square().mean(),
            "shape": distance.square().mean(),
        }
