"""Moments of the latent code over a set of examples (section 6 of docs/mathematics.md), in float64.

Functions of codes take mu (n, k) and draws z (n, k) alike. The second half says which dimensions of
the code are used.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hebae import gaussian, inference
from hebae.deprecation import old_names
from hebae.errors import UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike
from hebae.evaluation.frechet import FeatureMoments

DETERMINISTIC = "The encoder is deterministic: q(z | x) is a point, without a density or a scale."
"""Why a quantity of q(z | x) is undefined."""


def covariance(codes: ArrayLike) -> Array:
    """Covariance (k, k) of codes (n, k), divided by n (Fig. 2a of the paper)."""
    return np.atleast_2d(np.cov(checks.features(codes, "codes", least=1).T, bias=True))


def correlation(covariance: ArrayLike) -> Array:
    """Correlation (k, k) of a covariance (k, k); NaN for a dimension that never varies."""
    matrix = _square(covariance, "covariance")
    deviation = np.sqrt(np.diag(matrix))
    deviation = np.where(deviation > 0, deviation, np.nan)
    result: Array = matrix / np.outer(deviation, deviation)
    return result


def mean_absolute_off_diagonal(matrix: ArrayLike) -> float | None:
    """Mean |entry| off the diagonal of (k, k) without NaN entries; None if there are no others."""
    values = np.abs(_square(matrix, "matrix"))
    entries = values[~np.eye(len(values), dtype=bool)]
    entries = entries[np.isfinite(entries)]
    return float(entries.mean()) if entries.size else None


class VarianceRange(NamedTuple):
    """Least and greatest variance of a dimension."""

    least: float
    greatest: float


def variance_range(covariance: ArrayLike) -> VarianceRange:
    """Least and greatest variance on the diagonal of (k, k); 1 and 1 for a standard normal code."""
    variances = np.diag(_square(covariance, "covariance"))
    return VarianceRange(float(variances.min()), float(variances.max()))


def median_scale(log_scale: ArrayLike | None) -> float | None:
    """Median of sigma = exp(log_scale) over examples and dimensions; None without noise."""
    if log_scale is None:
        return None
    return float(np.exp(np.median(checks.features(log_scale, "log_scale", least=1))))


def noise_covariance(model: Any) -> Array:
    """N (k, k) of ``q(z | x_i) = N(mu_i, D_i N D_i)``, for an Autoencoder or a fitted estimator.

    HEBAE: Sigma of the training set, as stored in the model, or its diagonal; VAE: I; others: 0.
    """
    module = inference.module_of(model)
    N = module.objective.noise_covariance(module.population_covariance)
    return N.detach().cpu().double().numpy()


def aggregate_covariance(
    mean: ArrayLike, log_scale: ArrayLike | None, noise_covariance: ArrayLike
) -> Array:
    """Covariance C (k, k) of the aggregated posterior, without sampling: law of total variance.

    ``C = Cov(mu) + mean_i D_i N D_i`` (Eq. 9 of the paper, for any sigma).

    Parameters
    ----------
    mean : array-like, shape (n, k)
    log_scale : array-like, shape (n, k) or (n, 1)
        None for a deterministic method, whose C is Cov(mu).
    noise_covariance : array-like, shape (k, k)
        N; see `noise_covariance`.
    """
    mu = checks.features(mean, "mean", least=1)
    if log_scale is None:
        return covariance(mu)
    arrays = (*_checked_noise(mu, log_scale, noise_covariance), covariance(mu))
    scales, N, Sigma = map(torch.from_numpy, arrays)
    return gaussian.aggregate_covariance(N, Sigma, scales).numpy()


def kl_to_standard_normal(mean: ArrayLike, covariance: ArrayLike) -> float:
    """KL(N(mean, covariance) || N(0, I)) in nats; 0 for codes with a standard normal's moments.

    The mean is (k,) and the covariance (k, k): of mu, of draws z, or from `aggregate_covariance`.
    Raises an `UndefinedMetric` if the covariance is singular and the divergence infinite.
    """
    beta = checks.finite(mean, "mean", ("k",))
    Sigma = checks.finite(covariance, "covariance", (len(beta), len(beta)))
    singular = degeneracy(beta, Sigma)
    if singular:
        raise UndefinedMetric(f"{singular}, so the divergence from N(0, I) is infinite.")
    return float(gaussian.kl_to_standard_normal(torch.from_numpy(beta), torch.from_numpy(Sigma)))


def degeneracy(mean: Array, covariance: Array) -> str | None:
    """Start of a sentence that says why a covariance about this mean is singular, or None."""
    variances = np.diag(covariance)
    # The mean of a constant has a rounding error, so the constant seems to vary by as much.
    constant = np.sqrt(np.maximum(variances, 0)) <= 1e-9 * np.abs(mean)
    if constant.any():
        return f"Dimension(s) {_listed(constant)} of the code never vary"
    # Of the correlation, so that a dimension of small scale does not count as missing. Above this
    # limit the Cholesky factorisation succeeds: Higham, "Accuracy and stability", theorem 10.7.
    k = len(variances)
    eigenvalues = np.linalg.eigvalsh(correlation(covariance))
    rank = int((eigenvalues > k * (k + 1) * np.finfo(np.float64).eps).sum())
    return None if rank == k else f"The covariance of the code has rank {rank} in {k} dimensions"


def active_units(mean: ArrayLike, threshold: float = 0.01) -> npt.NDArray[np.bool_]:
    """Which dimensions depend on the example: ``Var_x E[z_j | x] > threshold``; shape (k,).

    `mean` (n, k) is mu, which is E[z | x]; the threshold is in squared units of the code.

    References
    ----------
    Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", section 5.2.
    """
    checks.require(threshold >= 0, "threshold", threshold, "at least 0")
    active: npt.NDArray[np.bool_] = checks.features(mean, "mean").var(axis=0) > threshold
    return active


def kl_by_dimension(
    mean: ArrayLike, log_scale: ArrayLike | None, noise_covariance: ArrayLike
) -> Array:
    """``mean_i KL(q(z_j | x_i) || N(0, 1))`` of each dimension's marginal, in nats; shape (k,).

    Parameters as in `aggregate_covariance`. For the VAE the sum is its penalty; for HEBAE, whose
    noise is correlated, it is less than KL(q(z | x_i) || N(0, I)). Raises an `UndefinedMetric` for
    a deterministic method, or if a dimension of N has no variance.
    """
    result: Array = _kl_of_marginals(mean, log_scale, noise_covariance).mean(axis=0)
    return result


def collapsed_share(
    mean: ArrayLike,
    log_scale: ArrayLike | None,
    noise_covariance: ArrayLike,
    *,
    epsilon: float = 0.01,
    delta: float = 0.01,
) -> float:
    """Share of dimensions whose posterior equals the prior N(0, 1): from 0 to 1.

    A dimension is collapsed if KL(q(z_j | x_i) || N(0, 1)) is below `epsilon` nats for at least a
    share 1 - `delta` of the examples. Other parameters and errors as in `kl_by_dimension`.

    References
    ----------
    Lucas, Tucker, Grosse, Norouzi (2019), "Don't blame the ELBO!", definition 1.
    """
    checks.require(epsilon > 0, "epsilon", epsilon, "above 0")
    checks.require(0 <= delta <= 1, "delta", delta, "from 0 to 1")
    informative = _kl_of_marginals(mean, log_scale, noise_covariance) >= epsilon
    return float((informative.mean(axis=0) <= delta).mean())


def _kl_of_marginals(
    mean: ArrayLike, log_scale: ArrayLike | None, noise_covariance: ArrayLike
) -> Array:
    """KL(N(mu_ij, sigma_ij^2 N_jj) || N(0, 1)), shape (n, k)."""
    if log_scale is None:
        raise UndefinedMetric(DETERMINISTIC)
    mu = checks.features(mean, "mean", least=1)
    scales, N = _checked_noise(mu, log_scale, noise_covariance)
    variances = np.diag(N)
    if not (variances > 0).all():
        raise UndefinedMetric(
            f"The noise has no variance in dimension(s) {_listed(variances <= 0)}, so the "
            "divergence of q(z | x) from N(0, 1) is infinite there."
        )
    log_variance = 2 * scales + np.log(variances)
    return 0.5 * (mu**2 + np.expm1(log_variance) - log_variance)


def _checked_noise(
    mu: Array, log_scale: ArrayLike, noise_covariance: ArrayLike
) -> tuple[Array, Array]:
    n, k = mu.shape
    N = checks.finite(noise_covariance, "noise_covariance", (k, k))
    return checks.finite(log_scale, "log_scale", (n, k), (n, 1)), N


def _square(matrix: ArrayLike, name: str) -> Array:
    values: Array = checks.as_array(matrix, name).astype(np.float64, copy=False)
    checks.shape(name, values.shape, 2 * values.shape[:1] or ("k", "k"))
    return values


def _listed(which: npt.NDArray[np.bool_]) -> str:
    return ", ".join(map(str, np.flatnonzero(which)))


def _covariance_of_moments(moments: FeatureMoments) -> Array:
    return moments.covariance * ((moments.count - 1) / moments.count)


__getattr__ = old_names(
    __name__,
    {
        "covariance_of_moments": (lambda: _covariance_of_moments, "scale moments.covariance"),
        "check_noise": (lambda: _checked_noise, "aggregate_covariance checks its arguments"),
    },
)
