"""The two-sample distance by which samplers are compared: nearest neighbours (Schilling 1986).

Global measures, such as the energy distance or the Frechet distance of codes, hardly see the holes
between codes, where decoded samples are bad: see docs/results/samplers.
"""

from __future__ import annotations

import numpy as np
import torch

from hebae.priors.base import Doubles, Prior, Split

NEIGHBOURS = 5
LARGEST = 5000
"""Held-out codes that are compared, with as many draws."""
BLOCKS = 10
BLOCK_DISTANCES = 2**19
"""Distances that are held at once: 2 MiB in float32."""


def two_sample_distances(sampler: Prior, split: Split) -> tuple[float, ...]:
    """Compare held-out codes with as many draws: one distance per block of both.

    A distance is the share of nearest neighbours, among codes and draws together, that belong to
    the same of the two samples, minus the share expected by chance: 0 on average if the draws have
    the distribution of the codes, and about 0.5 if the two lie apart. Distances are Euclidean,
    between codes whitened by the moments of the held-out ones.
    """
    y = split.held_out[:LARGEST]
    x = sampler.sample(len(y), split.seed).astype(np.float64)
    share = same_sample_share(y, x)
    chance = (len(y) - 1) / (2 * len(y) - 1)
    return tuple(
        float(block.mean()) - chance for block in np.array_split(share, min(BLOCKS, len(y)))
    )


def same_sample_share(y: Doubles, x: Doubles, neighbours: int = NEIGHBOURS) -> Doubles:
    """Share of nearest neighbours in the same sample: the mean (n,) of code y_i's and draw x_i's.

    Parameters
    ----------
    y, x : array, shape (n, k)
        Held-out codes and draws.
    neighbours : int
        Number of neighbours; all others if there are fewer.
    """
    mean = y.mean(axis=0)
    values, directions = np.linalg.eigh(np.atleast_2d(np.cov(y.T, bias=True)))
    scale = directions / np.sqrt(np.maximum(values, 1e-6 * values.mean() + 1e-30))
    pooled = torch.from_numpy(np.concatenate([y - mean, x - mean]) @ scale).float()
    n = len(y)
    count = min(neighbours, 2 * n - 1)
    # Not one small tensor per block: kept between large ones, they fragment memory.
    nearest = torch.empty(2 * n, count, dtype=torch.long)
    for rows in torch.split(torch.arange(2 * n), max(1, BLOCK_DISTANCES // (2 * n))):
        distances = torch.cdist(pooled[rows], pooled)
        distances[torch.arange(len(rows)), rows] = torch.inf
        nearest[rows] = distances.topk(count, largest=False).indices
    is_code = torch.arange(2 * n) < n
    same = (is_code[nearest] == is_code[:, None]).double().mean(dim=1)
    share: Doubles = ((same[:n] + same[n:]) / 2).numpy()
    return share
