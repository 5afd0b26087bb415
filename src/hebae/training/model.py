"""What an `Autoencoder` and a stack of them (`hebae.training.grid`) have in common."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from hebae.likelihoods import Likelihood
from hebae.model import Step
from hebae.objectives import Noise, Objective

__all__ = ["Model"]


class Model(Protocol):
    """See `Autoencoder`; ``...`` is the stack's dimension, or nothing."""

    objective: Objective
    likelihood: Likelihood
    input_shape: tuple[int, ...]
    latent_dim: int

    @property
    def population_mean(self) -> Float[Tensor, "... latent"]:
        """Beta of the training set."""

    @property
    def population_covariance(self) -> Float[Tensor, "... latent latent"]:
        """Sigma of the training set."""

    @property
    def aggregate_covariance(self) -> Float[Tensor, "... latent latent"]:
        """C of the training set."""

    @property
    def training(self) -> bool:
        """Whether in training mode."""

    def train(self, mode: bool = True) -> object:
        """Set training or evaluation mode."""

    def eval(self) -> object:
        """Set evaluation mode."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Means and log-scales."""

    def decode(self, z: Tensor) -> Tensor:
        """E[x | z]."""

    def draw(self, mean: Tensor, log_scale: Tensor | None, epsilon: Tensor) -> Tensor:
        """Z ~ q(z | x), the noise shaped by the population's Sigma."""

    def noise_shapes(self, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the random numbers of a step, without the stack's dimension."""

    def held_out_step(self, x: Tensor, noise: Noise) -> Step:
        """Terms of a held-out batch."""

    def store_optimal_scale(self, mean_squared_error: Float[Tensor, "..."]) -> None:
        """Keep a Gaussian likelihood's optimal scale."""
