"""Fidelity and variety of generated examples, by balls around each example.

A ball reaches to its centre's k-th nearest neighbour within the same set. Distances are computed in
blocks, so memory grows with the number of examples and not with its square.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.evaluation.checks import ArrayLike

__all__ = ["DensityCoverage", "PrecisionRecall", "density_coverage", "precision_recall"]

BLOCK_ENTRIES = 2**22
"""Distances held at once: 32 MiB in float64, and a few times that while they are compared."""


class PrecisionRecall(NamedTuple):
    """Improved precision and recall, each from 0 to 1."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density, at least 0 and 1 on average for a perfect model; coverage, from 0 to 1."""

    density: float
    coverage: float


def precision_recall(real: ArrayLike, fake: ArrayLike, k: int = 3) -> PrecisionRecall:
    """Share of fake examples inside real ones' balls, and of real ones inside fake ones' balls.

    Parameters
    ----------
    real, fake : array-like, shapes (n, d) and (m, d)
        Features. Computed in float64.
    k : int
        The neighbour that a ball reaches to: at least 1, and less than the size of either set.

    Source: Kynkaanniemi et al. (2019), "Improved precision and recall metric".
    """
    x, y = _tensors(real, fake)
    real_radius, fake_radius = _radii(x, k, "real"), _radii(y, k, "fake")
    is_precise = torch.zeros(len(y), dtype=torch.bool)
    recalled = 0
    for rows, distance in distance_blocks(x, y):
        is_precise |= (distance <= real_radius[rows, None]).any(dim=0)
        recalled += int((distance <= fake_radius).any(dim=1).sum())
    return PrecisionRecall(int(is_precise.sum()) / len(y), recalled / len(x))


def density_coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> DensityCoverage:
    """Mean number of real balls around a fake example over k, and share of balls that hold any.

    Parameters as in `precision_recall`, but only real examples have balls. These exclude their
    boundary, as in the authors' code. If both are of one distribution, n real and m fake examples
    have density 1 and coverage ``1 - prod_{i=1..k} (n - i) / (n + m - i)`` on average.

    Source: Naeem et al. (2020), "Reliable fidelity and diversity metrics for generative models".
    """
    x, y = _tensors(real, fake)
    radius = _radii(x, k, "real")
    inside = covered = 0
    for rows, distance in distance_blocks(x, y):
        is_inside = distance < radius[rows, None]
        inside += int(is_inside.sum())
        covered += int(is_inside.any(dim=1).sum())
    return DensityCoverage(inside / (k * len(y)), covered / len(x))


def distance_blocks(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of the Euclidean distances (n, m) between (n, d) and (m, d), with their rows.

    Give float64: distances come from matrix products, which lose half of the digits near zero.
    """
    height = max(1, BLOCK_ENTRIES // len(b))
    for start in range(0, len(a), height):
        rows = slice(start, min(start + height, len(a)))
        yield rows, torch.cdist(a[rows], b, compute_mode="use_mm_for_euclid_dist")


def _tensors(real: ArrayLike, fake: ArrayLike) -> tuple[Tensor, Tensor]:
    """Both relative to a real example: no precision is lost far from zero, integers stay exact."""
    x, y = checks.pair(real, fake, ("real", "fake"))
    return torch.from_numpy(x - x[0]), torch.from_numpy(y - x[0])


def _radii(x: Tensor, k: int, name: str) -> Tensor:
    """Distance (n,) of each example of (n, d) to its k-th nearest other."""
    if not 1 <= k < len(x):
        raise HebaeError(
            f"k is {k}, but {name} has {len(x)} examples; k must be from 1 to {len(x) - 1}, the "
            "number of other examples."
        )
    radii = []
    for rows, distance in distance_blocks(x, x):
        distance[:, rows].fill_diagonal_(torch.inf)
        radii.append(distance.kthvalue(k, dim=1).values)
    return torch.cat(radii)
