"""Statistics of codes (n, k) against N(0, I), each with its distribution over truly normal codes.

No finite sample has a statistic of zero. So each comes with its mean and standard deviation over
standard normal samples of the same size and dimension: what a perfect code would show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from hebae.errors import UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike
from hebae.evaluation.latent import covariance, degeneracy
from hebae.evaluation.neighbours import BLOCK_ENTRIES, distance_blocks

__all__ = [
    "Compared",
    "KolmogorovSmirnov",
    "Mardia",
    "energy_distance_to_normal",
    "kolmogorov_smirnov",
    "mardia",
    "sliced_wasserstein_to_normal",
]


@dataclass(frozen=True)
class Compared:
    """A statistic of n codes, with the same statistic of n standard normal ones."""

    value: float
    normal_mean: float
    normal_spread: float
    """Standard deviation between normal samples."""
    count: int
    """n, the codes that were used."""

    @property
    def standard_score(self) -> float:
        """How many spreads the value is above the normal mean."""
        return (self.value - self.normal_mean) / self.normal_spread

    def __str__(self) -> str:
        return f"{self.value:.4g} (normal {self.normal_mean:.4g} +- {self.normal_spread:.2g})"


@dataclass(frozen=True)
class MardiaStatistic(Compared):
    """A statistic with the probability of one as extreme among normal codes."""

    p_value: float


@dataclass(frozen=True)
class KolmogorovSmirnov(Compared):
    """Greatest distance, over points and dimensions, of a distribution function from N(0, 1)'s."""

    dimensions: int
    rejected: int
    """Dimensions found not normal at `level`, by Holm's procedure."""
    smallest_p_value: float
    """Corrected by Holm's procedure for the number of dimensions."""
    level: float


class Mardia(NamedTuple):
    """Skewness and kurtosis of codes, independent of their location and covariance."""

    skewness: MardiaStatistic
    kurtosis: MardiaStatistic


