"""An autoencoder with decorrelated codes, as a control (docs/mathematics.md, VICReg).

The variance and covariance terms of Bardes, Ponce, LeCun (2022), "VICReg: Variance-Invariance-
Covariance Regularization for Self-Supervised Learning", without the invariance term: an autoencoder
has one view of each example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch.nn.functional import relu

from hebae.methods import Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class VICReg(Objective):
    """z = mu, without noise; standard deviations are kept above 1 and covariances at 0.

    Nothing pulls the codes to a normal distribution: sample from a density that is fitted to them.
    """

    penalty_weight: Weight = 10.0
    """Weight lambda of the penalty."""

    display_name = "VICReg-AE"
    colour = "#7570B3"
    marker = "p"
    units: ClassVar = {"variance": "", "covariance": ""}
    stochastic = False

    @property
    def weights(self) -> dict[str, float]:
        """``variance`` and ``covariance`` both have the weight ``penalty_weight``."""
        return dict.fromkeys(self.units, self.penalty_weight)

    def smallest_batch(self, latent_dim: int) -> int:
        """Two: the variance divides by m - 1."""
        return 2

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu; ``variance`` (k times the paper's Eq. 1) and ``covariance`` (Eq. 3, 4).

        ``sum_j max(0, 1 - sqrt(C_jj + 1e-4))`` and ``sum_{i != j} C_ij^2 / k``. The paper weights
        its mean over j by 25 and the covariance by 1, which is the same at k = 25.
        """
        m, k = mean.shape
        centred = mean - mean.mean(0)
        C = centred.mT @ centred / (m - 1)
        variances = C.diagonal()
        off_diagonal = C - variances.diag()
        return mean, {
            "variance": relu(1 - (variances + 1e-4).sqrt()).sum(),
            "covariance": off_diagonal.square().sum() / k,
        }
