"""The regularised autoencoder with a spectrally normalised decoder (docs/mathematics.md, RAE).

Ghosh, Sajjadi, Vergari, Black, Schoelkopf (2020), "From Variational to Deterministic Autoencoders".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from hebae.methods import Weight
from hebae.objectives.base import Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior
from hebae.spectral import SpectralNorm


@dataclass(frozen=True, kw_only=True)
class RAESN(Objective):
    """z = mu, without noise; the codes are kept small, and each layer of the decoder has norm 1."""

    penalty_weight: Weight = 1e-3
    """Weight beta of half the squared norm of a code. Codes are large: no layer amplifies them."""

    display_name = "RAE-SN"
    colour = "#AA4499"
    marker = "X"
    stochastic = False
    uses_decoder = True

    @property
    def weights(self) -> dict[str, float]:
        """``{"norm": penalty_weight}``."""
        return {"norm": self.penalty_weight}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu and ``norm``, the mean of ``||z||^2 / 2``."""
        return mean, {"norm": 0.5 * mean.square().sum(1).mean()}

    def prepare_decoder(self, decoder: nn.Module, seed: int) -> nn.Module:
        """Divide each weight matrix by its largest singular value."""
        return SpectralNorm(decoder, seed)
