"""Mixing of batches in the codes, which shows whether a conditional model has removed the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.errors import UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike
from hebae.evaluation.estimate import Estimate, mean_estimate

__all__ = ["batch_mixing", "batch_silhouette"]

ALL_ALIKE = "all examples are of one batch"


def batch_mixing(codes: ArrayLike, batches: npt.ArrayLike, *, neighbours: int = 15) -> Estimate:
    """Share of an example's nearest neighbours that are of other batches, relative to chance.

    1 if batches are mixed at random, 0 if no example has a neighbour of another batch. The share
    by chance is ``(n - n_b) / (n - 1)`` for an example of a batch of n_b. Batches that differ in
    what they hold, such as cell types, cannot reach 1. The standard error treats the examples as
    independent, although neighbourhoods overlap.

    Parameters
    ----------
    codes : array-like, shape (n, k)
        mu or z of examples.
    batches : array-like, shape (n,)
        Numbers or text.
    neighbours : int
        From 1 to n - 1.

    Raises
    ------
    UndefinedMetric
        If all examples are of one batch.
    """
    from sklearn.neighbors import NearestNeighbors

    z, positions, counts = _checked(codes, batches)
    n = len(z)
    checks.require(0 < neighbours < n, "neighbours", neighbours, f"from 1 to {n - 1}")
    # Without a query, an example is not its own neighbour, not even where others equal it.
    near = NearestNeighbors(n_neighbors=neighbours).fit(z).kneighbors(return_distance=False)
    others = (positions[near] != positions[:, None]).mean(1)
    return mean_estimate(others / ((n - counts[positions]) / (n - 1)))


def batch_silhouette(
    codes: ArrayLike, batches: npt.ArrayLike, *, limit: int = 5000, seed: int = 0
) -> Estimate:
    """Mean silhouette of the batches: about 0 if they are mixed, 1 if they are far apart.

    ``(b - a) / max(a, b)`` of each example, a its mean distance to its own batch and b to the
    nearest other one.

    Parameters
    ----------
    codes, batches
        See `batch_mixing`.
    limit, seed : int
        Largest number of examples to use; of more, a random subset.

    Raises
    ------
    UndefinedMetric
        If all examples, or those used, are of one batch.

    References
    ----------
    Rousseeuw (1987), "Silhouettes: a graphical aid".
    """
    from sklearn.metrics import silhouette_samples

    z, positions, _ = _checked(codes, batches)
    checks.counts(3, limit=limit)
    if len(z) > limit:
        rows = np.random.default_rng(seed).choice(len(z), limit, replace=False)
        z, positions = z[rows], positions[rows]
    if not 1 < len(np.unique(positions)) < len(z):
        raise UndefinedMetric(f"The silhouette is not defined: {ALL_ALIKE}, or each of its own.")
    return mean_estimate(silhouette_samples(z, positions))


def _checked(codes: ArrayLike, batches: npt.ArrayLike) -> tuple[Array, Any, Any]:
    """Return codes, the batch of each as a position, and the size of each batch."""
    z = checks.features(codes, "codes", 3)
    named = checks.labels(batches, "batches", len(z))
    names, positions, counts = np.unique(named, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise UndefinedMetric(f"Mixing is not defined: {ALL_ALIKE}.")
    return z, positions, counts
