"""Seeds of the noise, so that an epoch's draws depend on seed, epoch and process alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from hebae.objectives import Noise

__all__ = ["draw_noise", "noise_seed"]


def noise_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Seed of a stream unlike that of weights and order; each process draws noise of its own."""
    return int(np.random.SeedSequence([seed, epoch, rank, 1]).generate_state(1)[0])


def draw_noise(
    shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator, dtype: torch.dtype
) -> Noise:
    """Draw the random numbers of a step, on the generator's device."""
    return {
        name: torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
        for name, shape in shapes.items()
    }
