"""An epoch of `hebae`'s training loop, as ``hebae train`` runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from contenders import SETTINGS, WARM_UP, Contender, Mark
from hebae.building import build
from hebae.training.batches import ArrayBatches, Batch
from hebae.training.callbacks import Callback
from hebae.training.loop import train
from hebae.training.machine import make_fabric

__all__ = ["by_hebae"]


def by_hebae(method: str, epochs_before: int = 0, **changes: object) -> Contender:
    """Train with `method`, and settings changed, by `hebae.training.loop.train`.

    All that the loop does for an epoch is counted, but for held-out examples and the last pass for
    the population's moments. More epochs than the warm-up may go before the one that counts.
    """
    # The first epoch is the warm-up.
    settings = SETTINGS.replace(method=method, epochs=2 + epochs_before, **changes)

    def stretch(examples: np.ndarray, mark: Mark) -> None:
        outcome = train(
            build(settings, examples.shape[1:]),
            settings,
            _WarmedUp(examples, settings.batch_size),
            fabric=make_fabric(settings),
            callbacks=[_AtEpochs(mark, after=epochs_before)],
        )
        if outcome.interrupted:
            raise KeyboardInterrupt

    return stretch


class _WarmedUp(ArrayBatches):
    """Batches whose first epoch has only a few steps and whose last pass has one batch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if epoch == 0:
            start = max(start, (self.steps_per_epoch or 0) - WARM_UP)
        return super().epoch(epoch, start)

    def in_order(self, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
        return super().in_order(batch_size, self.batch_size)


class _AtEpochs(Callback):
    """Marks the end of each epoch; between two marks is all work of the loop for an epoch."""

    def __init__(self, mark: Mark, after: int) -> None:
        self.mark = mark
        self.after = after

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        if record["epoch"] > self.after:
            self.mark()
