"""Genotypes in 2 bits each; rows are decoded when they are asked for."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MISSING = 3
"""The number that stands for a missing call while genotypes are read and stored."""
_SHIFTS = (0, 2, 4, 6)
_CODES = np.stack([np.arange(256, dtype=np.uint8) >> shift & 3 for shift in _SHIFTS], axis=1)
"""The four numbers in each byte."""


def pack(calls: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pack numbers 0 to 3 of shape (n, d) into bytes (n, ceil(d / 4)), the first lowest."""
    n, d = calls.shape
    packed = np.zeros((n, -(-d // 4)), np.uint8)
    for place, shift in enumerate(_SHIFTS):
        part = calls[:, place::4]
        packed[:, : part.shape[1]] |= part << shift
    return packed


class RowFile:
    """Rows of bytes in a file, of which those that are asked for are read.

    The file is not mapped, so that its pages are not counted as memory of the process.
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self.path, self.shape = path, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: npt.NDArray[np.intp] | int) -> npt.NDArray[np.uint8]:
        wanted = np.asarray(rows)
        bytes_of = np.empty((wanted.size, self.shape[1]), np.uint8)
        with self.path.open("rb", buffering=0) as file:
            for row, place in zip(bytes_of, wanted.ravel().tolist(), strict=True):
                file.seek(place * self.shape[1])
                file.readinto(row.data)
        return bytes_of.reshape(*wanted.shape, self.shape[1])


class PackedGenotypes:
    """Genotypes (n, variants) of uint8, or their mask of missing calls, decoded row by row.

    ``x[index]`` with an integer, a slice or an array of rows is an ndarray of these rows only.

    Parameters
    ----------
    packed : ndarray of uint8, or RowFile, shape (n, ceil(variants / 4))
        Genotypes packed by `pack`.
    variants : int
    mask : bool
        Whether elements are bool, true where a call is missing, instead of the numbers 0, 1 and 2
        (0 or 2 where a call is missing).
    rows : ndarray of int, optional
        The rows of `packed` that are the examples; all by default.
    """

    ndim = 2
    itemsize = 1

    def __init__(
        self,
        packed: npt.NDArray[np.uint8] | RowFile,
        variants: int,
        *,
        mask: bool = False,
        rows: npt.NDArray[np.intp] | None = None,
    ) -> None:
        self.packed = packed
        self.variants = variants
        self.columns: npt.NDArray[np.intp] | None = None
        self.exchanged: npt.NDArray[np.bool_] | None = None
        self.mask = mask
        self.rows = np.arange(len(packed)) if rows is None else rows
        self.shape = (len(self.rows), variants)
        self.dtype = np.dtype(np.bool_ if mask else np.uint8)
        missing = _CODES == MISSING
        self._decoded: npt.NDArray[Any] = missing if mask else np.where(missing, 0, _CODES)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes that the decoded array would take."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        packed = self.packed[self.rows[index]]
        decoded = self._decoded[packed].reshape(*packed.shape[:-1], -1)
        columns: Any = slice(self.variants) if self.columns is None else self.columns
        rows: npt.NDArray[Any] = decoded[..., columns]
        if self.exchanged is not None and not self.mask:
            np.subtract(2, rows, out=rows, where=self.exchanged)
        return rows

    def with_columns(
        self, columns: npt.NDArray[np.intp], exchanged: npt.NDArray[np.bool_]
    ) -> PackedGenotypes:
        """Select features; of those that are `exchanged`, count the other allele."""
        selected = copy(self)
        selected.columns = columns if self.columns is None else self.columns[columns]
        before = False if self.exchanged is None else self.exchanged[columns]
        selected.exchanged = exchanged ^ before if exchanged.any() or np.any(before) else None
        selected.shape = (len(self.rows), len(columns))
        return selected

    def select(self, index: slice | npt.NDArray[np.integer | np.bool_]) -> PackedGenotypes:
        """Select examples without decoding them."""
        selected = copy(self)
        selected.rows = self.rows[index]
        selected.shape = (len(selected.rows), self.shape[1])
        return selected
