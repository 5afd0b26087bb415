"""Means over a sample, and ratios of them, with standard errors."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError
from hebae.evaluation.estimate import Estimate, UndefinedMetric

__all__ = ["mean_estimate", "ratio_of_means"]

Array = npt.NDArray[np.float64]


def mean_estimate(values: npt.NDArray[np.floating]) -> Estimate:
    """Mean of n independent values (n,), with its standard error; n at least 2."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        raise HebaeError(f"A standard error takes at least 2 values; there are {len(array)}.")
    return Estimate(float(array.mean()), float(array.std(ddof=1)) / math.sqrt(len(array)))


def ratio_of_means(numerator: Array, denominator: Array, undefined: str) -> Estimate:
    """``mean(numerator) / mean(denominator)`` over n independent pairs, by the delta method.

    Unlike a mean of ratios it is not ruled by the pairs whose denominator happens to be small.

    Raises
    ------
    UndefinedMetric
        With the sentence `undefined`, if the denominator is zero throughout.
    """
    scale = float(denominator.mean())
    if scale == 0:
        raise UndefinedMetric(undefined)
    ratio = float(numerator.mean()) / scale
    return Estimate(ratio, mean_estimate((numerator - ratio * denominator) / scale).standard_error)
