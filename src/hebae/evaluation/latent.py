"""The latent code over a set of examples (section 6 of docs/mathematics.md), in float64.

The functions of codes take mu (n, k) or draws z (n, k) alike. Codes too many to hold go through
`FeatureMoments` batch by batch, and `covariance_of_moments` gives what `covariance` would.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hebae import gaussian, inference
from hebae.errors import HebaeError
from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.frechet import FeatureMoments
from hebae.evaluation.samples import Features, check_features

__all__ = [
    "VarianceRange",
    "aggregate_covariance",
    "check_noise",
    "correlation",
    "covariance",
    "covariance_of_moments",
    "degeneracy",
    "kl_to_standard_normal",
    "listed",
    "mean_absolute_off_diagonal",
    "median_scale",
    "noise_covariance",
    "variance_range",
]

Array = npt.NDArray[np.float64]


class VarianceRange(NamedTuple):
    """Least and greatest variance of a dimension; both 1 for a standard normal code."""

    least: float
    greatest: float


def covariance(codes: npt.NDArray[np.floating]) -> Array:
    """Covariance (k, k) of codes (n, k), divided by n, in float64 (Fig. 2a of the paper)."""
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    result: Array = centred.T @ centred / len(codes)
    return result


def covariance_of_moments(moments: FeatureMoments) -> Array:
    """Return `covariance` of codes that came in batches: divided by n, not n - 1."""
    return moments.covariance * ((moments.count - 1) / moments.count)


def correlation(covariance: Array) -> Array:
    """Correlation (k, k) of a covariance (k, k).

    A dimension that never varies has no correlation: its row and column are NaN.
    """
    deviation = np.sqrt(np.diag(covariance))
    deviation = np.where(deviation > 0, deviation, np.nan)
    result: Array = covariance / np.outer(deviation, deviation)
    return result


def mean_absolute_off_diagonal(matrix: Array) -> float | None:
    """Mean |entry| off the diagonal of (k, k), NaN left out; None if there is no such entry."""
    entries = np.abs(matrix[~np.eye(len(matrix), dtype=bool)])
    entries = entries[np.isfinite(entries)]
    return float(entries.mean()) if entries.size else None


def variance_range(covariance: Array) -> VarianceRange:
    """Least and greatest entry of the diagonal of a covariance (k, k)."""
    variances = np.diag(covariance)
    return VarianceRange(float(variances.min()), float(variances.max()))


def median_scale(log_scale: npt.NDArray[np.floating] | None) -> float | None:
    """Median of sigma = exp(log_scale) over examples and dimensions; None without noise.

    In HEBAE sigma multiplies noise of the codes' own covariance, in the VAE noise of variance 1.
    """
    return None if log_scale is None else float(np.exp(np.median(log_scale.astype(np.float64))))


def noise_covariance(model: Any) -> Array:
    """N (k, k) of ``q(z | x_i) = N(mu_i, D_i N D_i)``, for an Autoencoder or a fitted estimator.

    HEBAE: Sigma of the training set, as the model holds it, or its diagonal; VAE: I; others: 0.
    """
    module = inference.module_of(model)
    N = module.objective.noise_covariance(module.population_covariance)
    result: Array = N.detach().cpu().double().numpy()
    return result


def aggregate_covariance(
    mean: npt.NDArray[np.floating],
    log_scale: npt.NDArray[np.floating] | None,
    noise_covariance: Array,
) -> Array:
    """Covariance C (k, k) of the aggregated posterior, without sampling: law of total variance.

    ``C = Cov(mu) + mean_i D_i N D_i`` (Eq. 9 of the paper, for any sigma).

    Parameters
    ----------
    mean : array, shape (n, k)
    log_scale : array, shape (n, k) or (n, 1); None for a deterministic method, whose C is Cov(mu)
    noise_covariance : array, shape (k, k)
        N; see `noise_covariance`.

    Raises
    ------
    HebaeError
        If the shapes do not belong together, or a value is not finite.
    """
    mu = check_features(mean, "mean", least=1)
    if log_scale is None:
        return covariance(mu)
    scales, N = check_noise(mu, log_scale, noise_covariance)
    result: Array = gaussian.aggregate_covariance(
        torch.from_numpy(N), torch.from_numpy(covariance(mu)), torch.from_numpy(scales)
    ).numpy()
    return result


def kl_to_standard_normal(mean: Array, covariance: Array) -> float:
    """KL(N(mean, covariance) || N(0, I)) in nats: 0 for codes with a standard normal's moments.

    Parameters
    ----------
    mean : array, shape (k,)
    covariance : array, shape (k, k)
        Of mu, of draws z, or from `aggregate_covariance`.

    Raises
    ------
    UndefinedMetric
        If the covariance is singular, where the divergence is infinite; the sentence names the
        dimensions that never vary, or the rank.
    HebaeError
        If the shapes do not belong together, or a value is not finite.
    """
    beta, Sigma = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    k = len(beta) if beta.ndim == 1 else -1
    if Sigma.shape != (k, k):
        raise HebaeError(
            f"mean and covariance have shapes {beta.shape} and {Sigma.shape}; they must be (k,) "
            "and (k, k)."
        )
    if not (np.isfinite(beta).all() and np.isfinite(Sigma).all()):
        raise HebaeError("mean or covariance holds NaN or infinite values; both must be finite.")
    singular = degeneracy(beta, Sigma)
    if singular:
        raise UndefinedMetric(f"{singular}, so the divergence from N(0, I) is infinite.")
    return float(gaussian.kl_to_standard_normal(torch.from_numpy(beta), torch.from_numpy(Sigma)))


def check_noise(mu: Array, log_scale: Features, noise_covariance: Array) -> tuple[Array, Array]:
    """Log-scales and N in float64, if they belong to codes mu (n, k); `HebaeError` if not."""
    scales = check_features(log_scale, "log_scale", least=1)
    n, k = mu.shape
    if scales.shape not in ((n, k), (n, 1)):
        raise HebaeError(
            f"log_scale has shape {scales.shape}; beside a mean of {mu.shape} it must be "
            f"({n}, {k}) or ({n}, 1)."
        )
    N = np.asarray(noise_covariance, np.float64)
    if N.shape != (k, k):
        raise HebaeError(f"noise_covariance has shape {N.shape}; it must be ({k}, {k}).")
    return scales, N


def degeneracy(mean: Array, covariance: Array) -> str | None:
    """Say why a covariance (k, k) about this mean (k,) is singular; None if it is not.

    The dimensions that never vary, or the rank, in words that begin a sentence.
    """
    variances = np.diag(covariance)
    # A constant's mean is off by rounding, and so it seems to vary by as much.
    constant = np.sqrt(np.maximum(variances, 0)) <= 1e-9 * np.abs(mean)
    if constant.any():
        return f"Dimension(s) {listed(constant)} of the code never vary"
    # In units of each dimension's own, so that a small one is not taken for none. Above this limit
    # the Cholesky factorisation succeeds: Higham, "Accuracy and stability", theorem 10.7.
    k = len(variances)
    eigenvalues = np.linalg.eigvalsh(correlation(covariance))
    rank = int((eigenvalues > k * (k + 1) * np.finfo(np.float64).eps).sum())
    return None if rank == k else f"The covariance of the code has rank {rank} in {k} dimensions"


def listed(which: npt.NDArray[np.bool_]) -> str:
    """Places of True, as words."""
    return ", ".join(map(str, np.flatnonzero(which)))
