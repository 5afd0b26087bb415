"""Samples compared with real examples by nearest neighbours: fidelity, variety, and copies.

Precision, recall, density and coverage use balls around examples, which reach to the k-th nearest
neighbour within the same set. Copies are found by the nearest training and held-out examples.
Distances are computed in blocks, so memory grows with the number of examples and not its square.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.blocks import doubles, spans
from hebae.evaluation.checks import ArrayLike
from hebae.evaluation.estimate import Estimate

__all__ = [
    "Copying",
    "DensityCoverage",
    "PrecisionRecall",
    "copying_ratio",
    "density_coverage",
    "precision_recall",
]

BLOCK_ENTRIES = 2**20
"""Distances held at once: 8 MiB in float64, and a few times that while they are compared."""


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

    References
    ----------
    Kynkaanniemi et al. (2019), "Improved precision and recall metric".
    """
    x, y = checks.sets(real, fake, ("real", "fake"))
    # Relative to an example: no precision is lost far from zero, integers stay exact.
    origin = doubles(x, slice(1))
    real_radius, fake_radius = _radii(x, k, "real", origin), _radii(y, k, "fake", origin)
    is_precise = torch.zeros(len(y), dtype=torch.bool)
    recalled = 0
    for rows, distance in distance_blocks(x, y, origin):
        is_precise |= (distance <= real_radius[rows, None]).any(dim=0)
        recalled += int((distance <= fake_radius).any(dim=1).sum())
    return PrecisionRecall(int(is_precise.sum()) / len(y), recalled / len(x))


def density_coverage(real: ArrayLike, fake: ArrayLike, k: int = 5) -> DensityCoverage:
    """Mean number of real balls around a fake example over k, and share of balls that hold any.

    Parameters as in `precision_recall`, but only real examples have balls. These exclude their
    boundary, as in the authors' code. If both are of one distribution, n real and m fake examples
    have density 1 and coverage ``1 - prod_{i=1..k} (n - i) / (n + m - i)`` on average.

    References
    ----------
    Naeem et al. (2020), "Reliable fidelity and diversity metrics for generative models".
    """
    x, y = checks.sets(real, fake, ("real", "fake"))
    origin = doubles(x, slice(1))
    radius = _radii(x, k, "real", origin)
    inside = covered = 0
    for rows, distance in distance_blocks(x, y, origin):
        is_inside = distance < radius[rows, None]
        inside += int(is_inside.sum())
        covered += int(is_inside.any(dim=1).sum())
    return DensityCoverage(inside / (k * len(y)), covered / len(x))


