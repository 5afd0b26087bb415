"""The hierarchical empirical Bayes autoencoder (section 4 of docs/mathematics.md).

Cheng, Darnell, Ramachandran, Crawford (2020), arXiv 2007.10389; equation numbers are the paper's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hebae import gaussian
from hebae.methods import Fraction, Weight
from hebae.objectives.base import (
    Covariance,
    Covariances,
    Latents,
    LogScales,
    Moments,
    Noise,
    Objective,
    Terms,
    monte_carlo_rate,
)
from hebae.priors.base import Prior, StandardNormal


@dataclass(frozen=True, kw_only=True)
class HEBAE(Objective):
    """z_i = mu_i + sigma_i * (R epsilon_i), R R^T = Sigma; N(beta, Sigma) is pulled to N(0, I).

    beta and Sigma are the mean and full covariance of the encoder's outputs over the batch, which
    must hold more examples than there are latent dimensions (but see `moments`).
    """

    penalty_weight: Weight = 1.0
    """Weight lambda of the penalty."""
    rate_weight: Weight = 0.0
    """Weight gamma of the rate; 0 is the paper's method. Above 0, the term ``moments`` is replaced
    by ``aggregate``, which pulls the aggregated posterior N(beta, C) to N(0, I), and ``rate``, the
    mean KL(q(z | x_i) || N(beta, C)), which keeps the noise from vanishing. With both weights at 1
    the negated loss is an ELBO. With a learned prior p(z) the rate is KL(q(z | x_i) || p(z)), and
    with a rate_weight of 1 reconstruction plus rate is the negated ELBO."""
    noise: Literal["cholesky", "diagonal"] = "cholesky"
    """Noise shaped by the Cholesky factor of Sigma, as in the paper, or by its detached diagonal,
    as in the released code."""
    scale: Literal["vector", "scalar"] = "vector"
    """One sigma per latent dimension (Appendix B) or one per example (Eq. 6)."""
    moments: Literal["batch", "running", "shrunk"] = "batch"
    """Estimate of beta and Sigma: from the batch, mixed with earlier batches, or shrunk.

    "batch" is the paper's. "running" mixes values with those of earlier batches and keeps the
    batch's gradient. "shrunk" shrinks Sigma towards a multiple of I (OAS). With the last two, a
    batch may be smaller than the latent dimension."""
    moments_decay: Fraction = 0.9
    """Share of earlier batches in the running moments."""

    display_name = "HEBAE"
    colour = "#D55E00"
    marker = "o"
    stochastic = True
    draws = ("posterior",)
    prior_term = "rate"

    def log_scale_dim(self, latent_dim: int) -> int:
        """``latent_dim`` with vector scale, 1 with scalar scale."""
        return latent_dim if self.scale == "vector" else 1

    def smallest_batch(self, latent_dim: int) -> int:
        """``k + 1``, unless earlier batches or shrinkage make Sigma positive definite."""
        mixed = self.moments == "running" and self.moments_decay > 0
        return 2 if self.moments == "shrunk" or mixed else latent_dim + 1

    @property
    def weights(self) -> dict[str, float]:
        """``{"moments": ...}``; with a rate weight ``{"aggregate": ..., "rate": ...}``."""
        if self.rate_weight:
            return {"aggregate": self.penalty_weight, "rate": self.rate_weight}
        return {"moments": self.penalty_weight}

    def draw(
        self,
        mean: Latents,
        log_scale: LogScales,
        epsilon: Latents,
        covariance: Covariance | None = None,
    ) -> Latents:
        """z_i = mu_i + sigma_i * (R epsilon_i) (Eq. 8)."""
        if covariance is None:
            Sigma = self.estimate(mean).Sigma
        else:  # stored in float32, where a factor may not exist
            Sigma = covariance if covariance.device.type == "mps" else covariance.double()
        R = None
        if self.noise == "cholesky":
            R = self._factor(Sigma, mean) if covariance is None else gaussian.cholesky(Sigma)
        return self._add_noise(mean, log_scale, epsilon, Sigma, R)

    def __call__(
        self,
        mean: Latents,
        log_scale: LogScales,
        noise: Noise,
        prior: Prior,
        running: Moments | None = None,
        **unused: Any,
    ) -> tuple[Latents, Terms]:
        """Return z and ``moments`` (Eq. 17, with its factor 1/2), or ``aggregate`` and ``rate``.

        Codes and terms share one estimate of the moments and one Cholesky factor.
        """
        beta, Sigma = self.estimate(mean, running)
        R = self._factor(Sigma, mean, running)
        epsilon = noise["posterior"]
        z = self._add_noise(mean, log_scale, epsilon, Sigma, R)
        if not self.rate_weight:
            return z, {"moments": gaussian.kl_from_factor(beta, R).to(mean)}
        assert log_scale is not None, "the rate needs the encoder's log_scale"
        N = self.noise_covariance(Sigma)
        log_N = (
            gaussian.log_determinant(R)
            if self.noise == "cholesky"
            else N.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        )
        C = gaussian.aggregate_covariance(N, Sigma, log_scale.to(Sigma))
        factor = gaussian.cholesky(C)
        if isinstance(prior, StandardNormal):
            rate = gaussian.noise_rate(factor, log_N, log_scale.to(Sigma)).to(mean)
        else:
            # As in z, no gradient passes through the diagonal that shapes the noise.
            log_N = (log_N if self.noise == "cholesky" else log_N.detach()).to(mean)
            rate = monte_carlo_rate(log_scale, z, epsilon, prior, log_N)
        return z, {"aggregate": gaussian.kl_from_factor(beta, factor).to(mean), "rate": rate}

    def estimate(self, mean: Latents, running: Moments | None = None) -> Moments:
        """Estimate beta (k,) and Sigma (k, k) from a batch of encoder means (m, k).

        In float64 where the device has it: the gradient holds the inverse of Sigma, whose condition
        number passes 10^5 when the batch is not much larger than k. The matrices are small, so this
        costs nothing that can be measured.
        """
        beta, Sigma = gaussian.batch_moments(mean if mean.device.type == "mps" else mean.double())
        if self.moments == "shrunk":
            Sigma = gaussian.shrink(Sigma, mean.shape[0])
        if self.moments == "running" and running is not None:
            # The value mixes old and new; the gradient, (1 - rho) of the batch's, is scaled back by
            # 1 / (1 - rho), which leaves exactly the batch's.
            decay = self.moments_decay
            beta = beta + (decay * (running.beta.to(beta) - beta)).detach()
            Sigma = Sigma + (decay * (running.Sigma.to(Sigma) - Sigma)).detach()
        return Moments(beta, Sigma)

    def noise_covariance(self, covariance: Covariances) -> Covariances:
        """Sigma, or its diagonal."""
        if self.noise == "cholesky":
            return covariance
        return torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))

    def noise_factor(self, mean: Latents, running: Moments | None = None) -> Covariance:
        """R, or the square root of the detached diagonal of Sigma."""
        Sigma = self.estimate(mean, running).Sigma
        if self.noise == "cholesky":
            return self._factor(Sigma, mean, running)
        return torch.diag_embed(Sigma.detach().diagonal(dim1=-2, dim2=-1).sqrt())

    def penalty_floor(self, batch_size: int, latent_dim: int) -> float | None:
        """`gaussian.penalty_floor`, for the paper's penalty and moments."""
        if self.rate_weight or self.moments != "batch" or batch_size <= latent_dim:
            return None
        return gaussian.penalty_floor(batch_size, latent_dim)

    def _factor(self, Sigma: Tensor, mean: Tensor, running: Moments | None = None) -> Tensor:
        """R, or NaN where too few examples leave Sigma singular, which rounding can hide."""
        mixed = self.moments == "running" and running is not None and self.moments_decay > 0
        if self.moments == "shrunk" or mixed or mean.shape[0] > mean.shape[1]:
            return gaussian.cholesky(Sigma)
        return Sigma * math.nan

    def _add_noise(
        self, mean: Tensor, log_scale: LogScales, epsilon: Tensor, Sigma: Tensor, R: Tensor | None
    ) -> Tensor:
        assert log_scale is not None, "HEBAE's noise needs the encoder's log_scale"
        if R is not None and self.noise == "cholesky":
            shaped = epsilon @ R.to(mean).mT  # rows are examples: each is R epsilon_i
        else:
            shaped = epsilon * Sigma.detach().diagonal(dim1=-2, dim2=-1).sqrt().to(mean)
        return mean + log_scale.exp() * shaped
