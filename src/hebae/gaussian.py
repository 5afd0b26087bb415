"""Gaussian algebra: moments of a batch, Cholesky factors, divergences, the noise floor.

Every function is pure and works on torch tensors, so gradients pass and ``torch.func.vmap`` may
run many at once. Divergences are in nats. Section numbers refer to ``docs/mathematics.md``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hebae.deprecation import old_names, warn


def batch_moments(
    mean: Float[Tensor, "batch latent"],
) -> tuple[Float[Tensor, " latent"], Float[Tensor, "latent latent"]]:
    """Mean and covariance of the encoder's outputs over a batch (section 4).

    Parameters
    ----------
    mean : Tensor, shape (m, k)
        Encoder means, one row per example.

    Returns
    -------
    beta : Tensor, shape (k,)
        Mean over the batch.
    Sigma : Tensor, shape (k, k)
        Covariance over the batch, divided by m (not m - 1).
    """
    beta = mean.mean(dim=0)
    centred = mean - beta
    return beta, centred.mT @ centred / mean.shape[0]


def shrink(Sigma: Float[Tensor, "latent latent"], count: int) -> Float[Tensor, "latent latent"]:
    """Shrink a covariance towards a multiple of I by the oracle-approximating weight (OAS).

    The result is positive definite with any number of examples above one, so that a batch may be
    smaller than the latent dimension.

    Parameters
    ----------
    Sigma : Tensor, shape (k, k)
        Sample covariance, divided by `count`.
    count : int
        Number of examples it was taken over.

    Returns
    -------
    Tensor, shape (k, k)

    References
    ----------
    Chen, Wiesel, Eldar, Hero (2010), "Shrinkage algorithms for MMSE covariance estimation", eq. 23.
    """
    k = Sigma.shape[-1]
    target = Sigma.diagonal().mean() * torch.eye(k, dtype=Sigma.dtype, device=Sigma.device)
    trace_of_square = (Sigma * Sigma).sum()
    square_of_trace = Sigma.diagonal().sum() ** 2
    # tr(Sigma^2) - tr(Sigma)^2 / k without that difference's rounding. It is zero for a multiple of
    # I, and always for k = 1: the weight is 1 there.
    distance = (Sigma - target).square().sum()
    numerator = (1 - 2 / k) * trace_of_square + square_of_trace
    denominator = (count + 1 - 2 / k) * distance
    inside = numerator < denominator
    # `where` passes gradients to both branches: the one not taken must be finite as well.
    weight = numerator / torch.where(inside, denominator, torch.ones_like(denominator))
    weight = torch.where(inside, weight, torch.ones_like(weight))
    return (1 - weight) * Sigma + weight * target


def cholesky(covariance: Float[Tensor, "latent latent"]) -> Float[Tensor, "latent latent"]:
    """Lower triangular R with ``R @ R.mT == covariance``; NaN throughout if there is none.

    NaN in place of an exception needs no synchronisation with the device, and marks one member of
    a stack of models without stopping the others. The training loop finds it and says where.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    nan = torch.full_like(factor, math.nan)
    return torch.where((failed != 0)[..., None, None], nan, factor)


