"""Lower bounds on log p(x) (section 5 of docs/mathematics.md): ELBO, and importance weighting.

p(z) is the model's own prior. Codes and densities are float64, on the model's device.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hebae import inference
from hebae.data.examples import Examples
from hebae.errors import HebaeError
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike, Device
from hebae.evaluation.estimate import Estimate, mean_estimate
from hebae.evaluation.posterior import (
    Posteriors,
    log_likelihood,
    log_prior,
    posteriors_of,
)
from hebae.inference import batch_of, condition_of, count_of, evaluating
from hebae.model import Autoencoder
from hebae.priors import StandardNormal

__all__ = ["ELBO", "Bound", "ImportanceWeighted", "bits_per_dimension", "elbo", "fit_width", "iwae"]

LEARNING_RATE = 0.1  # of the logarithms of the widths at the first step; 0 at the last
FIRST_WIDTH = 0.1  # in standard deviations of the codes


@dataclass(frozen=True, eq=False)
class Bound(Estimate):
    """A lower bound on log p(x) in nats, the mean over examples.

    If the likelihood is not a normalised density (Bernoulli on grey levels), neither is p(x).
    """

    samples: int
    """Draws of the code per example."""
    bits_per_dimension: float | None
    """See `bits_per_dimension`."""
    per_example: Array = field(repr=False)
    """Shape (n,). Compare two models on the same examples by paired differences of these."""


@dataclass(frozen=True, eq=False)
class ELBO(Bound):
    """The evidence lower bound; ``value = -(reconstruction + kl)``."""

    reconstruction: Estimate
    """``E_q[-log p(x | z)]`` in nats."""
    kl: Estimate
    """``KL(q(z | x) || p(z))`` in nats."""


@dataclass(frozen=True, eq=False)
class ImportanceWeighted(Bound):
    """The bound of K importance-weighted samples."""

    effective_sample_size: float
    """``(sum w)^2 / (K sum w^2)`` of the weights of an example, mean over examples; in [1/K, 1].
    Near 1/K one sample dominates, and more samples would raise the bound."""


def elbo(
    model: Any,
    data: ArrayLike,
    *,
    draws: int = 1,
    seed: int = 0,
    block: int = 1000,
    device: Device = None,
) -> ELBO:
    """E_q[log p(x | z)] - KL(q(z | x) || p(z)).

    The first term is estimated from draws. The second is exact if p(z) is N(0, I); for another
    prior it is the mean of ``log q(z | x) - log p(z)`` over the same draws. HEBAE's posterior is
    ``q(z | x_i) = N(mu_i, D_i N D_i)``, N the covariance of its noise over the training set. The
    ELBO is not what HEBAE optimises (section 5).

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    data : array-like, shape (n, *shape)
        At least 2 examples, uint8 or float; preferably held out.
    draws, seed : int
        Per example; more lower the standard error. They are the same on every device.
    block : int
        Codes decoded at once. It affects memory, and the value only by rounding.
    device : str or torch.device, optional
        Where to compute; default: where the model is. Afterwards the model is moved back.

    Raises
    ------
    UndefinedMetric
        If q(z | x) has no density: the encoder is deterministic, or its noise has a singular
        covariance.

    References
    ----------
    Kingma, Welling (2014), "Auto-encoding variational Bayes".
    """
    module, values = checks.examples(model, data)
    checks.counts(draws=draws, block=block)
    with checks.on_device(module, device) as work, evaluating(module):
        posteriors = posteriors_of(module, values, work)
        reconstruction = torch.zeros_like(posteriors.log_volume)
        exact = isinstance(module.prior, StandardNormal)
        kl = posteriors.kl_to_standard_normal() if exact else torch.zeros_like(reconstruction)
        for part, log_x, log_p, log_q in _draws(module, values, posteriors, draws, seed, block):
            reconstruction[part] -= log_x.sum(0) / draws
            if not exact:
                kl[part] += (log_q - log_p).sum(0) / draws
    return ELBO(
        **_mean_bound(module, values, -(reconstruction + kl)),
        samples=draws,
        reconstruction=mean_estimate(reconstruction.cpu().numpy()),
        kl=mean_estimate(kl.cpu().numpy()),
    )


def iwae(
    model: Any,
    data: ArrayLike,
    *,
    samples: int = 5000,
    proposal: Literal["encoder", "gaussian-width"] = "encoder",
    width: ArrayLike | None = None,
    seed: int = 0,
    block: int = 1000,
    device: Device = None,
) -> ImportanceWeighted:
    """``log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x)`` with K samples z_k ~ q(z | x).

    Its expectation is below log p(x) and rises with K; for K = 1 it is the ELBO. The work is n K
    evaluations of the decoder.

    Parameters
    ----------
    model, data, seed, block, device
        See `elbo`.
    samples : int
        K.
    proposal : {"encoder", "gaussian-width"}
        q: the encoder's posterior, with the errors of `elbo`; or ``N(mu(x), diag(width^2))``, also
        for deterministic encoders.
    width : float or array-like (k,), above 0
        Standard deviations in units of the code, for "gaussian-width"; `fit_width` finds them.

    References
    ----------
    Burda, Grosse, Salakhutdinov (2016), "Importance weighted autoencoders", eq. 8.
    """
    module, values = checks.examples(model, data)
    checks.counts(samples=samples, block=block)
    known = proposal in ("encoder", "gaussian-width")
    checks.require(known, "proposal", proposal, "'encoder' or 'gaussian-width'")
    if (width is None) == (proposal == "gaussian-width"):
        raise HebaeError(
            f"proposal is {proposal!r} and width is {width!r}; 'gaussian-width' needs a width, and "
            "'encoder' takes none. fit_width finds one on training examples."
        )
    with checks.on_device(module, device) as work, evaluating(module):
        if width is None:
            posteriors = posteriors_of(module, values, work)
        else:
            mean = torch.as_tensor(inference.encode(module, values).mean, device=work)
            sizes = checks.finite(width, "width", (), (mean.shape[1],))
            checks.require((sizes > 0).all(), "width", width, "above 0")
            log_scale = torch.as_tensor(np.log(sizes)).expand(mean.shape)
            posteriors = Posteriors.checked(mean, log_scale)
        log_sum = torch.full_like(posteriors.log_volume, -math.inf)  # of weights, of their squares
        log_squares = log_sum.clone()
        for part, log_x, log_p, log_q in _draws(module, values, posteriors, samples, seed, block):
            weight = log_x + log_p - log_q
            log_sum[part] = torch.logaddexp(log_sum[part], weight.logsumexp(0))
            log_squares[part] = torch.logaddexp(log_squares[part], (2 * weight).logsumexp(0))
    return ImportanceWeighted(
        **_mean_bound(module, values, log_sum - math.log(samples)),
        samples=samples,
        effective_sample_size=float((2 * log_sum - log_squares).exp().mean()) / samples,
    )


def bits_per_dimension(model: Any, data: ArrayLike, nats: float) -> float | None:
    """``-log2 p(x)`` per number of an example, given log p(x) in nats.

    For uint8 grey levels the unit is one level, not the model's 1/255, which adds log2(255). Of a
    density, it may be negative. None if the likelihood is not normalised.
    """
    module, values = checks.examples(model, data)
    values = values.values if isinstance(values, Examples) else values
    if not module.likelihood.density:
        return None
    bits = -nats / (math.prod(module.input_shape) * math.log(2))
    grey = values.dtype == np.uint8 and (module.seen is None or bool(module.seen.pixels))
    return bits + math.log2(255) if grey else bits


def fit_width(
    model: Any,
    training_values: ArrayLike,
    *,
    samples: int = 20,
    steps: int = 150,
    batch_size: int = 16,
    seed: int = 0,
    device: Device = None,
) -> Array:
    """Fit the widths of the proposal ``q(z | x) = N(mu(x), diag(width^2))`` of `iwae`.

    Returns standard deviations (k,), in units of the code. They maximise the importance-weighted
    bound of a few samples, by Adam on their logarithms; with one sample that is the ELBO. Several
    make q wider, which a bound of many samples gains from: on 50 test images of MNIST, k = 20, a
    WAE's bound of 5,000 samples was -100.4 nats with widths fitted with 1 sample, -99.0 with 20.

    Parameters
    ----------
    model, device
        See `elbo`.
    training_values : array-like, shape (n, *shape)
        At least 2 examples, uint8 or float; not those that the model is scored on.
    samples : int
        Samples of the bound that is maximised.
    steps, batch_size : int
        Steps of Adam, whose step size falls to 0; examples per step, drawn again each time.
    seed : int
        Seed of examples and noise.

    References
    ----------
    Tucker et al. (2019), "Doubly reparameterized gradient estimators", for the gradient.
    """
    module, values = checks.examples(model, training_values)
    checks.counts(samples=samples, steps=steps, batch_size=batch_size)
    rng, count = np.random.default_rng(seed), count_of(values)

    def batch(work: torch.device) -> tuple[Tensor, Tensor | None, Tensor]:
        chosen = rng.choice(count, min(batch_size, count), replace=False)
        chosen.sort()
        x, condition = batch_of(module, values, chosen), condition_of(module, values, chosen)
        with torch.no_grad():
            mean, _ = module.encode(x, module.describe(x, condition))
            return x, condition, mean.to(work).double()

    # Gradients with respect to the widths alone: the model's parameters keep none.
    with (
        checks.on_device(module, device) as work,
        evaluating(module),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        # A dimension whose codes do not vary may still matter to the decoder: start above 0.
        spread = torch.cat([batch(work)[2] for _ in range(10)]).std(0).clamp(min=1e-3)
        log_width = (FIRST_WIDTH * spread).log().requires_grad_()
        adam = torch.optim.Adam([log_width], LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for _ in range(steps):
            x, condition, mean = batch(work)
            epsilon = torch.from_numpy(rng.standard_normal((samples, *mean.shape))).to(work)
            z = mean + log_width.exp() * epsilon
            # Only the part of log q's gradient through z counts: the other has mean 0.
            log_scale = log_width.detach().expand(mean.shape)
            log_q = Posteriors.checked(mean, log_scale).log_density(z)
            log_x = log_likelihood(module, x, z, condition)
            log_weight = log_x + log_prior(module, z) - log_q
            share = log_weight.detach().softmax(0)
            bound = (share.square() * log_weight).sum(0).mean()  # only its gradient is used
            (log_width.grad,) = torch.autograd.grad(-bound, log_width)
            if not log_width.grad.isfinite().all():
                raise HebaeError(
                    "No width was found: the bound's gradient is not finite. Check the model's "
                    "weights for NaN or infinite values."
                )
            adam.step()
            schedule.step()
    return log_width.detach().exp().cpu().numpy()


def _draws(
    module: Autoencoder, values: Any, posteriors: Posteriors, samples: int, seed: int, block: int
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Yield log p(x | z), log p(z) and log q(z | x) of draws (draws, examples), in blocks."""
    n, k = posteriors.mean.shape
    rng = np.random.default_rng(seed)  # its numbers do not depend on the blocks or the device
    examples = max(1, block // samples)
    for start in range(0, n, examples):
        part = slice(start, min(start + examples, n))
        x, condition = batch_of(module, values, part), condition_of(module, values, part)
        for done in range(0, samples, block):
            noise = rng.standard_normal((len(x), min(block, samples - done), k))
            epsilon = torch.from_numpy(noise).to(posteriors.mean.device).transpose(0, 1)
            z, log_q = posteriors[part].draw(epsilon)
            yield part, log_likelihood(module, x, z, condition), log_prior(module, z), log_q


def _mean_bound(module: Autoencoder, values: Any, bounds: Tensor) -> dict[str, Any]:
    """Return what every `Bound` holds, from the bounds (n,) of examples."""
    finite = bounds.isfinite()
    if not finite.all():
        raise HebaeError(
            f"The bound is not finite for {int((~finite).sum())} of {len(bounds)} examples; check "
            "the model's weights for NaN or infinite values."
        )
    mean = mean_estimate(bounds.cpu().numpy())
    bits = bits_per_dimension(module, values, mean.value)
    return asdict(mean) | {"bits_per_dimension": bits, "per_example": bounds.cpu().numpy()}
