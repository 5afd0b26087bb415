"""Euclidean distances between two sets in blocks, so that memory does not grow with their product.

All in float64: distances come from matrix products, which lose half of the digits near zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Neighbours", "distance_blocks", "two_nearest"]

BLOCK_ENTRIES = 2**22
"""Distances held at once: 32 MiB in float64, and a few times that while they are compared."""


class Neighbours(NamedTuple):
    """The nearest member of a set to each of n points, and how far the second nearest is."""

    place: Tensor
    """Shape (n,), into the set."""
    distance: Tensor
    """Shape (n,); exactly zero for a copy."""
    next_distance: Tensor
    """Shape (n,), at least `distance`."""


def distance_blocks(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of the Euclidean distances (n, m) between (n, d) and (m, d), with their rows."""
    height = max(1, BLOCK_ENTRIES // len(b))
    for start in range(0, len(a), height):
        rows = slice(start, min(start + height, len(a)))
        yield rows, torch.cdist(a[rows], b, compute_mode="use_mm_for_euclid_dist")


def two_nearest(points: Tensor, members: Tensor) -> Neighbours:
    """Find the two members (m, d), m at least 2, that are nearest to each point (n, d)."""
    places = torch.cat(
        [
            distance.topk(2, dim=1, largest=False, sorted=False).indices
            for _, distance in distance_blocks(points, members)
        ]
    )
    # The product finds them; the difference tells how far they are, without rounding near zero.
    distance = torch.stack(
        [(points - members[place]).square().sum(dim=1).sqrt() for place in places.T], dim=1
    )
    distance, order = distance.sort(dim=1)
    return Neighbours(places.gather(1, order[:, :1])[:, 0], *distance.T)
