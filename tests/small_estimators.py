"""Estimators that are fitted in well under a second, and data for them."""

from __future__ import annotations

import numpy as np

from hebae import HEBAE

SMALL = {"latent_dim": 3, "encoder_widths": (16,), "decoder_widths": (16,), "batch_size": 32}


def uniform(*shape):
    return np.random.default_rng(0).random(shape)


def small(cls=HEBAE, **changes):
    return cls(**(SMALL | {"epochs": 2, "random_state": 0, "device": "cpu"} | changes))
