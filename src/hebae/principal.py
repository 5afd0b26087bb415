"""Principal axes of codes, as pages, maps and tables of codes show them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


class PrincipalAxes(NamedTuple):
    """Directions of a distribution, by decreasing variance."""

    mean: Doubles
    """Shape (k,)."""
    deviations: Doubles
    """Standard deviations along the directions, shape (k,)."""
    directions: Doubles
    """Orthonormal rows, shape (k, k). Of the two signs, the one whose largest entry is positive."""

    def coordinates(self, z: Floats) -> Floats:
        """Return codes (n, k) in standard deviations along the directions; 0 where all agree."""
        along = (z - self.mean) @ self.directions.T
        found = np.divide(
            along, self.deviations, out=np.zeros_like(along), where=self.deviations > 0
        )
        return np.asarray(found, np.float32)

    def codes(self, coordinates: Floats) -> Floats:
        """Return the codes (n, k) of coordinates."""
        return np.asarray(self.mean + (coordinates * self.deviations) @ self.directions, np.float32)

    @property
    def shares(self) -> Floats:
        """Share of the variance along each direction, shape (k,)."""
        variances = self.deviations**2
        return np.asarray(variances / (variances.sum() or 1.0), np.float32)


def principal_axes(mean: npt.ArrayLike, covariance: npt.ArrayLike) -> PrincipalAxes:
    """Return the principal axes of a mean (k,) and a covariance (k, k)."""
    variances, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    directions = vectors.T[::-1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1)[:, None], axis=1)
    deviations = np.sqrt(np.clip(variances[::-1], 0, None))
    return PrincipalAxes(np.asarray(mean, np.float64), deviations, directions * np.sign(largest))


def principal_axes_of(codes: npt.ArrayLike) -> PrincipalAxes:
    """Return the principal axes of codes (n, k), n >= 1."""
    values = np.asarray(codes, np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    return principal_axes(mean, centred.T @ centred / max(len(values) - 1, 1))
