"""The beta-TCVAE: a VAE that penalises total correlation (docs/mathematics.md, beta-TCVAE).

Chen, Li, Grosse, Duvenaud (2018), "Isolating Sources of Disentanglement in Variational
Autoencoders", Eq. 4 with alpha = gamma = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hebae.methods import Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class BetaTCVAE(Objective):
    """z = mu + sigma * epsilon; the total correlation of the codes has a weight of its own.

    The densities q(z) and q(z_j) are estimated from the batch (minibatch weighted sampling). The
    number of training examples enters that estimate only as a constant, which is left out.
    """

    penalty_weight: Weight = 6.0
    """Weight lambda of the total correlation; 1 gives the VAE."""

    display_name = "beta-TCVAE"
    colour = "#CC6677"
    marker = "8"
    stochastic = True
    draws = ("posterior",)

    @property
    def weights(self) -> dict[str, float]:
        """``{"information": 1, "total_correlation": penalty_weight, "marginal_kl": 1}``."""
        return {"information": 1.0, "total_correlation": self.penalty_weight, "marginal_kl": 1.0}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z and the three parts of the mean of ``log q(z_i | x_i) - log p(z_i)``.

        ``information``: log q(z | x) - log q(z), an estimate of I(i; z), at most log m.
        ``total_correlation``: log q(z) - sum_j log q(z_j).
        ``marginal_kl``: sum_j log q(z_j) - log p(z).
        """
        assert log_scale is not None, "the penalty needs the encoder's log_scale"
        z = self.draw(mean, log_scale, noise["posterior"])
        # log q(z_ij | x_l) for each draw i, example l and dimension j: (m, m, k).
        standardised = (z[:, None] - mean) * (-log_scale).exp()
        each = -0.5 * (standardised.square() + math.log(2 * math.pi)) - log_scale
        log_m = math.log(len(mean))
        posterior = each.diagonal().sum(0).mean()
        joint = (each.sum(2).logsumexp(1) - log_m).mean()
        marginals = (each.logsumexp(1) - log_m).sum(1).mean()
        return z, {
            "information": posterior - joint,
            "total_correlation": joint - marginals,
            "marginal_kl": marginals - prior.log_prob(z).mean(),
        }
