"""The VampPrior: the mixture of the posteriors of learned pseudo-inputs.

Tomczak, Welling (2018), "VAE with a VampPrior", AISTATS.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hebae.errors import HebaeError
from hebae.priors.mixture import MixtureOfNormals


class VampPrior(MixtureOfNormals):
    """``p(z) = (1/c) sum_j q(z | u_j)`` with pseudo-inputs u_j, which are learned.

    The u_j are what the encoder takes, and are not limited to the range of the data. In training
    the components follow the encoder at each step (`of_posteriors`). The components of the trained
    model are stored (`store`), so that its density needs no encoder.

    Parameters
    ----------
    latent_dim : int
        k.
    components : int
        c.
    shape : sequence of int
        Shape of what the encoder takes, for one example.
    """

    name = "vamp"
    options: ClassVar = {"components": "prior_components", "shape": "input_shape"}

    def __init__(self, latent_dim: int, components: int = 100, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.pseudo_inputs = nn.Parameter(torch.zeros(components, *shape))
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, latent_dim))
        self.register_buffer("factors", torch.eye(latent_dim).repeat(components, 1, 1))

    @property
    def examples_for_start(self) -> int:
        """One per pseudo-input."""
        return len(self.pseudo_inputs)

    def start(self, examples: Iterable[tuple[Tensor, Tensor]], seed: int) -> None:
        """Start the pseudo-inputs at training examples, spread evenly over the training set."""
        inputs = torch.cat([x for x, _ in examples])
        count = len(self.pseudo_inputs)
        if len(inputs) < count:
            raise HebaeError(
                f"prior_components is {count}, but there are only {len(inputs)} training examples "
                f"to start the pseudo-inputs from; use at most {len(inputs)} components."
            )
        with torch.no_grad():
            self.pseudo_inputs.copy_(inputs[:count])

    def of_posteriors(
        self,
        mean: Float[Tensor, "components latent"],
        log_scale: Float[Tensor, "components _"],
        noise_factor: Float[Tensor, "latent latent"],
    ) -> MixtureOfNormals:
        """Return the mixture of q(z | u_j) = N(mu_j, D_j L L^T D_j), with gradients.

        Parameters
        ----------
        mean, log_scale : Tensor, shapes (c, k) and (c, k) or (c, 1)
            The encoder's output for the pseudo-inputs.
        noise_factor : Tensor, shape (k, k)
            L, lower triangular: for HEBAE the Cholesky factor that shapes its noise.
        """
        current = MixtureOfNormals()
        current.latent_dim = self.latent_dim
        current.weights, current.means = self.weights, mean
        current.factors = log_scale.exp().expand_as(mean)[..., None] * noise_factor.to(mean)
        return current

    @torch.no_grad()
    def store(self, mean: Tensor, log_scale: Tensor, noise_factor: Tensor) -> None:
        """Store the components; see `of_posteriors`."""
        current = self.of_posteriors(mean, log_scale, noise_factor)
        self.means.copy_(current.means)
        self.factors.copy_(current.factors)
