"""The Cramer-Wold autoencoder (docs/mathematics.md, CWAE).

Knop, Spurek, Tabor, Podolak, Mazur, Jastrzebski (2020), "Cramer-Wold Auto-Encoder", JMLR 21.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hebae import kernels
from hebae.methods import Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class CWAE(Objective):
    """z = mu, without noise; the Cramer-Wold distance pulls the codes to N(0, I).

    The distance is in closed form, without random numbers. The form is exact for one and two latent
    dimensions. For more it is asymptotic, and a good approximation for 8 or more.
    """

    penalty_weight: Weight = 1.0
    """Weight lambda of the penalty."""

    display_name = "CWAE"
    colour = "#888888"
    marker = "+"
    units: ClassVar = {"cramer_wold": ""}
    stochastic = False

    @property
    def weights(self) -> dict[str, float]:
        """``{"cramer_wold": penalty_weight}``."""
        return {"cramer_wold": self.penalty_weight}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu and ``cramer_wold``, the logarithm of the squared distance to N(0, I)."""
        m, k = mean.shape
        gamma = (4 / (3 * m)) ** 0.4  # Silverman's rule for the width of the smoothing
        pairs = kernels.squared_distances(mean, mean)
        overlap = _overlap(k)
        within = overlap(pairs, gamma).mean()
        across = overlap(mean.square().sum(1), gamma + 0.5).mean()
        return mean, {"cramer_wold": (within - 2 * across + (1 + gamma) ** -0.5).log()}


def _overlap(k: int) -> Callable[[Tensor, float], Tensor]:
    """From squared distance d and width w to ``phi_k(d / (4 w)) / sqrt(w)``.

    It is the product of two smoothed points integrated over a line, averaged over all lines, times
    2 sqrt(pi); phi_k(s) = 1F1(1/2; k/2; -s).
    """
    if k == 1:
        return lambda d, w: (-d / (4 * w)).exp() / math.sqrt(w)
    if k == 2:
        return lambda d, w: torch.special.i0e(d / (8 * w)) / math.sqrt(w)
    # phi_k(s) is asymptotically (1 + 4 s / (2 k - 3))^(-1/2).
    return lambda d, w: (w + d / (2 * k - 3)).rsqrt()
