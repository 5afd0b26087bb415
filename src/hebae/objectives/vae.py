"""The variational autoencoder, and the beta-VAE by its weight (section 2 of docs/mathematics.md).

Kingma & Welling (2014); Higgins et al. (2017). Warm-up: Bowman et al. (2016), Sonderby et al.
(2016). Free bits: Kingma et al. (2016), "Improving Variational Inference with Inverse
Autoregressive Flow", Eq. 15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from hebae import gaussian
from hebae.methods import Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms, mean_kl
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class VAE(Objective):
    """z = mu + sigma * epsilon; each posterior is pulled to the prior, N(0, I) or a learned one."""

    penalty_weight: Weight = 1.0
    """Weight lambda of the penalty. At 1 the negated loss is the ELBO; other values give the
    beta-VAE."""
    warm_up_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs over which the penalty's weight rises linearly; in epoch e = 1, 2, ... its factor is
    min(1, e / warm_up_epochs). Objectives are reported at the full weight."""
    free_bits: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Nats of KL per latent dimension that are not penalised: a smaller KL counts as this number.
    Only with prior "normal"."""

    display_name = "VAE"
    colour = "#0072B2"
    marker = "s"
    stochastic = True
    draws = ("posterior",)
    prior_term = "kl"

    @property
    def weights(self) -> dict[str, float]:
        """``{"kl": penalty_weight}``; with free bits ``{"kl_free_bits": penalty_weight}``."""
        return {"kl_free_bits" if self.free_bits else "kl": self.penalty_weight}

    def weight_factor(self, epoch: int) -> float:
        """``min(1, (epoch + 1) / warm_up_epochs)``, after `epoch` epochs."""
        return min(1.0, (epoch + 1) / max(1, self.warm_up_epochs))

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z and ``kl``, the mean KL(q(z | x_i) || p(z)) (Eq. 4, sign corrected).

        With free bits: ``kl_free_bits``, the sum over dimensions j of max(free_bits, KL_j).
        """
        assert log_scale is not None, "the VAE's penalty needs the encoder's log_scale"
        epsilon = noise["posterior"]
        z = self.draw(mean, log_scale, epsilon)
        if self.free_bits:
            kl = gaussian.mean_kl_with_free_bits(mean, log_scale, self.free_bits)
            return z, {"kl_free_bits": kl}
        return z, {"kl": mean_kl(mean, log_scale, z, epsilon, prior)}
