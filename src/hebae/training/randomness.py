"""All random numbers of a training come from its own generators.

torch's global generators belong to the caller. A training does not use them, so that trainings in
several threads do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from hebae.seeding import GLOBAL_GENERATORS
from hebae.spectral import SpectralNorm


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """Seed of the noise of an epoch, or of another stream of random numbers in it.

    It depends on these numbers alone, and differs from the seeds of weights and order.
    """
    return int(np.random.SeedSequence([seed, epoch, stream, 1]).generate_state(1)[0])


class NoiseSource:
    """Standard normal draws for each step, of one model or of a stack of models.

    Models of equal seed share their draws. Each of several processes draws the noise of the whole
    batch. Draws for a stack have a leading dimension for the models.
    """

    def __init__(
        self, seeds: Sequence[int], device: torch.device, *, stacked: bool = False
    ) -> None:
        self.seeds = list(dict.fromkeys(seeds))
        self.positions = [self.seeds.index(seed) for seed in seeds]
        self._index = torch.tensor(self.positions, device=device)
        self.stacked = stacked
        self.generators = [torch.Generator(device) for _ in self.seeds]

    def begin(self, epoch: int) -> None:
        """Begin the draws of an epoch."""
        for seed, generator in zip(self.seeds, self.generators, strict=True):
            generator.manual_seed(epoch_seed(seed, epoch))

    def draw(self, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> dict[str, Tensor]:
        """Draw the noise of a step, in the order of `shapes`."""
        noise = {}
        for name, shape in shapes.items():
            draws = [
                torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
                for generator in self.generators
            ]
            noise[name] = spread(torch.stack(draws), self._index) if self.stacked else draws[0]
        return noise

    def state_of(self, member: int) -> Tensor:
        """State of a model's generator, for its checkpoint."""
        return self.generators[self.positions[member]].get_state()

    def load(self, states: Sequence[Tensor]) -> None:
        """Load the states of the models' generators, unless they are of another device."""
        for position, state in zip(self.positions, states, strict=True):
            generator = self.generators[position]
            if state.shape == generator.get_state().shape:
                generator.set_state(state)


def spread(
    x: Shaped[Tensor, "seed *rest"], positions: Int[Tensor, " member"]
) -> Shaped[Tensor, "member *rest"]:
    """From one entry per distinct seed to one per member; without a copy where possible."""
    if len(x) == 1:
        return x.expand(len(positions), *x.shape[1:])
    return x if len(x) == len(positions) else x.index_select(0, positions)


class NetworkRandomState:
    """Random state of code that can only draw from torch's global generators.

    Dropout in a user's own network and the shuffling of a ``DataLoader`` are such code. Within
    ``with state():`` the global generators hold this state; afterwards the caller's state is back.
    A lock keeps other trainings out of the block, so that each training sees its own state only.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        # The CPU's generator, and that of another device.
        self.modules = [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]
        self.states = [
            torch.Generator(place).manual_seed(seed).get_state()
            for place in ("cpu", device)[: len(self.modules)]
        ]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Put the state in place while the block lasts."""
        with GLOBAL_GENERATORS:
            before = self._exchange(self.states)
            try:
                yield
            finally:
                self.states = self._exchange(before)

    def _exchange(self, states: Sequence[Tensor]) -> list[Tensor]:
        found = [module.get_rng_state() for module in self.modules]
        for module, state in zip(self.modules, states, strict=True):
            module.set_rng_state(state)
        return found


def draws_random_numbers(network: nn.Module) -> bool:
    """Whether a network may draw random numbers, as dropout does: unless all layers are known."""
    known = ("activation", "batchnorm", "container", "conv", "flatten", "linear", "normalization")
    drawing = (nn.RReLU, nn.MultiheadAttention)
    return not all(
        type(layer).__module__ in {f"torch.nn.modules.{name}" for name in known}
        and not isinstance(layer, drawing)
        for layer in network.modules()
        if not isinstance(layer, SpectralNorm)
    )
