"""Rows of an array in host memory or on disk, read in the background, ahead of the training step.

Random rows of a file that is not in memory are slow one by one: the disk has one request at a time,
and a memory map reads a stretch around each row that nobody asks for (the kernel's readahead, of
megabytes for rows of kilobytes). So the system is told the rows of the next few batches, which the
disk then reads side by side, and a thread copies them into batches while the step runs.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice

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
"""Batches of which the disk is told before they are made."""

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
        self.mapped = map_of(values) is not None

    def take(self, indices: Indices) -> Shaped[Tensor, "batch *shape"]:
        """Copy rows, in one thread: the other cores belong to the step."""
        if not self.mapped:
            return self._copy(indices)
        with _announcer(self.values) as announce:
            announce(indices)
            return self._copy(indices)

    def ahead(self, batches: Sequence[Indices]) -> Generator[Shaped[Tensor, "batch *shape"]]:
        """Copy the rows of each batch, in order and in the background.

        What goes wrong there is raised here, at the batch that it concerns. Closing the generator,
        as leaving a ``for`` loop over it does, waits for the copy that is being made and ends.
        """
        to_announce = iter(batches)
        with _announcer(self.values) as announce:
            for indices in islice(to_announce, ANNOUNCED):
                announce(indices)

            def read(indices: Indices) -> Tensor:
                for coming in islice(to_announce, 1):
                    announce(coming)
                return self._copy(indices)

            with closing(map_in_threads(read, batches, workers=1, ahead=READY)) as rows:
                yield from rows

    def _copy(self, indices: Indices) -> Tensor:
        rows = torch.from_numpy(np.ascontiguousarray(self.values[indices]))
        return rows.pin_memory() if self.pinned else rows


def map_of(values: np.ndarray) -> np.memmap | None:
    """Return the whole memory map that an array is a view of, if it is one."""
    array = values
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array if isinstance(array.base, mmap.mmap) and isinstance(array, np.memmap) else None


@contextmanager
def _announcer(values: np.ndarray) -> Iterator[Callable[[Indices], None]]:
    """Give the function that tells the system which rows of a memory map will be read.

    It does nothing for an array in memory, where the rows do not lie apart in the file, where the
    file has been moved away, and where the system takes no such advice (macOS, Windows).
    """
    whole = map_of(values)
    stride = values.strides[0]
    extent = values.itemsize + sum(
        (size - 1) * step for size, step in zip(values.shape[1:], values.strides[1:], strict=True)
    )
    file = None if whole is None or extent > stride else _open(whole)
    if whole is None or file is None:
        yield lambda indices: None
        return
    start = whole.offset + values.ctypes.data - whole.ctypes.data

    def announce(indices: Indices) -> None:
        rows = np.sort(indices)
        firsts = rows[np.diff(rows, prepend=-2) != 1]  # of runs of neighbours
        lasts = rows[np.diff(rows, append=-2) != 1]
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            length = (last - first) * stride + extent
            os.posix_fadvise(file, start + first * stride, length, os.POSIX_FADV_WILLNEED)

    try:
        yield announce
    finally:
        os.close(file)


def _open(whole: np.memmap) -> int | None:
    if not hasattr(os, "posix_fadvise") or whole.filename is None:
        return None
    try:
        return os.open(whole.filename, os.O_RDONLY)
    except OSError:  # moved away since it was mapped, which the map survives
        return None