def distance_blocks(a: Any, b: Any, origin: Any = 0.0) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of the Euclidean distances (n, m) between (n, d) and (m, d), with their rows.

    Computed in float64, relative to an `origin` near the examples: distances come from matrix
    products, which lose half of the digits near zero. A block is valid until the next one.
    """
    height = min(len(a), max(1, BLOCK_ENTRIES // len(b)))
    # New arrays for each block, between results that are kept, would fragment the memory.
    buffer = torch.empty(height, len(b), dtype=torch.float64)
    for start in range(0, len(a), height):
        rows = slice(start, min(start + height, len(a)))
        left = torch.from_numpy(doubles(a, rows) - origin)
        distance = buffer[: len(left)]
        # A block of distances, too, is computed in parts, since that takes several of its size.
        for columns in spans(len(b), max(b.shape[1], height)):
            right = torch.from_numpy(doubles(b, columns) - origin)
            distance[:, columns] = torch.cdist(left, right, compute_mode="use_mm_for_euclid_dist")
        yield rows, distance


def _radii(x: Any, k: int, name: str, origin: Any) -> Tensor:
    """Distance (n,) of each example of (n, d) to its k-th nearest other."""
    if not 1 <= k < len(x):
        raise HebaeError(
            f"k is {k}, but {name} has {len(x)} examples; k must be from 1 to {len(x) - 1}, the "
            "number of other examples."
        )
    radii = torch.empty(len(x), dtype=torch.float64)
    for rows, distance in distance_blocks(x, x, origin):
        distance[:, rows].fill_diagonal_(torch.inf)
        radii[rows] = distance.kthvalue(k, dim=1).values
    return radii


@dataclass(frozen=True)
class Copying:
    """How much nearer samples are to training examples than to held-out ones."""

    ratio: Estimate
    """Mean nearest distance to training examples over that to held-out ones; below 1: copying."""
    closer_to_train: Estimate
    """Share of samples nearer to training examples, ties counting half; above 1/2: copying."""
    near_copies: Estimate
    """Share of samples less than half as far from training examples as from held-out ones, minus
    the share of the opposite: 0 without copying, and the first to react to a few copies."""
    count: int
    """Samples."""
    reference_count: int
    """Examples of either set that the nearest is searched among."""
    subsets: int
    """Disjoint subsets of that size, of the larger set, that results are averaged over."""


def copying_ratio(
    samples: ArrayLike, train: ArrayLike, held_out: ArrayLike, *, seed: int = 0
) -> Copying:
    """Compare the nearest distances of samples to training examples and to as many held-out ones.

    Nearest distances shrink as a set grows. So the larger set is divided at random into as many
    disjoint subsets of the smaller one's size as it holds, and results are averaged over these. A
    copy of one example shows in one of S subsets only: samples that are all copies have a ratio of
    ``1 - 1/S``, not 0. To look for copies of certain examples, give these as `train`.

    If both sets are of one distribution, samples that copy neither have a ratio of 1 and a share of
    1/2. Where sets differ slightly, as MNIST's by different writers do, use further held-out
    examples in place of samples to see what to expect.

    Standard errors treat samples and both sets as random: the variance over samples, by the delta
    method, plus the jackknife's over the examples of each set, which replaces a nearest example by
    the second nearest. In many dimensions the sets' part is the larger.

    Parameters
    ----------
    samples, train, held_out : array-like, shapes (n, d), (m, d) and (l, d)
        Pixels or features, each at least 2 examples. Computed in float64.
    seed : int
        Seed of the subsets.

    Raises
    ------
    UndefinedMetric
        If every sample equals a held-out example.

    References
    ----------
    After Meehan, Chaudhuri, Dasgupta (2020), "A non-parametric test to detect data-copying in
    generative models", who compare with the distances of held-out to training examples instead.
    """
    points, members = checks.sets(samples, train, ("samples", "train"))
    points, others = checks.sets(samples, held_out, ("samples", "held_out"))
    size = min(len(members), len(others))
    rng = np.random.default_rng(seed)
    near = nearest_in_subsets(points, members, size, rng)
    far = nearest_in_subsets(points, others, size, rng)
    to_train, scale = float(near.distance.mean()), float(far.distance.mean())
    if scale == 0:
        raise UndefinedMetric(
            "Every sample equals a held-out example, so their mean distance is 0 and the ratio is "
            "not defined."
        )
    ratio = to_train / scale
    linear = _mean_score(lambda a, b: (a - ratio * b) / scale, near, far, size)  # delta method
    # 1 if training is nearer, 0 if held-out is, 1/2 for ties.
    closer = _mean_score(lambda a, b: ((b - a).sign() + 1) / 2, near, far, size)
    # 1 if training is less than half as far, -1 if held-out is, else 0.
    much = _mean_score(lambda a, b: (2 * a < b).double() - (2 * b < a).double(), near, far, size)
    of_ratio = Estimate(ratio, linear.standard_error)
    subsets = max(len(near.place), len(far.place))
    return Copying(of_ratio, closer, much, len(points), size, subsets)


class Neighbours(NamedTuple):
    """For each of n points, its nearest member of each of s subsets; all of shape (s, n)."""

    place: Tensor
    """Index into the subset."""
    distance: Tensor
    """Exactly zero for a copy."""
    next_distance: Tensor
    """Distance of the second nearest."""


def nearest_in_subsets(
    points: Any, members: Any, size: int, rng: np.random.Generator
) -> Neighbours:
    """Find the two nearest of members (m, d) in as many disjoint random subsets as there are."""
    order = rng.permutation(len(members)) if len(members) > size else np.arange(size)
    origin = doubles(members, slice(1))
    found = []
    for start in range(0, len(members) - size + 1, size):
        subset = members[order[start : start + size]]
        place = torch.empty(len(points), dtype=torch.int64)
        first_two = torch.empty(len(points), 2, dtype=torch.float64)
        for rows, distance in distance_blocks(points, subset, origin):
            # Found by products of matrices; measured by differences, which do not round near zero.
            places, block = distance.topk(2, largest=False).indices, doubles(points, rows)
            differences = (block - doubles(subset, column.numpy()) for column in places.T)
            exact = [torch.from_numpy(d).square().sum(dim=1).sqrt() for d in differences]
            first_two[rows], order_of_two = torch.stack(exact, dim=1).sort(dim=1)
            place[rows] = places.gather(1, order_of_two[:, :1])[:, 0]
        found.append([place, *first_two.T])
    return Neighbours(*map(torch.stack, zip(*found, strict=True)))


def _mean_score(
    score: Callable[[Tensor, Tensor], Tensor], near: Neighbours, far: Neighbours, size: int
) -> Estimate:
    """Mean over samples and subsets of a score of the distances to both sets.

    Its variance has a part of each set, by the jackknife: how much the mean changes without a
    member that samples are nearest to. Only products of two samples count there, since a sample's
    own square is part of the variance over samples.
    """
    each = score(near.distance, far.distance)  # one side is a single set
    mean = each.mean(dim=0)
    variance = float(mean.var()) / len(mean)
    for side, without in (
        (near, score(near.next_distance, far.distance)),
        (far, score(near.distance, far.next_distance)),
    ):
        change = ((without - each) / len(each)).sum_to_size(side.place.shape)
        of_member = change.new_zeros(len(change), size).scatter_add_(1, side.place, change)
        deviation = of_member - of_member.mean(dim=1, keepdim=True)
        spread = deviation.square().sum(dim=1) - change.square().sum(dim=1)
        variance += float(spread.clamp(min=0).sum()) / len(mean) ** 2
    return Estimate(float(mean.mean()), variance**0.5)
