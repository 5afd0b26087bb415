"""Flow matching (Lipman et al. 2023): draws of a mixture, moved along a learned velocity field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hebae.priors.base import Fit, Prior, Split
from hebae.priors.fitting import BLOCK, Parameters, responsibilities
from hebae.priors.mixture import Mixture
from hebae.priors.whitened import Whitened, linear, whitening

WIDTH = 256
FREQUENCIES = 4
SOLVER_STEPS = 8


class Velocity(nn.Module):
    """``v(w, t) = W3 s(W2 s(W1 [w, e(t)] + b1) + b2) + b3``, s the SiLU and e(t) waves of t.

    With two hidden layers, h1 and h2 before the SiLU, the divergence is a bilinear form,
    ``s'(h2)^T (W2 * (W1 W3)^T) s'(h1)``: exact in any dimension for the price of one evaluation.
    """

    angles: Tensor

    def __init__(self, latent_dim: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = linear(latent_dim + 1 + 2 * FREQUENCIES, WIDTH, generator)
        self.second = linear(WIDTH, WIDTH, generator)
        self.third = nn.Linear(WIDTH, latent_dim, device="meta").to_empty(device="cpu")
        nn.init.zeros_(self.third.weight)  # so that the fit starts from the mixture itself
        nn.init.zeros_(self.third.bias)
        angles = math.pi * torch.arange(1.0, FREQUENCIES + 1)
        self.register_buffer("angles", angles, persistent=False)

    def hidden(self, w: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """h1 and h2 (n, width) of w (n, k) and times (n, 1)."""
        angles = t * self.angles
        h1 = self.first(torch.cat([w, t, angles.sin(), angles.cos()], dim=1))
        return h1, self.second(F.silu(h1))

    def forward(self, w: Tensor, t: Tensor) -> Tensor:
        """Velocities (n, k)."""
        v: Tensor = self.third(F.silu(self.hidden(w, t)[1]))
        return v

    def divergence(self, w: Tensor, t: Tensor) -> Tensor:
        """Trace of the Jacobian dv/dw, shape (n,)."""
        s1, s2 = (h.sigmoid() * (1 + h * (1 - h.sigmoid())) for h in self.hidden(w, t))
        product = self.first.weight[:, : w.shape[1]] @ self.third.weight
        return ((s2 @ (self.second.weight * product.T)) * s1).sum(dim=1)


class FlowMatching(Whitened):
    """The value at t = 1 of the solution of dz/dt = v(z, t) that starts at a draw of a mixture.

    v is the least squares fit to z1 - z0 at (1 - t) z0 + t z1, the optimal-transport path of Lipman
    et al. (2023). z1 is a code, and z0 a draw from the component of the mixture that z1 is assigned
    to, at random by its responsibilities: so paths are short, and v vanishes where the mixture is
    right. The equation is solved by the midpoint method in `SOLVER_STEPS` steps.

    Parameters
    ----------
    shift, scale : Tensor, shapes (k,) and (k, k)
        See `whitening`.
    source : Mixture
        Mixture of white codes, at t = 0.
    seed : int
        Seed of the weights before the fit.
    """

    name = "flow-matching"
    display_name = "flow matching"
    summary = "the mixture, corrected by a learned velocity field"
    needs = ("mixture",)
    steps = 2000
    learning_rate = 2e-3

    def __init__(
        self,
        shift: npt.ArrayLike | Tensor,
        scale: npt.ArrayLike | Tensor,
        source: Mixture,
        seed: int = 0,
    ) -> None:
        super().__init__(shift, scale)
        self.source = source
        self.velocity = Velocity(self.latent_dim, seed)
        parameters = Parameters(source.weights, source.means, source.covariances)
        self._coefficients = parameters.coefficients()

    @property
    def noise_dim(self) -> int:
        """That of the mixture."""
        return self.source.noise_dim

    @classmethod
    def fit_split(cls, split: Split, known: Mapping[str, Prior]) -> Fit:
        """Fit the velocity field, with the fitted mixture as source: see `fit_to`."""
        mixture = known["mixture"]
        assert isinstance(mixture, Mixture)
        shift, scale = whitening(split.train)
        white = np.linalg.inv(scale)
        means = (mixture.means.numpy() - shift) @ white
        covariances = white.T @ mixture.covariances.numpy() @ white
        sampler = cls(shift, scale, Mixture(mixture.weights, means, covariances), split.seed)
        # Weighted by the responsibilities that `loss` draws from, so that z0 has the density p(z0).
        blocks = torch.split(torch.from_numpy((split.train - shift) @ white), BLOCK)
        shares = [responsibilities(w, sampler._coefficients).sum(dim=0) for w in blocks]
        weights = torch.stack(shares).sum(dim=0).clamp_min(1e-8)
        sampler.source.weights.copy_(weights / weights.sum())
        return sampler.fit_to(split)

    @classmethod
    def from_tensors(cls, latent_dim: int, tensors: Mapping[str, Any]) -> Self:
        """Make the sampler again from what `to_tensors` returned."""
        parts = {name.partition(".")[2]: value for name, value in tensors.items() if "." in name}
        source = Mixture(parts["weights"], parts["means"], parts["covariances"])
        sampler = cls(tensors["shift"], tensors["scale"], source)
        sampler.load_state_dict({name: torch.as_tensor(value) for name, value in tensors.items()})
        return sampler.requires_grad_(False)

    def loss(self, w: Tensor, generator: torch.Generator) -> Tensor:
        """``|v(w_t, t) - (w1 - w0)|^2`` at a random time for each code."""
        shares = responsibilities(w.to(self._coefficients), self._coefficients)
        component = torch.multinomial(shares, 1, generator=generator)[:, 0]
        epsilon = torch.randn(w.shape, generator=generator).to(self.source.factors)
        noise = (self.source.factors[component] @ epsilon[..., None])[..., 0]
        start = (self.source.means[component] + noise).float()
        t = torch.rand(len(w), 1, generator=generator)
        error = self.velocity((1 - t) * start + t * w, t) - (w - start)
        squares: Tensor = error.square().sum(dim=1)
        return squares

    def transform(self, epsilon: Tensor) -> Tensor:
        """Draw from the mixture, and solve from t = 0 to 1."""
        w, h = self.source.transform(epsilon).float(), 1 / SOLVER_STEPS
        for step in range(SOLVER_STEPS):
            t = w.new_full((len(w), 1), step * h)
            w = w + h * self.velocity(w + h / 2 * self.velocity(w, t), t + h / 2)
        return self.codes(w)

    def log_prob(self, z: Tensor) -> Tensor:
        """Solve back to t = 0: ``log p(z0)`` minus the integral of the divergence of v.

        It is the density of the exact solution; the error is that of the midpoint method.
        """
        w, h = self.white(z), 1 / SOLVER_STEPS
        change = torch.zeros_like(w[:, 0])
        for step in range(SOLVER_STEPS, 0, -1):
            t = w.new_full((len(w), 1), step * h)
            middle = w - h / 2 * self.velocity(w, t)
            change = change + h * self.velocity.divergence(middle, t - h / 2)
            w = w - h * self.velocity(middle, t - h / 2)
        return self.source.log_prob(w.to(self.scale)) - change - self.log_volume
