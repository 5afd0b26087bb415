"""HEBAE's training step in plain PyTorch, with nothing around it.

The same operations as Appendix B.1 and `hebae.objectives.HEBAE` ask for, written the way somebody
would who needs this one training and no other: no Fabric, no monitor, no checks, one function.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contenders import SETTINGS, WARM_UP, Contender, Mark

__all__ = ["BareHEBAE", "by_bare_loop", "run_epoch"]


class BareHEBAE(nn.Module):
    """Networks of Appendix B.1 for examples of 784 numbers in [0, 1], and the loss.

    Parameters
    ----------
    latent_dim : int
    moments_dtype : torch.dtype
        Of beta, Sigma and its Cholesky factor; float64 is what `hebae` takes.
    """

    def __init__(self, latent_dim: int, moments_dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(784, 784), nn.ReLU(), nn.Linear(784, 800), nn.ReLU(),
            nn.Linear(800, 2 * latent_dim),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(),
            nn.Linear(800, 784),
        )  # fmt: skip
        self.latent_dim = latent_dim
        self.moments_dtype = moments_dtype

    def forward(self, x: Tensor, epsilon: Tensor) -> Tensor:
        """Loss of a batch x (m, 784) with noise epsilon (m, latent_dim)."""
        mean, log_scale = self.encoder(x).chunk(2, dim=1)

        wide = mean.to(self.moments_dtype)
        beta = wide.mean(dim=0)
        centred = wide - beta
        R = torch.linalg.cholesky(centred.T @ centred / len(x))
        squares = R.square().sum() + beta.square().sum()
        penalty = 0.5 * (squares - self.latent_dim) - R.diagonal().log().sum()

        z = mean + log_scale.exp() * (epsilon @ R.to(mean.dtype).T)
        output = self.decoder(z)
        reconstruction = F.binary_cross_entropy_with_logits(output, x, reduction="sum") / len(x)
        return reconstruction + penalty.to(mean.dtype)


def run_epoch(
    model: BareHEBAE, optimizer: torch.optim.Optimizer, examples: Tensor, batch_size: int
) -> float:
    """Train on uint8 examples (n, 784), once and in random order; return the last loss."""
    loss = torch.tensor(torch.nan)
    for batch in torch.randperm(len(examples), device=examples.device).split(batch_size):
        x = examples.index_select(0, batch).float() / 255
        epsilon = torch.randn(len(x), model.latent_dim, device=x.device)
        loss = model(x, epsilon)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def by_bare_loop(moments_dtype: torch.dtype = torch.float64, epochs_before: int = 0) -> Contender:
    """Train HEBAE with `run_epoch` and fused Adam, after `epochs_before` epochs."""

    def stretch(examples: np.ndarray, mark: Mark) -> None:
        resident = torch.from_numpy(examples).flatten(1)
        model = BareHEBAE(SETTINGS.latent_dim, moments_dtype)
        optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS.learning_rate, fused=True)
        size = SETTINGS.batch_size
        run_epoch(model, optimizer, resident[: WARM_UP * size], size)
        for _ in range(epochs_before):
            run_epoch(model, optimizer, resident, size)
        mark()
        run_epoch(model, optimizer, resident, size)
        mark()

    return stretch
