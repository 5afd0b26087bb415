"""Sliced Wasserstein distance of codes to N(0, I)."""

from __future__ import annotations

import numpy as np

from hebae.errors import HebaeError
from hebae.evaluation.normality import Compared
from hebae.evaluation.samples import Array, Features, check_features

__all__ = ["sliced_wasserstein_to_normal"]

BLOCK_ENTRIES = 2**22
"""Projections held at once: 32 MiB."""


def sliced_wasserstein_to_normal(
    codes: Features, *, directions: int = 100, replicates: int = 10, seed: int = 0
) -> Compared:
    """Sliced Wasserstein-2 distance: the root of the mean over directions of W_2^2 to N(0, 1).

    Along a direction W_2 is exact, between the projections' empirical distribution and the
    continuous normal one: ``W_2^2 = (1/n) sum_i x_(i)^2 - 2 sum_i x_(i) c_i + 1``, where c_i is the
    integral of the normal quantile function from (i - 1)/n to i/n.

    Parameters
    ----------
    codes : array, shape (n, k)
        mu or z, n at least 2.
    directions : int
        Uniform on the sphere.
    replicates : int
        Standard normal samples (n, k) that the normal mean and spread are taken from, at least 2;
        along the same directions.
    seed : int
        Of the directions and the replicates.

    Returns
    -------
    Compared
        In units of the code.

    Raises
    ------
    HebaeError
        If codes is not an array (n, k) of finite numbers, or a number is out of range.

    References
    ----------
    Bonneel, Rabin, Peyre, Pfister (2015), "Sliced and Radon Wasserstein barycenters of measures".
    """
    values = check_features(codes, "codes")
    if directions < 1:
        raise HebaeError(f"directions is {directions}; it must be at least 1.")
    if replicates < 2:
        raise HebaeError(f"replicates is {replicates}; a spread takes at least 2.")
    n, k = values.shape
    rng = np.random.default_rng(seed)
    lines = rng.standard_normal((k, directions))
    lines /= np.linalg.norm(lines, axis=0)
    quantiles = _mean_quantiles(n)
    normal = [_distance(rng.standard_normal((n, k)), lines, quantiles) for _ in range(replicates)]
    return Compared(
        value=_distance(values, lines, quantiles),
        normal_mean=float(np.mean(normal)),
        normal_spread=float(np.std(normal, ddof=1)),
        count=n,
    )


def _mean_quantiles(n: int) -> Array:
    """N times c_i, shape (n,): the mean of N(0, 1) between its quantiles (i - 1)/n and i/n."""
    from scipy import stats

    density = stats.norm.pdf(stats.norm.ppf(np.linspace(0, 1, n + 1)))
    quantiles: Array = -n * np.diff(density)
    return quantiles


def _distance(values: Array, lines: Array, quantiles: Array) -> float:
    width = max(1, BLOCK_ENTRIES // len(values))
    within_cells = 1 - float(
        np.square(quantiles).mean()
    )  # what a normal has beyond its cells' means
    total = 0.0
    for start in range(0, lines.shape[1], width):
        projected = np.sort((values @ lines[:, start : start + width]).T, axis=1)
        # The same as above, as squares: nothing cancels where the two nearly agree.
        total += float((np.square(projected - quantiles).mean(axis=1) + within_cells).sum())
    return float(np.sqrt(total / lines.shape[1]))
