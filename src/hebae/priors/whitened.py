"""What the samplers have in common that are fitted by stochastic gradients to whitened codes."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hebae.errors import HebaeError
from hebae.priors.base import Doubles, Fit, Prior, Split
from hebae.priors.mixture import as_double, principal_moments

BATCH = 512
PASSES = 100
"""Largest number of passes over the codes, if there are few."""
FEWEST_STEPS = 400
EVALUATE_EVERY = 100
PATIENCE = 5
LARGEST_NORM = 5.0


class Whitened(Prior):
    """A sampler with networks, in float32, that see white codes w: ``z = shift + w @ scale``.

    Parameters
    ----------
    shift : Tensor, shape (k,)
    scale : Tensor, shape (k, k)
        See `whitening`.
    """

    steps: ClassVar[int]
    """Largest number of steps of the fit, each over `BATCH` codes, fewer if there are few codes."""
    learning_rate: ClassVar[float]
    """In the first step; it falls to 0 along a cosine."""
    shift: Tensor
    scale: Tensor

    def __init__(self, shift: npt.ArrayLike | Tensor, scale: npt.ArrayLike | Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", as_double(shift))
        # Contiguous, as it is read from a file: the order of numbers decides about their last bits.
        self.register_buffer("scale", as_double(scale).contiguous())
        self.latent_dim = len(self.shift)

    @classmethod
    def from_tensors(cls, latent_dim: int, tensors: Mapping[str, Any]) -> Self:
        """Make a sampler again from what `to_tensors` returned."""
        sampler = cls(tensors["shift"], tensors["scale"])
        sampler.load_state_dict({name: torch.as_tensor(value) for name, value in tensors.items()})
        return sampler.requires_grad_(False)

    @abstractmethod
    def loss(self, w: Tensor, generator: torch.Generator) -> Tensor:
        """Loss (m,) of white codes (m, k), with a generator for the random numbers it needs."""

    def white(self, z: Tensor) -> Tensor:
        """Return w, float32, of codes z (n, k)."""
        w: Tensor = torch.linalg.solve(self.scale, z.to(self.scale) - self.shift, left=False)
        return w.float()

    def codes(self, w: Tensor) -> Tensor:
        """Return z, float64, of white codes w (n, k)."""
        return self.shift + w.to(self.scale) @ self.scale

    @property
    def log_volume(self) -> Tensor:
        """``log |det dz/dw|``."""
        volume: Tensor = torch.linalg.slogdet(self.scale).logabsdet
        return volume

    def fit_to(self, split: Split) -> Fit:
        """Fit to nine tenths of the codes, by Adam, and keep what is best for the held-out tenth.

        The loss of the held-out codes is computed at first and every `EVALUATE_EVERY` steps, with
        the same random numbers each time. The fit ends if it has not fallen `PATIENCE` times in a
        row.

        Raises
        ------
        HebaeError
            If the loss or its gradient becomes non-finite.
        """
        train, held_out = (self.white(torch.from_numpy(z)) for z in (split.train, split.held_out))
        generator = torch.Generator().manual_seed(split.seed)
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        best, weights, failures = math.inf, copy.deepcopy(self.state_dict()), 0
        steps = min(self.steps, max(FEWEST_STEPS, PASSES * len(train) // BATCH))
        for step in range(steps + 1):
            if step % EVALUATE_EVERY == 0 or step == steps:
                with torch.no_grad():
                    again = torch.Generator().manual_seed(split.seed)
                    losses = torch.cat(
                        [self.loss(w, again) for w in torch.split(held_out, 4 * BATCH)]
                    )
                if (current := float(losses.mean())) < best:
                    best, weights, failures = current, copy.deepcopy(self.state_dict()), 0
                elif (failures := failures + 1) == PATIENCE:
                    break
            rate = self.learning_rate * math.cos(math.pi / 2 * step / (steps + 1)) ** 2
            optimizer.param_groups[0]["lr"] = rate
            rows = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
            loss = self.loss(train[rows], generator).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if not nn.utils.clip_grad_norm_(self.parameters(), LARGEST_NORM).isfinite():
                raise HebaeError(
                    f"the fit of the sampler {self.name!r} to the codes diverged at step {step}; "
                    "use another one, such as 'mixture'."
                )
            optimizer.step()
        self.load_state_dict(weights)
        self.requires_grad_(False)
        return Fit(self, self)


def whitening(codes: Doubles) -> tuple[Doubles, Doubles]:
    """Return shift (k,) and scale (k, k) with which w has mean 0 and covariance I."""
    mean, variances, directions = principal_moments(codes)
    return mean, (directions * np.sqrt(variances)).T


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """Make a layer with PyTorch's usual random weights, drawn from `generator`."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # draws nothing
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer
