"""A mixture of normals that is learned with the model by gradient, after a start by EM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hebae.errors import HebaeError
from hebae.priors.fitting import em_step, kmeans_start
from hebae.priors.mixture import MixtureOfNormals, principal_moments

START_ITERATIONS = 10
"""Of EM, before the first step of training."""


class LearnedMixture(MixtureOfNormals):
    """sum_c w_c N(m_c, R_c R_c^T) with full covariances; all parts are parameters.

    The weights are a softmax, and the diagonals of the R_c exponentials. Before `start`, all
    components are N(0, I).

    Parameters
    ----------
    latent_dim : int
        k.
    components : int
        c.
    """

    name = "mixture"
    options: ClassVar = {"components": "prior_components"}

    def __init__(self, latent_dim: int, components: int = 100) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.zeros(components, latent_dim))
        self.triangles = nn.Parameter(torch.zeros(components, latent_dim, latent_dim))

    @property
    def weights(self) -> Tensor:  # type: ignore[override]
        """Shape (c,), with sum 1."""
        return self.logits.softmax(dim=0)

    @property
    def factors(self) -> Tensor:  # type: ignore[override]
        """R_c, shape (c, k, k)."""
        diagonals = self.triangles.diagonal(dim1=1, dim2=2).exp()
        return self.triangles.tril(-1) + torch.diag_embed(diagonals)

    @property
    def examples_for_start(self) -> int:
        """50 per component, and at least 5,000."""
        return max(5000, 50 * len(self.logits))

    def start(self, examples: Iterable[tuple[Tensor, Tensor]], seed: int) -> None:
        """Start at the mixture that EM finds for the whitened codes of the untrained encoder.

        Before training, codes are close together. Whitened, they have the moments of N(0, I), to
        which HEBAE's whitening term brings them in a few hundred steps.
        """
        z = torch.cat([codes for _, codes in examples]).double().cpu().numpy()
        components = len(self.logits)
        if len(z) < components:
            raise HebaeError(
                f"prior_components is {components}, but there are only {len(z)} training examples "
                f"to start the components from; use at most {len(z)} components."
            )
        mean, variances, directions = principal_moments(z)
        white = torch.from_numpy((z - mean) @ directions / np.sqrt(variances) @ directions.T)
        parameters = kmeans_start(white, components, seed)
        for _ in range(START_ITERATIONS):
            parameters = em_step(white, parameters)
        factors = torch.linalg.cholesky(parameters.covariances)
        logarithms = factors.diagonal(dim1=1, dim2=2).log()
        with torch.no_grad():
            self.logits.copy_(parameters.weights.log())
            self.means.copy_(parameters.means)
            self.triangles.copy_(factors.tril(-1) + torch.diag_embed(logarithms))
