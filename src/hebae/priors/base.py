"""What every prior to decode from has in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.errors import HebaeError

__all__ = ["Floats", "Sampler", "check_codes", "normal_log_density"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

BLOCK_ENTRIES = 2**22
"""Deviations held at once by `normal_log_density`: 32 MiB."""


class Sampler(ABC):
    """A density over codes that can be drawn from.

    Attributes
    ----------
    name : str
    latent_dim : int
        k.
    """

    name: ClassVar[str]
    latent_dim: int

    def draw(self, count: int, seed: int) -> Floats:
        """Draw codes, float32 (count, k); the same seed gives the same codes.

        Raises
        ------
        HebaeError
            If `count` is below 1.
        """
        if count < 1:
            raise HebaeError(f"count is {count}; it must be at least 1.")
        return self._draw(count, np.random.default_rng(seed))

    def log_density(self, z: npt.ArrayLike) -> Doubles:
        """Log density of codes (n, k), in nats: float64 (n,).

        Raises
        ------
        HebaeError
            If the codes have another dimension, or are not finite.
        """
        codes = check_codes(z)
        if codes.shape[1] != self.latent_dim:
            raise HebaeError(
                f"the codes have {codes.shape[1]} dimensions and the sampler {self.name!r} has "
                f"{self.latent_dim}; give codes of the model it was fitted to."
            )
        return self._log_density(codes)

    @abstractmethod
    def _draw(self, count: int, generator: np.random.Generator) -> Floats: ...

    @abstractmethod
    def _log_density(self, z: Doubles) -> Doubles: ...


def check_codes(codes: npt.ArrayLike) -> Doubles:
    """Return codes as float64 (n, k), or raise a HebaeError that says what they lack."""
    z = np.asarray(codes, dtype=np.float64)
    if z.ndim != 2 or z.size == 0:
        raise HebaeError(f"the codes have shape {z.shape}; they must be (n, k), neither of them 0.")
    if not np.isfinite(z).all():
        raise HebaeError("the codes hold values that are not finite; the model has diverged.")
    return z


def normal_log_density(z: Doubles, means: Tensor, factors: Tensor) -> Tensor:
    """Log density of codes (n, k) under each of c normals, in nats: float64 (n, c).

    Parameters
    ----------
    z : ndarray, shape (n, k)
    means : Tensor, shape (c, k)
    factors : Tensor, shape (c, k, k)
        Cholesky factors of the covariances.
    """
    k = z.shape[1]
    whiten = torch.linalg.solve_triangular(factors, torch.eye(k, dtype=factors.dtype), upper=False)
    constant = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1) + 0.5 * k * math.log(2 * math.pi)
    blocks = []
    for block in torch.split(torch.from_numpy(z), max(1, BLOCK_ENTRIES // means.numel())):
        white = (block - means[:, None]) @ whiten.mT
        blocks.append(-0.5 * white.square().sum(dim=2).T - constant)
    return torch.cat(blocks)
