"""Batches on the device, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice, repeat, tee, zip_longest
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from hebae.data.examples import Examples, as_dense, map_of
from hebae.data.images import map_in_threads
from hebae.model import to_floats
from hebae.shared_batch import share_of
from hebae.training.randomness import epoch_seed, spread


class Batch(NamedTuple):
    """Examples on the device, and what the decoder is given in addition to their codes."""

    x: Float[Tensor, "*members batch *shape"]
    condition: Float[Tensor, "*members batch _"] | None = None


class Batches(Protocol):
    """What the training loop takes examples from."""

    steps_per_epoch: int | None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch, the first `start` left out."""

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """Pass once over the examples (`limit` of them), unshuffled, the last batch smaller."""


class ArrayBatches:
    """Batches of examples: dense floats, NaN where a number is missing.

    An array goes to CUDA's memory as it is (uint8 stays uint8) where it takes less than half of
    what is free; on the CPU nothing is copied. Otherwise, and if it is sparse, has a mask or is
    read from a file, only the rows of a few batches are in memory, read ahead of need
    (`read_ahead`).

    Parameters
    ----------
    values : Examples, or ndarray of shape (n, *shape)
        An array of uint8 holds grey levels, 255 standing for 1.
    batch_size : int
        Over all processes together.
    seed : int or sequence of int
        Seed of the order: epoch e takes the permutation of
        ``numpy.random.default_rng([seed, e])``. With a sequence, batches are for a stack of
        models, (n, m, *shape), one order per seed.
    device : torch.device
    dtype : torch.dtype
        Type of the batches.
    drop_last : bool or None
        Leave out the last batch of an epoch if it is smaller. None: there is no such batch; its
        examples are spread over the others, which are then larger than `batch_size`.
    rank, processes : int
        This process's place among those that share each batch (`share_of`).

    Attributes
    ----------
    sizes : list of int
        Examples of each batch of an epoch, of all processes together.
    """

    def __init__(
        self,
        values: Examples | np.ndarray,
        batch_size: int,
        *,
        seed: int | Sequence[int] = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        drop_last: bool | None = False,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.pixels = not isinstance(values, Examples) or values.are_pixels
        source: Any = values
        if isinstance(values, Examples):
            source = values if values.missing is not None else values.values
        self.count = len(values)
        self.batch_size = batch_size
        self.stacked = not isinstance(seed, int)
        seeds = [seed] if isinstance(seed, int) else seed
        self.seeds = list(dict.fromkeys(seeds))
        self.device = torch.device(device)
        self._positions = torch.tensor([self.seeds.index(s) for s in seeds], device=self.device)
        self.dtype = dtype
        self.rank = rank
        self.processes = processes
        on_cuda = self.device.type == "cuda"
        self._conditions: Tensor | None = None  # few numbers per example: always on the device
        if isinstance(values, Examples) and values.conditions is not None:
            conditions = torch.from_numpy(np.array(values.conditions))
            self._conditions = conditions.to(self.device, dtype)
        self._host, self._resident = source, None
        if isinstance(source, np.ndarray) and (on_cuda or map_of(source) is None):
            with warnings.catch_warnings():
                # A read-only array is fine: batches are copies.
                warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                tensor = torch.from_numpy(source)
            if not on_cuda:
                self._resident = tensor
            elif tensor.nbytes < torch.cuda.mem_get_info(self.device)[0] / 2:
                self._resident = tensor.to(self.device)
        self.sizes = batch_sizes(self.count, batch_size, drop_last)
        self.steps_per_epoch: int | None = len(self.sizes)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches`."""
        n = self.count
        orders = [np.random.default_rng([seed, epoch]).permutation(n) for seed in self.seeds]
        indices = self._where_values_are(torch.from_numpy(np.stack(orders)))
        used = indices[:, : sum(self.sizes)]
        batches = torch.split(used, self.sizes, dim=1)[start:]
        shares = [b[:, share_of(b.shape[1], self.rank, self.processes)] for b in batches]
        taken = self._taken([share.flatten() for share in shares])
        if not self.stacked:
            return taken

        def for_members(rows: Tensor, share: Tensor) -> Tensor:
            return spread(rows.view(*share.shape, *rows.shape[1:]), self._positions)

        return (
            Batch(for_members(x, share), None if c is None else for_members(c, share))
            for share, (x, c) in zip(shares, taken, strict=True)
        )

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """See `Batches`; a limited number is spread evenly, for data may be sorted by class."""
        n = min(limit or self.count, self.count)
        evenly = torch.arange(n) * self.count // n
        return self._taken(torch.split(self._where_values_are(evenly), batch_size))

    def _where_values_are(self, indices: Tensor) -> Tensor:
        # All at once: a copy to a GPU per step would make each step wait for the one before.
        return indices if self._resident is None else indices.to(self._resident.device)

    def _taken(self, batches: Sequence[Tensor]) -> Generator[Batch]:
        """Give the examples of each batch of indices, in order."""
        pinned = self.device.type == "cuda"
        if self._resident is not None:
            values = self._resident
            examples = (values.index_select(0, indices) for indices in batches)
        else:
            arrays = (batch.numpy() for batch in batches)
            examples = read_ahead(self._host, arrays, pinned=pinned)
        conditions: Iterable[Tensor | None] = repeat(None, len(batches))
        if self._conditions is not None and batches:
            sizes = [len(batch) for batch in batches]
            where = torch.cat(list(batches)).to(self.device)
            conditions = map(self._conditions.__getitem__, torch.split(where, sizes))
        with closing(examples):
            for rows, condition in zip(examples, conditions, strict=True):
                rows = rows.to(self.device, non_blocking=pinned)
                yield Batch(to_floats(rows, self.dtype, pixels=self.pixels), condition)


def batch_sizes(count: int, batch_size: int, drop_last: bool | None) -> list[int]:
    """Sizes of the batches of an epoch; see `ArrayBatches`."""
    full, rest = divmod(count, batch_size)
    if drop_last is None:
        batches = max(full, 1)
        return [count // batches + (i < count % batches) for i in range(batches)]
    return [batch_size] * full + ([rest] if rest and not drop_last else [])


class RedrawnBatches(ArrayBatches):
    """Batches of 0 and 1, drawn anew in each epoch from grey values in [0, 1].

    The draws depend on seed, epoch and step alone, not on the number of processes or the device.

    Parameters
    ----------
    values : Examples, or ndarray of shape (n, *shape)
        The grey values, uint8 or float32.
    batch_size : int
    drawn : Examples or ndarray, like `values`
        One draw of them, for the passes `in_order`.
    **options
        Parameters of `ArrayBatches`.
    """

    def __init__(
        self,
        values: Examples | np.ndarray,
        batch_size: int,
        *,
        drawn: Examples | np.ndarray,
        **options: Any,
    ) -> None:
        super().__init__(values, batch_size, **options)
        self.drawn = ArrayBatches(drawn, batch_size, **options)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches`."""
        for step, (x, condition) in enumerate(super().epoch(epoch, start), start):
            _, *shape = x.shape[1:] if self.stacked else x.shape
            draws = []
            for seed in self.seeds:
                # Streams from 2^32: version 0.1.0 had one for the noise of each process.
                generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, 2**32 + step))
                u = torch.rand(self.sizes[step], *shape, generator=generator)
                draws.append(u[share_of(len(u), self.rank, self.processes)])
            u = torch.stack(draws).to(self.device)
            drawn = (spread(u, self._positions) if self.stacked else u[0]).lt(x)
            yield Batch(drawn.to(self.dtype), condition)

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        """See `Batches`; of the one draw."""
        return self.drawn.in_order(batch_size, limit)


READY = 2
"""Batches that wait in memory, beside the one in use and the one that is being made; one if an
example has more than `WIDE` numbers."""
WIDE = 2**15

ANNOUNCED = 4
"""Batches that the operating system is told to read before they are made."""

Indices = npt.NDArray[np.int64]


def read_ahead(
    values: Any, batches: Iterable[Indices], *, pinned: bool = False
) -> Generator[Shaped[Tensor, "batch *shape"]]:
    """Copy the rows of each batch from host memory or a file, in the background.

    Random rows of a file that is not in memory are slow one by one: the disk has one request at a
    time, and the kernel reads megabytes around each row of kilobytes. The system is therefore told
    the rows of the next few batches, which the disk then reads in parallel, and a thread copies
    them into batches while the step runs. From `pinned` (page-locked) memory CUDA copies while the
    host continues.

    An error is raised at the batch that it concerns. Closing the generator, as leaving a ``for``
    loop over it does, waits for the copy that is being made and ends.
    """
    now, later = tee(batches)
    for indices in islice(later, ANNOUNCED):
        _announce(values, indices)

    def read(pair: tuple[Indices, Indices | None]) -> Tensor:
        indices, coming = pair
        if coming is not None:
            _announce(values, coming)
        taken = values.rows(indices) if isinstance(values, Examples) else as_dense(values[indices])
        rows = torch.from_numpy(np.ascontiguousarray(taken))
        return rows.pin_memory() if pinned else rows

    numbers = math.prod(values.shape if isinstance(values, Examples) else values.shape[1:])
    ahead = READY if numbers <= WIDE else 1
    # One thread: the other cores belong to the step.
    with closing(map_in_threads(read, zip_longest(now, later), workers=1, ahead=ahead)) as rows:
        yield from rows


def _announce(values: Any, indices: Indices) -> None:
    """Tell the system which rows of a memory map will be read.

    Not if there is no memory map, if rows are interleaved in it, or if the system has no
    ``madvise`` (Windows).
    """
    if isinstance(values, Examples):
        values = values.values
    if not isinstance(values, np.ndarray):
        return
    whole = map_of(values)
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


def _will_need(whole: np.memmap, first: int, length: int) -> None:
    pages: mmap.mmap = whole.base  # type: ignore[assignment]
    pages.madvise(mmap.MADV_WILLNEED, first, length)
