"""Batches that several processes share, each with a part of the examples.

What depends on the whole batch is taken over the whole batch, with gradients. The convention: each
process computes the loss of the whole batch, and the gradients of the processes are averaged. A sum
over processes therefore passes back the sum of the processes' gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import pad


def share_of(size: int, rank: int, processes: int) -> slice:
    """Rows of a batch of `size` that a process has: equal shares, give or take one."""
    return slice(rank * size // processes, (rank + 1) * size // processes)


class SharedBatch:
    """How several processes share each batch, and the place of this one.

    Parameters
    ----------
    rank, processes : int
        The number of this process, from 0, and how many there are.

    Attributes
    ----------
    size : int
        Examples of the present batch, of all processes together.
    """

    def __init__(self, rank: int, processes: int) -> None:
        self.rank = rank
        self.processes = processes
        self.size = 0

    def own(self, rows: Shaped[Tensor, "batch *_"]) -> Shaped[Tensor, "share *_"]:
        """Take this process's rows of the whole batch."""
        return rows[share_of(self.size, self.rank, self.processes)]

    def whole(self, own: Float[Tensor, "share width"]) -> Float[Tensor, "batch width"]:
        """Return the rows of all processes, in order, with gradients."""
        rows = share_of(self.size, self.rank, self.processes)
        return self.total(pad(own, (0, 0, rows.start, self.size - rows.stop)))

    def total(self, x: Shaped[Tensor, "*_"]) -> Shaped[Tensor, "*_"]:
        """Sum over the processes, with gradients."""
        total: Tensor = _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]
        return total

    def mean(self, own: Float[Tensor, "share *_"]) -> Float[Tensor, "*_"]:
        """Mean over the rows of all processes, with gradients; a process may have no row."""
        return self.total(own.sum(0)) / self.size


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce whose gradient is the sum of the processes' gradients; of any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _SumOverProcesses.apply(gradients[0])  # type: ignore[no-untyped-call]
