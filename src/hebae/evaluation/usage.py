"""What codes tell of an example's class: accuracy of two plain classifiers on held-out codes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError
from hebae.evaluation.estimate import Estimate, UndefinedMetric
from hebae.evaluation.samples import Array, Features, check_pair

__all__ = ["Accuracy", "knn_accuracy", "logistic_accuracy"]

Labels = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Accuracy(Estimate):
    """Share of test examples that are classified rightly, with its binomial standard error."""

    train_count: int
    """Examples that the classifier learned from."""
    test_count: int
    chance: float
    """Accuracy of always answering with the most frequent class of the test examples."""


def knn_accuracy(
    train_codes: Features,
    train_labels: Labels,
    test_codes: Features,
    test_labels: Labels,
    *,
    neighbours: int = 10,
) -> Accuracy:
    """Accuracy of a vote among the nearest training codes, by Euclidean distance.

    Codes are taken in their own units: this judges the geometry that the model gave them.

    Parameters
    ----------
    train_codes, test_codes : array, shapes (n, k) and (m, k)
        mu or z, or any features.
    train_labels, test_labels : array, shapes (n,) and (m,)
    neighbours : int
        From 1 to n.

    Raises
    ------
    HebaeError
        If `neighbours` is out of range, codes are not finite or labels do not belong to them.
    """
    from sklearn.neighbors import KNeighborsClassifier

    x, labels, y, truth = _checked(train_codes, train_labels, test_codes, test_labels)
    if not 1 <= neighbours <= len(x):
        raise HebaeError(f"neighbours is {neighbours}; it must be from 1 to {len(x)}.")
    # A tree gains nothing in tens of dimensions.
    classifier = KNeighborsClassifier(neighbours, algorithm="brute").fit(x, labels)
    return _accuracy(classifier.predict(y) == truth, len(x), truth)


def logistic_accuracy(
    train_codes: Features,
    train_labels: Labels,
    test_codes: Features,
    test_labels: Labels,
    *,
    inverse_penalty: float = 1.0,
    limit: int = 60_000,
    max_iterations: int = 1000,
    seed: int = 0,
) -> Accuracy:
    """Accuracy of a multinomial logistic regression on standardised codes: what is linearly there.

    Parameters
    ----------
    train_codes, train_labels, test_codes, test_labels
        As in `knn_accuracy`, of two classes or more.
    inverse_penalty : float
        scikit-learn's C: the weight of the log-likelihood's sum beside half the squared weights.
    limit : int
        Training examples to use at most: a random subset of more, whose size the result tells.
    max_iterations : int
    seed : int
        Of the subset.

    Raises
    ------
    UndefinedMetric
        If the training examples are of one class.
    HebaeError
        If the fit has not converged, or as in `knn_accuracy`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, labels, y, truth = _checked(train_codes, train_labels, test_codes, test_labels)
    if inverse_penalty <= 0 or limit < 2 or max_iterations < 1:
        raise HebaeError(
            f"inverse_penalty is {inverse_penalty}, limit {limit} and max_iterations "
            f"{max_iterations}; they must be above 0, at least 2 and at least 1."
        )
    if len(x) > limit:
        rows = np.random.default_rng(seed).choice(len(x), limit, replace=False)
        x, labels = x[rows], labels[rows]
    if len(np.unique(labels)) < 2:
        raise UndefinedMetric("The training examples are of one class; there is nothing to tell.")
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
    train_codes: Features, train_labels: Labels, test_codes: Features, test_labels: Labels
) -> tuple[Array, Labels, Array, Labels]:
    x, y = check_pair(train_codes, test_codes, ("train_codes", "test_codes"))
    labels, truth = np.asarray(train_labels), np.asarray(test_labels)
    for name, given, codes in (("train", labels, x), ("test", truth, y)):
        if given.shape != (len(codes),):
            raise HebaeError(
                f"{name}_labels has shape {given.shape}; {len(codes)} codes need ({len(codes)},)."
            )
    return x, labels, y, truth


def _accuracy(right: npt.NDArray[np.bool_], train_count: int, truth: Labels) -> Accuracy:
    share, count = float(right.mean()), len(right)
    return Accuracy(
        value=share,
        standard_error=math.sqrt(share * (1 - share) / count),
        train_count=train_count,
        test_count=count,
        chance=float(np.unique(truth, return_counts=True)[1].max()) / count,
    )
