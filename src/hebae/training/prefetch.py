"""Rows of an array in host memory or on disk, read in the background, ahead of the training step.

Random rows of a file that is not in memory are slow one by one: the disk has one request at a time,
and a memory map reads a stretch around each row that nobody asks for (the kernel's readahead, of
megabytes for rows of kilobytes). So the system is told the rows of the next few batches, which the
disk then reads side by side, and a thread copies them into batches while the step runs.
"""

from __future__ import annotations

import mmap
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import islice, tee, zip_longest

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from hebae.data.workers import map_in_threads

__all__ = ["HostRows", "map_of"]

READY = 2
"""Batches that wait in memory, beside the one in use and the one that is being made."""

ANNOUNCED = 4
"""Batches of which the system is told before they are made."""

Indices = npt.NDArray[np.int64]


class HostRows:
    """Rows of an array in host memory, or on disk as a memory map.

    Parameters
    ----------
    values : ndarray, shape (n, *shape)
    pinned : bool
        Give batches in page-locked memory, from which CUDA copies while the host goes on; PyTorch
        uses a batch's memory again once its copy is done.

    Attributes
    ----------
    mapped : bool
        Whether the array is a memory map, or a view of one.
    """

    def __init__(self, values: np.ndarray, *, pinned: bool = False) -> None:
        self.values = values
        self.pinned = pinned
        self._map = map_of(values)
        self.mapped = self._map is not None

    def take(self, indices: Indices) -> Shaped[Tensor, "batch *shape"]:
        """Copy rows, in one thread: the other cores belong to the step."""
        self._announce(indices)
        return self._copy(indices)

    def ahead(self, batches: Iterable[Indices]) -> Generator[Shaped[Tensor, "batch *shape"]]:
        """Copy the rows of each batch, in order and in the background.

        What goes wrong there is raised here, at the batch that it concerns. Closing the generator,
        as leaving a ``for`` loop over it does, waits for the copy that is being made and ends.
        """
        now, later = tee(batches)
        for indices in islice(later, ANNOUNCED):
            self._announce(indices)

        def read(pair: tuple[Indices, Indices | None]) -> Tensor:
            indices, coming = pair
            if coming is not None:
                self._announce(coming)
            return self._copy(indices)

        pairs = zip_longest(now, later)
        with closing(map_in_threads(read, pairs, workers=1, ahead=READY)) as rows:
            yield from rows

    def _copy(self, indices: Indices) -> Tensor:
        rows = torch.from_numpy(np.ascontiguousarray(self.values[indices]))
        return rows.pin_memory() if self.pinned else rows

    def _announce(self, indices: Indices) -> None:
        """Tell the system which rows of a memory map will be read.

        Not where rows do not lie apart in the file, nor where the system takes no advice (Windows).
        """
        values, whole = self.values, self._map
        stride = values.strides[0]
        inner = zip(values.shape[1:], values.strides[1:], strict=True)
        extent = values.itemsize + sum((size - 1) * step for size, step in inner)
        if whole is None or extent > stride or not hasattr(mmap.mmap, "madvise"):
            return
        # A map begins at a page, and the array somewhere in it.
        start = whole.offset % mmap.ALLOCATIONGRANULARITY
        start += values.ctypes.data - whole.ctypes.data
        rows = np.sort(indices)
        firsts = start + stride * rows[np.diff(rows, prepend=-2) != 1]  # of runs of neighbours
        ends = start + stride * rows[np.diff(rows, append=-2) != 1] + extent
        firsts -= firsts % mmap.PAGESIZE
        for first, length in zip(firsts.tolist(), (ends - firsts).tolist(), strict=True):
            _will_need(whole, first, length)


def map_of(values: np.ndarray) -> np.memmap | None:
    """Return the whole memory map that an array is a view of, if it is one."""
    array = values
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if isinstance(array.base, mmap.mmap) and isinstance(array, np.memmap) else None


def _will_need(whole: np.memmap, first: int, length: int) -> None:
    pages: mmap.mmap = whole.base  # type: ignore[assignment]
    pages.madvise(mmap.MADV_WILLNEED, first, length)
