"""A neural spline flow fitted to the codes of a trained model by maximum likelihood."""

from __future__ import annotations

from collections.abc import Mapping

import numpy.typing as npt
import torch
from torch import Tensor

from hebae.priors.base import Fit, Prior, Split
from hebae.priors.flow import Flow
from hebae.priors.whitened import Whitened, whitening
from hebae.seeding import seeded


class FittedFlow(Whitened):
    """The density of `Flow`, a spline flow, over white codes.

    Parameters
    ----------
    shift, scale : Tensor, shapes (k,) and (k, k)
        See `whitening`.
    seed : int
        Seed of the weights before the fit.
    """

    name = "flow"
    display_name = "fitted flow"
    summary = "a neural spline flow fitted to the codes (needs hebae[flow])"
    steps = 800
    learning_rate = 2e-3

    def __init__(
        self, shift: npt.ArrayLike | Tensor, scale: npt.ArrayLike | Tensor, seed: int = 0
    ) -> None:
        super().__init__(shift, scale)
        with seeded(seed):
            self.flow = Flow(self.latent_dim)

    @classmethod
    def fit_split(cls, split: Split, known: Mapping[str, Prior]) -> Fit:
        """Fit by maximum likelihood: see `fit_to`."""
        return cls(*whitening(split.train), split.seed).fit_to(split)

    def loss(self, w: Tensor, generator: torch.Generator) -> Tensor:
        """Minus the log density."""
        log_density: Tensor = self.flow.log_prob(w)
        return -log_density

    def transform(self, epsilon: Tensor) -> Tensor:
        """Invert the flow, and undo the whitening."""
        return self.codes(self.flow.transform(epsilon.float()))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of the white codes, minus ``log |det dz/dw|``."""
        log_density: Tensor = self.flow.log_prob(self.white(z)).double()
        return log_density - self.log_volume
