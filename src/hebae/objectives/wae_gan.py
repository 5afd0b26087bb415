"""The Wasserstein autoencoder with an adversarial penalty (section 9 of docs/mathematics.md).

Tolstikhin, Bousquet, Gelly, Schoelkopf (2018), "Wasserstein Auto-Encoders", algorithm 1: a critic
tells codes from draws of the prior, and the encoder learns to mislead it. The generator's term is
the non-saturating one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from hebae.methods import Positive, Weight, Widths
from hebae.networks import mlp_encoder
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class WAEGAN(Objective):
    """z = mu, without noise; a critic on the codes pulls them to the prior."""

    penalty_weight: Weight = 10.0
    """Weight lambda of the penalty."""
    critic_widths: Widths = (512, 512, 512, 512)
    """Widths of the critic's layers, code first."""
    critic_learning_rate: Positive = 5e-4
    """Adam's step size for the critic."""

    display_name = "WAE-GAN"
    colour = "#56B4E9"
    marker = "v"
    stochastic = False
    draws = ("prior",)
    adversarial = True

    @property
    def weights(self) -> dict[str, float]:
        """``{"adversarial": penalty_weight}``."""
        return {"adversarial": self.penalty_weight}

    def __call__(
        self,
        mean: Latents,
        log_scale: LogScales,
        noise: Noise,
        prior: Prior,
        critic: nn.Module | None = None,
        **unused: Any,
    ) -> tuple[Latents, Terms]:
        """Return z = mu and ``adversarial``, the mean of ``-log D(z)``; log 2 where D = 1/2."""
        assert critic is not None, "WAE-GAN needs its critic"
        weights = {name: weight.detach() for name, weight in critic.named_parameters()}
        logits: Tensor = functional_call(critic, weights, mean)
        return mean, {"adversarial": softplus(-logits).mean()}

    def critic(self, latent_dim: int) -> nn.Module:
        """Fully connected network with ReLU, from codes (m, k) to logits of D (m, 1)."""
        return mlp_encoder((latent_dim,), 1, self.critic_widths)

    def critic_loss(self, critic: nn.Module, z: Latents, noise: Noise, prior: Prior) -> Tensor:
        """Mean of ``-log D(p)`` over draws of the prior, plus mean of ``-log(1 - D(z))``."""
        draws = prior.transform(noise["prior"])
        return softplus(-critic(draws)).mean() + softplus(critic(z.detach())).mean()
