"""Which dimensions of the code are in use: active units, divergence by dimension, collapse."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hebae.evaluation.estimate import UndefinedMetric
from hebae.evaluation.latent import check_noise, listed
from hebae.evaluation.samples import Array, check_features

__all__ = ["active_units", "collapsed_share", "kl_by_dimension"]


def active_units(mean: npt.NDArray[np.floating], threshold: float = 0.01) -> npt.NDArray[np.bool_]:
    """Which dimensions tell of the example: ``Var_x E[z_j | x] > threshold``; shape (k,).

    Parameters
    ----------
    mean : array, shape (n, k)
        mu of each example: E[z | x] for every method.
    threshold : float
        In squared units of the code, whose prior has variance 1.

    References
    ----------
    Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", section 5.2.
    """
    variances = check_features(mean, "mean").var(axis=0)
    active: npt.NDArray[np.bool_] = variances > threshold
    return active


def kl_by_dimension(
    mean: npt.NDArray[np.floating],
    log_scale: npt.NDArray[np.floating] | None,
    noise_covariance: Array,
) -> Array:
    """``mean_i KL(q(z_j | x_i) || N(0, 1))`` of each dimension's marginal, in nats; shape (k,).

    Parameters and errors as in `latent.aggregate_covariance`; the marginal's variance is
    ``sigma_ij^2 N_jj``. For the VAE these add up to its penalty; for HEBAE, whose noise is
    correlated, to less than KL(q(z | x_i) || N(0, I)).

    Raises
    ------
    UndefinedMetric
        For a deterministic method, or where a dimension of N has no variance: infinite.
    """
    result: Array = _kl_of_marginals(mean, log_scale, noise_covariance).mean(axis=0)
    return result


def collapsed_share(
    mean: npt.NDArray[np.floating],
    log_scale: npt.NDArray[np.floating] | None,
    noise_covariance: Array,
    *,
    epsilon: float = 0.01,
    delta: float = 0.01,
) -> float:
    """Share of dimensions whose posterior is the prior's: from 0 to 1.

    A dimension is collapsed where KL(q(z_j | x_i) || N(0, 1)) is below `epsilon` nats for at least
    a share 1 - `delta` of the examples. Other parameters and errors as in `kl_by_dimension`.

    References
    ----------
    Lucas, Tucker, Grosse, Norouzi (2019), "Don't blame the ELBO!", definition 1.
    """
    told = _kl_of_marginals(mean, log_scale, noise_covariance) >= epsilon
    return float((told.mean(axis=0) <= delta).mean())


def _kl_of_marginals(
    mean: npt.NDArray[np.floating],
    log_scale: npt.NDArray[np.floating] | None,
    noise_covariance: Array,
) -> Array:
    """KL(N(mu_ij, sigma_ij^2 N_jj) || N(0, 1)), shape (n, k)."""
    if log_scale is None:
        raise UndefinedMetric(
            "A deterministic encoder has no density q(z | x), so its divergence from N(0, 1) is "
            "infinite."
        )
    mu = check_features(mean, "mean", least=1)
    scales, N = check_noise(mu, log_scale, noise_covariance)
    variances = np.diag(N)
    if not (variances > 0).all():
        raise UndefinedMetric(
            f"The noise has no variance in dimension(s) {listed(variances <= 0)}, so the "
            "divergence of q(z | x) from N(0, 1) is infinite there."
        )
    log_variance = 2 * scales + np.log(variances)
    result: Array = 0.5 * (mu**2 + np.expm1(log_variance) - log_variance)
    return result
