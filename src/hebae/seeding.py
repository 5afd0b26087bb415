"""Torch's global generators, for modules that draw from nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

GLOBAL_GENERATORS = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside, and restore them afterwards; one thread at a time.

    For modules and loaders of the user's own, which may draw from them (dropout, shuffling), and
    for the flows of zuko.
    """
    with GLOBAL_GENERATORS, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
