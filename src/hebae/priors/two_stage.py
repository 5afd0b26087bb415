"""A second, small VAE on the codes (Dai and Wipf 2019, "Diagnosing and enhancing VAE models")."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy.typing as npt
import torch
from torch import Tensor, nn

from hebae.priors.base import Fit, Prior, Split
from hebae.priors.whitened import Whitened, linear, whitening

WIDTH = 256
DRAWS = 100
"""Draws per code of the importance-weighted bound."""


class TwoStage(Whitened):
    """``z = f(u) + gamma noise`` with u ~ N(0, I): f and gamma are the decoder of a VAE on codes.

    u has as many dimensions as z. gamma is learned, and small where the codes fill fewer.

    Parameters
    ----------
    shift, scale : Tensor, shapes (k,) and (k, k)
        See `whitening`.
    seed : int
        Seed of the weights before the fit.
    """

    name = "two-stage"
    display_name = "two-stage VAE"
    summary = "a second, small VAE on the codes"
    exact = False
    steps = 2000
    learning_rate = 2e-3

    def __init__(
        self, shift: npt.ArrayLike | Tensor, scale: npt.ArrayLike | Tensor, seed: int = 0
    ) -> None:
        super().__init__(shift, scale)
        k, generator = self.latent_dim, torch.Generator().manual_seed(seed)

        def network(outputs: int) -> nn.Sequential:
            return nn.Sequential(
                linear(k, WIDTH, generator),
                nn.SiLU(),
                linear(WIDTH, WIDTH, generator),
                nn.SiLU(),
                linear(WIDTH, outputs, generator),
            )

        self.encoder = network(2 * k)
        self.decoder = network(k)
        self.log_gamma = nn.Parameter(torch.tensor(-2.0))

    @property
    def noise_dim(self) -> int:
        """``2 k``: u, then the noise of the decoder."""
        return 2 * self.latent_dim

    @classmethod
    def fit_split(cls, split: Split, known: Mapping[str, Prior]) -> Fit:
        """Fit the second VAE: see `fit_to`."""
        return cls(*whitening(split.train), split.seed).fit_to(split)

    def loss(self, w: Tensor, generator: torch.Generator) -> Tensor:
        """Minus the evidence lower bound, with the rate in closed form."""
        mean, log_scale = self.encoder(w).chunk(2, dim=1)
        u = mean + log_scale.exp() * torch.randn(w.shape, generator=generator)
        rate = 0.5 * (mean.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(dim=1)
        loss: Tensor = rate - self._log_likelihood(w, u)
        return loss

    def transform(self, epsilon: Tensor) -> Tensor:
        """Decode u, add noise of scale gamma, and undo the whitening."""
        u, noise = epsilon.float().chunk(2, dim=1)
        return self.codes(self.decoder(u) + self.log_gamma.exp() * noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """Bound ``log p(z)`` from below, by importance weighting with `DRAWS` draws of q(u | z).

        The draws are fixed: the same codes have the same bound.
        """
        w = self.white(z)
        mean, log_scale = self.encoder(w).chunk(2, dim=1)
        generator = torch.Generator().manual_seed(0)
        ratios = []
        for epsilon in torch.randn(DRAWS, 1, self.latent_dim, generator=generator).to(w):
            u = mean + log_scale.exp() * epsilon
            ratio = 0.5 * (epsilon.square() - u.square()).sum(dim=1) + log_scale.sum(dim=1)
            ratios.append(ratio + self._log_likelihood(w, u))
        bound = torch.stack(ratios).double().logsumexp(dim=0) - math.log(DRAWS)
        return bound - self.log_volume

    def _log_likelihood(self, w: Tensor, u: Tensor) -> Tensor:
        squares = (w - self.decoder(u)).square().sum(dim=1)
        constant = self.latent_dim * (self.log_gamma + 0.5 * math.log(2 * math.pi))
        log_likelihood: Tensor = -0.5 * squares * (-2 * self.log_gamma).exp() - constant
        return log_likelihood
