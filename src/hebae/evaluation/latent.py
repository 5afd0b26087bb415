"""The latent code over a set of examples (section 6 of docs/mathematics.md)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["correlation", "covariance", "mean_absolute_off_diagonal", "median_scale"]

Array = npt.NDArray[np.float64]


def covariance(codes: npt.NDArray[np.floating]) -> Array:
    """Covariance (k, k) of codes (n, k), divided by n, in float64 (Fig. 2a of the paper)."""
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    result: Array = centred.T @ centred / len(codes)
    return result


def correlation(covariance: Array) -> Array:
    """Correlation (k, k) of a covariance (k, k).

    A dimension that never varies has no correlation: its row and column are NaN.
    """
    deviation = np.sqrt(np.diag(covariance))
    deviation = np.where(deviation > 0, deviation, np.nan)
    result: Array = covariance / np.outer(deviation, deviation)
    return result


def mean_absolute_off_diagonal(matrix: Array) -> float | None:
    """Mean |entry| off the diagonal of (k, k), NaN left out; None if there is no such entry."""
    entries = np.abs(matrix[~np.eye(len(matrix), dtype=bool)])
    entries = entries[np.isfinite(entries)]
    return float(entries.mean()) if entries.size else None


def median_scale(log_scale: npt.NDArray[np.floating] | None) -> float | None:
    """Median of sigma = exp(log_scale) over examples and dimensions; None without noise.

    In HEBAE sigma multiplies noise of the codes' own covariance, in the VAE noise of variance 1.
    """
    return None if log_scale is None else float(np.exp(np.median(log_scale.astype(np.float64))))