def kolmogorov_smirnov(codes: ArrayLike, *, level: float = 0.05) -> KolmogorovSmirnov:
    """Kolmogorov-Smirnov test of each dimension against N(0, 1), corrected for their number.

    Normal mean and spread are those of the greatest of k independent statistics, exactly.

    Parameters
    ----------
    codes : array-like, shape (n, k)
        mu or z, n at least 2.
    level : float
        Level of the family: the probability that any dimension of normal codes is rejected.

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    from scipy import stats

    values = checks.features(codes, "codes")
    checks.require(0 < level < 1, "level", level, "between 0 and 1")
    n, k = values.shape
    tests = stats.ks_1samp(values, stats.norm.cdf, axis=0)
    p_values = np.sort(tests.pvalue)
    corrected = np.minimum(np.maximum.accumulate(p_values * np.arange(k, 0, -1)), 1)
    greatest = float(tests.statistic.max())
    rejected = int((corrected < level).sum())
    return KolmogorovSmirnov(
        greatest, *_greatest_statistic(n, k), n, k, rejected, float(corrected[0]), level
    )


def mardia(codes: ArrayLike) -> Mardia:
    """Mardia's multivariate skewness and kurtosis of codes (n, k), invariant to affine maps.

    ``b1 = (1/n^2) sum_ij (y_i . y_j)^3`` and ``b2 = (1/n) sum_i |y_i|^4``, y the codes whitened by
    their own mean and covariance (divided by n). b1 is computed as the squared norm of the mean of
    y (x) y (x) y, which is the same and linear in n. Normal means are exact, and so is the
    kurtosis's spread. The skewness's spread and p-value use the chi-squared distribution scaled to
    its exact mean; the kurtosis's two-sided p-value a normal one. Raises an `UndefinedMetric` if
    the codes' covariance is singular, or n is not above k + 1 and 3.

    References
    ----------
    Mardia (1970), "Measures of multivariate skewness and kurtosis with applications", and (1974),
    "Applications of some measures of multivariate skewness and kurtosis".
    """
    from scipy import stats
    from scipy.linalg import solve_triangular

    values = checks.features(codes, "codes")
    n, k = values.shape
    if n <= max(k + 1, 3):
        raise UndefinedMetric(
            f"Mardia's statistics of {k} dimensions need at least {max(k + 2, 4)} codes, since "
            f"those of fewer are always the same; there are {n}."
        )
    center, Sigma = values.mean(axis=0), covariance(values)
    singular = degeneracy(center, Sigma)
    if singular:
        raise UndefinedMetric(f"{singular}, so Mardia's statistics do not exist.")
    y: Array = solve_triangular(np.linalg.cholesky(Sigma), (values - center).T, lower=True).T

    skewness = sum(float(np.square((y * column[:, None]).T @ y).sum()) for column in y.T) / n**2
    freedom = k * (k + 1) * (k + 2) / 6
    mean_b1 = k * (k + 2) * ((n + 1) * (k + 1) - 6) / ((n + 1) * (n + 3))
    p_b1 = float(stats.chi2.sf(skewness * freedom / mean_b1, freedom))

    kurtosis = float(np.square(np.square(y).sum(axis=1)).mean())
    mean_b2 = k * (k + 2) * (n - 1) / (n + 1)
    variance = 8 * k * (k + 2) * (n - 3) * (n - k - 1) * (n - k + 1)
    spread = math.sqrt(variance / ((n + 3) * (n + 5))) / (n + 1)
    p_b2 = float(2 * stats.norm.sf(abs(kurtosis - mean_b2) / spread))
    return Mardia(
        MardiaStatistic(skewness, mean_b1, mean_b1 * math.sqrt(2 / freedom), n, p_b1),
        MardiaStatistic(kurtosis, mean_b2, spread, n, p_b2),
    )


@cache
def _greatest_statistic(n: int, k: int) -> tuple[float, float]:
    """Mean and deviation of the greatest of k independent statistics of n normal numbers."""
    from scipy import integrate, stats

    # D sqrt(n) above 6 has a probability below 1e-30.
    t = np.linspace(0, min(1, 6 / math.sqrt(n)), 501)
    exceeded = 1 - stats.kstwo.cdf(t, n) ** k
    mean = float(integrate.trapezoid(exceeded, t))
    square = float(integrate.trapezoid(2 * t * exceeded, t))
    return mean, math.sqrt(square - mean**2)


def energy_distance_to_normal(codes: ArrayLike, *, limit: int = 10_000, seed: int = 0) -> Compared:
    """``2 E|x - Y| - E|x - x'| - E|Y - Y'|`` of codes x and standard normal Y; zero only if equal.

    Means over Y are exact, and that over codes is taken over pairs of different ones. So it is
    unbiased and may be slightly negative. The normal spread, ``sqrt(2 E h^2 / (n (n - 1)))`` for
    ``h = |x - x'| - E|x - Y| - E|x' - Y| + E|Y - Y'|``, is exact too.

    Parameters
    ----------
    codes : array-like, shape (n, k)
        mu or z, n at least 2. The distance has their unit.
    limit, seed : int
        If there are more than `limit` codes (at least 2), a random subset of that size is used.

    References
    ----------
    Szekely, Rizzo (2013), "Energy statistics: a class of statistics based on distances".
    """
    checks.counts(2, limit=limit)
    values = checks.features(codes, "codes")
    if len(values) > limit:
        values = values[np.random.default_rng(seed).choice(len(values), limit, replace=False)]
    n, k = values.shape
    x = torch.from_numpy(values - values.mean(axis=0))
    within = 0.0
    for rows, distance in distance_blocks(x, x):
        distance[:, rows].fill_diagonal_(0)  # rounding puts a code slightly off itself
        within += float(distance.sum())
    pairs = n * (n - 1)
    normal_pair = 2 * math.exp(math.lgamma((k + 1) / 2) - math.lgamma(k / 2))  # E|Y - Y'|
    to_normal = float(mean_distance_to_normal(np.linalg.norm(values, axis=1), k).mean())
    spread = math.sqrt(2 * _mean_squared_kernel(k, normal_pair) / pairs)
    return Compared(2 * to_normal - within / pairs - normal_pair, 0.0, spread, n)


def mean_distance_to_normal(radius: Array, dimension: int) -> Array:
    """E|x - Y| for points at these distances (n,) from zero and Y ~ N(0, I_k): shape (n,).

    ``E sqrt(W) = (1/sqrt(pi)) int_0^inf (1 - E exp(-s^2 W)) s^-2 ds`` for W = |x - Y|^2, noncentral
    chi-squared. In log s the integrand is analytic and decays exponentially on both sides, so the
    trapezoidal rule is exact to rounding. (SciPy's 1F1 is infinite for many radii if k >= 100.)
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
    from scipy import integrate, stats

    chi = stats.chi(dimension)
    low, high = chi.ppf(1e-16), chi.isf(1e-16)
    square, _ = integrate.fixed_quad(
        lambda radius: chi.pdf(radius) * mean_distance_to_normal(radius, dimension) ** 2,
        low,
        high,
        n=200,
    )
    return float(2 * dimension - 2 * square + normal_pair**2)


def sliced_wasserstein_to_normal(
    codes: ArrayLike, *, directions: int = 100, replicates: int = 10, seed: int = 0
) -> Compared:
    """Sliced Wasserstein-2 distance: the root of the mean over directions of W_2^2 to N(0, 1).

    Along a direction W_2 is exact, between the projections' empirical distribution and the
    continuous normal one: ``W_2^2 = (1/n) sum_i x_(i)^2 - 2 sum_i x_(i) c_i + 1``, where c_i is the
    integral of the normal quantile function from (i - 1)/n to i/n.

    Parameters
    ----------
    codes : array-like, shape (n, k)
        mu or z, n at least 2. The distance has their unit.
    directions : int
        Uniform on the sphere.
    replicates, seed : int
        Standard normal samples (n, k), at least 2, for the normal mean and spread; of all draws.

    References
    ----------
    Bonneel et al. (2015), "Sliced and Radon Wasserstein barycenters of measures".
    """
    from scipy import stats

    values = checks.features(codes, "codes")
    checks.counts(directions=directions)
    checks.counts(2, replicates=replicates)
    n, k = values.shape
    rng = np.random.default_rng(seed)
    lines = rng.standard_normal((k, directions))
    lines /= np.linalg.norm(lines, axis=0)
    density = stats.norm.pdf(stats.norm.ppf(np.linspace(0, 1, n + 1)))
    quantiles: Array = -n * np.diff(density)  # n c_i: the mean of N(0, 1) within each cell
    normal = [_sliced(rng.standard_normal((n, k)), lines, quantiles) for _ in range(replicates)]
    spread = float(np.std(normal, ddof=1))
    return Compared(_sliced(values, lines, quantiles), float(np.mean(normal)), spread, n)


def _sliced(values: Array, lines: Array, quantiles: Array) -> float:
    total, count = 0.0, lines.shape[1]
    parts = min(count, -(-count * len(values) // BLOCK_ENTRIES))
    for some in np.array_split(lines, parts, axis=1):
        projected = np.sort((values @ some).T, axis=1)
        # W_2^2 as a sum of squares: nothing cancels if the two nearly agree.
        total += float(np.square(projected - quantiles).mean(axis=1).sum())
    # What a normal has beyond the means of its n cells.
    return float(np.sqrt(total / count + 1 - np.square(quantiles).mean()))
