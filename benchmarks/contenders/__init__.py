"""Contenders: training loops that are timed, one per file.

A contender starts from new weights and a new optimizer, takes a few steps that are not counted, to
warm up memory and caches, and then the steps that are counted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hebae.config import Settings
from hebae.data import load

__all__ = [
    "SETTINGS",
    "SQUARED_ERROR",
    "WARM_UP",
    "Contender",
    "Mark",
    "load_digits",
    "make_examples",
]

SETTINGS = Settings(likelihood="bernoulli", learning_rate=1e-3, device="cpu")
"""Appendix B.1: networks 784-784-800-2k and k-800-800-784, batch 128, k = 20, float32."""

SQUARED_ERROR = {"likelihood": "gaussian", "likelihood_scale": 0.5**0.5}
"""Settings under which the reconstruction is ``||x - g(z)||^2``, but for a constant."""

WARM_UP = 5
"""Steps that are not counted."""

Mark = Callable[[], object]
"""Called when counting begins and when it ends."""

Contender = Callable[[np.ndarray, Mark], None]
"""Trains on uint8 examples (n, 1, h, w) once, in random order, and marks begin and end."""


def make_examples(steps: int, batch_size: int = SETTINGS.batch_size, side: int = 28) -> np.ndarray:
    """Make grey images of random pixels, enough for `steps` steps."""
    shape = (steps * batch_size, 1, side, side)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def load_digits(steps: int, batch_size: int = SETTINGS.batch_size) -> np.ndarray:
    """Load MNIST images of the package, enough for `steps` steps, up to 78 of 128."""
    images = load("mnist-mini", validation_size=0).train.values
    return np.array(images[: steps * batch_size])  # the package's own are read-only
