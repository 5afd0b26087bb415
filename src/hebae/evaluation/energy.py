"""Energy distance of codes to N(0, I), with its exact spread among normal codes."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

from hebae.errors import HebaeError
from hebae.evaluation.distances import distance_blocks
from hebae.evaluation.normality import Compared
from hebae.evaluation.samples import Array, Features, check_features

__all__ = ["energy_distance_to_normal", "mean_distance_to_normal"]


def energy_distance_to_normal(codes: Features, *, limit: int = 10_000, seed: int = 0) -> Compared:
    """``2 E|x - Y| - E|x - x'| - E|Y - Y'|`` of codes x and standard normal Y; zero only if alike.

    The two means over Y are exact, and pairs of different codes give the third: without bias, so
    that normal codes have mean 0 however few, and the value may be slightly negative.

    Parameters
    ----------
    codes : array, shape (n, k)
        mu or z, n at least 2.
    limit : int
        Codes to use at most, a random subset of more, since time grows with their square. The
        result's `count` tells how many were used.
    seed : int
        Of the subset.

    Returns
    -------
    Compared
        In units of the code. The normal spread is exact: ``sqrt(2 E h^2 / (n (n - 1)))``, where
        ``h = |x - x'| - E|x - Y| - E|x' - Y| + E|Y - Y'|`` for normal x and x'.

    Raises
    ------
    HebaeError
        If codes is not an array (n, k) of finite numbers, or `limit` is below 2.

    References
    ----------
    Szekely, Rizzo (2013), "Energy statistics: a class of statistics based on distances".
    """
    if limit < 2:
        raise HebaeError(f"limit is {limit}; an energy distance takes at least 2 codes.")
    values = check_features(codes, "codes")
    if len(values) > limit:
        values = values[np.random.default_rng(seed).choice(len(values), limit, replace=False)]
    n, k = values.shape
    x = torch.from_numpy(values - values.mean(axis=0))
    pairs = n * (n - 1)
    within = sum(_off_diagonal_sum(rows, d) for rows, d in distance_blocks(x, x)) / pairs
    normal_pair = 2 * math.exp(math.lgamma((k + 1) / 2) - math.lgamma(k / 2))  # E|Y - Y'|
    to_normal = float(mean_distance_to_normal(np.linalg.norm(values, axis=1), k).mean())
    return Compared(
        value=2 * to_normal - within - normal_pair,
        normal_mean=0.0,
        normal_spread=math.sqrt(2 * _mean_squared_kernel(k, normal_pair) / pairs),
        count=n,
    )


def mean_distance_to_normal(radius: Array, dimension: int) -> Array:
    """E|x - Y| for points at these distances (n,) from zero and Y ~ N(0, I_k): shape (n,).

    ``E sqrt(W) = (1/sqrt(pi)) int_0^inf (1 - E exp(-s^2 W)) s^-2 ds`` for W = |x - Y|^2, noncentral
    chi-squared. In log s the integrand is analytic and falls off exponentially on both sides, so
    the trapezoidal rule is exact to rounding. (The closed form by 1F1 is infinite in SciPy 1.17
    for many a radius above 8 once k reaches 100.)
    """
    square = np.square(np.asarray(radius, np.float64))
    scale = 1 / np.sqrt(dimension + square)
    step, total = 0.125, np.zeros_like(scale)
    for log_s in np.arange(-36, 36 + step, step):
        t = (scale * math.exp(log_s)) ** 2
        log_laplace = -0.5 * dimension * np.log1p(2 * t) - square * t / (1 + 2 * t)
        total -= np.expm1(log_laplace) * math.exp(-log_s)
    result: Array = total * step / (scale * math.sqrt(math.pi))
    return result


@cache
def _mean_squared_kernel(dimension: int, normal_pair: float) -> float:
    """``E h^2 = 2 k - 2 E a(Y)^2 + (E a(Y))^2`` with a(x) = E|x - Y|, since h is doubly centred."""
    from scipy import stats

    # a is smooth in |Y|, whose quantiles at these nodes carry all but 1e-15 of the probability.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    chi = stats.chi(dimension)
    low, high = chi.ppf(1e-16), chi.isf(1e-16)
    radius = 0.5 * (low + high + (high - low) * nodes)
    density = chi.pdf(radius) * weights * 0.5 * (high - low)
    square = float(density @ mean_distance_to_normal(radius, dimension) ** 2)
    return 2 * dimension - 2 * square + normal_pair**2


def _off_diagonal_sum(rows: slice, distance: torch.Tensor) -> float:
    distance[:, rows].fill_diagonal_(0)  # rounding leaves a code a little way from itself
    return float(distance.sum())
