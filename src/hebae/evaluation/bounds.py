"""Lower bounds on log p(x): the ELBO, and by importance weighting a tighter one.

Section 5 of docs/mathematics.md. Draws and densities of codes are float64, on the CPU; the decoder
works in its own precision where it lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae import inference
from hebae.errors import HebaeError
from hebae.evaluation.averages import mean_estimate
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.examples import batch_of, check_counts, check_examples, log_likelihood
from hebae.evaluation.posterior import (
    Posteriors,
    Width,
    log_standard_normal,
    posteriors_of,
    widened,
)
from hebae.inference import evaluating
from hebae.model import Autoencoder

__all__ = [
    "ELBO",
    "Bound",
    "ImportanceWeighted",
    "bits_per_dimension",
    "elbo",
    "iwae",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bound(Estimate):
    """A lower bound on log p(x) in nats, the mean over examples.

    Where the likelihood is no density (Bernoulli on grey levels), neither is p(x).
    """

    samples: int
    """Draws of the code for each example."""
    bits_per_dimension: float | None
    """See `bits_per_dimension`."""
    per_example: Array = field(repr=False)
    """Shape (n,): of two models on the same examples, compare these in pairs."""


@dataclass(frozen=True, eq=False)
class ELBO(Bound):
    """The evidence lower bound; its parts sum to ``-value``."""

    reconstruction: Estimate
    """``E_q[-log p(x | z)]`` in nats."""
    kl: Estimate
    """``KL(q(z | x) || N(0, I))`` in nats."""


@dataclass(frozen=True, eq=False)
class ImportanceWeighted(Bound):
    """The bound of K importance-weighted samples."""

    effective_sample_size: float
    """``(sum w)^2 / (K sum w^2)`` of an example's weights, the mean over examples: in [1/K, 1].
    Near 1/K one sample decides, and more of them would raise the bound."""


def elbo(
    model: Any,
    data: npt.NDArray[np.generic],
    *,
    draws: int = 1,
    seed: int = 0,
    block: int = 1000,
) -> ELBO:
    """E_q[log p(x | z)] - KL(q(z | x) || N(0, I)): the first by draws, the second exactly.

    HEBAE's posterior is ``q(z | x_i) = N(mu_i, D_i N D_i)``, N being the covariance of its noise
    over the population. What HEBAE's training optimises is another quantity (section 5).

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    data : array, shape (n, *shape)
        At least 2 examples, uint8 or float, best held out.
    draws : int
        For each example; they lower the standard error, and do not move the value otherwise.
    seed : int
        Of the draws.
    block : int
        Codes that are decoded at once; memory, not the value, depends on it but for rounding.

    Raises
    ------
    UndefinedMetric
        If the encoder is deterministic, or its noise has a singular covariance.
    HebaeError
        If the data do not fit the model, a number is below 1 or a result is not finite.

    References
    ----------
    Kingma, Welling (2014), "Auto-encoding variational Bayes".
    """
    module = check_examples(model, data)
    check_counts(draws=draws, block=block)
    posteriors = posteriors_of(module, data)
    reconstruction = torch.zeros_like(posteriors.log_volume)
    with evaluating(module):
        for part, epsilon in _noise(posteriors.mean.shape, draws, seed, block):
            z, _ = posteriors[part].draw(epsilon)
            x = batch_of(module, data[part])
            reconstruction[part] -= log_likelihood(module, x, z).sum(0) / draws
    kl = posteriors.kl_to_standard_normal()
    return ELBO(
        **_mean_bound(module, data, -(reconstruction + kl)),
        samples=draws,
        reconstruction=mean_estimate(reconstruction.numpy()),
        kl=mean_estimate(kl.numpy()),
    )


def iwae(
    model: Any,
    data: npt.NDArray[np.generic],
    *,
    samples: int = 5000,
    proposal: Literal["encoder", "gaussian-width"] = "encoder",
    width: Width | None = None,
    seed: int = 0,
    block: int = 1000,
) -> ImportanceWeighted:
    """``log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x)`` with K samples z_k ~ q(z | x).

    In expectation below log p(x), and rising with K; with K = 1 it is the ELBO in expectation. The
    work is n K times the decoder's.

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    data : array, shape (n, *shape)
        At least 2 examples, uint8 or float, best held out.
    samples : int
        K.
    proposal : "encoder" or "gaussian-width"
        q: the encoder's own posterior; or ``N(mu(x), diag(width^2))``, for deterministic encoders
        as well.
    width : float or array (k,), above 0; only with "gaussian-width"
        Standard deviations in units of the code: `fit_width` on training examples finds them.
    seed, block
        See `elbo`.

    Raises
    ------
    UndefinedMetric
        If the proposal is the encoder's, and `elbo` is undefined.
    HebaeError
        If the data do not fit the model, the width does not go with the proposal, a number is out
        of range or a result is not finite.

    References
    ----------
    Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8.
    """
    module = check_examples(model, data)
    check_counts(samples=samples, block=block)
    posteriors = _proposal(module, data, proposal, width)
    log_sum = torch.full_like(posteriors.log_volume, -math.inf)  # of weights, and of their squares
    log_squares = log_sum.clone()
    with evaluating(module):
        for part, epsilon in _noise(posteriors.mean.shape, samples, seed, block):
            z, log_q = posteriors[part].draw(epsilon)
            x = batch_of(module, data[part])
            log_weight = log_likelihood(module, x, z) + log_standard_normal(z) - log_q
            log_sum[part] = torch.logaddexp(log_sum[part], log_weight.logsumexp(0))
            log_squares[part] = torch.logaddexp(log_squares[part], (2 * log_weight).logsumexp(0))
    return ImportanceWeighted(
        **_mean_bound(module, data, log_sum - math.log(samples)),
        samples=samples,
        effective_sample_size=float((2 * log_sum - log_squares).exp().mean()) / samples,
    )


def bits_per_dimension(model: Any, data: npt.NDArray[np.generic], nats: float) -> float | None:
    """``-log2 p(x)`` for each number of an example, of log p(x) in nats.

    Where data are uint8 their unit is 1 here and not the model's 1/255, which adds log2(255): a
    change of unit. It is a density's logarithm all the same, and may be negative. None where the
    likelihood is no density.
    """
    module = inference.module_of(model)
    if not module.likelihood.density:
        return None
    bits = -nats / (math.prod(module.input_shape) * math.log(2))
    return bits + math.log2(255) if data.dtype == np.uint8 else bits


def _proposal(
    module: Autoencoder, data: npt.NDArray[np.generic], proposal: str, width: Width | None
) -> Posteriors:
    if proposal not in ("encoder", "gaussian-width"):
        raise HebaeError(f"proposal is {proposal!r}; allowed are 'encoder' and 'gaussian-width'.")
    if (width is None) == (proposal == "gaussian-width"):
        raise HebaeError(
            "a width goes with the proposal 'gaussian-width', and only with it; fit_width on "
            "training examples finds one."
        )
    if width is None:
        return posteriors_of(module, data)
    return widened(inference.encode(module, data).mean, width)


def _noise(
    shape: tuple[int, ...], samples: int, seed: int, block: int
) -> Iterator[tuple[slice, Tensor]]:
    """Give normal noise (draws, examples, k) in blocks, example by example from one stream."""
    n, k = shape
    rng = np.random.default_rng(seed)  # numbers that do not depend on how many are drawn at once
    examples = max(1, block // samples)
    for start in range(0, n, examples):
        part = slice(start, min(start + examples, n))
        for done in range(0, samples, block):
            draws = min(block, samples - done)
            noise = rng.standard_normal((part.stop - start, draws, k))
            yield part, torch.from_numpy(noise).transpose(0, 1)


def _mean_bound(
    module: Autoencoder, data: npt.NDArray[np.generic], bounds: Tensor
) -> dict[str, Any]:
    """Return what every `Bound` has of the bounds (n,) of examples."""
    finite = bounds.isfinite()
    if not finite.all():
        raise HebaeError(
            f"the bound of {int((~finite).sum())} of {len(bounds)} examples is not finite; look "
            "for NaN or infinite values in the model's weights."
        )
    mean = mean_estimate(bounds.numpy())
    return {
        "value": mean.value,
        "standard_error": mean.standard_error,
        "bits_per_dimension": bits_per_dimension(module, data, mean.value),
        "per_example": bounds.numpy(),
    }
