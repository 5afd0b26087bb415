"""The Wasserstein autoencoder with an MMD penalty (section 3 of docs/mathematics.md).

Tolstikhin, Bousquet, Gelly, Schoelkopf (2018), "Wasserstein Auto-Encoders".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hebae import kernels
from hebae.objectives.base import (
    Covariance,
    Latents,
    LogScales,
    Moments,
    Objective,
    Terms,
    require_choice,
    require_non_negative,
)

__all__ = ["WAE"]


@dataclass(frozen=True, kw_only=True)
class WAE(Objective):
    """z = mu, without noise; the batch of codes is pulled to a sample of N(0, I).

    Parameters
    ----------
    penalty_weight : float
        lambda, at least 0.
    kernel : "imq" or "rbf"
        Inverse multiquadratic, summed over seven widths, or Gaussian.
    base_variance : float
        s2 of the kernels' widths: the prior's variance; 2 in the released CelebA code.
    """

    penalty_weight: float = 1.0
    kernel: Literal["imq", "rbf"] = "imq"
    base_variance: float = 1.0

    stochastic = False

    def __post_init__(self) -> None:
        require_non_negative("penalty_weight", self.penalty_weight)
        require_choice("kernel", self.kernel, ("imq", "rbf"))
        if not self.base_variance > 0:
            raise ValueError(f"base_variance is {self.base_variance}; it must be above 0.")

    @property
    def weights(self) -> dict[str, float]:
        """``{"mmd": penalty_weight}``."""
        return {"mmd": self.penalty_weight}

    def draw(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        covariance: Covariance | None = None,
    ) -> Latents:
        """Z = mu."""
        return mean

    def penalty(
        self,
        z: Latents,
        mean: Latents,
        log_scale: LogScales,
        prior: Float[Tensor, "prior latent"] | None = None,
    ) -> Terms:
        """``mmd``: between the codes and a sample of the prior, unbiased, so it may be negative.

        Parameters
        ----------
        z, mean, log_scale : Tensor
            As in `Objective.penalty`; the last two are not used.
        prior : Tensor, shape (n, k), optional
            Draws from N(0, I). Left out, m are drawn here from torch's global generator.
        """
        mmd = kernels.mmd_imq if self.kernel == "imq" else kernels.mmd_rbf
        prior = torch.randn_like(z) if prior is None else prior
        return {"mmd": mmd(z, prior, self.base_variance)}

    def __call__(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        running: Moments | None = None,
    ) -> tuple[Latents, Terms]:
        """Return z and the terms. The codes take no noise, so `epsilon` is the prior sample."""
        return mean, self.penalty(mean, mean, log_scale, prior=epsilon)
