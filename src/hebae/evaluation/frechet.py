"""Frechet and kernel distance between two samples (section 8 of docs/mathematics.md).

With Inception features these are the FID and the KID. Always report the numbers of examples with a
Frechet distance: it is biased upwards by about c / n, where c grows with the dimension
(`frechet_extrapolated` removes that). The kernel distance has no bias and may be negative.
"""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any, Self

import numpy as np

from hebae.deprecation import old_parameters
from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.evaluation.blocks import doubles, spans
from hebae.evaluation.checks import Array, ArrayLike
from hebae.evaluation.estimate import Estimate, mean_estimate

__all__ = [
    "FeatureMoments",
    "frechet_distance",
    "frechet_extrapolated",
    "frechet_from_moments",
    "kernel_distance",
]

_KID = "the kernel is that of the KID, (x.y / d + 1)^3"


def frechet_distance(
    x_features: ArrayLike, y_features: ArrayLike, *, allow_rank_deficient: bool = False
) -> float:
    """``||m_x - m_y||^2 + tr(S_x + S_y - 2 (S_x S_y)^{1/2})``, covariances divided by n - 1.

    Parameters
    ----------
    x_features, y_features : array-like, shapes (n_x, d) and (n_y, d)
        Computed in float64. The distance has their squared unit.
    allow_rank_deficient : bool
        Accept d examples or fewer, whose distance is far above that of many examples.

    References
    ----------
    Dowson, Landau (1982), "The Frechet distance between multivariate normal distributions". Heusel
    et al. (2017), "GANs trained by a two time-scale update rule".
    """
    x, y = checks.sets(x_features, y_features, ("x_features", "y_features"))
    _check_full_rank(len(x), len(y), x.shape[1], allow_rank_deficient)
    means, roots = [], []
    for z in (x, y):
        moments = _moments(z)
        means.append(moments.mean)
        # Few centred examples are a root already, without a decision on the rank.
        few = len(z) <= z.shape[1]
        centred = (doubles(z) - moments.mean).T / math.sqrt(len(z) - 1) if few else None
        roots.append(_root(moments.covariance) if centred is None else centred)
    return _distance(means[0] - means[1], *roots)


