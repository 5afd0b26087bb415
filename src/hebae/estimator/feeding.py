"""What an estimator is fed with: batches of arrays and loaders, codes of what it was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import check_random_state

from hebae import inference
from hebae.config import Settings
from hebae.errors import HebaeError
from hebae.model import Autoencoder
from hebae.samplers import codes_of
from hebae.training.batches import ArrayBatches, Batches, LoaderBatches

__all__ = ["batches_of", "first_batch", "seed_of", "training_codes"]

Array = npt.NDArray[np.float32]


def training_codes(model: Autoencoder, examples: Any, settings: Settings) -> Array:
    """Draw the code of each training example; a loader is gone through once more."""
    if not isinstance(examples, torch.utils.data.DataLoader):
        return codes_of(model, examples, settings.seed)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        batches = batches_of(examples, settings, model.population_mean.device).epoch(
            settings.epochs
        )
        encoded = [inference.encode(model, x.cpu().numpy()) for x in batches]
    log_scales = [codes.log_scale for codes in encoded if codes.log_scale is not None]
    return inference.draw(
        model,
        inference.Codes(
            np.concatenate([codes.mean for codes in encoded]),
            np.concatenate(log_scales) if log_scales else None,
        ),
        settings.seed,
    )


def batches_of(
    examples: Any, settings: Settings, device: torch.device, *, held_out: bool = False
) -> Batches:
    """Batches of an array, or of a loader, on the device and in the settings' precision.

    Of held-out examples none are left out, be they fewer than a batch.
    """
    dtype = torch.float64 if settings.precision == "64-true" else torch.float32
    if isinstance(examples, torch.utils.data.DataLoader):
        smallest = settings.batch_size if settings.drop_last else 1
        return LoaderBatches(examples, smallest=smallest, device=device, dtype=dtype)
    return ArrayBatches(
        examples,
        settings.batch_size,
        seed=settings.seed,
        device=device,
        dtype=dtype,
        drop_last=bool(settings.drop_last) and not held_out,
    )


def first_batch(loader: torch.utils.data.DataLoader[Any]) -> torch.Tensor:
    """Return a batch that stands for the others: a loader may be too long to be looked through."""
    with torch.random.fork_rng():
        batch = next(iter(loader), None)
    if batch is None:
        raise HebaeError("the DataLoader gives no batch; give it some examples.")
    first: torch.Tensor = batch[0] if isinstance(batch, tuple | list) else batch
    return first


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed, as scikit-learn understands `random_state`."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
