"""Sets of features in blocks of rows: only those that are computed with are in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_NUMBERS = 2**18
"""Numbers of a block of rows: 2 MiB in float64."""


class GreyLevels:
    """Pixels as features (n, d), in a byte each: 0 to 255 stand for 0 to 1.

    ``x[rows]`` selects rows; ``np.asarray(x)`` gives float32.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, values: npt.NDArray[np.uint8]) -> None:
        self.values = values
        self.shape = values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> GreyLevels:
        return GreyLevels(self.values[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        levels: npt.NDArray[Any] = self.values / np.float32(255)
        return levels if dtype is None else levels.astype(dtype, copy=False)


def spans(count: int, width: int) -> Iterator[slice]:
    """Yield slices of `count` rows of `width` numbers, `BLOCK_NUMBERS` at a time."""
    size = max(1, BLOCK_NUMBERS // max(1, width))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def doubles(features: Any, rows: Any = slice(None)) -> npt.NDArray[np.float64]:
    """Return rows of an array, a tensor or `GreyLevels` in float64."""
    return np.asarray(features[rows], np.float64)
