"""A mixture of normals with full covariances, fitted with as many components as codes support."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.errors import HebaeError, UndefinedMetric
from hebae.priors.base import Doubles, Prior, check_codes, normal_log_density
from hebae.priors.em import Parameters, em_step, kmeans_start, log_density
from hebae.priors.normal import as_double, factor_of, principal_moments

__all__ = ["COMPONENTS", "Mixture", "MixtureFit", "fit_mixture", "hold_out_tenth"]

COMPONENTS = (1, 2, 5, 10, 20, 50, 100, 200, 400, 800)
FEWEST_CODES = 20
"""Two codes to hold out are the fewest that tell noise from gain."""
ITERATIONS = 15
TOLERANCE = 0.005
"""Nats a held-out code that one more iteration must bring."""
PATIENCE = 2
REFIT_ITERATIONS = 3


class Mixture(Prior):
    """sum_c w_c N(m_c, C_c).

    Parameters
    ----------
    weights : array or Tensor, shape (c,)
        Above 0, with sum 1.
    means : array or Tensor, shape (c, k)
    covariances : array or Tensor, shape (c, k, k)
        Positive definite.

    See Also
    --------
    hebae.priors.fit_mixture : Fits one to codes.
    """

    name = "mixture"
    weights: Tensor
    means: Tensor
    covariances: Tensor
    factors: Tensor

    def __init__(
        self,
        weights: npt.ArrayLike | Tensor,
        means: npt.ArrayLike | Tensor,
        covariances: npt.ArrayLike | Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("weights", as_double(weights))
        self.register_buffer("means", as_double(means))
        self.register_buffer("covariances", as_double(covariances))
        c, k = self.means.shape
        self.latent_dim = k
        if self.weights.shape != (c,) or self.covariances.shape != (c, k, k):
            raise HebaeError(
                f"a mixture with means {(c, k)} takes weights ({c},) and covariances "
                f"({c}, {k}, {k}), not {tuple(self.weights.shape)} and "
                f"{tuple(self.covariances.shape)}."
            )
        if not (self.weights > 0).all() or abs(float(self.weights.sum()) - 1) > 1e-9:
            raise HebaeError("the weights of a mixture must be above 0 and have the sum 1.")
        self.register_buffer("factors", factor_of(self.covariances), persistent=False)

    @property
    def components(self) -> int:
        """Number of normals."""
        return len(self.weights)

    @property
    def noise_dim(self) -> int:
        """K + 1: the first number selects the component."""
        return self.latent_dim + 1

    def log_prob(self, z: Tensor) -> Tensor:
        """See `Prior`."""
        joint = normal_log_density(z, self.means, self.factors) + self.weights.log()
        return joint.logsumexp(dim=1)

    def transform(self, epsilon: Tensor) -> Tensor:
        """``m_c + R_c epsilon[1:]``, c by the inverse distribution function of the weights."""
        u = torch.special.ndtr(epsilon[:, 0].to(self.weights))
        component = torch.searchsorted(self.weights.cumsum(0), u).clamp(max=self.components - 1)
        noise = epsilon[:, 1:].to(self.means)
        z = self.means[component]
        # One component at a time: one factor per draw would take k times the memory of z.
        for c in component.unique():  # type: ignore[no-untyped-call]
            rows = component == c
            z[rows] += noise[rows] @ self.factors[c].mT
        return z


@dataclass(frozen=True)
class MixtureFit:
    """A mixture, and what was seen on the way to it.

    Attributes
    ----------
    mixture : Mixture
    held_out : float
        Mean log density of the held-out tenth under the mixture of the other nine tenths, in nats.
    curve : dict of int to float
        The same by number of components.
    """

    mixture: Mixture
    held_out: float
    curve: dict[int, float]


def fit_mixture(
    codes: npt.ArrayLike, seed: int = 0, components: tuple[int, ...] = COMPONENTS
) -> MixtureFit:
    """Fit mixtures of more and more components, and keep the best for held-out codes.

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
        Of the tenth held out and of the starts.
    components : tuple of int
        Numbers to try, rising. Those that leave fewer than max(10, 5 k) codes a component are left
        out, but for the first.

    Raises
    ------
    HebaeError
        If there are too few codes, or they are all equal or not finite.
    """
    z = check_codes(codes)
    moments = principal_moments(z)
    scale = np.sqrt(moments.variances)
    white = (z - moments.mean) @ moments.directions / scale
    fitted_to, held_out = (torch.from_numpy(part) for part in hold_out_tenth(white, seed))
    most = len(fitted_to) // max(10, 5 * z.shape[1])
    log_jacobian = float(np.log(scale).sum())
    best: _Candidate | None = None
    curve: dict[int, float] = {}
    failures = 0
    for count in [c for c in components if c == components[0] or c <= most]:
        candidate = _fit(fitted_to, held_out, count, seed)
        curve[count] = float(candidate.density.mean()) - log_jacobian
        if best is None or _is_better(candidate.density, best.density):
            best, failures = candidate, 0
        else:
            failures += 1
            if failures == PATIENCE:
                break
    if best is None:
        raise HebaeError("components is empty; name at least one number of components.")
    parameters = best.parameters
    for _ in range(REFIT_ITERATIONS):
        parameters = em_step(torch.from_numpy(white), parameters)
    weights, means, covariances = (np.asarray(part) for part in parameters)
    spread = moments.directions * scale
    return MixtureFit(
        Mixture(weights, moments.mean + means @ spread.T, spread @ covariances @ spread.T),
        curve[len(weights)],
        curve,
    )


def hold_out_tenth(z: Doubles, seed: int) -> tuple[Doubles, Doubles]:
    """Split codes (n, k) at random into nine tenths and one.

    Raises
    ------
    HebaeError
        If there are fewer than 20.
    """
    if len(z) < FEWEST_CODES:
        raise UndefinedMetric(
            f"there are {len(z)} codes and a sampler is fitted to at least {FEWEST_CODES}; give "
            "more training examples, or take the sampler 'normal', which needs none."
        )
    order = np.random.default_rng(seed).permutation(len(z))
    tenth = len(z) // 10
    return z[order[tenth:]], z[order[:tenth]]


class _Candidate(NamedTuple):
    parameters: Parameters
    density: Tensor
    """Of the held-out codes, shape (n,)."""


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


def _is_better(density: Tensor, than: Tensor) -> bool:
    difference = density - than
    return float(difference.mean()) > float(difference.std()) / math.sqrt(len(difference))
