"""What is timed: stretches of training steps, by `hebae` and by the bare loop.

A stretch starts from new weights and a new optimizer, takes a few steps that are not counted, so
that memory and caches are warm, and then the ones that are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from bare import BareHEBAE, run_epoch
from torch import Tensor

from hebae.autoencoder import build
from hebae.config import Settings
from hebae.training.batches import ArrayBatches
from hebae.training.callbacks import Callback
from hebae.training.loop import make_fabric, train

__all__ = ["CONTENDERS", "SETTINGS", "Contender", "make_examples"]

SETTINGS = Settings(likelihood="bernoulli", learning_rate=1e-3, device="cpu", epochs=2)
"""Appendix B.1: batch 128, k = 20, float32. Of the two epochs the first is the warm-up."""

WARM_UP = 5
"""Steps before the ones that count."""

Contender = Callable[[np.ndarray, Callable[[], object]], None]
"""Trains on examples, one batch a step; calls its second argument as counting begins and ends."""


def make_examples(steps: int) -> np.ndarray:
    """Grey images of 28 x 28 random pixels, enough for so many steps; no data set is needed."""
    shape = (steps * SETTINGS.batch_size, 1, 28, 28)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def by_bare_loop(moments_dtype: torch.dtype) -> Contender:
    """HEBAE by the loop in ``bare.py``."""

    def stretch(examples: np.ndarray, mark: Callable[[], object]) -> None:
        resident = torch.from_numpy(examples).flatten(1)
        model = BareHEBAE(SETTINGS.latent_dim, moments_dtype)
        optimizer = torch.optim.Adam(model.parameters(), lr=SETTINGS.learning_rate, fused=True)
        size = SETTINGS.batch_size
        run_epoch(model, optimizer, resident[: WARM_UP * size], size)
        mark()
        run_epoch(model, optimizer, resident, size)
        mark()

    return stretch


def by_hebae(method: str) -> Contender:
    """Train with `method` by `hebae.training.loop.train`, as ``hebae train`` does."""
    settings = SETTINGS.replace(method=method)

    def stretch(examples: np.ndarray, mark: Callable[[], object]) -> None:
        outcome = train(
            build(settings, examples.shape[1:]),
            settings,
            _WarmedUp(examples, settings.batch_size),
            fabric=make_fabric(settings),
            callbacks=[_AtEpochs(mark)],
        )
        if outcome.interrupted:
            raise KeyboardInterrupt

    return stretch


class _WarmedUp(ArrayBatches):
    """Batches whose first epoch is only its last few steps, and whose population is one batch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        if epoch == 0:
            start = max(start, self.steps_per_epoch - WARM_UP)
        return super().epoch(epoch, start)

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        return super().in_order(batch_size, self.batch_size)


class _AtEpochs(Callback):
    """Marks the end of each epoch: the loop's whole work for an epoch lies between two."""

    def __init__(self, mark: Callable[[], object]) -> None:
        self.mark = mark

    def on_epoch(self, record: object) -> None:
        self.mark()


CONTENDERS: dict[str, Contender] = {
    "bare": by_bare_loop(torch.float64),
    "hebae": by_hebae("hebae"),
    "vae": by_hebae("vae"),
    "wae": by_hebae("wae"),
    "ae": by_hebae("ae"),
    "bare, float32": by_bare_loop(torch.float32),
}
"""By name, in the order they take their turns in."""
