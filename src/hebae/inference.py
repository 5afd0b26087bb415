"""A trained model over whole arrays, in blocks: encode, decode, reconstruct, sample, interpolate.

NumPy in, NumPy out; the model stays on its device. The result of an example does not depend on
the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hebae.errors import HebaeError
from hebae.model import Autoencoder, at_least_float32, to_unit_interval
from hebae.priors import Prior

LARGEST_BLOCK = 1000
"""Largest number of examples that go through the networks at a time."""

LARGEST_BLOCK_NUMBERS = 2**21
"""Largest total of numbers in these examples: 170 images of 3 x 64 x 64. The networks hold tens of
times as many; larger blocks are no faster."""

Floats = npt.NDArray[np.float32]


class Codes(NamedTuple):
    """Output of the encoder for n examples."""

    mean: Floats
    """Shape (n, k)."""
    log_scale: Floats | None
    """Shape (n, k) or (n, 1); None for a deterministic method."""


def module_of(model: Any) -> Autoencoder:
    """Return the module itself, or the one in a fitted estimator.

    Raises
    ------
    HebaeError
        If it is neither.
    """
    module = getattr(model, "module_", model)
    if not isinstance(module, Autoencoder):
        raise HebaeError(
            f"the model is of type {type(model).__name__}; give a fitted estimator, such as "
            "HEBAE, or what hebae.load returns."
        )
    return module


def encode(model: Autoencoder, values: npt.NDArray[np.generic]) -> Codes:
    """Means and log-scales of examples (n, *shape), uint8 or float."""
    with evaluating(model):
        pairs = [model.encode(x) for x in _blocks(model, values)]
    means, log_scales = zip(*pairs, strict=True)
    return Codes(_joined(means), None if log_scales[0] is None else _joined(log_scales))


def draw(model: Autoencoder, codes: Codes, seed: int) -> Floats:
    """One z ~ q(z | x) of each example, shape (n, k); mu itself for a deterministic method."""
    if codes.log_scale is None:
        return codes.mean
    like = model.population_mean
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws on every device
    epsilon = torch.randn(codes.mean.shape, generator=generator)
    with evaluating(model):
        parts = (torch.from_numpy(codes.mean), torch.from_numpy(codes.log_scale), epsilon)
        blocks = zip(*(torch.split(part, LARGEST_BLOCK) for part in parts), strict=True)
        return _joined([model.draw(*(part.to(like) for part in block)) for block in blocks])


def decode(model: Autoencoder, z: npt.NDArray[np.floating]) -> Floats:
    """E[x | z] of codes (n, k): shape (n, *shape), in the units of the data."""
    return _over_blocks(model, z, model.decode)


def reconstruct(model: Autoencoder, values: npt.NDArray[np.generic]) -> Floats:
    """E[x | z = mu(x)] of examples (n, *shape)."""
    return _over_blocks(model, values, model.reconstruct)


def log_likelihood(model: Autoencoder, values: npt.NDArray[np.generic]) -> Floats:
    """``log p(x | z = mu(x))`` of each example, in nats: shape (n,)."""
    return _over_blocks(model, values, lambda x: model.log_likelihood(x, model.encode(x)[0]))


def sample(model: Autoencoder, count: int, seed: int, sampler: Prior | None = None) -> Floats:
    """E[x | z] of `count` draws z from a sampler or the model's prior: shape (count, *shape)."""
    return decode(model, (sampler or model.prior).sample(count, seed))


def sample_examples(
    model: Autoencoder, count: int, seed: int, sampler: Prior | None = None
) -> Floats:
    """Draw x ~ p(x | z) for `count` draws z, not its mean as `sample` does: (count, *shape)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(z: Tensor) -> Tensor:
        return model.likelihood.sample(at_least_float32(model.decoder(z)), generator)

    return _over_blocks(model, (sampler or model.prior).sample(count, seed), draw)


def interpolate(
    model: Autoencoder,
    first: npt.NDArray[np.generic],
    second: npt.NDArray[np.generic],
    steps: int,
) -> Floats:
    """Decode straight lines between the codes of pairs of examples: shape (n, steps, *shape).

    Of the `steps` points on a line, at least 2, the first and the last are the pair's codes.
    """
    begin, end = encode(model, first).mean, encode(model, second).mean
    t = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    z = (1 - t) * begin[:, None] + t * end[:, None]
    return decode(model, z.reshape(-1, model.latent_dim)).reshape(
        len(begin), steps, *model.input_shape
    )


def _over_blocks(
    model: Autoencoder, values: npt.NDArray[np.generic], function: Callable[[Tensor], Tensor]
) -> Floats:
    # Written block by block: results can be as large as memory allows.
    results: Floats | None = None
    start = 0
    with evaluating(model):
        for x in _blocks(model, values):
            block = function(x).float().cpu().numpy()
            if results is None:
                results = np.empty((len(values), *block.shape[1:]), np.float32)
            results[start : start + len(block)] = block
            start += len(block)
    assert results is not None  # without examples, there is one empty block
    return results


def _blocks(model: Autoencoder, values: npt.NDArray[np.generic]) -> Iterator[Tensor]:
    like = model.population_mean
    size = max(1, min(LARGEST_BLOCK, LARGEST_BLOCK_NUMBERS // math.prod(model.input_shape)))
    for start in range(0, max(1, len(values)), size):
        block = torch.as_tensor(np.array(values[start : start + size]), device=like.device)
        yield to_unit_interval(block, like.dtype)


def _joined(blocks: Iterable[Tensor]) -> Floats:
    return torch.cat([block.float().cpu() for block in blocks]).numpy()


@contextmanager
def evaluating(model: Autoencoder) -> Iterator[None]:
    """Set evaluation mode, without gradients, and restore the mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
