"""The variational autoencoder, and the beta-VAE by its weight (section 2 of docs/mathematics.md).

Kingma & Welling (2014); Higgins et al. (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hebae.methods import Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms, mean_kl
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class VAE(Objective):
    """z = mu + sigma * epsilon; each posterior is pulled to the prior, N(0, I) or a learned one."""

    penalty_weight: Weight = 1.0
    """Weight lambda of the penalty. At 1 the negated loss is the ELBO; other values give the
    beta-VAE."""

    display_name = "VAE"
    colour = "#0072B2"
    marker = "s"
    stochastic = True
    draws = ("posterior",)
    prior_term = "kl"

    @property
    def weights(self) -> dict[str, float]:
        """``{"kl": penalty_weight}``."""
        return {"kl": self.penalty_weight}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z and ``kl``, the mean KL(q(z | x_i) || p(z)) (Eq. 4, sign corrected)."""
        assert log_scale is not None, "the VAE's penalty needs the encoder's log_scale"
        epsilon = noise["posterior"]
        z = self.draw(mean, log_scale, epsilon)
        return z, {"kl": mean_kl(mean, log_scale, z, epsilon, prior)}
