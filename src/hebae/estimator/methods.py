"""One estimator a method; each adds the parameters of its objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hebae.estimator.base import Estimator

__all__ = ["AE", "ESTIMATORS", "HEBAE", "VAE", "WAE"]


@dataclass(eq=False, repr=False, kw_only=True)
class HEBAE(Estimator):
    """The hierarchical empirical Bayes autoencoder (Cheng et al. 2020).

    The batch's codes are whitened as a whole: N(beta, Sigma) of the encoder's outputs is pulled to
    N(0, I), and noise shaped by the Cholesky factor of Sigma is added.

    Parameters
    ----------
    penalty_weight : float
        lambda.
    rate_weight : float
        gamma; 0 is the paper, above 0 the noise is held up (docs/mathematics.md, section 4).
    noise, scale, moments, moments_decay
        See ``hebae.objectives.HEBAE``.
    **others
        See `Estimator`.
    """

    penalty_weight: float = 1.0
    rate_weight: float = 0.0
    noise: Literal["cholesky", "diagonal"] = "cholesky"
    scale: Literal["vector", "scalar"] = "vector"
    moments: Literal["batch", "running", "shrunk"] = "batch"
    moments_decay: float = 0.9

    method = "hebae"


@dataclass(eq=False, repr=False, kw_only=True)
class VAE(Estimator):
    """The variational autoencoder; another `penalty_weight` than 1 makes it a beta-VAE.

    The other parameters are those of `Estimator`.
    """

    penalty_weight: float = 1.0

    method = "vae"


@dataclass(eq=False, repr=False, kw_only=True)
class WAE(Estimator):
    """The Wasserstein autoencoder with an MMD penalty (Tolstikhin et al. 2018).

    Parameters
    ----------
    penalty_weight : float
        lambda; 10 for MNIST in the paper.
    kernel, base_variance
        See ``hebae.objectives.WAE``.
    **others
        See `Estimator`.
    """

    penalty_weight: float = 1.0
    kernel: Literal["imq", "rbf"] = "imq"
    base_variance: float = 1.0

    method = "wae"


@dataclass(eq=False, repr=False, kw_only=True)
class AE(Estimator):
    """The plain autoencoder: no noise, no penalty. The parameters are those of `Estimator`."""

    method = "ae"


ESTIMATORS: dict[str, type[Estimator]] = {e.method: e for e in (HEBAE, VAE, WAE, AE)}
