"""q(z | x) of a set of examples, the model's prior p(z), and log p(x | z) of many codes.

Codes and densities are float64, on the model's device; networks keep their own precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hebae import gaussian, inference
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import ArrayLike
from hebae.evaluation.latent import DETERMINISTIC
from hebae.gaussian import log_standard_normal
from hebae.model import Autoencoder


@dataclass(frozen=True, eq=False)
class Posteriors:
    """N posteriors N(mu_i, D_i L L^T D_i), D_i = diag(sigma_i), in float64."""

    mean: Float[Tensor, "n latent"]
    """mu_i."""
    scale: Float[Tensor, "n latent"]
    """sigma_i, above 0."""
    log_volume: Float[Tensor, " n"]
    """``log |D_i L|``."""
    factor: Float[Tensor, "latent latent"]
    """L, lower triangular: the identity for the VAE."""

    @classmethod
    def checked(
        cls, mean: ArrayLike, log_scale: ArrayLike, noise_factor: ArrayLike | None = None
    ) -> Self:
        """Make posteriors from means (N, k), log-scales (N, k) or (N, 1), and L (k, k), default I.

        Refused are values that are not finite, sigma = 0, and L singular or not lower triangular.
        """
        mean = checked_means(mean)
        n, k = mean.shape
        log_scale = _finite("log_scale", log_scale, (n, k), (n, 1)).to(mean.device)
        scale = log_scale.exp()
        if not ((scale > 0) & scale.isfinite()).all():
            raise HebaeError("log_scale has values whose exponential is 0 or infinite in float64.")
        given = torch.eye(k) if noise_factor is None else noise_factor
        factor = _finite("noise_factor", given, (k, k)).to(mean.device)
        if factor.triu(1).any() or not factor.diagonal().all():
            raise HebaeError("noise_factor must be lower triangular, with no zero on its diagonal.")
        volume = log_scale.expand_as(mean).sum(1) + factor.diagonal().abs().log().sum()
        return cls(mean, scale.expand_as(mean), volume, factor)

    def __getitem__(self, which: slice | Tensor) -> Posteriors:
        return Posteriors(self.mean[which], self.scale[which], self.log_volume[which], self.factor)

    def draw(
        self, epsilon: Float[Tensor, "*draws n latent"]
    ) -> tuple[Float[Tensor, "*draws n latent"], Float[Tensor, "*draws n"]]:
        """``z = mu + sigma * (L epsilon)``, and ``log q(z | x)``, for standard normal epsilon."""
        z = self.mean + self.scale * (epsilon @ self.factor.mT)
        return z, log_standard_normal(epsilon) - self.log_volume

    def log_density(self, z: Float[Tensor, "*draws n latent"]) -> Float[Tensor, "*draws n"]:
        """``log q(z_i | x_i)`` of any codes."""
        residual = (z - self.mean) / self.scale
        return log_standard_normal(residual @ self.whitener.mT) - self.log_volume

    @property
    def whitener(self) -> Float[Tensor, "latent latent"]:
        """L^-1."""
        identity = torch.eye(len(self.factor)).to(self.factor)
        inverse: Tensor = torch.linalg.solve_triangular(self.factor, identity, upper=False)
        return inverse

    def kl_to_standard_normal(self) -> Float[Tensor, " n"]:
        """KL(q(z | x_i) || N(0, I)) of each example in nats, exactly."""
        variance = self.scale.square() * self.factor.square().sum(1)
        return 0.5 * (variance - 1 + self.mean.square()).sum(1) - self.log_volume


def posteriors_of(
    model: Autoencoder, values: Any, device: torch.device | None = None
) -> Posteriors:
    """q(z | x) of examples (n, *shape), on `device`; `UndefinedMetric` if it has no density."""
    codes = inference.encode(model, values)
    if codes.log_scale is None:
        raise UndefinedMetric(DETERMINISTIC)
    mean = torch.as_tensor(codes.mean, device=device)
    return Posteriors.checked(mean, codes.log_scale, noise_factor(model))


def noise_factor(model: Autoencoder) -> Float[Tensor, "latent latent"]:
    """L of a model's noise, L L^T = N, in float64 on the CPU; `UndefinedMetric` if singular."""
    covariance = model.population_covariance.detach().cpu().double()
    L = gaussian.cholesky(model.objective.noise_covariance(covariance))
    if not L.isfinite().all():
        raise UndefinedMetric(
            "The covariance of the model's noise is singular, so q(z | x) has no density; check "
            "that the model was trained."
        )
    return L


def log_prior(module: Autoencoder, z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws"]:
    """``log p(z)`` in nats under the model's own prior, in the precision of z."""
    codes = module.prior.as_own(z.flatten(0, -2))
    return module.prior.log_prob(codes).view(z.shape[:-1]).to(z)


def draw_prior(
    module: Autoencoder, shape: tuple[int, ...], generator: torch.Generator, device: torch.device
) -> Float[Tensor, "*draws latent"]:
    """Draws z ~ p(z) of shape (*shape, k), float64, on a device."""
    size = (math.prod(shape), module.prior.noise_dim)
    epsilon = torch.randn(size, generator=generator, dtype=torch.float64).to(device)
    with torch.no_grad():
        z = module.prior.transform(module.prior.as_own(epsilon))
    return z.to(epsilon).view(*shape, module.latent_dim)


def log_likelihood(
    module: Autoencoder,
    x: Float[Tensor, "n *shape"],
    z: Float[Tensor, "draws n latent"],
    condition: Float[Tensor, "n _"] | None = None,
) -> Float[Tensor, "draws n"]:
    """``log p(x_i | z)`` in nats of several codes per example, in the precision of z."""
    repeated = x.expand(len(z), *x.shape).flatten(0, 1)
    if condition is not None:
        condition = condition.expand(len(z), *condition.shape).flatten(0, 1)
    context = module.describe(repeated, condition)
    nats = module.log_likelihood(repeated, z.flatten(0, 1).to(x), context)
    return nats.view(z.shape[:-1]).to(z)


def checked_means(mean: ArrayLike) -> Float[Tensor, "n latent"]:
    """Means in float64 on their device; `HebaeError` if not finite and (N, k) with N >= 2."""
    tensor = _finite("mean", mean, ("N", "k"))
    checks.require(len(tensor) > 1, "mean", tuple(tensor.shape), "(N, k) with N at least 2")
    return tensor


def _finite(name: str, values: ArrayLike, *shapes: tuple[int | str, ...]) -> Tensor:
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.is_sparse:
        values = torch.from_numpy(np.array(checks.as_array(values, name), np.float64))
    if not values.isfinite().all():
        raise HebaeError(f"{name} has NaN or infinite values; all must be finite.")
    checks.shape(name, tuple(values.shape), *shapes)
    return values.detach().to(torch.float64)
