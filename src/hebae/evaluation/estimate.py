"""A number estimated from a sample: means and ratios with their standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hebae.errors import HebaeError, UndefinedMetric


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error, in the same unit."""

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.standard_error:.2g}"


def mean_estimate(values: npt.NDArray[np.floating]) -> Estimate:
    """Mean of n independent values (n,), with its standard error; n is at least 2."""
    array = np.asarray(values, np.float64)
    if len(array) < 2:
        raise HebaeError(f"A standard error needs at least 2 values; there are {len(array)}.")
    return Estimate(float(array.mean()), float(array.std(ddof=1)) / math.sqrt(len(array)))


def ratio_of_means(
    numerator: npt.NDArray[np.float64], denominator: npt.NDArray[np.float64], undefined: str
) -> Estimate:
    """``mean(numerator) / mean(denominator)`` over n independent pairs, by the delta method.

    Raises
    ------
    UndefinedMetric
        With the sentence `undefined` if all denominators are zero.
    """
    scale = float(denominator.mean())
    if scale == 0:
        raise UndefinedMetric(undefined)
    ratio = float(numerator.mean()) / scale
    return Estimate(ratio, mean_estimate((numerator - ratio * denominator) / scale).standard_error)
