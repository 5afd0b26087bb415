"""q(z | x): the posteriors of a set of examples, their draws, densities and divergences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hebae import gaussian, inference
from hebae.errors import HebaeError
from hebae.evaluation.estimate import UndefinedMetric
from hebae.model import Autoencoder

__all__ = [
    "Posteriors",
    "Values",
    "Width",
    "checked_means",
    "log_standard_normal",
    "noise_factor",
    "posteriors_of",
    "widened",
]

Values = Tensor | npt.NDArray[np.floating[Any]]
Width = float | npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Posteriors:
    """N posteriors N(mu_i, D_i L L^T D_i), D_i = diag(sigma_i), in float64.

    Make them with `Posteriors.checked`, or `posteriors_of` a model.
    """

    mean: Float[Tensor, "n latent"]
    """mu_i."""
    scale: Float[Tensor, "n latent"]
    """sigma_i, above 0."""
    log_volume: Float[Tensor, " n"]
    """``log |D_i L|``."""
    factor: Float[Tensor, "latent latent"]
    """L, lower triangular: the identity for the VAE."""

    @classmethod
    def checked(cls, mean: Values, log_scale: Values, noise_factor: Values | None = None) -> Self:
        """Make posteriors from means (N, k), log-scales (N, k) or (N, 1), and L (k, k) if not I.

        Raises
        ------
        HebaeError
            If shapes do not fit, a value or sigma is not finite, a sigma is 0, L has no inverse or
            is not lower triangular.
        """
        mean = checked_means(mean)
        n, k = mean.shape
        log_scale = _finite("log_scale", log_scale).to(mean.device)
        if log_scale.shape not in ((n, k), (n, 1)):
            shape = tuple(log_scale.shape)
            raise HebaeError(f"log_scale has shape {shape}; it must be {(n, k)} or {(n, 1)}.")
        scale = log_scale.exp()
        if not ((scale > 0) & scale.isfinite()).all():
            raise HebaeError("log_scale has values whose exponential is 0 or infinite in float64.")
        if noise_factor is None:
            factor = torch.eye(k, dtype=mean.dtype, device=mean.device)
        else:
            factor = _invertible("noise_factor", noise_factor, k).to(mean.device)
        volume = log_scale.expand_as(mean).sum(1) + factor.diagonal().abs().log().sum()
        return cls(mean, scale.expand_as(mean), volume, factor)

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, which: slice | Tensor) -> Posteriors:
        return Posteriors(self.mean[which], self.scale[which], self.log_volume[which], self.factor)

    def draw(
        self, epsilon: Float[Tensor, "*draws n latent"]
    ) -> tuple[Float[Tensor, "*draws n latent"], Float[Tensor, "*draws n"]]:
        """Z = mu + sigma * (L epsilon), and ``log q(z | x)``, for standard normal epsilon."""
        z = self.mean + self.scale * (epsilon @ self.factor.mT)
        return z, log_standard_normal(epsilon) - self.log_volume

    def log_density(self, z: Float[Tensor, "*draws n latent"]) -> Float[Tensor, "*draws n"]:
        """``log q(z_i | x_i)`` of codes that may be anywhere."""
        residual = (z - self.mean) / self.scale
        return log_standard_normal(residual @ self.whitener.mT) - self.log_volume

    @property
    def whitener(self) -> Float[Tensor, "latent latent"]:
        """L^-1."""
        identity = torch.eye(len(self.factor), dtype=self.factor.dtype, device=self.factor.device)
        inverse: Tensor = torch.linalg.solve_triangular(self.factor, identity, upper=False)
        return inverse

    def kl_to_standard_normal(self) -> Float[Tensor, " n"]:
        """KL(q(z | x_i) || N(0, I)) of each example in nats, exactly."""
        variance = self.scale.square() * self.factor.square().sum(1)
        return 0.5 * (variance - 1 + self.mean.square()).sum(1) - self.log_volume


def posteriors_of(model: Autoencoder, values: npt.NDArray[np.generic]) -> Posteriors:
    """q(z | x) of examples (n, *shape), on the CPU.

    Raises
    ------
    UndefinedMetric
        If the encoder is deterministic, or HEBAE's noise has a singular covariance: then q(z | x)
        has no density.
    """
    codes = inference.encode(model, values)
    if codes.log_scale is None:
        raise UndefinedMetric(
            "the encoder is deterministic: q(z | x) is a point, without a density, so that "
            "KL(q(z | x) || N(0, I)) is infinite."
        )
    return Posteriors.checked(codes.mean, codes.log_scale, noise_factor(model))


def widened(mean: npt.NDArray[np.floating[Any]] | Tensor, width: Width) -> Posteriors:
    """``N(mu_i, diag(width^2))`` of means (n, k), with a width for all or each dimension (k,).

    Raises
    ------
    HebaeError
        If the width is not of this shape, or not finite and above 0.
    """
    k = mean.shape[1]
    sizes = np.asarray(width, dtype=np.float64)
    if sizes.shape not in ((), (k,)):
        raise HebaeError(f"width has shape {sizes.shape}; it must be a number or ({k},).")
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise HebaeError(f"width is {width}; it must be finite and above 0 throughout.")
    return Posteriors.checked(mean, torch.as_tensor(np.log(sizes)).expand(mean.shape))


def noise_factor(model: Autoencoder) -> Float[Tensor, "latent latent"]:
    """L of a model's noise, L L^T = N (sections 2 and 4), in float64 on the CPU."""
    covariance = model.population_covariance.detach().cpu().double()
    L = gaussian.cholesky(model.objective.noise_covariance(covariance))
    if not L.isfinite().all():
        raise UndefinedMetric(
            "the covariance of the model's noise is singular, so that q(z | x) has no density; "
            "was the model trained?"
        )
    return L


def log_standard_normal(z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws"]:
    """``log N(z; 0, I)`` in nats."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))


def checked_means(mean: Values) -> Float[Tensor, "n latent"]:
    """Means in float64 where they lie; `HebaeError` if they are not (N, k), N >= 2, and finite."""
    mean = _finite("mean", mean)
    if mean.ndim != 2 or len(mean) < 2 or mean.shape[1] < 1:
        raise HebaeError(f"mean has shape {tuple(mean.shape)}; it must be (N, k), N at least 2.")
    return mean


def _finite(name: str, values: Values) -> Tensor:
    tensor = torch.as_tensor(values).detach().to(torch.float64)
    if not tensor.isfinite().all():
        raise HebaeError(f"{name} holds NaN or infinite values.")
    return tensor


def _invertible(name: str, values: Values, size: int) -> Tensor:
    factor = _finite(name, values)
    if factor.shape != (size, size):
        raise HebaeError(f"{name} has shape {tuple(factor.shape)}; it must be {(size, size)}.")
    if factor.triu(1).any() or not factor.diagonal().all():
        raise HebaeError(f"{name} must be lower triangular, without a zero on its diagonal.")
    return factor
