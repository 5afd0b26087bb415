"""Fit mixtures of normals to codes: by expectation maximisation, as many as held-out codes support.

scikit-learn's GaussianMixture passes over the codes once per component, and took ten times as long:
4 s per iteration for 200 components, 54,000 codes and k = 20 on one core, where this takes 0.3 s.
Here the log density of a normal is linear in the products z_i z_j, the z_i and 1, so that both
steps are one product of matrices for all components at once. Its differences of large numbers are
harmless in float64 for whitened codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.errors import HebaeError, UndefinedMetric
from hebae.priors.base import Doubles, check_codes
from hebae.priors.mixture import Mixture, principal_moments

COMPONENTS = (1, 2, 5, 10, 20, 50, 100, 200, 400, 800)
FEWEST_CODES = 20
"""With fewer than two held-out codes, noise and gain cannot be told apart."""
ITERATIONS = 15
TOLERANCE = 0.005
"""Nats per held-out code that one more iteration must gain."""
PATIENCE = 2
REFIT_ITERATIONS = 3
BLOCK = 4096
"""Most codes that are computed with at once."""
BLOCK_NUMBERS = 2**19
"""Most numbers for them at once, of features or components: 4 MiB in float64."""
PRIOR_CODES = 0.5
"""Weight of the pooled covariance in each component's, in codes per latent dimension.

On MNIST codes, k = 20, 400 components, it gains 0.2 nats per held-out code and keeps further
iterations from overfitting.
"""
COMPONENT_FLOOR = 1e-3
"""Added to the variances of a component, in units of the codes' variance in that direction."""


