"""InfoVAE with the MMD (section 10 of docs/mathematics.md).

Zhao, Song, Ermon (2017), "InfoVAE: Information Maximizing Variational Autoencoders".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from hebae import kernels
from hebae.methods import Positive, Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms, mean_kl
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class InfoVAE(Objective):
    """z = mu + sigma * epsilon; the loss adds (1 - alpha) KL + (alpha + lambda - 1) MMD.

    alpha = 0 and lambda = 1 is the VAE; alpha = 1 is the MMD-VAE, which has no KL term.
    """

    penalty_weight: Weight = 10.0
    """Weight lambda of the divergence of q(z) from the prior."""
    alpha: Annotated[float, Field(le=1, allow_inf_nan=False)] = 0.0
    """Weight alpha of the mutual information; the KL term has the weight 1 - alpha."""
    kernel: Literal["imq", "rbf"] = "imq"
    """Kernel of the MMD: inverse multiquadratic, summed over seven widths, or Gaussian."""
    base_variance: Positive = 1.0
    """Variance s2 in the kernel's widths; 2 in the released CelebA code."""

    display_name = "InfoVAE"
    colour = "#CC79A7"
    marker = "P"
    units: ClassVar = {"mmd": ""}
    stochastic = True
    draws = ("posterior", "prior")
    prior_term = "kl"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha + self.penalty_weight < 1:
            raise ValueError(
                f"penalty_weight is {self.penalty_weight} and alpha {self.alpha}; their sum must "
                "be at least 1, or the MMD would have a negative weight."
            )

    @property
    def weights(self) -> dict[str, float]:
        """``{"kl": 1 - alpha, "mmd": alpha + penalty_weight - 1}``."""
        return {"kl": 1 - self.alpha, "mmd": self.alpha + self.penalty_weight - 1}

    def smallest_batch(self, latent_dim: int) -> int:
        """Two: the unbiased MMD averages over pairs."""
        return 2

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z, ``kl`` (the VAE's) and ``mmd`` of the draws z, unbiased.

        The MMD pulls the codes to the prior; a learned prior is trained by the KL term alone.
        """
        assert log_scale is not None, "InfoVAE's penalty needs the encoder's log_scale"
        epsilon = noise["posterior"]
        z = self.draw(mean, log_scale, epsilon)
        mmd = kernels.mmd_imq if self.kernel == "imq" else kernels.mmd_rbf
        with torch.no_grad():
            draws = prior.transform(noise["prior"])
        return z, {
            "kl": mean_kl(mean, log_scale, z, epsilon, prior),
            "mmd": mmd(z, draws, self.base_variance),
        }
