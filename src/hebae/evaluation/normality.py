"""Tests of codes against N(0, I), each statistic beside what normal codes would give.

No finite sample has a statistic of zero. So every one comes with its mean and standard deviation
over samples of the same size and dimension that truly are normal: what "perfect" looks like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.latent import covariance, degeneracy
from hebae.evaluation.samples import Array, Features, check_features

__all__ = [
    "Compared",
    "KolmogorovSmirnov",
    "Mardia",
    "MardiaStatistic",
    "kolmogorov_smirnov",
    "mardia",
]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A statistic of n codes, beside the same of n standard normal ones."""

    value: float
    normal_mean: float
    normal_spread: float
    """Standard deviation between normal samples."""
    count: int
    """n, the codes that were used."""

    @property
    def standard_score(self) -> float:
        """How many spreads the value lies above the normal mean."""
        return (self.value - self.normal_mean) / self.normal_spread

    def __str__(self) -> str:
        return f"{self.value:.4g} (normal {self.normal_mean:.4g} +- {self.normal_spread:.2g})"


@dataclass(frozen=True, kw_only=True)
class MardiaStatistic(Compared):
    """A statistic with the probability of one as extreme among normal codes."""

    p_value: float


@dataclass(frozen=True, kw_only=True)
class KolmogorovSmirnov(Compared):
    """Greatest distance, over points and dimensions, of a distribution function from N(0, 1)'s."""

    dimensions: int
    rejected: int
    """Dimensions found not normal at `level`, by Holm's procedure."""
    smallest_p_value: float
    """Corrected by Holm's procedure for the number of dimensions."""
    level: float


class Mardia(NamedTuple):
    """Skewness and kurtosis of codes whatever their location and covariance."""

    skewness: MardiaStatistic
    kurtosis: MardiaStatistic


def kolmogorov_smirnov(codes: Features, *, level: float = 0.05) -> KolmogorovSmirnov:
    """Kolmogorov-Smirnov test of each dimension against N(0, 1), corrected for their number.

    Parameters
    ----------
    codes : array, shape (n, k)
        mu or z, n at least 2.
    level : float
        Of the family: the probability that any dimension of normal codes is rejected.

    Returns
    -------
    KolmogorovSmirnov
        Normal mean and spread are those of the greatest of k independent statistics, by
        integrating the statistic's exact distribution.

    Raises
    ------
    HebaeError
        If codes is not an array (n, k) of finite numbers.

    References
    ----------
    Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    from scipy import stats

    values = check_features(codes, "codes")
    n, k = values.shape
    tests = [stats.kstest(column, "norm") for column in values.T]
    p_values = np.sort([test.pvalue for test in tests])
    corrected = np.minimum(np.maximum.accumulate(p_values * np.arange(k, 0, -1)), 1)
    mean, spread = _greatest_statistic(n, k)
    return KolmogorovSmirnov(
        value=float(max(test.statistic for test in tests)),
        normal_mean=mean,
        normal_spread=spread,
        count=n,
        dimensions=k,
        rejected=int((corrected < level).sum()),
        smallest_p_value=float(corrected[0]),
        level=level,
    )


def mardia(codes: Features) -> Mardia:
    """Mardia's multivariate skewness and kurtosis, which no affine map of the codes changes.

    ``b1 = (1/n^2) sum_ij (y_i . y_j)^3`` and ``b2 = (1/n) sum_i |y_i|^4``, y the codes whitened by
    their own mean and covariance (divided by n). b1 is taken as the squared norm of the mean of
    y (x) y (x) y, which is the same and linear in n.

    Parameters
    ----------
    codes : array, shape (n, k)
        n above k + 1, and at least 4.

    Returns
    -------
    Mardia
        Normal means are exact, and so is the kurtosis's spread. The skewness is tested, and its
        spread taken, by the chi-squared distribution scaled to its exact mean; the kurtosis,
        two-sided, by a normal one.

    Raises
    ------
    UndefinedMetric
        If the codes' covariance is singular, or they are too few for either to vary.
    HebaeError
        If codes is not an array (n, k) of finite numbers.

    References
    ----------
    Mardia (1970), "Measures of multivariate skewness and kurtosis with applications"; (1974),
    "Applications of some measures of multivariate skewness and kurtosis", for the exact moments.
    """
    from scipy import stats

    values = check_features(codes, "codes")
    n, k = values.shape
    if n <= max(k + 1, 3):
        raise UndefinedMetric(
            f"Mardia's statistics of {k} dimensions take at least {max(k + 2, 4)} codes, since "
            f"those of fewer are all alike; there are {n}."
        )
    y = _whitened(values)

    skewness = sum(float(np.square((y * column[:, None]).T @ y).sum()) for column in y.T) / n**2
    freedom = k * (k + 1) * (k + 2) / 6
    mean = k * (k + 2) * ((n + 1) * (k + 1) - 6) / ((n + 1) * (n + 3))
    skewness_statistic = MardiaStatistic(
        value=skewness,
        normal_mean=mean,
        normal_spread=mean * math.sqrt(2 / freedom),
        count=n,
        p_value=float(stats.chi2.sf(skewness * freedom / mean, freedom)),
    )

    kurtosis = float(np.square(np.square(y).sum(axis=1)).mean())
    mean = k * (k + 2) * (n - 1) / (n + 1)
    variance = 8 * k * (k + 2) * (n - 3) * (n - k - 1) * (n - k + 1)
    spread = math.sqrt(variance / ((n + 3) * (n + 5))) / (n + 1)
    kurtosis_statistic = MardiaStatistic(
        value=kurtosis,
        normal_mean=mean,
        normal_spread=spread,
        count=n,
        p_value=float(2 * stats.norm.sf(abs(kurtosis - mean) / spread)),
    )
    return Mardia(skewness_statistic, kurtosis_statistic)


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


def _whitened(values: Array) -> Array:
    """Codes (n, k) of mean 0 and covariance I."""
    from scipy.linalg import solve_triangular

    mean, Sigma = values.mean(axis=0), covariance(values)
    singular = degeneracy(mean, Sigma)
    if singular:
        raise UndefinedMetric(f"{singular}, so Mardia's statistics do not exist.")
    y: Array = solve_triangular(np.linalg.cholesky(Sigma), (values - mean).T, lower=True).T
    return y
