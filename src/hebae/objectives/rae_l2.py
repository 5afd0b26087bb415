"""The regularised autoencoder with a penalty on the decoder's weights (docs/mathematics.md, RAE).

Ghosh, Sajjadi, Vergari, Black, Schoelkopf (2020), "From Variational to Deterministic Autoencoders":
without noise, what keeps the decoder smooth is a penalty on the decoder itself. Samples come from
a density fitted to the codes afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from hebae.methods import Weight
from hebae.networks import with_condition
from hebae.objectives.base import Codes, Condition, Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class RAEL2(Objective):
    """z = mu, without noise; the codes and the decoder's weights are kept small."""

    penalty_weight: Weight = 1.0
    """Weight beta of half the squared norm of a code, which is -log N(z; 0, I) up to a constant."""
    decoder_weight: Weight = 1e-3
    """Weight of the decoder's penalty."""

    display_name = "RAE-L2"
    colour = "#332288"
    marker = "<"
    units: ClassVar = {"decoder": ""}
    stochastic = False
    uses_decoder = True

    @property
    def weights(self) -> dict[str, float]:
        """``{"norm": penalty_weight, "decoder": decoder_weight}``."""
        return {"norm": self.penalty_weight, "decoder": self.decoder_weight}

    def __call__(
        self, mean: Latents, log_scale: LogScales, noise: Noise, prior: Prior, **unused: Any
    ) -> tuple[Latents, Terms]:
        """Return z = mu and ``norm``, the mean of ``||z||^2 / 2``."""
        return mean, {"norm": 0.5 * mean.square().sum(1).mean()}

    def decode(
        self, decoder: nn.Module, z: Codes, noise: Noise, condition: Condition = None
    ) -> tuple[Tensor, Terms]:
        """Return the output and ``decoder``, the sum of the squares of all weights and biases."""
        squares = [p.square().sum() for p in decoder.parameters()]
        return decoder(with_condition(z, condition)), {"decoder": sum(squares, z.new_zeros(()))}
