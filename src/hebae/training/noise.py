"""Seeds of the noise, so that an epoch's draws depend on seed, epoch and process alone."""

from __future__ import annotations

import numpy as np

__all__ = ["noise_seed"]


def noise_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Seed of a stream unlike that of weights and order; each process draws noise of its own."""
    return int(np.random.SeedSequence([seed, epoch, rank, 1]).generate_state(1)[0])