class Parameters(NamedTuple):
    """Weights (c,), means (c, k) and covariances (c, k, k) of a mixture, float64."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def coefficients(self) -> Tensor:
        """Coefficients (c, p) of the `_features` in log(w_c N(z; m_c, C_c))."""
        k = self.means.shape[1]
        factors = torch.linalg.cholesky(self.covariances)
        precisions = torch.cholesky_inverse(factors)
        linear = (precisions @ self.means[..., None])[..., 0]
        i, j = torch.triu_indices(k, k)
        quadratic = precisions[:, i, j] * torch.where(i == j, -0.5, -1.0)
        constant = (
            self.weights.log()
            - 0.5 * (self.means * linear).sum(dim=1)
            - factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
            - 0.5 * k * math.log(2 * math.pi)
        )
        return torch.cat([quadratic, linear, constant[:, None]], dim=1)


def log_density(z: Tensor, parameters: Parameters) -> Tensor:
    """Log density (n,) of codes (n, k), in nats."""
    coefficients = parameters.coefficients()
    density = z.new_empty(len(z))
    for rows in _blocks(len(z), coefficients):
        density[rows] = (_features(z[rows]) @ coefficients.T).logsumexp(dim=1)
    return density


def _blocks(count: int, coefficients: Tensor) -> Iterator[slice]:
    """Yield slices of `count` codes."""
    size = max(1, min(BLOCK, BLOCK_NUMBERS // max(coefficients.shape)))
    return (slice(start, start + size) for start in range(0, count, size))


def em_step(
    z: Tensor,
    parameters: Parameters,
    prior_codes: float = PRIOR_CODES,
    floor: float = COMPONENT_FLOOR,
) -> Parameters:
    """One iteration: responsibilities of the components for codes (n, k), then their moments.

    The covariances are posterior modes rather than maxima of the likelihood: each is pulled to the
    pooled covariance within components, with the weight of k/2 codes.
    """
    coefficients = parameters.coefficients()
    sums = torch.zeros_like(coefficients)
    for rows in _blocks(len(z), coefficients):
        features = _features(z[rows])
        sums += (features @ coefficients.T).softmax(dim=1).T @ features
    k = z.shape[1]
    counts = sums[:, -1].clamp_min(1e-8)  # a component that has lost its codes
    means = sums[:, -1 - k : -1] / counts[:, None]
    i, j = torch.triu_indices(k, k)
    scatter = sums.new_empty(len(sums), k, k)
    scatter[:, i, j] = scatter[:, j, i] = sums[:, : -1 - k]
    scatter = scatter - counts[:, None, None] * means[:, :, None] * means[:, None, :]
    pooled = scatter.sum(dim=0) / counts.sum()
    prior = prior_codes * k
    covariances = (scatter + prior * pooled) / (counts + prior)[:, None, None]
    return Parameters(counts / counts.sum(), means, covariances + floor * torch.eye(k).to(sums))


def kmeans_start(z: Tensor, components: int, seed: int) -> Parameters:
    """Start from mini-batch k-means of codes (n, k); all components get the average variance."""
    from sklearn.cluster import MiniBatchKMeans

    n, k = z.shape
    start = MiniBatchKMeans(
        components, random_state=seed, n_init=1, batch_size=2048, max_iter=10
    ).fit(z.numpy())
    counts = torch.bincount(torch.from_numpy(start.labels_).long(), minlength=components) + 1
    variance = start.inertia_ / (n * k) + COMPONENT_FLOOR
    return Parameters(
        counts.double() / counts.sum(),
        torch.from_numpy(start.cluster_centers_).double(),
        variance * torch.eye(k, dtype=z.dtype).repeat(components, 1, 1),
    )


def responsibilities(z: Tensor, coefficients: Tensor) -> Tensor:
    """Probabilities (n, c) of the components, given codes (n, k)."""
    return (_features(z) @ coefficients.T).softmax(dim=1)


def _features(z: Tensor) -> Tensor:
    """Products z_i z_j with i <= j, the z_i and 1: shape (n, k (k + 1) / 2 + k + 1)."""
    i, j = torch.triu_indices(z.shape[1], z.shape[1])
    return torch.cat([z[:, i] * z[:, j], z, torch.ones_like(z[:, :1])], dim=1)


class MixtureFit(NamedTuple):
    """A mixture fitted to nine tenths of the codes and refined on all of them."""

    mixture: Mixture
    unrefined: Mixture
    """Before it was refined: it has not seen the held-out tenth."""
    held_out: float
    """Mean log density, in nats, of the held-out tenth under the mixture of the other nine."""
    curve: dict[int, float]
    """The same by number of components."""


def fit_mixture(
    codes: npt.ArrayLike, seed: int = 0, components: tuple[int, ...] = COMPONENTS
) -> MixtureFit:
    """Fit mixtures with growing numbers of components, and keep the best for held-out codes.

    A random tenth of the codes is held out. A number of components is better than a smaller one if
    it raises their mean log density by more than the standard error of the difference; two in a row
    that do not end the search. The best is then refitted to all codes by a few more iterations.

    The codes are whitened first: affine maps of the codes leave the fit as it is, up to rounding.
    No component is narrower than a thousandth of the codes' variance in any direction.

    Parameters
    ----------
    codes : array, shape (n, k)
        At least 20.
    seed : int
        Seed of the tenth that is held out and of the starts.
    components : tuple of int
        Numbers to try, rising. Those that leave fewer than max(10, 5 k) codes per component are
        skipped, except the first.

    Raises
    ------
    HebaeError
        If there are too few codes, or they are all equal or not finite.
    """
    z = check_codes(codes)
    mean, variances, directions = principal_moments(z)
    scale = np.sqrt(variances)
    white = (z - mean) @ directions / scale
    fitted_to, held_out = (torch.from_numpy(part) for part in hold_out_tenth(white, seed))
    most = len(fitted_to) // max(10, 5 * z.shape[1])
    log_jacobian = float(np.log(scale).sum())
    best: _Candidate | None = None
    curve: dict[int, float] = {}
    failures = 0
    for count in [c for c in components if c == components[0] or c <= most]:
        candidate = _fit(fitted_to, held_out, count, seed)
        curve[count] = float(candidate.density.mean()) - log_jacobian
        gain = candidate.density - (-math.inf if best is None else best.density)
        # A gain that its own standard error does not explain.
        if best is None or float(gain.mean()) > float(gain.std()) / math.sqrt(len(gain)):
            best, failures = candidate, 0
        elif (failures := failures + 1) == PATIENCE:
            break
    if best is None:
        raise HebaeError("components is empty; name at least one number of components.")
    spread = directions * scale

    def unwhitened(parameters: Parameters) -> Mixture:
        weights, means, covariances = (np.asarray(part) for part in parameters)
        return Mixture(weights, mean + means @ spread.T, spread @ covariances @ spread.T)

    parameters = best.parameters
    for _ in range(REFIT_ITERATIONS):
        parameters = em_step(torch.from_numpy(white), parameters)
    held_out_density = curve[len(parameters.weights)]
    return MixtureFit(unwhitened(parameters), unwhitened(best.parameters), held_out_density, curve)


def hold_out_tenth(z: Doubles, seed: int) -> tuple[Doubles, Doubles]:
    """Split codes (n, k) at random into nine tenths and one.

    Raises
    ------
    HebaeError
        If there are fewer than 20.
    """
    if len(z) < FEWEST_CODES:
        raise UndefinedMetric(
            f"there are {len(z)} codes, but a sampler is fitted to at least {FEWEST_CODES}; give "
            "more training examples, or use the sampler 'normal', which needs no fit."
        )
    order = np.random.default_rng(seed).permutation(len(z))
    tenth = len(z) // 10
    return z[order[tenth:]], z[order[:tenth]]


class _Candidate(NamedTuple):
    parameters: Parameters
    density: Tensor
    """Log density of the held-out codes, shape (n,)."""


def _fit(z: Tensor, held_out: Tensor, components: int, seed: int) -> _Candidate:
    """Iterate as long as it helps the held-out codes, and keep what was best for them."""
    parameters = em_step(z, kmeans_start(z, components, seed))
    best = _Candidate(parameters, log_density(held_out, parameters))
    for _ in range(ITERATIONS):
        parameters = em_step(z, parameters)
        candidate = _Candidate(parameters, log_density(held_out, parameters))
        gain = float((candidate.density - best.density).mean())
        if gain > 0:
            best = candidate
        if gain < TOLERANCE:
            break
    return best
