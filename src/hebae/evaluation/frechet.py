"""Frechet distance between the Gaussians of two samples (section 8 of docs/mathematics.md).

With Inception features it is the FID. Report it with the two numbers of examples: it is biased
upwards by about c / n, where c grows with the dimension (`frechet_extrapolated` removes that).
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.samples import Array, Features, check_features, check_pair

__all__ = ["FeatureMoments", "frechet_distance", "frechet_extrapolated", "frechet_from_moments"]


def frechet_distance(
    x_features: Features, y_features: Features, *, allow_rank_deficient: bool = False
) -> float:
    """``||m_x - m_y||^2 + tr(S_x + S_y - 2 (S_x S_y)^{1/2})``, covariances divided by n - 1.

    Parameters
    ----------
    x_features, y_features : array, shapes (n_x, d) and (n_y, d)
        One row an example. Calculated in float64.
    allow_rank_deficient : bool
        Take d examples or fewer, whose covariances are singular and whose distance is far above
        that of many examples.

    Returns
    -------
    float
        In squared units of the features; at least 0.

    Raises
    ------
    HebaeError
        If either has fewer than d + 1 examples and that is not allowed, or is not an array (n, d)
        of finite numbers.

    References
    ----------
    Dowson, Landau (1982), "The Frechet distance between multivariate normal distributions".
    Heusel et al. (2017), "GANs trained by a two time-scale update rule".
    """
    x, y = check_pair(x_features, y_features, ("x_features", "y_features"))
    a, b = FeatureMoments().update(x), FeatureMoments().update(y)
    return frechet_from_moments(a, b, allow_rank_deficient=allow_rank_deficient)


class FeatureMoments:
    """Count, mean and covariance of features that come in batches, in float64.

    Processes each see a part, and one merges them: ``merged.merge(part)`` for each part that, say,
    ``torch.distributed.all_gather_object`` brings. Batches are centred before they are squared, so
    that a mean far from zero costs no precision.

    References
    ----------
    Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance", eq. 2.1.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Array = np.zeros(0)
        self._scatter: Array = np.zeros((0, 0))  # sum of (x - mean) (x - mean)^T

    def update(self, batch: Features) -> Self:
        """Take in a batch (n, d), n at least 1; returns self."""
        features = check_features(batch, "batch", least=1)
        part = FeatureMoments()
        part.count = len(features)
        part._mean = features.mean(axis=0)
        centred = features - part._mean
        part._scatter = centred.T @ centred
        return self.merge(part)

    def merge(self, other: FeatureMoments) -> Self:
        """Take in what another has seen, which stays as it is; returns self."""
        if other.count == 0:
            return self
        if self.count == 0:
            self._mean, self._scatter = np.zeros_like(other._mean), np.zeros_like(other._scatter)
        elif len(self._mean) != len(other._mean):
            raise HebaeError(
                f"These moments are of {len(self._mean)} features, but {len(other._mean)} came."
            )
        count = self.count + other.count
        step = other._mean - self._mean
        between = self.count * other.count / count * np.outer(step, step)
        self._scatter = self._scatter + other._scatter + between
        self._mean = self._mean + other.count / count * step
        self.count = count
        return self

    @property
    def mean(self) -> Array:
        """Mean, shape (d,)."""
        self._need(1)
        return self._mean

    @property
    def covariance(self) -> Array:
        """Covariance, shape (d, d), divided by ``count - 1``."""
        self._need(2)
        return self._scatter / (self.count - 1)

    def _need(self, least: int) -> None:
        if self.count < least:
            raise HebaeError(
                f"These moments are of {self.count} example(s), but at least {least} are needed."
            )


def frechet_from_moments(
    a: FeatureMoments, b: FeatureMoments, *, allow_rank_deficient: bool = False
) -> float:
    """Return `frechet_distance` of the features that a and b have seen."""
    if len(a.mean) != len(b.mean):
        raise HebaeError(f"a is of {len(a.mean)} features and b of {len(b.mean)}.")
    if not allow_rank_deficient:
        _check_full_rank(a.count, b.count, len(a.mean))
    A, B = a.covariance, b.covariance
    shift = a.mean - b.mean
    distance = shift @ shift + np.trace(A) + np.trace(B) - 2 * _trace_of_root(A, B)
    return max(0.0, float(distance))


