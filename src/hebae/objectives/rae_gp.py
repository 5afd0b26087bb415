"""The regularised autoencoder with a gradient penalty (docs/mathematics.md, RAE).

Ghosh, Sajjadi, Vergari, Black, Schoelkopf (2020), "From Variational to Deterministic Autoencoders".
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hebae.kernels import unit
from hebae.methods import Weight
from hebae.networks import differentiable_batch_norm, with_condition
from hebae.objectives.base import Codes, Condition, Latents, LogScales, Noise, Objective, Terms
from hebae.priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class RAEGP(Objective):
    """z = mu, without noise; the codes and the decoder's derivative are kept small."""

    penalty_weight: Weight = 1.0
    """Weight beta of half the squared norm of a code, which is -log N(z; 0, I) up to a constant."""
    decoder_weight: Weight = 1e-3
    """Weight of the decoder's penalty."""

    display_name = "RAE-GP"
    colour = "#882255"
    marker = ">"
    units: ClassVar = {"decoder": ""}
    stochastic = False
    draws = ("tangent",)
    uses_decoder = True

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        _exclude_from_compilation()

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
        """Return the output and ``decoder``, the mean over z of ``||J||^2``.

        J is the matrix of derivatives of the decoder's output (before the likelihood's link, such
        as the sigmoid) by z. Its squared Frobenius norm is estimated without bias by
        ``k ||J u||^2``, u a random unit vector for each z; exactly for k = 1.
        """
        # J u is the derivative of J^T w by w. Not by forward mode, which has one state for all
        # threads, nor by torch.func, which takes no batch normalisation in training.
        with torch.enable_grad(), differentiable_batch_norm(decoder):  # also for held-out examples
            z = z if z.requires_grad else z.detach().requires_grad_()
            output = decoder(with_condition(z, condition))
            w = torch.zeros_like(output, requires_grad=True)
            (pulled,) = torch.autograd.grad(output, z, w, create_graph=True)
            pushed = None
            if pulled.requires_grad:
                inputs = (pulled, w, unit(noise["tangent"]))
                (pushed,) = torch.autograd.grad(*inputs, create_graph=True, allow_unused=True)
            if pushed is None:
                raise ValueError(
                    "RAE-GP differentiates the decoder twice, but one of its layers can be "
                    "differentiated only once; use another decoder or method."
                )
        squared_norm = pushed.flatten(1).to(z.dtype).square().sum(1)
        mean = squared_norm.sum() / max(1, len(z))  # of several processes, one may have no example
        return output, {"decoder": z.shape[1] * mean}


@functools.cache
def _exclude_from_compilation() -> None:
    """Compiled programs have no second derivatives. A decorator would load the compiler earlier."""
    RAEGP.decode = torch.compiler.disable(RAEGP.decode)  # type: ignore[method-assign, no-untyped-call]
