"""How the decoder treats its codes: error of reconstruction, robustness to noise, smoothness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.errors import HebaeError
from hebae.evaluation.averages import mean_estimate, ratio_of_means
from hebae.evaluation.estimate import Estimate
from hebae.evaluation.samples import Array, Features, check_features, check_pair
from hebae.model import Autoencoder

__all__ = [
    "ReconstructionError",
    "Robustness",
    "Smoothness",
    "reconstruction_error",
    "robustness",
    "smoothness",
]

BLOCK = 1000
"""Examples decoded at once."""


@dataclass(frozen=True, kw_only=True)
class ReconstructionError:
    """How far an example is from what is decoded of its code's mean; means over examples."""

    squared_error: Estimate
    """``||x - g(mu(x))||^2``, summed over the numbers of an example, in squared units of x."""
    negative_log_likelihood: Estimate
    """``-log p(x | z = mu(x))`` in nats, summed likewise."""
    count: int


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """How far noise in the code moves what is decoded."""

    distance: Estimate
    """Mean ``||g(z + noise) - g(z)||``, in units of x."""
    pair_distance: Estimate
    """Mean ``||g(z) - g(z')||`` of random pairs, in units of x."""
    relative: Estimate
    """The first over the second: without unit, and 1 where noise does as much as another code."""
    scale: float
    """Standard deviation of the noise, in those of each dimension."""
    count: int


@dataclass(frozen=True)
class Smoothness(Estimate):
    """Mean curvature of decoded straight lines; 0 where they are straight and even."""

    pairs: int
    steps: int


def reconstruction_error(model: Any, values: npt.NDArray[np.generic]) -> ReconstructionError:
    """Squared error and negative log-likelihood of reconstructions from z = mu(x).

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    values : array, shape (n, *shape)
        n at least 2; uint8 (taken to [0, 1]) or float, best held out.

    Raises
    ------
    HebaeError
        If there are fewer than 2 examples.
    """
    module = inference.module_of(model)
    if len(values) < 2:
        raise HebaeError(f"There are {len(values)} example(s), but at least 2 are needed.")
    squares, likelihoods = [], []
    for rows in _rows(len(values)):
        x = np.asarray(values[rows])
        error = inference.reconstruct(module, x).astype(np.float64)
        error -= x / 255 if x.dtype == np.uint8 else x
        squares.append(np.square(error).reshape(len(x), -1).sum(axis=1))
        likelihoods.append(inference.log_likelihood(module, x))
    return ReconstructionError(
        squared_error=mean_estimate(np.concatenate(squares)),
        negative_log_likelihood=mean_estimate(-np.concatenate(likelihoods)),
        count=len(values),
    )


def robustness(model: Any, codes: Features, *, scale: float = 0.1, seed: int = 0) -> Robustness:
    """Mean distance that noise in the code moves what is decoded, in all and against random pairs.

    The noise is ``scale * s_j * epsilon_j``, with s_j the standard deviation of dimension j over
    the codes given, so that models whose codes differ in size are treated alike. A pair is a code
    and the next one in a random order.

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    codes : array, shape (n, k)
        mu or z of examples, n at least 2.
    scale : float
        Above 0.
    seed : int
        Of noise and pairs.

    Raises
    ------
    UndefinedMetric
        If all codes decode to one thing, so that there is nothing to compare with.
    HebaeError
        If codes do not fit the model or are not finite, or `scale` is not above 0.

    Notes
    -----
    Standard errors are over codes, as if pairs were independent; each code is in two of them.
    """
    module, z = _decodable(model, codes)
    if not scale > 0:
        raise HebaeError(f"scale is {scale}; it must be above 0.")
    rng = np.random.default_rng(seed)
    noise = scale * z.std(axis=0) * rng.standard_normal(z.shape)
    order = rng.permutation(len(z))
    partner = np.empty_like(order)
    partner[order] = np.roll(order, 1)
    moved, apart = [], []
    for rows in _rows(len(z)):
        here, near, far = (
            _flat(inference.decode(module, codes))
            for codes in (z[rows], z[rows] + noise[rows], z[partner[rows]])
        )
        moved.append(np.linalg.norm(near - here, axis=1))
        apart.append(np.linalg.norm(far - here, axis=1))
    distance, pair_distance = np.concatenate(moved), np.concatenate(apart)
    return Robustness(
        distance=mean_estimate(distance),
        pair_distance=mean_estimate(pair_distance),
        relative=ratio_of_means(
            distance,
            pair_distance,
            "All codes decode to the same, so noise in them has nothing to be compared with.",
        ),
        scale=scale,
        count=len(z),
    )


