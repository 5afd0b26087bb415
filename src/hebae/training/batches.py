"""Batches on the device, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hebae.model import to_unit_interval
from hebae.training.prefetch import HostRows, map_of

__all__ = ["ArrayBatches", "Batches", "LoaderBatches"]


class Batches(Protocol):
    """What the training loop takes examples from."""

    steps_per_epoch: int | None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Float[Tensor, "batch *shape"]]:
        """Batches of an epoch, the first `start` left out."""

    def in_order(
        self, batch_size: int, limit: int | None = None
    ) -> Iterator[Float[Tensor, "batch *shape"]]:
        """Pass once over the examples (`limit` of them), unshuffled, the last batch smaller."""


class ArrayBatches:
    """Batches of an array.

    The array goes to CUDA's memory as it is (uint8 stays uint8) where it takes less than half of
    what is free; on the CPU nothing is copied. Otherwise, and if it is a memory map, only the rows
    of a few batches are in memory, read ahead of need: see `hebae.training.prefetch`.

    Parameters
    ----------
    values : ndarray, shape (n, *shape)
        uint8, standing for [0, 1], or float32.
    batch_size : int
        Over all processes together.
    seed : int
        Of the order: epoch e takes the permutation of ``numpy.random.default_rng([seed, e])``.
    device : torch.device
    dtype : torch.dtype
        Of the batches.
    drop_last : bool
        Leave out the last batch of an epoch if it is smaller.
    rank, processes : int
        This process's place among those that share each batch.
    """

    def __init__(
        self,
        values: np.ndarray,
        batch_size: int,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        drop_last: bool = False,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        with warnings.catch_warnings():
            # A read-only array is fine: batches are copies.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.values = torch.from_numpy(values)
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.dtype = dtype
        self.rank = rank
        self.processes = processes
        on_cuda = self.device.type == "cuda"
        if on_cuda and self.values.nbytes < torch.cuda.mem_get_info(self.device)[0] / 2:
            self.values = self.values.to(self.device)
        self._host: HostRows | None = None  # of a file, or on the way to another device
        if self.values.device.type == "cpu" and (on_cuda or map_of(values) is not None):
            self._host = HostRows(values, pinned=on_cuda)
        full, rest = divmod(len(self.values), batch_size)
        self.steps_per_epoch: int | None = full if drop_last or not rest else full + 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """See `Batches`."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.values))
        indices = torch.from_numpy(order)
        batches = torch.split(indices, self.batch_size)[start : self.steps_per_epoch]
        return self._taken(map(self._share, batches))

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        """See `Batches`; a limited number is spread evenly, for data may be sorted by class."""
        count = min(limit or len(self.values), len(self.values))
        spread = torch.arange(count) * len(self.values) // count
        return self._taken(torch.split(spread, batch_size))

    def _share(self, batch: Tensor) -> Tensor:
        # Equal shares, since data-parallel training weighs the processes alike.
        share = len(batch) // self.processes
        return batch[self.rank * share : (self.rank + 1) * share]

    def _taken(self, batches: Iterable[Tensor]) -> Generator[Tensor]:
        """Give the examples of each batch of indices, in order."""
        if self._host is None:
            yield from map(self._take, batches)
            return
        with closing(self._host.ahead(batch.numpy() for batch in batches)) as ahead:
            for rows in ahead:
                yield self._on_device(rows)

    def _take(self, indices: Tensor) -> Tensor:
        if self._host is None:
            rows = self.values.index_select(0, indices.to(self.values.device))
        else:
            rows = self._host.take(indices.numpy())
        return self._on_device(rows)

    def _on_device(self, rows: Tensor) -> Tensor:
        pinned = self.device.type == "cuda"
        return to_unit_interval(rows.to(self.device, non_blocking=pinned), self.dtype)


class LoaderBatches:
    """Batches of a user's own ``torch.utils.data.DataLoader``.

    It decides order and batch size; a batch is a tensor, or a tuple or list whose first entry is.
    Batches of fewer than `smallest` examples are left out.
    """

    def __init__(
        self,
        loader: Any,
        *,
        smallest: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.loader = loader
        self.smallest = smallest
        self.device = torch.device(device)
        self.dtype = dtype
        try:
            self.steps_per_epoch: int | None = len(loader)
        except TypeError:  # an iterable data set has no length
            self.steps_per_epoch = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """See `Batches`."""
        for step, batch in enumerate(self.loader):
            x = batch[0] if isinstance(batch, tuple | list) else batch
            if step >= start and len(x) >= self.smallest:
                yield to_unit_interval(x.to(self.device, non_blocking=True), self.dtype)

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        """See `Batches`; in the loader's own order and batches, the first `limit` or a few more."""
        count = 0
        for x in self.epoch(0):
            yield x
            count += len(x)
            if count >= (limit or math.inf):
                return
