"""A whole step in a CUDA graph: forward, backward and update replayed without Python between."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hebae.model import Step
from hebae.objectives import Noise

__all__ = ["CapturedStep", "record_cuda_graph"]

WARM_UP = 3
"""Full batches taken by hand first: what allocates or initialises must not happen in a capture."""

Record = Callable[[Callable[[], Step]], tuple[Callable[[], None], Step]]
"""From a step without arguments to what replays it, and the result that a replay overwrites."""


def record_cuda_graph(take: Callable[[], Step]) -> tuple[Callable[[], None], Step]:
    """Capture a step, which is not executed, in a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = take()
    return graph.replay, result


class CapturedStep:
    """Replays a step for batches of one size; batches of other sizes are taken by hand.

    A graph reads its inputs at fixed addresses, so each batch is copied to where the graph was
    recorded, and the results are copied from there before the next replay overwrites them.
    The first `WARM_UP` full batches are taken by hand: they are steps like any other.

    Parameters
    ----------
    take : callable
        A step by hand, from x and its noise; it must not wait for the device.
    batch_size : int
        Examples in a full batch.
    record : callable
        See `Record`.
    """

    def __init__(
        self,
        take: Callable[[Tensor, Noise], Step],
        batch_size: int,
        record: Record = record_cuda_graph,
    ) -> None:
        self.take = take
        self.batch_size = batch_size
        self.record = record
        self.taken = 0
        self.replay: Callable[[], None] | None = None

    def __call__(self, x: Tensor, noise: Noise) -> Step:
        """Take a step."""
        if len(x) != self.batch_size:
            return self.take(x, noise)
        if self.taken < WARM_UP:
            self.taken += 1
            return _on_a_stream_of_its_own(self.take, x, noise)
        if self.replay is None:
            self.x, self.noise = x.clone(), {n: t.clone() for n, t in noise.items()}
            self.replay, self.result = self.record(lambda: self.take(self.x, self.noise))
        self.x.copy_(x)
        for name, tensor in noise.items():
            self.noise[name].copy_(tensor)
        self.replay()
        loss, terms, mean, z = self.result
        copies = {n: t.clone() for n, t in terms.items()}
        return Step(loss.detach().clone(), copies, mean.clone(), z.clone())


def _on_a_stream_of_its_own(take: Callable[[Tensor, Noise], Step], x: Tensor, noise: Noise) -> Step:
    # A capture runs on one too, and autograd remembers the stream that a gradient was made on.
    if x.device.type != "cuda":
        return take(x, noise)
    stream = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(stream):
        step = take(x, noise)
    torch.cuda.current_stream(x.device).wait_stream(stream)
    return step
