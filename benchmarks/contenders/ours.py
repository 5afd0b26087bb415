"""`hebae` itself: an epoch of its training loop, as ``hebae train`` runs it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from contenders import SETTINGS, WARM_UP, Contender, Mark
from hebae.autoencoder import build
from hebae.training.batches import ArrayBatches
from hebae.training.callbacks import Callback
from hebae.training.loop import make_fabric, train

__all__ = ["by_hebae"]


def by_hebae(method: str, **changes: object) -> Contender:
    """Train with `method`, and settings changed, by `hebae.training.loop.train`.

    All that the loop does for an epoch is counted, but for held-out examples and the last pass for
    the population's moments.
    """
    # Of the two epochs the first is the warm-up.
    settings = SETTINGS.replace(method=method, epochs=2, **changes)

    def stretch(examples: np.ndarray, mark: Mark) -> None:
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
            start = max(start, (self.steps_per_epoch or 0) - WARM_UP)
        return super().epoch(epoch, start)

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Tensor]:
        return super().in_order(batch_size, self.batch_size)


class _AtEpochs(Callback):
    """Marks the end of each epoch: the loop's whole work for an epoch lies between two."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark

    def on_epoch(self, record: object) -> None:
        self.mark()