def log_standard_normal(z: Float[Tensor, "*draws latent"]) -> Float[Tensor, "*draws"]:
    """``log N(z; 0, I)`` in nats."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))


def log_determinant(factor: Float[Tensor, "latent latent"]) -> Float[Tensor, ""]:
    """``log |R R^T|`` of a lower triangular factor R, in nats."""
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def kl_from_factor(
    beta: Float[Tensor, " latent"], factor: Float[Tensor, "latent latent"]
) -> Float[Tensor, ""]:
    """KL(N(beta, R R^T) || N(0, I)) in nats, given the Cholesky factor R."""
    squares = factor.square().sum() + beta.square().sum()  # tr(R R^T) = ||R||_F^2
    return 0.5 * (squares - beta.shape[-1] - log_determinant(factor))


def kl_to_standard_normal(
    beta: Float[Tensor, " latent"], Sigma: Float[Tensor, "latent latent"]
) -> Float[Tensor, ""]:
    """KL(N(beta, Sigma) || N(0, I)) = (tr Sigma - k - log|Sigma| + beta^T beta) / 2 (Eq. 17).

    The factor 1/2, which the paper drops, is kept.

    Parameters
    ----------
    beta : Tensor, shape (k,)
    Sigma : Tensor, shape (k, k)
        Symmetric positive definite; NaN comes back where it is not.

    Returns
    -------
    Tensor, scalar
        Nats.
    """
    return kl_from_factor(beta, cholesky(Sigma))


def mean_kl_to_standard_normal(
    mean: Float[Tensor, "batch latent"], log_scale: Float[Tensor, "batch _"]
) -> Float[Tensor, ""]:
    """``(1/m) sum_i KL(N(mu_i, diag sigma_i^2) || N(0, I))``, nats: the VAE's penalty (section 2).

    Parameters
    ----------
    mean : Tensor, shape (m, k)
    log_scale : Tensor, shape (m, k), or (m, 1) for one scale per example
    """
    return _kl_to_standard_normal(mean, log_scale).sum(dim=1).mean()


def mean_kl_with_free_bits(
    mean: Float[Tensor, "batch latent"], log_scale: Float[Tensor, "batch _"], free_bits: float
) -> Float[Tensor, ""]:
    """``sum_j max(free_bits, (1/m) sum_i KL_ij)`` with the KLs of `mean_kl_to_standard_normal`.

    Up to `free_bits` nats, the KL of a dimension j passes no gradient (section 2).
    """
    return _kl_to_standard_normal(mean, log_scale).mean(dim=0).clamp(min=free_bits).sum()


def _kl_to_standard_normal(mean: Tensor, log_scale: Tensor) -> Tensor:
    """KL(N(mu_ij, sigma_ij^2) || N(0, 1)) of each example and dimension."""
    log_scale = log_scale.expand_as(mean)
    return 0.5 * (mean.square() + torch.expm1(2 * log_scale) - 2 * log_scale)


def aggregate_covariance(
    noise_covariance: Float[Tensor, "latent latent"],
    covariance: Float[Tensor, "latent latent"],
    log_scale: Float[Tensor, "batch _"],
    across_processes: bool = False,
) -> Float[Tensor, "latent latent"]:
    """Covariance C of the aggregated posterior, by the law of total variance (Eq. 9).

    ``C = Sigma + mean_i D_i N D_i`` where N is the covariance whose factor shapes the noise: Sigma
    itself, or its diagonal.

    Parameters
    ----------
    noise_covariance, covariance : Tensor, shape (k, k)
        N and Sigma.
    log_scale : Tensor, shape (m, k) or (m, 1)
    across_processes : bool
        Deprecated, without effect: an objective is given the batch of all processes.
    """
    if across_processes:
        advice = "it has no effect, since an objective is given the batch of all processes"
        warn("across_processes of aggregate_covariance", advice)
    scale = log_scale.exp()
    scale = scale.expand(scale.shape[0], covariance.shape[-1])
    products = scale.mT @ scale / scale.shape[0]
    return covariance + noise_covariance * products


def noise_rate(
    aggregate_factor: Float[Tensor, "latent latent"],
    noise_log_determinant: Float[Tensor, ""],
    log_scale: Float[Tensor, "batch _"],
) -> Float[Tensor, ""]:
    """``R = (1/m) sum_i KL(q(z|x_i) || N(beta, C))`` in nats, an upper bound on I(i; z).

    Section 4, "The rate term": ``(log|C| - log|N|) / 2 - mean_i sum_j log sigma_ij``; exact, since
    C is the mean of the posteriors' covariances about beta.

    Parameters
    ----------
    aggregate_factor : Tensor, shape (k, k)
        Cholesky factor of C.
    noise_log_determinant : Tensor, scalar
        ``log |N|`` of the covariance that shapes the noise.
    log_scale : Tensor, shape (m, k) or (m, 1)
    """
    k = aggregate_factor.shape[-1]
    mean_log_scale = log_scale.expand(log_scale.shape[0], k).sum(dim=1).mean()
    difference = log_determinant(aggregate_factor) - noise_log_determinant
    return 0.5 * difference - mean_log_scale


def penalty_floor(batch_size: int, latent_dim: int) -> float:
    """Mean of the HEBAE penalty over batches of perfectly standard-normal codes, in nats.

    ``-1/2 sum_{j=1..k} [digamma((m - j) / 2) + log(2 / m)]`` (section 4): what sampling noise
    alone costs. Only an excess over it says anything about the codes.

    Parameters
    ----------
    batch_size : int
        m, above `latent_dim`.
    latent_dim : int
        k, at least 1.

    Raises
    ------
    ValueError
        If ``batch_size <= latent_dim``: the covariance is singular and the floor infinite.
    """
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim}; it must be at least 1.")
    if batch_size <= latent_dim:
        raise ValueError(
            f"batch_size {batch_size} does not exceed latent_dim {latent_dim}: the covariance of "
            "such a batch is singular and the floor infinite; take a larger batch."
        )
    j = torch.arange(1, latent_dim + 1, dtype=torch.float64)
    terms = torch.digamma((batch_size - j) / 2) + math.log(2 / batch_size)
    return -0.5 * float(terms.sum())


# An objective is given the batch of all processes together.
__getattr__ = old_names(__name__, {"global_moments": (lambda: batch_moments, "use batch_moments")})