def smoothness(
    model: Any,
    first: Features,
    second: Features,
    *,
    steps: int = 11,
    features: Callable[[npt.NDArray[np.float32]], Features] | None = None,
) -> Smoothness:
    """Mean curvature of decoded straight lines between pairs of codes, without unit.

    With f(t) the features of ``g((1 - t) z + t z')`` and ``h = 1 / (steps - 1)``:
    ``mean |f(t - h) - 2 f(t) + f(t + h)| / (h^2 mean |f(1) - f(0)|)``, the upper mean over pairs
    and the inner t, the lower over pairs. So f = a + b t + c t^2 has 2 |c| / |b + c| for any number
    of steps. A line that moves evenly has 0; one that jumps has more, the more the finer the steps,
    so that only values of the same `steps` can be compared.
    The means are divided, and not each pair's numbers, so that pairs whose ends nearly coincide
    do not rule the result.

    Parameters
    ----------
    model : Autoencoder or fitted estimator
    first, second : array, shape (n, k)
        Codes of the pairs, n at least 2.
    steps : int
        Points on a line with its ends, at least 3.
    features : callable, optional
        From images (m, *shape), in the units of the data, to (m, d); by default their numbers.

    Raises
    ------
    UndefinedMetric
        If the ends of every line decode to the same.
    HebaeError
        If codes do not fit the model or are not finite, or `steps` is below 3.
    """
    module, begin = _decodable(model, first)
    end = check_pair(first, second, ("first", "second"))[1]
    if len(begin) != len(end):
        raise HebaeError(f"first has {len(begin)} codes and second {len(end)}; they are pairs.")
    if steps < 3:
        raise HebaeError(f"steps is {steps}; a second difference takes at least 3.")
    t = np.linspace(0, 1, steps)[None, :, None]
    bends, chords = [], []
    for rows in _rows(len(begin), max(1, BLOCK // steps)):
        z = (1 - t) * begin[rows, None] + t * end[rows, None]
        images = inference.decode(module, z.reshape(-1, module.latent_dim))
        f = _flat(images) if features is None else check_features(features(images), "features", 1)
        if len(f) != len(images):
            raise HebaeError(f"features gave {len(f)} rows for {len(images)} images.")
        f = f.reshape(-1, steps, f.shape[1])
        second_difference = f[:, :-2] - 2 * f[:, 1:-1] + f[:, 2:]
        bends.append(np.linalg.norm(second_difference, axis=2).mean(axis=1) * (steps - 1) ** 2)
        chords.append(np.linalg.norm(f[:, -1] - f[:, 0], axis=1))
    curvature = ratio_of_means(
        np.concatenate(bends),
        np.concatenate(chords),
        "The ends of every line decode to the same, so its curvature has no scale.",
    )
    return Smoothness(curvature.value, curvature.standard_error, len(begin), steps)


def _decodable(model: Any, codes: Features) -> tuple[Autoencoder, Array]:
    module = inference.module_of(model)
    z = check_features(codes, "codes")
    if z.shape[1] != module.latent_dim:
        raise HebaeError(
            f"The codes have {z.shape[1]} dimensions; this model's have {module.latent_dim}."
        )
    return module, z


def _rows(count: int, block: int = BLOCK) -> Iterator[slice]:
    for start in range(0, count, block):
        yield slice(start, start + block)


def _flat(images: npt.NDArray[np.float32]) -> Array:
    return images.reshape(len(images), -1).astype(np.float64)
