"""What codes say about an example's class: accuracy of two simple classifiers of held-out codes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hebae.errors import UndefinedMetric
from hebae.evaluation import checks
from hebae.evaluation.checks import Array, ArrayLike
from hebae.evaluation.estimate import Estimate

__all__ = ["Accuracy", "knn_accuracy", "logistic_accuracy"]

Labels = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Accuracy(Estimate):
    """Share of test examples that are classified correctly, with its binomial standard error."""

    train_count: int
    """Examples that the classifier was fitted to."""
    test_count: int
    chance: float
    """Accuracy of always predicting the most frequent class of the test examples."""


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
    return _accuracy(classifier.predict(y) == truth, len(x), truth)


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
    inverse_penalty, max_iterations
        scikit-learn's C and max_iter.
    limit, seed : int
        Of more than `limit` training examples a random subset of that size is used.

    Raises an `UndefinedMetric` if all are of one class, or the fit has not converged.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, labels, y, truth = _checked(train_codes, train_labels, test_codes, test_labels)
    checks.require(inverse_penalty > 0, "inverse_penalty", inverse_penalty, "above 0")
    checks.counts(2, limit=limit)
    checks.counts(max_iterations=max_iterations)
    if len(x) > limit:
        rows = np.random.default_rng(seed).choice(len(x), limit, replace=False)
        x, labels = x[rows], labels[rows]
    if len(np.unique(labels)) < 2:
        raise UndefinedMetric("All training examples are of one class; there is nothing to learn.")
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=max_iterations)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            classifier.fit(x, labels)
        except ConvergenceWarning:
            raise UndefinedMetric(
                f"The logistic regression has not converged in {max_iterations} iterations; raise "
                "max_iterations or lower inverse_penalty."
            ) from None
    return _accuracy(classifier.predict(y) == truth, len(x), truth)


def _checked(
    train_codes: ArrayLike, train_labels: Any, test_codes: ArrayLike, test_labels: Any
) -> tuple[Array, Labels, Array, Labels]:
    x, y = checks.pair(train_codes, test_codes, ("train_codes", "test_codes"))
    labels = checks.labels(train_labels, "train_labels", len(x))
    truth = checks.labels(test_labels, "test_labels", len(y))
    return x, labels, y, truth


def _accuracy(correct: npt.NDArray[np.bool_], train_count: int, truth: Labels) -> Accuracy:
    share, count = float(correct.mean()), len(correct)
    chance = float(np.unique(truth, return_counts=True)[1].max()) / count
    return Accuracy(share, math.sqrt(share * (1 - share) / count), train_count, count, chance)
