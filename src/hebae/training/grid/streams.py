"""Order and noise of each member, by its seed: what members of one seed share is made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hebae.objectives import Noise
from hebae.training.batches import ArrayBatches
from hebae.training.noise import draw_noise, noise_seed

__all__ = ["StackedBatches", "StackedNoise"]

NoiseShapes = Callable[[int], dict[str, tuple[int, ...]]]


class _Seeds:
    """The distinct seeds of a stack's members, and which member has which."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.distinct = list(dict.fromkeys(seeds))
        self.positions = [self.distinct.index(seed) for seed in seeds]
        self._index = torch.tensor(self.positions, device=device)

    def spread(self, x: Float[Tensor, "seed *rest"]) -> Float[Tensor, "member *rest"]:
        """From one entry a seed to one a member; without a copy where all are alike or unlike."""
        if len(self.distinct) == 1:
            return x.expand(len(self.positions), *x.shape[1:])
        if len(self.distinct) == len(self.positions):
            return x
        return x.index_select(0, self._index)


class StackedBatches(ArrayBatches):
    """`ArrayBatches` for each member of a stack at once: (n, m, *shape).

    Parameters
    ----------
    values, batch_size, settings :
        See `ArrayBatches`.
    seeds : sequence of int
        Of the order of each member's examples.
    """

    def __init__(
        self, values: np.ndarray, batch_size: int, seeds: Sequence[int], **settings: Any
    ) -> None:
        super().__init__(values, batch_size, seed=seeds[0], **settings)
        self.seeds = _Seeds(seeds, self.device)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """See `Batches`."""
        count = len(self.values)
        orders = [
            np.random.default_rng([seed, epoch]).permutation(count) for seed in self.seeds.distinct
        ]
        indices = torch.from_numpy(np.stack(orders))
        batches = torch.split(indices, self.batch_size, dim=1)[start : self.steps_per_epoch]
        taken = self._taken(batch.flatten() for batch in batches)
        for batch, rows in zip(batches, taken, strict=True):
            yield self.seeds.spread(rows.view(*batch.shape, *rows.shape[1:]))


class StackedNoise:
    """Standard normal draws for each member, as the member alone would draw them.

    Parameters
    ----------
    seeds : sequence of int
    noise_shapes : callable
        Of a model, from the batch size.
    device : torch.device
    """

    def __init__(
        self, seeds: Sequence[int], noise_shapes: NoiseShapes, device: torch.device
    ) -> None:
        self.seeds = _Seeds(seeds, device)
        self.noise_shapes = noise_shapes
        self.generators = [torch.Generator(device) for _ in self.seeds.distinct]

    def begin(self, epoch: int) -> None:
        """Begin an epoch's stream."""
        for seed, generator in zip(self.seeds.distinct, self.generators, strict=True):
            generator.manual_seed(noise_seed(seed, epoch))

    def draw(self, like: Float[Tensor, "member batch *shape"]) -> Noise:
        """Draw the noise of a batch, (n, *shape) each, on its device and in its precision."""
        shapes = self.noise_shapes(like.shape[1])
        draws = [draw_noise(shapes, generator, like.dtype) for generator in self.generators]
        return {name: self.seeds.spread(torch.stack([d[name] for d in draws])) for name in shapes}

    def state_of(self, member: int) -> Tensor:
        """State of the member's generator, for its checkpoint."""
        return self.generators[self.seeds.positions[member]].get_state()

    def load(self, states: Sequence[Tensor]) -> None:
        """Take up the states of the members' generators."""
        for position, state in zip(self.seeds.positions, states, strict=True):
            self.generators[position].set_state(state)
