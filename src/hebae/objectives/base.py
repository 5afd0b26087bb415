"""What a method is: how z is drawn from the encoder's output, and what is penalised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Covariance", "Covariances", "Latents", "LogScales", "Moments", "Objective", "Terms"]

Latents: TypeAlias = Float[Tensor, "batch latent"]
LogScales: TypeAlias = Float[Tensor, "batch _"] | None  # latent or 1 of them; None without noise
Covariance: TypeAlias = Float[Tensor, "latent latent"]
Covariances: TypeAlias = Float[Tensor, "*members latent latent"]  # of one model or a stack
Terms: TypeAlias = dict[str, Float[Tensor, ""]]


class Moments(NamedTuple):
    """Mean and covariance of encoder means, over a batch or a population."""

    beta: Float[Tensor, " latent"]
    Sigma: Covariance


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Two pure functions, `draw` and `penalty`, and the weights of the penalty's terms.

    The loss of a batch is ``reconstruction + sum_name weights[name] * penalty[name]``. Both
    functions are free of state and of data-dependent branching, so ``torch.func.vmap`` can run many
    models at once. A new method is a subclass in a file of its own and a line in
    ``objectives/__init__.py``; its fields take their values from the settings of the same names.
    """

    stochastic: ClassVar[bool]
    """Whether z is random given x: only then has a model an ELBO."""

    def log_scale_dim(self, latent_dim: int) -> int:
        """Count the log-scales that the encoder gives for an example."""
        return latent_dim if self.stochastic else 0

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """Weight of each term that `penalty` returns, by name."""

    @abstractmethod
    def draw(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        covariance: Covariance | None = None,
    ) -> Latents:
        """Draw z ~ q(z | x).

        Parameters
        ----------
        mean : Tensor, shape (m, k)
        log_scale : Tensor, shape (m, k) or (m, 1); None where the method is deterministic
        epsilon : Tensor, shape (m, k)
            Standard normal noise.
        covariance : Tensor, shape (k, k), optional
            Population covariance of the encoder means, for methods whose noise depends on the
            company an example is in (HEBAE). Left out: the covariance of this batch.
        """

    @abstractmethod
    def penalty(
        self,
        z: Latents,
        mean: Latents,
        log_scale: LogScales,
    ) -> Terms:
        """Unweighted terms by name, in nats an example (the MMD has no unit)."""

    def __call__(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        running: Moments | None = None,
    ) -> tuple[Latents, Terms]:
        """Return z and the terms of one training step; `draw` and `penalty`, sharing their work.

        `running` holds the running moments of earlier batches, for methods that keep them.
        """
        z = self.draw(mean, log_scale, epsilon)
        return z, self.penalty(z, mean, log_scale)

    def noise_covariance(self, covariance: Covariances) -> Covariances:
        """Covariance N of the noise before scaling: q(z | x_i) = N(mu_i, D_i N D_i)."""
        return torch.zeros_like(covariance)

    def penalty_floor(self, batch_size: int, latent_dim: int) -> float | None:
        """Penalty of perfectly standard-normal codes, in nats; None where it is not known."""
        return None


def require_non_negative(name: str, value: float) -> None:
    """Raise a ValueError that names a weight below zero (or NaN)."""
    if not value >= 0:
        raise ValueError(f"{name} is {value}; it must be at least 0.")


def require_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise a ValueError that names a choice that does not exist."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(map(repr, allowed))}.")
