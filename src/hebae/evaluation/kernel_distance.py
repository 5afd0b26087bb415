"""Kernel distance: unbiased squared MMD with a polynomial kernel; of Inception features, the KID.

Unlike the Frechet distance it has no bias however few the examples, and may so be negative.
"""

from __future__ import annotations

import math

import numpy as np

from hebae.errors import HebaeError
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.samples import Array, Features, check_pair

__all__ = ["kernel_distance"]


def kernel_distance(
    x: Features,
    y: Features,
    *,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    blocks: int | None = None,
    block_size: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Squared MMD under ``(gamma x.y + coef0)^degree``, averaged over random blocks.

    Parameters
    ----------
    x, y : array, shapes (n_x, d) and (n_y, d)
        One row an example. Calculated in float64.
    degree, gamma, coef0
        Of the kernel; gamma is 1 / d by default.
    blocks : int, optional
        Number of blocks, at least 2; by default as many as there are without sharing examples.
        More come from further shuffles: they steady the value, but add nothing to the data.
    block_size : int
        Examples of each set in a block, at least 2.
    seed : int
        Of the shuffles.

    Returns
    -------
    Estimate
        Mean over the blocks; standard error from their scatter, counting as independent no more
        blocks than share no example.

    Raises
    ------
    HebaeError
        If either set has fewer than two blocks of examples, or is not an array (n, d) of finite
        numbers.

    References
    ----------
    Binkowski, Sutherland, Arbel, Gretton (2018), "Demystifying MMD GANs", section 4.
    """
    x, y = check_pair(x, y)
    if block_size < 2:
        raise HebaeError(f"block_size is {block_size}; the unbiased estimate takes at least 2.")
    disjoint = min(len(x), len(y)) // block_size
    if disjoint < 2:
        raise HebaeError(
            f"The standard error takes at least two blocks of {block_size} examples of each set, "
            f"and these have {len(x)} and {len(y)}; take more, or a smaller block_size."
        )
    blocks = disjoint if blocks is None else blocks
    if blocks < 2:
        raise HebaeError(f"blocks is {blocks}; the standard error takes at least 2.")
    gamma = 1 / x.shape[1] if gamma is None else gamma

    def kernel(a: Array, b: Array) -> Array:
        values: Array = (gamma * (a @ b.T) + coef0) ** degree
        return values

    generator = np.random.default_rng(seed)
    values = []
    for block in range(blocks):
        place = block % disjoint
        if place == 0:
            rows_x, rows_y = generator.permutation(len(x)), generator.permutation(len(y))
        rows = slice(place * block_size, (place + 1) * block_size)
        a, b = x[rows_x[rows]], y[rows_y[rows]]
        within = _mean_off_diagonal(kernel(a, a)) + _mean_off_diagonal(kernel(b, b))
        values.append(within - 2 * kernel(a, b).mean())
    return Estimate(
        value=float(np.mean(values)),
        standard_error=float(np.std(values, ddof=1)) / math.sqrt(min(blocks, disjoint)),
    )


def _mean_off_diagonal(matrix: Array) -> float:
    n = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (n * (n - 1)))
