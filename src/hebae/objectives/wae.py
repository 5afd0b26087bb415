"""The Wasserstein autoencoder with an MMD penalty (section 3 of docs/mathematics.md).

Tolstikhin, Bousquet, Gelly, Schoelkopf (2018), "Wasserstein Auto-Encoders".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hebae import kernels
from hebae.methods import Positive, Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class WAE(Objective):
    """z = mu, without noise; the batch of codes is pulled to a sample of the prior."""

    penalty_weight: Weight = 1.0
    """Weight lambda of the penalty."""
    kernel: Literal["imq", "rbf"] = "imq"
    """Kernel of the MMD: inverse multiquadratic, summed over seven widths, or Gaussian."""
    base_variance: Positive = 1.0
    """Variance s2 in the kernel's widths; 2 in the released CelebA code."""

    display_name = "WAE-MMD"
    colour = "#009E73"
    marker = "^"
    units: ClassVar = {"mmd": ""}
    stochastic = False
    draws = ("prior",)

    @property
    def weights(self) -> dict[str, float]:
        """``{"mmd": penalty_weight}``."""
        return {"mmd": self.penalty_weight}

    def smallest_batch(self, latent_dim: int) -> int:
        """Two: the unbiased MMD averages over pairs."""
        return 2

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu and ``mmd``, which is unbiased and may be negative."""
        mmd = kernels.mmd_imq if self.kernel == "imq" else kernels.mmd_rbf
        return mean, {"mmd": mmd(mean, prior.transform(noise["prior"]), self.base_variance)}
