"""Examples that a model is scored on: checked, brought to where the model lies, and scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from hebae import inference
from hebae.errors import HebaeError
from hebae.model import Autoencoder, to_unit_interval

__all__ = ["batch_of", "check_counts", "check_examples", "log_likelihood"]


def check_examples(model: Any, data: npt.NDArray[np.generic]) -> Autoencoder:
    """Return the model's module, if the data are at least 2 examples that it can take.

    Raises
    ------
    HebaeError
        If not.
    """
    module = inference.module_of(model)
    if data.shape[1:] != module.input_shape or len(data) < 2:
        shape = ", ".join(map(str, module.input_shape))
        raise HebaeError(
            f"data has shape {data.shape}; this model takes (n, {shape}), and the error of a mean "
            "n of at least 2."
        )
    low, high = module.likelihood.support
    if data.dtype != np.uint8 and not (low <= data.min() and data.max() <= high):
        raise HebaeError(
            f"data ranges from {data.min():g} to {data.max():g}; the model's likelihood takes "
            f"finite values in [{low:g}, {high:g}]."
        )
    return module


def check_counts(**counts: int) -> None:
    """Raise a `HebaeError` that names a count below 1."""
    for name, count in counts.items():
        if count < 1:
            raise HebaeError(f"{name} is {count}; it must be at least 1.")


def batch_of(module: Autoencoder, values: npt.NDArray[np.generic]) -> Float[Tensor, "n *shape"]:
    """Examples as a tensor where the model lies, in its precision; uint8 taken to [0, 1]."""
    like = module.population_mean
    return to_unit_interval(torch.as_tensor(np.array(values), device=like.device), like.dtype)


def log_likelihood(
    module: Autoencoder, x: Float[Tensor, "n *shape"], z: Float[Tensor, "draws n latent"]
) -> Float[Tensor, "draws n"]:
    """``log p(x_i | z)`` of several codes for each example, in nats, in the precision of z."""
    repeated = x.expand(len(z), *x.shape).flatten(0, 1)
    return module.log_likelihood(repeated, z.flatten(0, 1).to(x)).view(z.shape[:-1]).to(z)
