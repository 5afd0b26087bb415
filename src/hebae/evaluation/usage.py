"""Use of the code: what its decoder makes of it, and what it says about an example's class.

Reconstruction error, robustness to noise, smoothness; accuracy of two simple classifiers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae import inference
from hebae.deprecation import old_parameters
from hebae.errors import HebaeError, UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike, Device
from hebae.evaluation.estimate import Estimate, mean_estimate, ratio_of_means
from hebae.model import Autoencoder

__all__ = [
    "Accuracy",
    "ReconstructionError",
    "Robustness",
    "Smoothness",
    "knn_accuracy",
    "logistic_accuracy",
    "reconstruction_error",
    "robustness",
    "smoothness",
]

BLOCK = 1000
"""Examples decoded at once."""


@dataclass(frozen=True)
class ReconstructionError:
    """How far an example is from what the mean of its code decodes to; means over examples."""

    squared_error: Estimate
    """``||x - g(mu(x))||^2``, summed over the numbers of an example, in squared units of x."""
    negative_log_likelihood: Estimate
    """``-log p(x | z = mu(x))`` in nats, also summed."""
    count: int


@dataclass(frozen=True)
class Robustness:
    """How far noise in the code moves what is decoded."""

    distance: Estimate
    """Mean ``||g(z + noise) - g(z)||``, in units of x."""
    pair_distance: Estimate
    """Mean ``||g(z) - g(z')||`` of random pairs, in units of x."""
    relative: Estimate
    """The first over the second, without unit: 1 if noise changes as much as another code."""
    scale: float
    """Standard deviation of the noise, relative to that of each dimension."""
    count: int


@dataclass(frozen=True)
class Smoothness(Estimate):
    """Mean curvature of decoded straight lines; 0 if they are straight and at constant speed."""

    pairs: int
    steps: int


@dataclass(frozen=True)
class Accuracy(Estimate):
    """Share of test examples that are classified correctly, with its binomial standard error."""

    train_count: int
    """Examples that the classifier was fitted to."""
    test_count: int
    chance: float
    """Accuracy of always predicting the most frequent class of the test examples."""


def reconstruction_error(
    model: Any, values: ArrayLike, *, device: Device = None
) -> ReconstructionError:
    """Squared error and negative log-likelihood of reconstructions from z = mu(x).

    Parameters
    ----------
    model, values, device
        See `elbo`. Only observed numbers count.
    """
    module, data = checks.examples(model, values)
    squares, likelihoods = [], []
    with checks.on_device(module, device):
        for rows in _rows(inference.count_of(data)):
            part = data[rows]
            x = inference.batch_of(module, part).cpu().numpy()
            error = inference.reconstruct(module, part).astype(np.float64) - x
            squares.append(np.nan_to_num(np.square(error)).reshape(len(x), -1).sum(axis=1))
            likelihoods.append(inference.log_likelihood(module, part))
    error, log_likelihood = np.concatenate(squares), np.concatenate(likelihoods)
    count = inference.count_of(data)
    return ReconstructionError(mean_estimate(error), mean_estimate(-log_likelihood), count)


def robustness(
    model: Any,
    codes: ArrayLike,
    *,
    scale: float = 0.1,
    seed: int = 0,
    conditions: npt.NDArray[np.float32] | None = None,
    device: Device = None,
) -> Robustness:
    """Mean distance that noise in the code moves what is decoded, absolute and relative.

    The noise is ``scale * s_j * epsilon_j``, s_j the standard deviation of dimension j over the
    given codes. It is compared with the distance between random pairs: a code and the next one in a
    random order. Standard errors are over codes, as if pairs were independent.

    Parameters
    ----------
    model, device
        See `elbo`.
    codes : array-like, shape (n, k)
        mu or z of examples, n at least 2.
    scale : float
        Above 0.
    seed : int
        Seed of noise and pairs.
    conditions : ndarray, shape (n, columns), optional
        Conditions of the examples, for a conditional model. A pair is decoded with the first one's.

    Raises
    ------
    UndefinedMetric
        If all codes decode to the same.
    """
    module, z = _decodable(model, codes)
    checks.require(0 < scale < math.inf, "scale", scale, "above 0 and finite")
    rng = np.random.default_rng(seed)
    noisy = z + scale * z.std(axis=0) * rng.standard_normal(z.shape)
    order = rng.permutation(len(z))
    partner = np.empty_like(z)
    partner[order] = z[np.roll(order, 1)]
    moved, apart = [], []
    with checks.on_device(module, device):
        for rows in _rows(len(z)):
            given = None if conditions is None else conditions[rows]
            here, near, far = (
                inference.decode(module, some[rows], given).reshape(len(some[rows]), -1)
                for some in (z, noisy, partner)
            )
            here = here.astype(np.float64)
            moved.append(np.linalg.norm(near - here, axis=1))
            apart.append(np.linalg.norm(far - here, axis=1))
    distance, pair_distance = np.concatenate(moved), np.concatenate(apart)
    undefined = "All codes decode to the same, so there is nothing to compare noise with."
    relative = ratio_of_means(distance, pair_distance, undefined)
    return Robustness(
        mean_estimate(distance), mean_estimate(pair_distance), relative, scale, len(z)
    )


def smoothness(
    model: Any,
    first: ArrayLike,
    second: ArrayLike,
    *,
    steps: int = 11,
    features: Callable[[npt.NDArray[np.float32]], Any] | None = None,
    conditions: npt.NDArray[np.float32] | None = None,
    device: Device = None,
) -> Smoothness:
    """Mean curvature of decoded straight lines between pairs of codes, without unit.

    With f(t) the features of ``g((1 - t) z + t z')`` and ``h = 1 / (steps - 1)``:
    ``mean |f(t - h) - 2 f(t) + f(t + h)| / (h^2 mean |f(1) - f(0)|)``, where the upper mean is over
    pairs and the inner t, the lower over pairs. So f = a + b t + c t^2 gives 2 |c| / |b + c| for
    any number of steps. A line that jumps has more the finer the steps, so compare only values with
    the same `steps`.

    Parameters
    ----------
    model, device
        See `elbo`.
    first, second : array-like, shape (n, k)
        Codes of the pairs, n at least 2.
    steps : int
        Points on a line including its ends, at least 3.
    features : callable, optional
        Maps images (m, *shape), in the units of the data, to (m, d); default: their numbers.
    conditions : ndarray, shape (n, columns), optional
        Conditions for a conditional model: each line is decoded with one row of them.

    Raises
    ------
    UndefinedMetric
        If the ends of every line decode to the same.
    """
    module, begin = _decodable(model, first, "first")
    end = checks.pair(begin, second, ("first", "second"))[1]
    if len(begin) != len(end):
        raise HebaeError(
            f"first has {len(begin)} codes and second has {len(end)}; give one per pair."
        )
    checks.counts(3, steps=steps)  # for a second difference
    t = np.linspace(0, 1, steps)[None, :, None]
    bends, chords = [], []
    with checks.on_device(module, device):
        for rows in _rows(len(begin), max(1, BLOCK // steps)):
            z = (1 - t) * begin[rows, None] + t * end[rows, None]
            of_points = None if conditions is None else conditions[rows].repeat(steps, axis=0)
            images = inference.decode(module, z.reshape(-1, module.latent_dim), of_points)
            given = images.reshape(len(images), -1) if features is None else features(images)
            f = checks.features(given, "features", 1)
            if len(f) != len(images):
                raise HebaeError(
                    f"features gave {len(f)} rows for {len(images)} images; it must give one each."
                )
            f = f.reshape(-1, steps, f.shape[1])
            bend = np.linalg.norm(np.diff(f, n=2, axis=1), axis=2).mean(axis=1)
            bends.append(bend * (steps - 1) ** 2)
            chords.append(np.linalg.norm(f[:, -1] - f[:, 0], axis=1))
    undefined = "The ends of every line decode to the same, so its curvature has no scale."
    curvature = ratio_of_means(np.concatenate(bends), np.concatenate(chords), undefined)
    return Smoothness(*astuple(curvature), pairs=len(begin), steps=steps)


def _decodable(model: Any, codes: ArrayLike, name: str = "codes") -> tuple[Autoencoder, Array]:
    module = inference.module_of(model)
    z = checks.features(codes, name)
    if z.shape[1] != module.latent_dim:
        raise HebaeError(
            f"{name} has {z.shape[1]} dimensions, but this model's codes have {module.latent_dim}."
        )
    return module, z


def _rows(count: int, block: int = BLOCK) -> list[slice]:
    return [slice(start, start + block) for start in range(0, count, block)]


def knn_accuracy(
    train_codes: ArrayLike,
    train_labels: npt.ArrayLike,
    test_codes: ArrayLike,
    test_labels: npt.ArrayLike,
    *,
    neighbours: int = 10,
) -> Accuracy:
    """Accuracy of a vote among the nearest training codes by Euclidean distance.

    Parameters
    ----------
    train_codes, test_codes : array-like, shapes (n, k) and (m, k)
        mu or z, or any features.
    train_labels, test_labels : array-like, shapes (n,) and (m,)
        Numbers or strings.
    neighbours : int
        From 1 to n.
    """
    from sklearn.neighbors import KNeighborsClassifier

    x, labels, y, truth = _checked(train_codes, train_labels, test_codes, test_labels)
    checks.require(1 <= neighbours <= len(x), "neighbours", neighbours, f"from 1 to {len(x)}")
    # A tree gains nothing in tens of dimensions.
    classifier = KNeighborsClassifier(neighbours, algorithm="brute").fit(x, labels)
    return _accuracy(classifier, len(x), y, truth)


@old_parameters(inverse_penalty="the weights have scikit-learn's standard penalty, C = 1")
def logistic_accuracy(
    train_codes: ArrayLike,
    train_labels: npt.ArrayLike,
    test_codes: ArrayLike,
    test_labels: npt.ArrayLike,
    *,
    inverse_penalty: float = 1.0,
    limit: int = 60_000,
    max_iterations: int = 1000,
    seed: int = 0,
) -> Accuracy:
    """Accuracy of multinomial logistic regression on standardised codes: what a linear map finds.

    Parameters
    ----------
    train_codes, train_labels, test_codes, test_labels
        As in `knn_accuracy`; at least two classes.
    inverse_penalty : float
        Deprecated: scikit-learn's C.
    max_iterations : int
        scikit-learn's max_iter.
    limit, seed : int
        Largest number of training examples to use; of more, a random subset.

    Raises
    ------
    UndefinedMetric
        If all are of one class, or the fit has not converged.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, labels, y, truth = _checked(train_codes, train_labels, test_codes, test_labels)
    checks.counts(2, limit=limit)
    checks.counts(max_iterations=max_iterations)
    if len(x) > limit:
        rows = np.random.default_rng(seed).choice(len(x), limit, replace=False)
        x, labels = x[rows], labels[rows]
    if len(np.unique(labels)) < 2:
        raise UndefinedMetric("All training examples are of one class; there is nothing to learn.")
    checks.require(inverse_penalty > 0, "inverse_penalty", inverse_penalty, "above 0")
    regression = LogisticRegression(C=inverse_penalty, max_iter=max_iterations)
    classifier = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            classifier.fit(x, labels)
        except ConvergenceWarning:
            raise UndefinedMetric(
                f"The logistic regression has not converged in {max_iterations} iterations; raise "
                "max_iterations."
            ) from None
    return _accuracy(classifier, len(x), y, truth)


def _checked(
    train_codes: ArrayLike, train_labels: Any, test_codes: ArrayLike, test_labels: Any
) -> tuple[Array, npt.NDArray[Any], Array, npt.NDArray[Any]]:
    x, y = checks.pair(train_codes, test_codes, ("train_codes", "test_codes"))
    labels = checks.labels(train_labels, "train_labels", len(x))
    truth = checks.labels(test_labels, "test_labels", len(y))
    return x, labels, y, truth


def _accuracy(classifier: Any, train_count: int, y: Array, truth: npt.NDArray[Any]) -> Accuracy:
    share, count = float((classifier.predict(y) == truth).mean()), len(truth)
    chance = float(np.unique(truth, return_counts=True)[1].max()) / count
    return Accuracy(share, math.sqrt(share * (1 - share) / count), train_count, count, chance)