class FeatureMoments:
    """Count, mean and covariance of features that come in batches, in float64.

    Batches are centred before they are squared, so a mean far from zero costs no precision (Chan,
    Golub, LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1).
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Array = np.zeros(1)  # of as many features as the first examples have
        self._scatter: Array = np.zeros((1, 1))  # sum of (x - mean) (x - mean)^T

    def update(self, batch: ArrayLike) -> Self:
        """Add a batch (n, d), n at least 1; returns self."""
        features = checks.features(batch, "batch", least=1)
        mean = features.mean(axis=0)
        return self._add(len(features), mean, (features - mean).T @ (features - mean))

    def merge(self, other: FeatureMoments) -> Self:
        """Add the examples of another, which stays unchanged; returns self."""
        return self._add(other.count, other._mean, other._scatter) if other.count else self

    def _add(self, count: int, mean: Array, scatter: Array) -> Self:
        if self.count and len(self._mean) != len(mean):
            raise HebaeError(
                f"The moments are of {len(self._mean)} features, but the new examples have "
                f"{len(mean)}; use features of one network."
            )
        share = count / (self.count + count)
        step = mean - self._mean
        scatter = self._scatter + scatter
        scatter += np.outer(self.count * share * step, step)
        self._scatter = scatter
        self._mean = self._mean + share * step
        self.count += count
        return self

    @property
    def mean(self) -> Array:
        """Mean, shape (d,)."""
        checks.counts(1, count=self.count)
        return self._mean

    @property
    def covariance(self) -> Array:
        """Covariance, shape (d, d), divided by ``count - 1``."""
        checks.counts(2, count=self.count)
        return self._scatter / (self.count - 1)


def frechet_from_moments(
    a: FeatureMoments, b: FeatureMoments, *, allow_rank_deficient: bool = False
) -> float:
    """`frechet_distance` of the examples whose moments are a and b."""
    checks.require(len(a.mean) == len(b.mean), "b", b.mean.shape, f"moments of {a.mean.shape}")
    _check_full_rank(a.count, b.count, len(a.mean), allow_rank_deficient)
    return _distance(a.mean - b.mean, _root(a.covariance), _root(b.covariance))


@old_parameters(
    smallest="a tenth of the examples is the smallest subset",
    fix_x="with all of x in each subset, the value stays biased by the number of x",
)
def frechet_extrapolated(
    x_features: ArrayLike,
    y_features: ArrayLike,
    *,
    points: int = 15,
    smallest: int | None = None,
    fix_x: bool = False,
    allow_rank_deficient: bool = False,
    seed: int = 0,
) -> Estimate:
    """Frechet distance for infinitely many examples: a line in 1/n through random subsets of n.

    Returns the line's intercept, which may be negative if the distance is near zero, and its
    least-squares standard error, which is within about a third of the scatter between samples.

    Parameters
    ----------
    x_features, y_features : array-like, shapes (n_x, d) and (n_y, d)
        Subsets take the same share of both.
    points : int
        Number of subsets, at least 3: evenly spaced in 1/n, drawn without replacement. The smallest
        has a tenth of the examples, and at least d + 1.
    smallest, fix_x : int, bool
        Deprecated: the size of the smallest subset; whether all of x is in each subset.
    allow_rank_deficient : bool
        Allow subsets of d examples or fewer, which a line describes poorly.
    seed : int
        Seed of the subsets.

    References
    ----------
    Chong, Forsyth (2020), "Effectively unbiased FID and Inception score and where to find them".
    """
    x, y = checks.sets(x_features, y_features, ("x_features", "y_features"))
    whole = len(y) if fix_x else min(len(x), len(y))
    enough = 2 if allow_rank_deficient else x.shape[1] + 1
    _check_full_rank(len(x), len(y), x.shape[1], allow_rank_deficient)
    if smallest is None:
        smallest = max(math.ceil(whole / 10), enough)
    checks.counts(3, points=points)
    checks.counts(enough, smallest=smallest)
    if smallest >= whole:
        raise HebaeError(
            f"The sets have {len(x)} and {len(y)} examples, but subsets of {x.shape[1]} features "
            f"grow from {smallest}; give at least {smallest + 1} examples of each."
        )
    generator = np.random.default_rng(seed)

    def subset(features: Any, share: float) -> FeatureMoments:
        rows = generator.permutation(len(features))[: round(share * len(features))]
        return _moments(features, rows)

    sizes = np.rint(1 / np.linspace(1 / whole, 1 / smallest, points))
    all_x = _moments(x) if fix_x else None
    values = [
        frechet_from_moments(all_x or subset(x, share), subset(y, share), allow_rank_deficient=True)
        for share in sizes / whole
    ]
    line, covariance = np.polyfit(whole / sizes, values, 1, cov=True)
    return Estimate(float(line[1]), float(np.sqrt(covariance[1, 1])))


@old_parameters(
    degree=_KID,
    gamma=_KID,
    coef0=_KID,
    blocks="all blocks without common examples are used",
)
def kernel_distance(
    x: ArrayLike,
    y: ArrayLike,
    *,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    blocks: int | None = None,
    block_size: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Squared MMD under the kernel ``(x.y / d + 1)^3``, averaged over random disjoint blocks.

    Parameters
    ----------
    x, y : array-like, shapes (n_x, d) and (n_y, d)
        At least two blocks of examples each. Computed in float64.
    degree, gamma, coef0 : int, float, float
        Deprecated: of another kernel, ``(gamma x.y + coef0)^degree``.
    blocks : int, at least 2
        Deprecated: number of blocks, more of which come from other shuffles.
    block_size : int, at least 2
        Examples of each set in one block. The standard error is that of the mean over blocks.
    seed : int
        Seed of the shuffles.

    References
    ----------
    Binkowski, Sutherland, Arbel, Gretton (2018), "Demystifying MMD GANs", section 4.
    """
    first, second = checks.sets(x, y)
    checks.counts(2, block_size=block_size)
    disjoint = min(len(first), len(second)) // block_size
    if disjoint < 2:
        raise HebaeError(
            f"The standard error needs at least two blocks of {block_size} examples of each set, "
            f"but these have {len(first)} and {len(second)}; give more, or a smaller block_size."
        )

    blocks = disjoint if blocks is None else blocks
    checks.counts(2, blocks=blocks)

    scale = 1 / first.shape[1] if gamma is None else gamma

    def kernel(a: Array, b: Array) -> Array:
        return (scale * (a @ b.T) + coef0) ** degree

    generator = np.random.default_rng(seed)
    values, pairs = [], block_size * (block_size - 1)
    for place in (number % disjoint for number in range(blocks)):
        if place == 0:
            rows_x, rows_y = generator.permutation(len(first)), generator.permutation(len(second))
        block = slice(place * block_size, (place + 1) * block_size)
        a, b = doubles(first, rows_x[block]), doubles(second, rows_y[block])
        within = sum(k.sum() - k.trace() for k in (kernel(a, a), kernel(b, b)))
        values.append(within / pairs - 2 * kernel(a, b).mean())
    value, error = astuple(mean_estimate(np.array(values)))
    return Estimate(value, error * math.sqrt(max(blocks / disjoint, 1)))


def _moments(features: Any, rows: Any = slice(None)) -> FeatureMoments:
    """Moments of rows of a set, which `checks.sets` gave, block by block."""
    places = np.arange(len(features))[rows]
    moments = FeatureMoments()
    for span in spans(len(places), features.shape[1]):
        moments.update(doubles(features, places[span]))
    return moments


def _check_full_rank(count_a: int, count_b: int, dimension: int, allow_deficient: bool) -> None:
    if min(count_a, count_b) <= dimension and not allow_deficient:
        raise HebaeError(
            f"The Frechet distance of {dimension} features needs at least {dimension + 1} examples "
            f"in each set for covariances of full rank, but these have {count_a} and {count_b}; "
            "give more, or pass allow_rank_deficient=True."
        )


def _distance(shift: Array, R: Array, Q: Array) -> float:
    """Return the distance of means `shift` apart, covariances A = R R^T and B = Q Q^T.

    ``tr (A B)^{1/2}`` is the sum of the singular values of R^T Q for any such R and Q.
    """
    M = R.T @ Q
    root = np.linalg.svd(M, compute_uv=False).sum() if M.size else 0.0
    return max(0.0, float(shift @ shift + np.square(R).sum() + np.square(Q).sum() - 2 * root))


def _root(A: Array) -> Array:
    """R (d, r) with ``R R^T = A``, of the rank r that A has beyond rounding.

    By Cholesky factorisation with pivots, in units of each feature's own deviation, so that neither
    constant features nor those of small scale matter to others.
    """
    from scipy.linalg.lapack import dpstrf

    scale = np.sqrt(A.diagonal())
    scale = np.where(scale > 0, scale, 1)[:, None]
    rounding = len(A) * np.finfo(np.float64).eps
    L, pivots, rank, _ = dpstrf(A / scale / scale.T, tol=rounding, lower=1)
    R: Array = scale * np.tril(L)[np.argsort(pivots), :rank]
    return R