def frechet_extrapolated(
    x_features: Features,
    y_features: Features,
    *,
    points: int = 15,
    smallest: int | None = None,
    fix_x: bool = False,
    allow_rank_deficient: bool = False,
    seed: int = 0,
) -> Estimate:
    """Frechet distance at infinitely many examples, by a line in 1/n through random subsets of n.

    Parameters
    ----------
    x_features, y_features : array, shapes (n_x, d) and (n_y, d)
        Subsets take the same share of both.
    points : int
        Number of subsets, at least 3: evenly spaced in 1/n, drawn without replacement.
    smallest : int, optional
        n of the smallest subset (of the smaller set); default a tenth of it, and at least d + 1.
    fix_x : bool
        Take all of x every time, as the authors do with their real examples: the limit is then
        that of infinitely many y, and still biased by the number of x.
    allow_rank_deficient : bool
        Let subsets be of d examples or fewer, where the line is a poor description.
    seed : int
        Of the subsets.

    Returns
    -------
    Estimate
        The line's intercept, which may be negative where the distance is near zero, and its
        standard error by least squares. Subsets scatter as samples of their size do, so that it
        also tells, within a third or so in simulations, how other examples would change the value.

    Raises
    ------
    HebaeError
        If subsets of more than d examples cannot differ in size, or as in `frechet_distance`.

    References
    ----------
    Chong, Forsyth (2020), "Effectively unbiased FID and Inception score and where to find them".
    """
    x, y = check_pair(x_features, y_features, ("x_features", "y_features"))
    whole = len(y) if fix_x else min(len(x), len(y))
    enough = 2 if allow_rank_deficient else x.shape[1] + 1
    if not allow_rank_deficient:
        _check_full_rank(len(x), len(y), x.shape[1])
    if smallest is None:
        smallest = max(math.ceil(whole / 10), enough)
    if points < 3:
        raise HebaeError(f"points is {points}; a line and its error take at least 3 subsets.")
    if not enough <= smallest < whole:
        raise HebaeError(
            f"Extrapolation takes subsets from n = smallest up to {whole}, so smallest must be "
            f"from {enough} to {whole - 1}; it is {smallest}."
        )
    generator = np.random.default_rng(seed)

    def subset(features: Array, share: float) -> FeatureMoments:
        rows = generator.permutation(len(features))[: round(share * len(features))]
        return FeatureMoments().update(features[rows])

    sizes = np.rint(1 / np.linspace(1 / whole, 1 / smallest, points))
    all_x = FeatureMoments().update(x)
    values = [
        frechet_from_moments(
            all_x if fix_x else subset(x, share),
            subset(y, share),
            allow_rank_deficient=allow_rank_deficient,
        )
        for share in sizes / whole
    ]
    design = np.stack([np.ones(points), whole / sizes], axis=1)
    inverse = np.linalg.pinv(design)
    residual = values - design @ (inverse @ values)
    variance = residual @ residual / (points - 2)
    return Estimate(
        value=float(inverse[0] @ values),
        standard_error=float(np.sqrt(variance * (inverse[0] @ inverse[0]))),
    )


def _check_full_rank(count_a: int, count_b: int, dimension: int) -> None:
    if min(count_a, count_b) <= dimension:
        raise HebaeError(
            f"The Frechet distance of {dimension} features needs at least {dimension + 1} examples "
            f"in each set for covariances of full rank, and these have {count_a} and {count_b}; "
            "take more, or pass allow_rank_deficient=True."
        )


def _trace_of_root(A: Array, B: Array) -> float:
    """``tr (A B)^{1/2}``, the sum of the roots of the eigenvalues of ``A^{1/2} B A^{1/2}``.

    Any R with R R^T = A has those eigenvalues in R^T B R, and with Q Q^T = B they are the squared
    singular values of R^T Q: never negative but by rounding.
    """
    M = _root(A).T @ _root(B)
    if M.shape[0] > M.shape[1]:
        M = M.T  # the smaller product, which has no eigenvalues that should be zero
    eigenvalues = np.linalg.eigvalsh(M @ M.T)
    return float(np.sqrt(np.maximum(eigenvalues, 0)).sum())


def _root(A: Array) -> npt.NDArray[np.floating]:
    """R (d, r) with ``R R^T = A``: by Cholesky, of the rank r that A has beyond rounding.

    A singular A, as of few examples or of dead units, takes pivots. Eigenvalues would do, but cost
    more, and half of the digits: the roots of those near zero are mostly rounding.
    """
    try:
        return np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        from scipy.linalg.lapack import dpstrf

        L, pivots, rank, _ = dpstrf(A, lower=1)
        R: Array = np.tril(L)[np.argsort(pivots), :rank]
        return R
